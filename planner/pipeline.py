"""From a fleet and its sizes to a judged plan, top to bottom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.bounds.fleet import fleet_bound
from planner.conflict import ConflictRelation
from planner.errors import PlanError, SpecError
from planner.fleet import DeviceSpec, FleetSpec
from planner.handover import ChannelBuffer
from planner.io_buffers import bound_with_buffers, channel_buffers, masks_with_buffers
from planner.judge import judge
from planner.model import (
    DEFAULT_RULE,
    PAGE_BYTES,
    ModelId,
    ModelSize,
    RegionRule,
    page_rounded,
)
from planner.plan import AddedKind, AddedOrder, Instance, Plan
from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.schedule import Schedule, order_between
from planner.solvers import Solution, SolveOptions, solve
from planner.units import align_up
from planner.validator import validate
from planner.weights import lay_out_weights

__all__ = [
    "PlanOptions",
    "plan_fleet",
    "plan_outside",
    "plan_work",
    "schedule_of",
    "work_problem",
]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a fleet is planned.

    Attributes
    ----------
    rule : RegionRule
    page_bytes : int
        Reservations round up to this.
    added : tuple of AddedOrder
        Constraints beyond the fleet's own.
    start : tuple of int
        Valid offsets of all instances, in order of first use, then of what steps hand on
        (`channel_buffers`), if some are known: the plan is not higher.
    solve : SolveOptions
        Limits of the search, counted: the same plan on every machine.
    """

    rule: RegionRule = DEFAULT_RULE
    page_bytes: int = PAGE_BYTES
    added: tuple[AddedOrder, ...] = ()
    start: tuple[int, ...] = ()
    solve: SolveOptions = field(default_factory=SolveOptions)


def plan_fleet(
    fleet: FleetSpec,
    sizes: Mapping[ModelId, ModelSize],
    options: PlanOptions = PlanOptions(),
) -> Plan:
    """Plan a fleet: conflicts, offsets with their bound, weights, figures; judged before it leaves.

    Parameters
    ----------
    fleet : FleetSpec
    sizes : mapping of ModelId to ModelSize
        Every model that a step uses; others are ignored.
    options : PlanOptions

    Returns
    -------
    Plan
        Also where it does not fit: `Plan.fits` tells.

    Raises
    ------
    SpecError
        A size is missing, or a model cannot be planned yet. Caused by the fleet.

    Notes
    -----
    Deterministic: the same fleet, sizes and options give the same plan.
    """
    used = _used_sizes(fleet, sizes)
    relation = ConflictRelation.of_schedule(schedule_of(fleet, options.added))
    rows = [(name, model, lane) for name, (model, lane) in fleet.instances().items()]
    reserved = [_reserved_work(used[model], options.rule) for _, model, _ in rows]
    buffers = channel_buffers(fleet, used)
    problem = work_problem(relation, reserved, buffers, options.rule)
    lanes = [lane for _, _, lane in rows]
    solution = plan_work(problem, relation, lanes, options.solve, start=options.start)
    weights = lay_out_weights(
        [(name, model) for name, model, _ in rows], used, fleet.device.dedupe, options.rule
    )
    assert solution.assignment is not None
    offsets = solution.assignment.offsets
    witness = solution.bound.witness
    plan = Plan(
        fleet=fleet,
        sizes=tuple(used.items()),
        rule=options.rule,
        page_bytes=options.page_bytes,
        instances=tuple(
            Instance(
                id=name,
                model=model,
                lane=lane,
                work_bytes=used[model].work_bytes,
                weight_bytes=used[model].weight_bytes,
                work_offset=offset if size else None,
                weight_offset=weights.offsets.get(weights.keys[name]),
                weights_key=weights.keys[name],
            )
            for (name, model, lane), size, offset in zip(
                rows, reserved, offsets[: len(rows)], strict=True
            )
        ),
        added=options.added,
        height_bytes=solution.assignment.height_bytes(problem),
        weight_bytes=weights.height_bytes,
        lower_bound_bytes=solution.bound.lower_bound_bytes,
        witness=tuple(rows[index][0] for index in witness if index < len(rows)),
        status=solution.status,
        private_bytes=_private_bytes(fleet, used, options.rule),
        outside_bytes=plan_outside(
            [model for _, model, _ in rows], used, options.page_bytes, fleet.device
        ),
        buffers=tuple(
            replace(buffer, offset=offset)
            for buffer, offset in zip(buffers, offsets[len(rows) :], strict=True)
        ),
        witness_buffers=tuple(
            buffers[index - len(rows)].name for index in witness if index >= len(rows)
        ),
    )
    violations = judge(plan)
    if violations:  # No assert: what leaves here is judged under -O as well.
        raise PlanError(f"the judge refuses our own plan: {violations[0]}")
    return plan


def _used_sizes(fleet: FleetSpec, sizes: Mapping[ModelId, ModelSize]) -> dict[ModelId, ModelSize]:
    unused = set(fleet.unused_models())
    used = {}
    for model in fleet.models:
        if model.id in unused:
            continue
        if model.id not in sizes:
            raise SpecError("its size is missing; measure every used model", f"models.{model.id}")
        size = sizes[model.id]
        if size.gears and not size.gear_choices:
            raise SpecError(
                f"wants a choice of {size.gears} before each execution, which cannot be planned: "
                "compile it without, or for named gears",
                f"models.{model.id}",
            )
        used[model.id] = size
    return used


def schedule_of(fleet: FleetSpec, added: Sequence[AddedOrder]) -> Schedule:
    """Return the schedule of a fleet with what planning added to it."""
    order = [
        edge
        for item in added
        if item.kind is AddedKind.ORDER
        for edge in order_between(fleet, item.first, item.second)
    ]
    exclusive = [(item.first, item.second) for item in added if item.kind is AddedKind.EXCLUSIVE]
    return Schedule.of_fleet(fleet, order=order, exclusive=exclusive)


def _reserved_work(size: ModelSize, rule: RegionRule) -> int:
    return 0 if size.system_managed else rule.reserved_bytes(size.work_bytes)


def work_problem(
    relation: ConflictRelation,
    reserved: Sequence[int],
    buffers: Sequence[ChannelBuffer],
    rule: RegionRule,
) -> Problem:
    """Return the problem of the work reservation: instances, then what their steps hand on.

    `reserved` has the bytes of each of the relation's instances, after the region rule.
    """
    sizes = (*reserved, *(rule.reserved_bytes(buffer.size_bytes) for buffer in buffers))
    return Problem(
        sizes,
        conflict_masks=masks_with_buffers(relation, buffers) if buffers else relation.masks,
        alignments=(rule.align_bytes,) * len(sizes),
    )


def plan_work(
    problem: Problem,
    relation: ConflictRelation,
    lanes: Sequence[str],
    options: SolveOptions,
    *,
    start: Sequence[int] = (),
) -> Solution:
    """Return offsets for the work of every instance; `lanes` names the lane of each.

    The problem may have buffers behind the relation's instances, as `work_problem` puts them. The
    answer is not above valid offsets given as `start`.

    Notes
    -----
    Solves without a search first: most fleets meet the bound so, and import no flow solver. No
    assignment is higher than one maximum a lane.
    """
    options = replace(options, anytime=False)  # an interrupted plan is none
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(lane, len(numbers)) for lane in lanes]
    groups += range(len(numbers), len(numbers) + problem.n - relation.n)  # a buffer shares no lane
    solution = solve(problem, replace(options, rounds_max=0), groups=groups)
    if solution.status is not SolveStatus.OPTIMAL:
        bound = _heaviest_known(problem, relation, solution)
        solution = solve(problem, options, bound=bound, groups=groups)
    if start:
        solution = _lower_of(problem, solution, Assignment(tuple(start)))
    assert solution.assignment is not None, "without a capacity there is always an assignment"
    violation = next(iter(validate(problem, solution.assignment)), None)
    if violation is not None:
        raise PlanError(f"the validator refuses our own offsets: {violation}")
    return solution


def _lower_of(problem: Problem, solution: Solution, start: Assignment) -> Solution:
    """Return a solution with the start's offsets if they are lower than its own."""
    assert solution.assignment is not None, "without a capacity there is always an assignment"
    height = start.height_bytes(problem)
    if height >= solution.assignment.height_bytes(problem):
        return solution
    proven = height == solution.bound.lower_bound_bytes
    status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
    return replace(solution, assignment=start, status=status)


def _heaviest_known(problem: Problem, relation: ConflictRelation, solution: Solution) -> Bound:
    if problem.n == relation.n:
        return fleet_bound(relation, problem.sizes, solution.bound)
    assert problem.conflict_masks is not None
    of_instances = fleet_bound(relation, problem.sizes[: relation.n])
    return bound_with_buffers(problem.conflict_masks, problem.sizes, (solution.bound, of_instances))


def _private_bytes(fleet: FleetSpec, sizes: Mapping[ModelId, ModelSize], rule: RegionRule) -> int:
    """Return what one private instance for each pipeline, channel and model would reserve."""
    total = 0
    for pipeline in fleet.pipelines:
        for model in {step.model for step in pipeline.steps}:
            size = sizes[model]
            if not size.system_managed:
                own = rule.reserved_bytes(size.work_bytes) + rule.reserved_bytes(size.weight_bytes)
                total += pipeline.channels * own
    return total


def plan_outside(
    models: Sequence[ModelId],
    sizes: Mapping[ModelId, ModelSize],
    page_bytes: int,
    device: DeviceSpec,
) -> int:
    """Return what instances take beside the arena, in pages: datasets, system-managed models.

    `models` names the model of each instance.
    """
    total = 0
    for model in models:
        size = sizes[model]
        total += 0 if device.plans_io(size) else page_rounded(size.io_bytes)
        if size.system_managed:
            total += page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
    return align_up(total, page_bytes)
