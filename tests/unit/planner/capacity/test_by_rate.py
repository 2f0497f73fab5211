"""How many channels the declared rates allow, against the rates that a schedule can hold."""

from dataclasses import replace
from fractions import Fraction

import pytest

from planner.capacity import RateChannels, capacity_of, rate_channels, with_channels
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import Assign, LanePool
from planner.makespan import times_of_steps
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.rate import RateLimits
from planner.report.advice import do_words, rate_words
from planner.report.capacity_text import capacity_text
from planner.report.figures import capacity_figures
from planner.report.tables import capacity_markdown
from planner.schedule import Schedule
from planner.units import NS_IN_1000_S, GiB
from tests.fleets import declared_sizes

M = ModelId("m")
MS = 10**6
FPS = 1000


def step(name: str, lane: str | LanePool, ms: int, locks: tuple[str, ...] = ()) -> StepSpec:
    return StepSpec(name, M, lane, locks=locks, time_ns=ms * MS)


def pipeline(name: str, *steps: StepSpec, fps: int | None = 25, channels: int = 1) -> PipelineSpec:
    rate = None if fps is None else fps * FPS
    return PipelineSpec(name, steps, channels=channels, rate_millihertz=rate)


def planned(*pipelines: PipelineSpec, memory: int = GiB) -> Plan:
    models = (ModelSpec(M, work_bytes=1 << 20, weight_bytes=0),)
    fleet = FleetSpec("f", models, pipelines, device=DeviceSpec(memory_bytes=memory))
    return plan_fleet(fleet, declared_sizes(fleet))


def can_hold(fleet: FleetSpec) -> bool:
    """Return whether no bound of a schedule is against the declared rates."""
    wanted = {
        p.id: Fraction(p.rate_millihertz, NS_IN_1000_S)
        for p in fleet.pipelines
        if p.rate_millihertz is not None
    }
    limits = RateLimits(Schedule.of_fleet(fleet), times_of_steps(fleet)[0])
    return all(rate.feasible is not False for rate in limits.rates(wanted))


ANY = LanePool("readers", 2, Assign.ANY)
BLOCK = LanePool("readers", 2, Assign.BLOCK)


@pytest.mark.parametrize(
    ("pipelines", "most", "limited_by"),
    [
        ((pipeline("p", step("s", "npu", 8), channels=2),), 5, "npu"),
        # The lock is held by q too, which keeps its own rate: half the time is left.
        ((pipeline("p", step("s", "npu", 8)), pipeline("q", step("s", "npu", 20))), 2, "npu"),
        ((pipeline("p", step("s", "own-{channel}", 8, ("bus",))),), 5, "bus"),
        ((pipeline("p", step("s", ANY, 8)),), 10, "readers"),
        ((pipeline("p", step("s", BLOCK, 8), channels=2),), 10, "readers"),
        # What has no rate takes what the others leave.
        ((pipeline("p", step("s", "x", 8)), pipeline("q", step("s", "x", 9), fps=None)), 5, "x"),
        ((pipeline("p", step("s", "npu", 8)), pipeline("q", step("s", "npu", 41))), 0, "npu"),
    ],
)  # fmt: skip
def test_what_the_rates_allow(
    pipelines: tuple[PipelineSpec, ...], most: int, limited_by: str
) -> None:
    plan = planned(*pipelines)
    found = rate_channels(plan)[0]
    assert found == RateChannels("p", 25 * FPS, most, limited_by)
    assert not can_hold(with_channels(plan.fleet, {"p": most + 1}))
    if most:
        assert can_hold(with_channels(plan.fleet, {"p": most}))


def test_channels_that_cannot_hold_their_rate_alone() -> None:
    slow = planned(pipeline("p", step("s", "own-{channel}", 41)))
    assert rate_channels(slow)[0].most == 0
    first = step("a", "x-{channel}", 30)
    path = planned(pipeline("p", first, replace(step("b", "y-{channel}", 30), after=("a",))))
    assert rate_channels(path) == (RateChannels("p", 25 * FPS, 0, "the channel itself"),)
    beside = planned(
        pipeline("p", step("s", "own-{channel}", 21)), pipeline("q", step("s", "own-{channel}", 21))
    )
    assert [(item.most, item.limited_by) for item in rate_channels(beside)] == [
        (0, "own-{channel}"),
        (0, "own-{channel}"),
    ]


def test_lanes_of_their_own_and_unknown_times_limit_nothing() -> None:
    own = planned(pipeline("p", step("s", "own-{channel}", 8)))
    assert rate_channels(own) == (RateChannels("p", 25 * FPS, None, ""),)
    assert rate_words(rate_channels(own)[0]) == "25fps does not limit them: lanes of their own"
    assert rate_channels(planned(pipeline("p", step("s", "npu", 8), fps=None))) == ()
    timeless = replace(step("s", "npu", 8), time_ns=None)
    assert rate_channels(planned(pipeline("p", timeless))) == ()
    free = planned(pipeline("p", step("s", "npu", 0)))
    assert rate_channels(free)[0].most is None


def test_reports_say_it_beside_what_fits_in_memory() -> None:
    steps = step("s", "npu", 8), step("own", "own-{channel}", 1)
    plan = planned(pipeline("p", *steps), pipeline("q", step("s", "q-{channel}", 1), fps=None))
    capacity = capacity_of(plan)
    largest = capacity.channels[0].largest
    text = capacity_text(capacity)
    assert "  most that fit in memory\n" in text
    assert "\n    25fps allows at most 5: npu\n" in text
    assert f"{largest} channels of p (its rate allows at most 5) or " in do_words(capacity)
    assert do_words(capacity).endswith("fit in memory.")
    growth = capacity_figures(capacity)["growth"]
    assert [(row["rate_largest"], row["rate_limited_by"]) for row in growth] == [
        (5, "npu"),
        (None, None),
    ]
    assert "| most that fit in memory | its rate |" in capacity_markdown(capacity)
    rateless = replace(capacity, rates=())
    assert "its rate" not in capacity_markdown(rateless) + do_words(rateless)


def test_a_sentence_says_how_many_pipelines_it_does_not_name() -> None:
    own = [pipeline(name, step("s", f"{name}-{{channel}}", 1)) for name in "abcde"]
    words = do_words(capacity_of(planned(*own)))
    assert words.endswith(" of c, or more of 2 other pipelines, fit in memory.")
    short = do_words(capacity_of(planned(*own, memory=5 << 20)))
    assert ", or fewer of " not in short
    wide = [replace(pipe, channels=2) for pipe in own]
    short = do_words(capacity_of(planned(*wide, memory=10 << 20)))
    assert ", or fewer of 2 other pipelines, it fits in memory." in short
