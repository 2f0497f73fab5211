"""Bounds and rates against a plain simulation of the guard."""

from fractions import Fraction
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import LanePool
from planner.model import ModelId
from planner.rate import (
    RateLimits,
    RoundBound,
    channel_period,
    lock_loads,
    round_bound,
)
from planner.schedule import OrderEdge, Schedule
from tests.oracles_rate import simulated_time
from tests.strategies import fleets

M = ModelId("m")
MODELS = (ModelSpec(M, work_bytes=1, weight_bytes=0),)


def fleet(*pipelines: PipelineSpec) -> FleetSpec:
    return FleetSpec("f", MODELS, pipelines)


def test_frames_in_flight_divide_the_path_through_a_frame() -> None:
    steps = (
        StepSpec("detect", M, "a"),
        StepSpec("read", M, "b", after=("detect",)),
        StepSpec("track", M, "c", after=("detect",)),
    )
    times = {("p", "detect"): 5, ("p", "read"): 7, ("p", "track"): 2}
    for d in (1, 2, 3):
        schedule = Schedule.of_fleet(fleet(PipelineSpec("p", steps, frames_in_flight=d)))
        assert channel_period(schedule.channels[0], times) == Fraction(12, d)
        assert round_bound(schedule, times).period == max(Fraction(12, d), 7)


def test_precedences_that_reach_over_frames_make_cycles_of_their_own() -> None:
    steps = StepSpec("a", M, "x"), StepSpec("b", M, "y")
    spec = fleet(PipelineSpec("p", steps, frames_in_flight=4))
    order = [OrderEdge("p", "a", "b"), OrderEdge("p", "b", "a", lag=1)]
    schedule = Schedule.of_fleet(spec, order=order)
    assert channel_period(schedule.channels[0], {("p", "a"): 3, ("p", "b"): 4}) == 7


def test_a_lock_is_held_by_all_channels_of_all_pipelines_in_a_round() -> None:
    spec = fleet(
        PipelineSpec("p", (StepSpec("s", M, "lane-{channel}", locks=("heavy",)),), channels=3),
        PipelineSpec("q", (StepSpec("s", M, "heavy"),)),
    )
    schedule = Schedule.of_fleet(spec)
    times = {("p", "s"): 5, ("q", "s"): 2}
    assert lock_loads(schedule, times) == {
        "lane-0": {"p": 5},
        "heavy": {"p": 15, "q": 2},
        "lane-1": {"p": 5},
        "lane-2": {"p": 5},
    }
    assert round_bound(schedule, times).period == 17
    assert round_bound(schedule, times).limited_by == "lock heavy"


def test_steps_that_take_no_time_bound_nothing() -> None:
    schedule = Schedule.of_fleet(fleet(PipelineSpec("p", (StepSpec("s", M, "x"),))))
    bound = round_bound(schedule, {("p", "s"): 0})
    assert bound == RoundBound(Fraction(0), "")
    (rate,) = RateLimits(schedule, {("p", "s"): 0}).rates({"p": Fraction(25)})
    assert rate.most is None
    assert rate.feasible


@st.composite
def timed_fleets(draw: st.DrawFn) -> tuple[FleetSpec, dict[tuple[str, str], int]]:
    spec = draw(fleets(steps_max=4, executions_max=40))
    keys = [(p.id, s.id) for p in spec.pipelines for s in p.steps]
    return spec, {key: draw(st.integers(1, 9)) for key in keys}


@settings(max_examples=150)
@given(timed_fleets(), st.integers(1, 6))
def test_no_run_is_faster_than_the_round_bound(
    timed: tuple[FleetSpec, dict[tuple[str, str], int]], n_frames: int
) -> None:
    spec, times = timed
    schedule = Schedule.of_fleet(spec)
    assert (
        simulated_time(schedule, times, n_frames) >= n_frames * round_bound(schedule, times).period
    )


@settings(max_examples=150)
@given(timed_fleets(), st.integers(1, 6), st.data())
def test_no_run_is_faster_than_the_round_bound_with_exclusions(
    timed: tuple[FleetSpec, dict[tuple[str, str], int]], n_frames: int, data: st.DataObject
) -> None:
    spec, times = timed
    pairs = list(combinations(spec.instances(), 2))
    if pairs:
        pairs = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    schedule = Schedule.of_fleet(spec, exclusive=pairs)
    assert (
        simulated_time(schedule, times, n_frames) >= n_frames * round_bound(schedule, times).period
    )


def test_exclusions_of_each_lane_bound_a_pool() -> None:
    """Found by a user: locks that differ from lane to lane were left out of the rates."""
    find = StepSpec("find", ModelId("f"), "vision")
    read = StepSpec("read", ModelId("r"), LanePool("readers", 2), after=("find",))
    models = tuple(ModelSpec(m, work_bytes=1, weight_bytes=0) for m in (find.model, read.model))
    spec = FleetSpec("plates", models, (PipelineSpec("camera", (find, read), channels=6),))
    finder, *readers = spec.instances()
    times = {("camera", "find"): 8, ("camera", "read"): 15}
    beside = [(finder, reader) for reader in readers]
    apart = [*beside, (readers[0], readers[1])]
    for pairs, period, label in (
        ([], 48, "lock vision"),
        (beside, 48 + 90 // 2, "turns on pool readers beside lock vision"),
        (apart, 48 + 90, "turns on pool readers beside lock vision"),
    ):
        schedule = Schedule.of_fleet(spec, exclusive=pairs)
        assert round_bound(schedule, times) == RoundBound(Fraction(period), label)
        (rate,) = RateLimits(schedule, times).rates({"camera": Fraction(1, 60)})
        assert (rate.most, rate.feasible) == (Fraction(1, period), period <= 60)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 15)), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_steps_on_lanes_of_their_own_reach_the_round_bound(
    steps: list[tuple[int, int]], frames_in_flight: int
) -> None:
    """What remains is the way into the cycle and out of it: at most one of each execution."""
    made = tuple(
        StepSpec(f"s{i}", M, f"l{i}", tuple(f"s{j}" for j in range(i) if mask >> j & 1))
        for i, (_, mask) in enumerate(steps)
    )
    times = {("p", f"s{i}"): time for i, (time, _) in enumerate(steps)}
    schedule = Schedule.of_fleet(fleet(PipelineSpec("p", made, frames_in_flight=frames_in_flight)))
    n_frames = 12
    taken = simulated_time(schedule, times, n_frames)
    assert taken <= n_frames * round_bound(schedule, times).period + sum(times.values())


@settings(max_examples=150)
@given(timed_fleets(), st.lists(st.integers(0, 40), min_size=2, max_size=2))
def test_rates_fill_the_locks_and_leave_declared_rates_alone(
    timed: tuple[FleetSpec, dict[tuple[str, str], int]], declared: list[int]
) -> None:
    spec, times = timed
    schedule = Schedule.of_fleet(spec)
    wanted = {
        pipeline.id: Fraction(rate, 400)
        for pipeline, rate in zip(spec.pipelines, declared, strict=False)
        if rate
    }
    rates = {rate.pipeline: rate for rate in RateLimits(schedule, times).rates(wanted)}
    loads = lock_loads(schedule, times)
    used = {
        name: rate.most if rate.wanted is None else min(rate.wanted, rate.most or Fraction(0))
        for name, rate in rates.items()
    }
    for lock, own in loads.items():  # All of it holds together.
        assert sum((used[p] or 0) * load for p, load in own.items()) <= 1, lock
    for name, rate in rates.items():
        assert rate.most is not None
        assert (rate.feasible is None) == (name not in wanted)
        channels = [c for c in schedule.channels if c.pipeline.id == name]
        assert all(rate.most * channel_period(channel, times) <= 1 for channel in channels)
        # What limits it is full, or its channels are at their fastest.
        kind, _, what = rate.limited_by.partition(" ")
        if kind == "lock":
            others = [p for p in loads[what] if p != name and (p in wanted or name not in wanted)]
            full = sum((used[p] or 0) * loads[what][p] for p in others)
            assert full + rate.most * loads[what][name] == 1
            for p in others:
                if p not in wanted:
                    assert (rates[p].most or 0) <= rate.most
                elif rate.wanted is not None and not rate.feasible:
                    # It falls behind no further than those it shares the lock with.
                    assert (used[p] or 0) / wanted[p] <= rate.most / rate.wanted
        elif kind == "channel":
            channel = next(c for c in schedule.channels if c.name == what)
            assert rate.most * channel_period(channel, times) == 1


def test_declared_rates_come_first_and_say_what_limits_them() -> None:
    spec = fleet(
        PipelineSpec("camera", (StepSpec("s", M, "vision"),), channels=2),
        PipelineSpec("door", (StepSpec("s", M, "vision"),)),
        PipelineSpec("audio", (StepSpec("s", M, "sound"),)),
    )
    times = {("camera", "s"): 10, ("door", "s"): 20, ("audio", "s"): 5}
    schedule = Schedule.of_fleet(spec)
    camera, door, audio = RateLimits(schedule, times).rates({"camera": Fraction(1, 40)})
    assert (camera.most, camera.feasible, camera.limited_by) == (
        Fraction(1, 20),
        True,
        "lock vision",
    )
    assert (door.most, door.limited_by) == (Fraction(1, 40), "lock vision")
    assert (audio.most, audio.limited_by) == (Fraction(1, 5), "channel audio[0]")
    wanted = {"camera": Fraction(1, 25), "door": Fraction(1, 50)}
    assert not any(rate.is_left_out for rate in (camera, door, audio))
    camera, door, audio = RateLimits(schedule, times).rates({"camera": Fraction(1, 10)})
    assert (door.most, door.is_left_out, audio.is_left_out) == (Fraction(0), True, False)
    assert not camera.is_left_out, "it asks for too much, which `feasible` says"
    camera, door, _ = RateLimits(schedule, times).rates(wanted)
    # 20 + 20 of every 25, and 20 of every 50, are 6/5 of the lane: both fall behind to 5/6.
    assert (camera.most, camera.feasible) == (Fraction(1, 30), False)
    assert (door.most, door.feasible) == (Fraction(1, 60), False)
    assert [a.most for a in RateLimits(schedule, times).rates({})] == [
        Fraction(1, 40),
        Fraction(1, 40),
        Fraction(1, 5),
    ]


def test_steps_that_exclude_one_another_pair_by_pair_take_turns() -> None:
    step = StepSpec("detect", M, "cam-{channel}")
    spec = fleet(PipelineSpec("camera", (step,), channels=4, frames_in_flight=2))
    names = list(spec.instances())
    pairs = list(combinations(names, 2))
    schedule = Schedule.of_fleet(spec, exclusive=pairs)
    times = {("camera", "detect"): 10}
    assert round_bound(schedule, times) == RoundBound(
        Fraction(40), "turns of m@cam-0 and 3 more steps"
    )
    (rate,) = RateLimits(schedule, times).rates({})
    assert rate.most == Fraction(1, 40)
    two = Schedule.of_fleet(spec, exclusive=pairs[:1])
    assert round_bound(two, times) == RoundBound(Fraction(20), "lock m@cam-0|m@cam-1")


def test_one_lane_for_all_holds_the_sum() -> None:
    spec = fleet(
        PipelineSpec("p", (StepSpec("s", M, "x-{channel}"),), channels=2),
        PipelineSpec("q", (StepSpec("s", M, "y"),)),
    )
    times = {("p", "s"): 5, ("q", "s"): 10}
    rates = RateLimits(Schedule.of_fleet(spec), times).rates({"q": Fraction(1, 20)}, one_lane=True)
    assert [(r.most, r.limited_by) for r in rates] == [
        (Fraction(1, 20), "one lane for all"),
        (Fraction(1, 10), "channel q[0]"),  # a declared rate comes before what has none
    ]
