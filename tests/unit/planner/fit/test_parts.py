"""The parts of a fit one by one: heights, schedules with offsets, constraints, refusals."""

from dataclasses import replace

import pytest

from planner.errors import PlanError, UsageError
from planner.fit import fit_fleet, fitting, together
from planner.fit.heights import Heights, choose, heights_of_sums
from planner.fit.packing import conflicts_in_time, keeps_locks
from planner.fit.placing import GapRule, TimedPlan, place_in_time
from planner.fit.sharing import constraints_of
from planner.fit.together import fit_together
from planner.fit.within import Effort, Within, fit_within
from planner.fit.workload import Workload
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.judge import judge
from planner.judge.violation import Rule, Violation
from planner.lanes import LanePool
from planner.makespan.bound import crowded_bound
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan
from planner.units import MakespanUnit
from tests.fleets import declared_sizes

M = ModelId("m")


def fleet_of(*steps: StepSpec, channels: int = 1, work: int = 1024 - 32) -> FleetSpec:
    models = (
        ModelSpec(M, work_bytes=work, weight_bytes=0),
        ModelSpec(ModelId("none"), work_bytes=0, weight_bytes=0),
    )
    return FleetSpec("f", models, (PipelineSpec("p", steps, channels=channels),))


def plan_of(fleet: FleetSpec) -> Plan:
    return plan_fleet(fleet, declared_sizes(fleet))


def work_of(*steps: StepSpec, channels: int = 1) -> Workload:
    return Workload.of_plan(plan_of(fleet_of(*steps, channels=channels)))


def test_without_a_budget_there_is_nothing_to_fit() -> None:
    fleet = fleet_of(StepSpec("a", M, "x"))
    with pytest.raises(UsageError, match=r"schedule\.fit"):
        fit_fleet(fleet, declared_sizes(fleet))


def test_measured_times_are_in_the_plan() -> None:
    fleet = fleet_of(StepSpec("a", M, "x"), StepSpec("b", M, "y", time_ns=7))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=1024, times={("p", "a"): 5})
    assert plan.fleet.pipelines[0].steps[0].time_ns == 5
    assert plan.price is not None
    assert (plan.price.unit, plan.price.makespan) == (MakespanUnit.NS, 12)


def test_a_fleet_without_work_fits_or_does_not() -> None:
    fleet = fleet_of(StepSpec("a", ModelId("none"), "x"))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=0)
    assert plan.fits
    assert plan.added == ()


def test_the_judge_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_of(StepSpec("a", M, "x"))
    broken = (Violation(Rule.FIGURE, "price", "is wrong"),)
    monkeypatch.setattr(fitting, "judge", lambda _: broken)
    with pytest.raises(PlanError, match="the judge refuses our own plan: price: is wrong"):
        fit_fleet(fleet, declared_sizes(fleet), budget_bytes=1 << 20)


def test_too_many_sums_are_no_heights() -> None:
    assert heights_of_sums([1 << k for k in range(40)], 1 << 41, 4) is None
    assert heights_of_sums([7, 6, 5, 4, 3], 30, 3) is None


def test_a_height_above_may_hold_what_fits() -> None:
    low = TimedPlan(length=5, height=4, starts=(0,), offsets=(0,))
    slow = TimedPlan(length=9, height=2, starts=(0,), offsets=(0,))
    found = {8: Within(low, 3), 2: Within(slow, 4)}
    chosen = choose(Heights((8, 2)), found.__getitem__, lambda _: 1, [], 6, 0)
    assert (chosen.timed, chosen.lower_bound) == (low, 3)
    enough = choose(Heights((8, 2)), found.__getitem__, lambda _: 1, [], 6, 9)
    assert (enough.timed, enough.lower_bound) == (slow, 1)


def test_no_work_needs_no_bytes_and_a_gap_is_chosen_by_its_rule() -> None:
    work = work_of(StepSpec("a", M, "x"), StepSpec("b", ModelId("none"), "y"))
    for rule in GapRule:
        found = place_in_time(work, [1, 1], 1024, rule=rule)
        assert (found.length, found.height, found.offsets) == (1, 1024, (0, 0))


def test_a_floor_delays_a_start() -> None:
    work = work_of(StepSpec("a", M, "x"), StepSpec("b", M, "y"))
    found = place_in_time(work, [0, 0], 2048, floors=[0, 5])
    assert (found.starts, found.length) == ((0, 5), 6)


def test_a_job_without_length_lies_inside_another_or_at_its_end() -> None:
    work = work_of(
        StepSpec("a", M, "x", time_ns=4, locks=("g",)),
        StepSpec("b", M, "y", time_ns=0, locks=("g",)),
    )
    assert conflicts_in_time(work, [0, 2]) == [0b10, 0b01]
    assert conflicts_in_time(work, [0, 4]) == [0, 0]
    assert not keeps_locks(work, [0, 2])
    assert keeps_locks(work, [0, 4])


def test_an_instance_has_its_bytes_beside_itself() -> None:
    work = work_of(StepSpec("a", M, "x", time_ns=4), StepSpec("b", M, "x", time_ns=0))
    assert conflicts_in_time(work, [0, 2]) == [0]


def test_turns_that_interleave_are_kept_apart_by_a_lock() -> None:
    """One channel uses both twice, in turns: no order of the instances is that of the schedule."""
    steps = (
        StepSpec("a", M, "x"),
        StepSpec("b", M, "y"),
        StepSpec("c", M, "x", ("a",)),
    )
    work = work_of(*steps)
    timed = TimedPlan(3, 1024, starts=(0, 1, 2), offsets=(0, 0))
    (item,) = constraints_of(work, timed)
    assert item == AddedOrder(work.schedule.instances[0], work.schedule.instances[1], item.kind)
    assert item.kind is AddedKind.EXCLUSIVE


def test_lanes_of_a_pool_are_kept_apart_by_locks() -> None:
    fleet = fleet_of(StepSpec("a", M, LanePool("ocr", 2)), StepSpec("b", M, "y"), channels=2)
    free = plan_of(fleet)
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=free.total_bytes - 1024)
    assert plan.fits
    assert judge(plan) == ()
    assert plan.added
    assert {item.kind for item in plan.added} == {AddedKind.EXCLUSIVE}


def test_lanes_of_a_pool_may_be_more_than_executions() -> None:
    fleet = fleet_of(StepSpec("a", M, "x"), StepSpec("b", M, LanePool("ocr", 3)))
    free = plan_of(fleet)
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=free.total_bytes - 1)
    assert plan.fits
    assert judge(plan) == ()
    assert {item.kind for item in plan.added} == {AddedKind.EXCLUSIVE}


def test_beyond_counting_the_known_plan_stands() -> None:
    work = work_of(StepSpec("a", M, "x", time_ns=1 << 60), StepSpec("b", M, "y", time_ns=1))
    known = TimedPlan(1 << 60, 2048, starts=(0, 0), offsets=(0, 1024))
    assert fit_together(work, known, 2048, 7, 0.1) == (known, 7)


def test_a_schedule_that_breaks_a_lock_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where executions take no time the model allows what locks do not: the known plan stands."""
    work = work_of(StepSpec("a", M, "x", time_ns=5), StepSpec("b", M, "y", time_ns=5))
    known = TimedPlan(10, 2048, starts=(0, 5), offsets=(0, 1024))
    assert fit_together(work, known, 2048, 0, 0.1)[0].length == 5
    monkeypatch.setattr(together, "keeps_locks", lambda _work, _starts: False)
    assert fit_together(work, known, 2048, 0, 0.1) == (known, 5)


def test_beyond_counting_lists_alone_decide() -> None:
    work = work_of(StepSpec("a", M, "x", time_ns=1 << 60), StepSpec("b", M, "y", time_ns=1))
    found = fit_within(work, 1024, 7, Effort(restarts=1, exact_limit=0.1))
    assert (found.timed.length, found.lower_bound) == ((1 << 60) + 1, 7)


def test_no_memory_proves_nothing() -> None:
    assert crowded_bound([0], [4], [0], [1], 0) == 0


def test_a_plan_over_its_budget_says_by_how_much() -> None:
    fleet = fleet_of(StepSpec("a", M, "x"))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=1000)
    assert (plan.over_budget_bytes, plan.fits, plan.fits_device) == (24, False, True)
    assert (plan.decisive_bytes, plan.decisive_limit_bytes) == (1024, 1000)
    enough = replace(plan, fleet=replace(plan.fleet, schedule=ScheduleSpec(2000)))
    assert (enough.decisive_bytes, enough.decisive_limit_bytes) == (enough.needed_bytes, None)
