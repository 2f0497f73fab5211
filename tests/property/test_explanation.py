"""Laws of explanations: culprits are minimal, every price is that of a plan made again."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import DeviceModel
from planner.conflict import ConflictRelation
from planner.explanation import Change, ChangeKind, Culprits, WayOut, explain_misfit
from planner.explanation.fitted import EFFORT
from planner.fit import fit_fleet
from planner.fleet import Dedupe, DeviceSpec, FleetSpec, ModelSpec, ScheduleSpec
from planner.makespan import makespan_of
from planner.model import InstanceId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet, plan_outside, schedule_of
from planner.plan import AddedKind, AddedOrder, Plan
from planner.problem import Problem, SolveStatus
from planner.solvers import solve
from planner.units import align_up
from planner.weights import lay_out_weights
from tests.plans import DIGESTS, constraints
from tests.strategies import fleets

PAGE = 512  # small pages: 2 MiB would hide what small fleets free


@st.composite
def misfits(draw: st.DrawFn) -> Plan:
    """Plans of small fleets that do not fit, for want of memory or of streams."""
    fleet = draw(fleets())
    sizes = {}
    for model in fleet.models:
        digest = draw(st.sampled_from(DIGESTS[:2]))
        sizes[model.id] = ModelSize(
            model.work_bytes or 0,
            4096,
            file_digest=f"{draw(st.sampled_from('ab'))}{digest[1:]}",
            weights_digest=digest,
            system_managed=draw(st.sampled_from([False, False, True])),
            stream_count=draw(st.integers(0, 1)),
            io_bytes=draw(st.sampled_from([0, 5000])),
        )
    files = tuple(ModelSpec(model.id, file=f"{model.id}.om") for model in fleet.models)
    fleet = replace(fleet, models=files)
    options = PlanOptions(page_bytes=PAGE)
    free = plan_fleet(fleet, sizes, options)
    streams = draw(st.sampled_from([None, None, max(0, free.stream_count - 1)]))
    factor = draw(st.sampled_from([0, 1, 3, 5, 6, 7, 7, 7]))
    limit = free.needed_bytes * factor // 8 if streams is None or factor else None
    device = DeviceSpec(limit, (("own", 512),), streams_max=streams)
    options = replace(options, added=draw(constraints(fleet)))
    budget = draw(st.sampled_from([None, None, 1, 2]))
    fit = ScheduleSpec(None if budget is None else free.total_bytes * budget // 3)
    return plan_fleet(replace(fleet, device=device, schedule=fit), sizes, options)


def alone(plan: Plan, names: Iterable[InstanceId]) -> tuple[int, int, bool]:
    """What some instances need without the others, their streams, and whether that is proven."""
    relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
    chosen = [i for i, row in enumerate(plan.instances) if row.id in {*names}]
    rows = [plan.instances[i] for i in chosen]
    work = [
        0 if row.work_offset is None else plan.rule.reserved_bytes(row.work_bytes) for row in rows
    ]
    edges = [
        (a, b)
        for b, j in enumerate(chosen)
        for a, i in enumerate(chosen[:b])
        if relation.masks[i] >> j & 1
    ]
    problem = Problem.of_edges(work, edges)
    found = solve(problem)
    assert found.assignment is not None
    sizes = dict(plan.sizes)
    weights = lay_out_weights(
        [(row.id, row.model) for row in rows], sizes, plan.fleet.device.dedupe, plan.rule
    )
    needed = (
        align_up(found.assignment.height_bytes(problem), PAGE)
        + align_up(weights.height_bytes, PAGE)
        + plan_outside([row.model for row in rows], sizes, PAGE, plan.fleet.device)
        + plan.fleet.device.reserve_bytes
    )
    if plan.over_budget_bytes:  # work and weights alone are limited
        needed = found.assignment.height_bytes(problem) + weights.height_bytes
    streams = len({row.lane for row in rows}) + sum(sizes[r.model].stream_count for r in rows)
    return needed, streams, found.status is SolveStatus.OPTIMAL


def fits(plan: Plan, needed: int, streams: int) -> bool:
    limit, streams_max = plan.fleet.device.memory_bytes, plan.fleet.device.streams_max
    if plan.over_budget_bytes:
        limit = plan.fleet.schedule.fit_bytes
    return (limit is None or needed <= limit) and (streams_max is None or streams <= streams_max)


@settings(max_examples=60)
@given(misfits())
def test_culprits_are_minimal_by_inclusion(plan: Plan) -> None:
    explanation = explain_misfit(plan)
    assert (explanation is None) == plan.fits
    if explanation is None:
        return
    culprits: Culprits = explanation.culprits
    needed, streams, is_proven = alone(plan, culprits.instances)
    assert is_proven  # small fleets are solved with proof
    assert (culprits.needed_bytes, culprits.stream_count) == (needed, streams)
    assert culprits.lower_bound_bytes == needed
    assert not fits(plan, needed, streams)
    assert culprits.is_proven
    assert culprits.is_minimal
    for name in culprits.instances:
        rest = [other for other in culprits.instances if other != name]
        assert fits(plan, *alone(plan, rest)[:2])


def replanned(plan: Plan, changes: Iterable[Change]) -> Plan:
    """The plan after some changes, each made to the fleet by hand."""
    fleet, added = plan.fleet, list(plan.added)
    for change in changes:
        match change.kind:
            case ChangeKind.DEDUPE_WEIGHTS:
                fleet = replace(fleet, device=replace(fleet.device, dedupe=Dedupe.WEIGHTS))
            case ChangeKind.EXCLUSIVE_INSTANCES:
                first, second = change.names
                pair = InstanceId(first), InstanceId(second)
                added.append(AddedOrder(*pair, AddedKind.EXCLUSIVE))
            case ChangeKind.EXCLUSIVE_LANES:
                fleet = with_lock(fleet, set(change.names))
            case ChangeKind.SERIAL:
                every = {step.lane_name for item in fleet.pipelines for step in item.steps}
                fleet = with_lock(fleet, every)
            case ChangeKind.FEWER_FRAMES | ChangeKind.FEWER_CHANNELS:
                pipelines = []
                for item in fleet.pipelines:
                    if item.id not in change.names:
                        pipelines.append(item)
                    elif change.kind is ChangeKind.FEWER_FRAMES:
                        pipelines.append(replace(item, frames_in_flight=change.count))
                    elif change.count:
                        pipelines.append(replace(item, channels=change.count))
                fleet = replace(fleet, pipelines=tuple(pipelines))
    known = fleet.instances()
    left = [item for item in added if item.first in known and item.second in known]
    kept = tuple(item for item in left if item.kind is not AddedKind.ORDER or orders(fleet, item))
    return plan_fleet(fleet, dict(plan.sizes), PlanOptions(page_bytes=PAGE, added=kept))


def orders(fleet: FleetSpec, item: AddedOrder) -> bool:
    """Whether some channel uses both instances."""
    names = {str(item.first), str(item.second)}
    for pipeline in fleet.pipelines:
        for channel in range(pipeline.channels):
            used = {
                f"{step.model}@{lane}" for step in pipeline.steps for lane in step.lanes_of(channel)
            }
            if names <= used:
                return True
    return False


def with_lock(fleet: FleetSpec, lanes: set[str]) -> FleetSpec:
    lock = "in turn"
    while any(lock in step.locks for item in fleet.pipelines for step in item.steps):
        lock += "+"
    return replace(
        fleet,
        pipelines=tuple(
            replace(
                item,
                steps=tuple(
                    replace(step, locks=(*step.locks, lock)) if step.lane_name in lanes else step
                    for step in item.steps
                ),
            )
            for item in fleet.pipelines
        ),
    )


def fitted_again(plan: Plan, budget: int) -> Plan:
    options = PlanOptions(page_bytes=PAGE, added=plan.added)
    return fit_fleet(plan.fleet, dict(plan.sizes), options, budget, fit=EFFORT)


def length(plan: Plan) -> int:
    return makespan_of(schedule_of(plan.fleet, plan.added), exact_limit=0).length


@settings(max_examples=40)
@given(misfits())
def test_every_price_is_what_planning_again_gives(plan: Plan) -> None:
    usable = plan.needed_bytes
    devices = [
        DeviceModel(name, (), usable + more, usable + more, 0, "made up")
        for name, more in (("small", -1), ("larger", 9), ("enough", 0))
    ]
    explanation = explain_misfit(plan, devices)
    if explanation is None:
        return
    rows: tuple[WayOut, ...] = explanation.ways_out.rows
    assert [row.fits for row in rows] == sorted((row.fits for row in rows), reverse=True)
    for row in rows:
        if row.device is not None:
            assert (row.device.name, row.limit_bytes, row.fits) == ("enough", usable, True)
            assert (row.bytes_freed, row.time_added, row.changes) == (0, 0, ())
            continue
        fit = row.changes[0].kind is ChangeKind.FIT
        budget = row.changes[0].count
        made = fitted_again(plan, budget) if fit else replanned(plan, row.changes)
        if plan.over_budget_bytes:
            assert row.needed_bytes == made.total_bytes
            assert row.bytes_freed == plan.total_bytes - made.total_bytes
        else:
            assert row.needed_bytes == made.needed_bytes
            assert row.bytes_freed == plan.needed_bytes - made.needed_bytes
        assert row.fits == made.fits
        assert row.fits or row.bytes_freed > 0
        if fit:
            assert made.price is not None
            assert row.time_added == made.price.makespan - made.price.before
            assert row.fits
            continue
        added = length(made) - length(plan)
        service = {ChangeKind.DEDUPE_WEIGHTS, ChangeKind.FEWER_FRAMES, ChangeKind.FEWER_CHANNELS}
        less = any(change.kind in service for change in row.changes)
        assert row.time_added == (added if less else max(0, added))
