"""Laws of the makespan: it is a schedule's, no shorter one exists below the bound, and adding an
order or a lock never shortens the least one."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fleets import layered, many_instances
from planner.errors import SpecError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import Assign, LanePool
from planner.makespan import Makespan, MakespanUnit, makespan_of
from planner.makespan.bound import one_machine_bound
from planner.makespan.exact import improve
from planner.makespan.jobs import Jobs
from planner.model import ModelId
from planner.schedule import OrderEdge, Schedule, order_between
from tests.oracles_makespan import least_makespan, one_frame
from tests.strategies import fleets

SMALL = fleets(
    pipelines_max=2, channels_max=2, frames_max=2, steps_max=3, executions_max=12, pools=False
)


def timed(fleet: FleetSpec, times: list[int]) -> dict[tuple[str, str], int]:
    keys = [(p.id, s.id) for p in fleet.pipelines for s in p.steps]
    return {key: times[k % len(times)] for k, key in enumerate(keys)}


def check_schedule(schedule: Schedule, found: Makespan) -> None:
    """The starts keep order and locks, and the last end is the length."""
    assert list(found.executions) == one_frame(schedule)
    spans = {
        execution: (start, start + time)
        for execution, start, time in zip(found.executions, found.starts, found.times, strict=True)
    }
    for first, (_, end) in spans.items():
        for second, (start, other_end) in spans.items():
            if schedule.precedes(first, second):
                assert end <= start
            elif first != second and not schedule.may_overlap(first, second):
                assert end <= start or other_end <= spans[first][0]
    assert max(end for _, end in spans.values()) == found.length


@given(fleet=SMALL, times=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_the_least_makespan_of_all_sequences(fleet: FleetSpec, times: list[int]) -> None:
    schedule, known = Schedule.of_fleet(fleet), timed(fleet, times)
    found = makespan_of(schedule, known)
    check_schedule(schedule, found)
    assert found.unit is MakespanUnit.NS
    if len(found.executions) <= 6:
        least = least_makespan(schedule, known)
        assert found.lower_bound <= least <= found.length
        assert found.is_proven  # so few executions are always decided


@given(
    fleet=fleets(steps_max=4, executions_max=40),
    times=st.lists(st.integers(0, 99), min_size=1, max_size=6),
)
def test_list_schedules_alone_keep_order_and_locks(fleet: FleetSpec, times: list[int]) -> None:
    schedule = Schedule.of_fleet(fleet)
    found = makespan_of(schedule, timed(fleet, times), exact_limit=0)
    check_schedule(schedule, found)
    assert found.lower_bound <= found.length <= found.serial_length


@given(fleet=SMALL, times=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_what_is_added_never_shortens(
    fleet: FleetSpec, times: list[int], data: st.DataObject
) -> None:
    known = timed(fleet, times)
    before = makespan_of(Schedule.of_fleet(fleet), known)
    names = list(fleet.instances())
    first, second = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    if first == second:
        return
    exclusive = makespan_of(Schedule.of_fleet(fleet, exclusive=[(first, second)]), known)
    assert exclusive.length >= before.lower_bound
    if exclusive.is_proven and before.is_proven:
        assert exclusive.length >= before.length
    try:
        ordered = Schedule.of_fleet(fleet, order=order_between(fleet, first, second))
    except SpecError:
        return  # they meet in no channel, or this order contradicts `after`
    after = makespan_of(ordered, known)
    if after.is_proven and before.is_proven:
        assert after.length >= before.length


def fleet_of(*steps: StepSpec, channels: int = 1) -> FleetSpec:
    models = (ModelSpec(ModelId("m"), work_bytes=1024, weight_bytes=0),)
    return FleetSpec("f", models, (PipelineSpec("p", steps, channels=channels),))


def test_without_all_times_steps_are_counted() -> None:
    m = ModelId("m")
    fleet = fleet_of(StepSpec("a", m, "x", time_ns=500), StepSpec("b", m, "y", ("a",)))
    found = makespan_of(Schedule.of_fleet(fleet))
    assert (found.length, found.unit, found.times) == (2, MakespanUnit.STEPS, (1, 1))
    measured = makespan_of(Schedule.of_fleet(fleet), {("p", "b"): 70})
    assert (measured.length, measured.unit) == (570, MakespanUnit.NS)


def test_a_pool_is_as_fast_as_its_lanes_share_evenly() -> None:
    step = StepSpec("read", ModelId("m"), LanePool("ocr", 2), time_ns=10)
    found = makespan_of(Schedule.of_fleet(fleet_of(step, channels=5)), exact_limit=0)
    assert (found.lower_bound, found.length, found.serial_length) == (25, 30, 50)
    assert sorted(found.starts) == [0, 0, 10, 10, 20]
    blocks = replace(step, lane=LanePool("ocr", 2, Assign.BLOCK))
    kept = makespan_of(Schedule.of_fleet(fleet_of(blocks, channels=5)), exact_limit=0)
    assert (kept.lower_bound, kept.length) == (
        30,
        30,
    )  # one lane has three channels, and keeps them


def test_constraint_programming_proves_nothing_beyond_the_lanes_that_it_was_given() -> None:
    pool = LanePool("ocr", 2)
    steps = [StepSpec(f"s{k}", ModelId("m"), pool, time_ns=t) for k, t in enumerate((5, 3, 3, 3))]
    found = makespan_of(Schedule.of_fleet(fleet_of(*steps)))
    assert found.lower_bound == 7
    assert 8 <= found.length <= 9


def test_pairs_that_exclude_one_another_bound_it_together() -> None:
    """No lock is held by all three, every two share one."""
    m = ModelId("m")
    steps = [StepSpec(name, m, name, time_ns=5) for name in "xyz"]
    pairs = [(f"m@{a}", f"m@{b}") for a, b in ("xy", "yz", "xz")]
    schedule = Schedule.of_fleet(fleet_of(*steps), exclusive=pairs)  # type: ignore[arg-type]
    found = makespan_of(schedule, exact_limit=0)
    assert (found.lower_bound, found.length) == (15, 15)


def test_constraint_programming_finds_what_lists_miss() -> None:
    """Waiting for the long job beats starting the short one: no list schedule does that."""
    m = ModelId("m")
    fleet = fleet_of(
        StepSpec("head", m, "y", time_ns=1),
        StepSpec("long", m, "x", ("head",), time_ns=10),
        StepSpec("tail", m, "z", ("long",), time_ns=20),
        StepSpec("short", m, "x", time_ns=9),
    )
    lists = makespan_of(Schedule.of_fleet(fleet), exact_limit=0)
    found = makespan_of(Schedule.of_fleet(fleet))
    assert lists.length > found.length == 31
    assert found.is_proven


def test_constraint_programming_proves_what_bounds_do_not() -> None:
    m = ModelId("m")
    fleet = fleet_of(
        StepSpec("a", m, "x", time_ns=4),
        StepSpec("b", m, "z", time_ns=6),
        StepSpec("c", m, "y", ("a",), time_ns=4),
        StepSpec("d", m, "y", ("b",), time_ns=6),
        StepSpec("e", m, "x", ("a", "b", "d"), time_ns=2),
    )
    lists = makespan_of(Schedule.of_fleet(fleet), exact_limit=0)
    found = makespan_of(Schedule.of_fleet(fleet))
    assert (lists.lower_bound, lists.length) == (14, 16)
    assert (found.lower_bound, found.length) == (16, 16)


def test_without_or_tools_lists_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    fleet = layered(3, 40, 6, channels=2)
    found = makespan_of(Schedule.of_fleet(fleet))
    assert found == makespan_of(Schedule.of_fleet(fleet), exact_limit=0)


def test_times_beyond_what_it_counts_are_left_to_lists() -> None:
    m = ModelId("m")
    fleet = fleet_of(StepSpec("a", m, "x", time_ns=1 << 60), StepSpec("b", m, "y", time_ns=1))
    jobs = Jobs.of_schedule(Schedule.of_fleet(fleet))
    assert improve(jobs, [0, 0], 1 << 60, 0.1).starts is None


def test_memory_in_use_at_once_can_be_limited() -> None:
    """Two lanes side by side want 2 KiB; with less they take turns, and that is proven."""
    m = ModelId("m")
    fleet = fleet_of(StepSpec("a", m, "x", time_ns=3), StepSpec("b", m, "y", time_ns=4))
    jobs = Jobs.of_schedule(Schedule.of_fleet(fleet))
    sizes = (1024, 1024)
    wide = improve(jobs, [0, 3], 4, 0.1, work_bytes=sizes, height_bytes=2048)
    assert wide.starts is not None
    assert max(wide.starts[0] + 3, wide.starts[1] + 4) == wide.lower_bound == 4
    narrow = improve(jobs, [0, 3], 4, 0.1, work_bytes=sizes, height_bytes=1536)
    assert narrow.lower_bound == 7
    nothing = improve(jobs, [0, 3], 4, 0.1, work_bytes=sizes, height_bytes=512)
    assert nothing.starts is None  # neither fits
    vast = improve(jobs, [0, 3], 4, 0.1, work_bytes=(1, 1), height_bytes=1 << 60)
    assert vast.lower_bound == 4  # more than is counted: no limit


def test_order_over_frames_is_none_inside_one() -> None:
    m = ModelId("m")
    steps = (StepSpec("a", m, "x", time_ns=3), StepSpec("b", m, "y", time_ns=4))
    models = (ModelSpec(m, work_bytes=1024, weight_bytes=0),)
    fleet = FleetSpec("f", models, (PipelineSpec("p", steps, frames_in_flight=2),))
    edges = [OrderEdge("p", "a", "b", lag=1)]
    assert makespan_of(Schedule.of_fleet(fleet, order=edges)).length == 4


@pytest.mark.parametrize("seed", range(3))
def test_large_fleets_are_deterministic(seed: int) -> None:
    schedule = Schedule.of_fleet(many_instances(1000, seed))
    found = makespan_of(schedule, exact_limit=0)
    assert found == makespan_of(schedule, exact_limit=0)
    assert found.lower_bound <= found.length <= found.serial_length == 1000


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5
    )
)
def test_the_one_machine_bound_is_below_every_sequence(jobs: list[tuple[int, int, int]]) -> None:
    from itertools import permutations

    heads, times, tails = (list(column) for column in zip(*jobs, strict=True))
    least = None
    for sequence in permutations(range(len(jobs))):
        now = length = 0
        for job in sequence:
            now = max(now, heads[job]) + times[job]
            length = max(length, now + tails[job])
        least = length if least is None else min(least, length)
    bound = one_machine_bound(heads, times, tails)
    assert least is not None
    assert max(h + t + q for h, t, q in jobs) <= bound <= least
