"""The price list: each kind of change, combinations, counted limits, and how it is said."""

from dataclasses import replace

import pytest

from planner.explanation import (
    Change,
    ChangeKind,
    ExplanationOptions,
    WayOut,
    WaysOptions,
    changed,
    explain_misfit,
)
from planner.explanation.pairs import Pairs
from planner.fit import fit_fleet
from planner.fleet import (
    Dedupe,
    DeviceSpec,
    FleetSpec,
    ModelSpec,
    PipelineSpec,
    ScheduleSpec,
    StepSpec,
)
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan
from planner.report.explanation import way_words

A, B, C = (ModelId(name) for name in "abc")
FILES = tuple(ModelSpec(name, file=f"{name}.om") for name in (A, B, C))
SIZES = {
    A: ModelSize(4096 - 32, 4096 - 32, file_digest="1" * 64, weights_digest="9" * 64),
    B: ModelSize(2048 - 32, 4096 - 32, file_digest="2" * 64, weights_digest="9" * 64),
    C: ModelSize(1024 - 32, 0, file_digest="3" * 64, weights_digest="8" * 64),
}


def planned(*pipelines: PipelineSpec, limit: int | None = 0, streams: int | None = None) -> Plan:
    device = DeviceSpec(limit, streams_max=streams)
    return plan_fleet(FleetSpec("f", FILES, pipelines, device), SIZES, PlanOptions(page_bytes=512))


def rows(plan: Plan, options: ExplanationOptions | None = None) -> dict[Change, WayOut]:
    explanation = explain_misfit(plan, (), options or ExplanationOptions())
    assert explanation is not None
    return {row.changes[0]: row for row in explanation.ways_out.rows if len(row.changes) == 1}


def steps(channels: int = 2, frames: int = 1) -> PipelineSpec:
    """Two steps in order on lanes that each channel has of its own."""
    first = StepSpec("one", A, "x-{channel}", time_ns=3)
    second = StepSpec("two", B, "y-{channel}", after=("one",), time_ns=2)
    return PipelineSpec("p", (first, second), channels=channels, frames_in_flight=frames)


def test_frames_in_flight() -> None:
    plan = planned(steps(channels=1, frames=3))
    assert plan.height_bytes == 6144
    (change,) = [change for change in rows(plan) if change.kind is ChangeKind.FEWER_FRAMES]
    assert change == Change(ChangeKind.FEWER_FRAMES, ("p",), 1)  # two in flight free nothing
    row = rows(plan)[change]
    assert (row.bytes_freed, row.time_added, row.time_unit.value) == (2048, 0, "ns")


def test_frames_in_flight_of_all_pipelines() -> None:
    first, second = steps(channels=1, frames=2), steps(channels=1, frames=3)
    lanes = [replace(step, lane=f"other-{step.lane}") for step in second.steps]
    plan = planned(first, replace(second, id="q", steps=tuple(lanes)))
    row = rows(plan)[Change(ChangeKind.FEWER_FRAMES, ("p", "q"), 1)]
    assert row.bytes_freed == 4096


def test_channels_and_turns() -> None:
    found = rows(planned(steps()))
    assert found[Change(ChangeKind.FEWER_CHANNELS, ("p",), 1)].bytes_freed == 4096
    assert found[Change(ChangeKind.FEWER_CHANNELS, ("p",), 1)].time_added == 0
    serial = found[Change(ChangeKind.SERIAL)]
    assert (serial.bytes_freed, serial.time_added) == (4096, 5)
    both = found[Change(ChangeKind.EXCLUSIVE_LANES, ("x-{channel}", "y-{channel}"))]
    assert (both.bytes_freed, both.time_added) == (4096, 5)
    # Channels in turn on x leave a on x-0 beside b on y-1.
    own = found[Change(ChangeKind.EXCLUSIVE_LANES, ("x-{channel}",))]
    assert (own.bytes_freed, own.time_added) == (2048, 3)


def test_a_pair_of_instances_and_weights_of_equal_bytes() -> None:
    lanes = [PipelineSpec(f"p{k}", (StepSpec("s", m, f"l{k}"),)) for k, m in enumerate((A, B, C))]
    plan = planned(*lanes, limit=12_000)
    found = rows(plan)
    assert found[Change(ChangeKind.DEDUPE_WEIGHTS)].bytes_freed == 4096
    assert found[Change(ChangeKind.DEDUPE_WEIGHTS)].fits
    pair = found[Change(ChangeKind.EXCLUSIVE_INSTANCES, ("a@l0", "b@l1"))]
    assert (pair.bytes_freed, pair.time_added, pair.time_unit.value) == (2048, 1, "steps")
    assert found[Change(ChangeKind.FEWER_CHANNELS, ("p1",), 0)].bytes_freed == 6144


def test_a_combination_that_fits_and_nothing_more_in_it() -> None:
    lanes = tuple(StepSpec(f"s{k}", model, f"l{k}") for k, model in enumerate((A, B, C)))
    plan = planned(PipelineSpec("p", lanes), limit=8192)
    explanation = explain_misfit(plan)
    assert explanation is not None
    (combined,) = [row for row in explanation.ways_out.rows if len(row.changes) > 1]
    assert combined.fits
    assert combined.needed_bytes == 8192  # the largest work and one buffer of weights
    assert Change(ChangeKind.DEDUPE_WEIGHTS) in combined.changes
    for out in combined.changes:
        fewer = [change for change in combined.changes if change != out]
        fleet, added = changed(plan.fleet, fewer)
        assert not plan_fleet(fleet, SIZES, PlanOptions(page_bytes=512, added=added)).fits


def test_no_combination_leaves_the_fleet_empty() -> None:
    lanes = [PipelineSpec(f"p{k}", (StepSpec("s", m, f"l{k}"),)) for k, m in enumerate((A, B, C))]
    explanation = explain_misfit(planned(*lanes, limit=0))
    assert explanation is not None
    assert not any(row.fits for row in explanation.ways_out.rows)
    (combined,) = [row for row in explanation.ways_out.rows if len(row.changes) > 1]
    left, _ = changed(planned(*lanes).fleet, combined.changes)
    assert len(left.pipelines) == 1


def test_streams_are_freed_by_channels() -> None:
    plan = planned(steps(), limit=None, streams=3)
    row = rows(plan)[Change(ChangeKind.FEWER_CHANNELS, ("p",), 1)]
    assert (row.fits, row.limit_bytes) == (True, None)


def test_what_was_left_out_is_counted() -> None:
    plan = planned(steps())
    for ways in (WaysOptions(plans_max=0), WaysOptions(planned_max=1)):
        explanation = explain_misfit(plan, (), ExplanationOptions(ways=ways))
        assert explanation is not None
        assert explanation.ways_out.rows == ()
        assert explanation.ways_out.left_out >= 3


def many(limit: int | None, fit: int | None = None, heavy: int = 6) -> Plan:
    """Seven pipelines in turn on one lane; that of `heavy` has the most weights and little work."""
    names = [ModelId(f"m{k}") for k in range(7)]
    models = tuple(ModelSpec(name, file=f"{name}.om") for name in names)
    sizes = {
        name: ModelSize(
            4096 - 512 * (k == heavy) - 32,
            (20_480 if k == heavy else 4096 + 512 * k) - 32,
            file_digest=f"{k}" * 64,
            weights_digest=f"{k}" * 64,
        )
        for k, name in enumerate(names)
    }
    pipelines = tuple(PipelineSpec(f"p{k}", (StepSpec("s", m, "l"),)) for k, m in enumerate(names))
    fleet = FleetSpec("f", models, pipelines, DeviceSpec(limit), ScheduleSpec(fit))
    return plan_fleet(fleet, sizes, PlanOptions(page_bytes=512))


@pytest.mark.parametrize("heavy", [0, 3, 6])
@pytest.mark.parametrize("is_budget", [False, True])
def test_what_fits_is_listed_wherever_it_is_declared(*, heavy: int, is_budget: bool) -> None:
    total = many(None, heavy=heavy).total_bytes
    plan = many(
        None if is_budget else total - 20_480, total - 20_480 if is_budget else None, heavy=heavy
    )
    explanation = explain_misfit(plan)
    assert explanation is not None
    fitting = [row.changes[0] for row in explanation.ways_out.rows if row.fits]
    fitting = [change for change in fitting if change.kind is not ChangeKind.FIT]
    assert fitting == [Change(ChangeKind.FEWER_CHANNELS, (f"p{heavy}",), 0)]


def test_what_fits_is_looked_for_among_those_that_free_little() -> None:
    # One pipeline has two lanes; it takes the least memory, and streams are what is missing.
    pipelines = [PipelineSpec(f"p{k}", (StepSpec("s", A, f"l{k}"),)) for k in range(6)]
    two = PipelineSpec("two", (StepSpec("s", C, "x"), StepSpec("t", C, "y")))
    found = rows(planned(*pipelines, two, limit=None, streams=6))
    fitting = [change for change, row in found.items() if row.fits]
    assert fitting == [Change(ChangeKind.FEWER_CHANNELS, ("two",), 0)]


def test_a_row_that_fits_is_listed_before_others_of_its_kind_and_what_is_dropped_is_counted() -> (
    None
):
    # Without any of 40 pipelines it fits: some of them are listed, all others counted.
    names = [ModelId(f"m{k}") for k in range(40)]
    models = tuple(ModelSpec(name, work_bytes=4064, weight_bytes=4064) for name in names)
    sizes = {name: ModelSize(4064, 4064) for name in names}
    pipelines = tuple(PipelineSpec(f"p{k}", (StepSpec("s", m, "l"),)) for k, m in enumerate(names))
    plan = plan_fleet(
        FleetSpec("f", models, pipelines, DeviceSpec(40 * 4096)), sizes, PlanOptions(page_bytes=512)
    )
    explanation = explain_misfit(plan)
    assert explanation is not None
    ways = explanation.ways_out
    assert [row.fits for row in ways.rows] == [True] * 4
    assert ways.left_out == 36
    # Where none fits alone, what a bound excludes takes no plan and is counted, too.
    none = explain_misfit(replace(plan, fleet=replace(plan.fleet, device=DeviceSpec(4096))))
    assert none is not None
    singles = [row for row in none.ways_out.rows if len(row.changes) == 1]
    assert len(singles) == 3
    assert none.ways_out.left_out >= 36


def test_pairs_that_are_not_looked_at_are_counted() -> None:
    lanes = [PipelineSpec(f"p{k}", (StepSpec("s", A, f"l{k}"),)) for k in range(12)]
    plan = planned(*lanes)
    few = ExplanationOptions(ways=WaysOptions(plans_max=1_000, planned_max=100_000, pairs_max=2))
    explanation = explain_misfit(plan, (), few)
    assert explanation is not None
    # Of 66 pairs of lanes, and as many of instances, two each were looked at.
    assert explanation.ways_out.left_out >= 2 * 64


def test_changes_are_put_together_where_all_that_fits_is_to_ask_for_more() -> None:
    total = many(None).total_bytes
    explanation = explain_misfit(many(None, total - 20_480 - 512))
    assert explanation is not None
    least, *others = explanation.ways_out.rows
    assert (least.changes[0].kind, least.bytes_freed) == (ChangeKind.FIT, 0)
    (together,) = [row for row in others if row.fits]
    assert len(together.changes) == 2


def test_planning_chooses_an_order() -> None:
    budget = 6144 + 8192  # one `a` beside one `b`, and their weights
    plan = planned(steps(), limit=budget)
    row = rows(plan)[Change(ChangeKind.FIT, (), budget)]
    assert (row.fits, row.bytes_freed, row.time_added, row.needed_bytes) == (True, 2048, 3, budget)
    none = ExplanationOptions(ways=WaysOptions(fit_executions_max=3))
    assert Change(ChangeKind.FIT, (), budget) not in rows(plan, none)
    explanation = explain_misfit(plan, (), none)
    assert explanation is not None
    assert explanation.ways_out.left_out == 1


def test_the_least_price_is_listed_for_hundreds_of_instances_too() -> None:
    free = planned(steps(channels=150), limit=None)
    plan = planned(steps(channels=150), limit=free.needed_bytes - 100 * 2048)
    assert len(plan.instances) == 300
    explanation = explain_misfit(plan)
    assert explanation is not None
    first, *others = explanation.ways_out.rows
    assert first.changes[0].kind is ChangeKind.FIT
    assert first.fits
    assert first.time_added == 3, "a second wave of `a`"
    constrained = [row for row in others if row.fits and row.changes[0].kind is ChangeKind.SERIAL]
    assert [row.time_added for row in constrained] == [745]


@pytest.mark.parametrize("channels", [3, 8, 12, 13, 20])
def test_the_price_of_an_order_is_that_of_the_fit_that_the_user_gets(channels: int) -> None:
    free = planned(steps(channels), limit=None)
    for share in (3, 5, 7):
        plan = planned(steps(channels), limit=free.weight_bytes + free.height_bytes * share // 8)
        (row,) = [row for change, row in rows(plan).items() if change.kind is ChangeKind.FIT]
        made = fit_fleet(plan.fleet, SIZES, PlanOptions(page_bytes=512), row.changes[0].count)
        assert made.price is not None
        added = made.price.makespan - made.price.before
        assert added <= row.time_added if row.time_at_most else added == row.time_added
        assert ("in at most this time" in way_words(row, plan.fleet)) == row.time_at_most


@pytest.mark.parametrize("limit", [4095 + 8192, 0, None])
def test_no_order_makes_the_largest_region_smaller(limit: int | None) -> None:
    found = rows(planned(steps(), limit=limit, streams=3))
    assert not [change for change in found if change.kind is ChangeKind.FIT]


def test_more_plans_leave_less_out() -> None:
    lanes = [PipelineSpec(f"p{k}", (StepSpec("s", m, f"l{k}"),)) for k, m in enumerate((A, B, C))]
    plan = planned(*lanes)
    left_out = []
    for most in range(0, 48, 2):
        explanation = explain_misfit(plan, (), ExplanationOptions(ways=WaysOptions(most)))
        assert explanation is not None
        left_out.append(explanation.ways_out.left_out)
    assert left_out[0] > 0
    assert left_out[-1] == 0


def test_a_plan_that_fits_needs_no_explanation() -> None:
    assert explain_misfit(planned(steps(), limit=None)) is None


def test_a_lock_of_the_same_name_is_left_alone() -> None:
    pipeline = PipelineSpec("p", (StepSpec("s", A, "x", locks=("in turn",)),))
    fleet, added = changed(
        FleetSpec("f", FILES, (pipeline,)),
        (
            Change(ChangeKind.SERIAL),
            Change(ChangeKind.EXCLUSIVE_INSTANCES, ("a@x", "gone@x")),
        ),
    )
    assert fleet.pipelines[0].steps[0].locks == ("in turn", "in turn+")
    assert added == ()


def test_changes_are_values() -> None:
    fleet = FleetSpec("f", FILES, (steps(frames=2),))
    pair = Change(ChangeKind.EXCLUSIVE_INSTANCES, ("a@x-0", "b@y-1"))
    after, added = changed(
        fleet,
        (
            Change(ChangeKind.DEDUPE_WEIGHTS),
            Change(ChangeKind.FEWER_FRAMES, ("p",), 1),
            pair,
            Change(ChangeKind.EXCLUSIVE_LANES, ("x-{channel}",)),
        ),
    )
    assert after.device.dedupe is Dedupe.WEIGHTS
    assert after.pipelines[0].frames_in_flight == 1
    assert [step.locks for step in after.pipelines[0].steps] == [("in turn",), ()]
    names = InstanceId("a@x-0"), InstanceId("b@y-1")
    assert added == (AddedOrder(*names, AddedKind.EXCLUSIVE),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(ChangeKind.DEDUPE_WEIGHTS), "equal weights held once (dedupe: weights)"),
        (Change(ChangeKind.EXCLUSIVE_INSTANCES, ("a@x", "b@y")), "a@x and b@y in turn"),
        (Change(ChangeKind.EXCLUSIVE_LANES, ("x", "y")), "lanes x and y in turn"),
        (
            Change(ChangeKind.EXCLUSIVE_LANES, ("x-{channel}",)),
            "lanes x-{channel} of all channels in turn",
        ),
        (Change(ChangeKind.SERIAL), "everything in turn"),
        (Change(ChangeKind.FIT, (), 512), "order that planning chooses (--fit 512)"),
        (Change(ChangeKind.FEWER_FRAMES, ("p",), 1), "p: frames in flight 3 -> 1"),
        (Change(ChangeKind.FEWER_FRAMES, ("p", "q"), 1), "frames in flight of 2 pipelines -> 1"),
        (Change(ChangeKind.FEWER_CHANNELS, ("p",), 1), "p: channels 2 -> 1"),
        (Change(ChangeKind.FEWER_CHANNELS, ("p",), 0), "without pipeline p"),
    ],
)
def test_words_of_changes(change: Change, words: str) -> None:
    plan = planned(steps(frames=3))
    some = next(iter(rows(plan).values()))
    row = WayOut((change,), None, 512, 0, some.time_unit, 0, None, fits=False)
    assert way_words(row, plan.fleet) == words


def test_an_order_that_frees_nothing_is_what_can_be_asked_for() -> None:
    plan = planned(steps(frames=3))
    some = next(iter(rows(plan).values()))
    row = WayOut((Change(ChangeKind.FIT, (), 512),), None, 0, 0, some.time_unit, 0, None, fits=True)
    assert way_words(row, plan.fleet) == "the least that --fit can ask for (--fit 512)"


def test_times_of_small_fleets_are_those_of_the_shortest_schedules() -> None:
    """List schedules of this fleet take 11 ns as it is, one more than the shortest."""
    pytest.importorskip("ortools", reason="list schedules alone decide without OR-tools")
    left = PipelineSpec(
        "left",
        (
            StepSpec("s0", A, "v-{channel}", time_ns=2),
            StepSpec("s1", B, "x", time_ns=5),
            StepSpec("s2", C, "l02", ("s0", "s1"), time_ns=1),
        ),
        frames_in_flight=2,
    )
    right = PipelineSpec(
        "right",
        (
            StepSpec("s0", A, "l20", locks=("k",), time_ns=1),
            StepSpec("s1", C, "x", ("s0",), time_ns=3),
            StepSpec("s2", C, "l22", ("s1",), locks=("k",), time_ns=5),
        ),
        frames_in_flight=2,
    )
    sizes = {A: ModelSize(8192, 0), B: ModelSize(10240, 0), C: ModelSize(8192, 0)}
    device = DeviceSpec(1)
    fleet = FleetSpec("f", FILES, (left, right), device)
    found = rows(plan_fleet(fleet, sizes, PlanOptions(page_bytes=512)))
    (lanes,) = (row for change, row in found.items() if change.names == ("x", "v-{channel}"))
    assert lanes.time_added == 1
    (serial,) = (row for change, row in found.items() if change.kind is ChangeKind.SERIAL)
    assert serial.time_added == 7


def test_where_all_is_in_turns_no_pair_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("conflicts of hundreds of lanes take minutes")

    fleet = planned(steps(channels=3)).fleet
    plan = fit_fleet(fleet, SIZES, PlanOptions(page_bytes=512), budget_bytes=1024)
    assert not plan.fits
    monkeypatch.setattr(Pairs, "_masks", never)
    kinds = {change.kind for change in rows(plan)}
    assert kinds
    assert not kinds & {ChangeKind.EXCLUSIVE_INSTANCES, ChangeKind.EXCLUSIVE_LANES}
