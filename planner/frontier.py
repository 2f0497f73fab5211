"""What memory buys: plans from everything concurrent to everything serial, none worse than another.

    makespan |                    Every point is a plan. A plan that takes more memory than another
        *    |                    and is no faster is no point. The knee lies farthest below the
          .* |                    line between the ends: beyond it, memory buys little time, before
             ' * . . . *          it, time costs much memory.
             +---------- memory

Plans within a budget come from a function that is passed in; here it is decided which budgets are
worth asking for, and what a plan means for time: makespan of one frame of every channel, the rate
that each pipeline can hold, how busy lanes are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from planner.fleet import FleetSpec
from planner.interference import slowed_length
from planner.lanes import LanePool
from planner.makespan import (
    Jobs,
    MakespanUnit,
    StepTimes,
    makespan_of,
    shortest,
    times_of_steps,
)
from planner.pipeline import schedule_of
from planner.plan import Plan
from planner.rate import PipelineRate, RateLimits, declared_rates, lock_loads
from planner.schedule import Schedule
from planner.strategies import strategies

__all__ = [
    "Frontier",
    "FrontierPoint",
    "LaneUse",
    "frontier",
    "knee_of",
    "non_dominated",
    "point_of",
]

_EXACT_LIMIT: Final = 0.1
"""What constraint programming may do for one schedule of a point, in its own count."""


@dataclass(frozen=True, slots=True)
class LaneUse:
    """How busy a lane is when pipelines run at the rates that they want, or can hold at most.

    Attributes
    ----------
    lane : str
    share : Fraction
        Of the time; above 1 where the wanted rates cannot be held.
    """

    lane: str
    share: Fraction


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One plan and what it means for time.

    Attributes
    ----------
    plan : Plan
    makespan : int
        Of one frame of every channel; with the measured slowdowns of lanes, where they are known.
    rates : tuple of PipelineRate
        Frames a nanosecond; empty where the times of steps are unknown.
    serial_rates : tuple of PipelineRate
        The same if a second lane gained nothing.
    lanes : tuple of LaneUse
        Empty where the times of steps are unknown.
    """

    plan: Plan
    makespan: int
    rates: tuple[PipelineRate, ...] = ()
    serial_rates: tuple[PipelineRate, ...] = ()
    lanes: tuple[LaneUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Frontier:
    """Points by memory, most first, none dominated; and what they lie between.

    Attributes
    ----------
    points : tuple of FrontierPoint
        Each takes less memory than the one before it, and more time.
    knee : int or None
        Index of the point farthest below the line between the ends; None: fewer than three points.
    unit : MakespanUnit
    concurrent : FrontierPoint
        The plan with nothing added. It is no point where a smaller one is as fast.
    serial_bytes : int
        Total of everything serial: the weights, the largest work region (with its inputs and
        outputs, where they are planned), and all that steps hand on to one another.
    serial_makespan : int
        The sum of all times: of everything serial, and of any plan if a second lane gained nothing.
    assumed : tuple of (str, str)
        Pairs of lanes that are taken to be independent, since nothing was measured of them.
    """

    points: tuple[FrontierPoint, ...]
    knee: int | None
    unit: MakespanUnit
    concurrent: FrontierPoint
    serial_bytes: int
    serial_makespan: int
    assumed: tuple[tuple[str, str], ...]


def frontier(
    concurrent: Plan,
    within: Callable[[int], Plan],
    *,
    slowdowns: Mapping[tuple[str, str], int] | None = None,
    plans_max: int = 24,
    tries_max: int = 24,
    finish: Callable[[Plan], Plan] | None = None,
) -> Frontier:
    """Return the frontier of memory against makespan.

    Parameters
    ----------
    concurrent : Plan
        Of the fleet with nothing added.
    within : callable
        Returns the fastest plan it finds whose `total_bytes` is at most the budget.
    slowdowns : mapping of (lane, other) to int, optional
        Measured, in thousandths of the time alone.
    plans_max : int
        Plans that are made, the concurrent one among them; at least 2.
    tries_max : int
        Further plans, which look for each point's makespan in less memory.
    finish : callable, optional
        Returns the plan of a point looked for harder and with less added: what is not worth its
        while for plans that become no point. One that takes more memory or more time is not taken.

    Notes
    -----
    Budgets are halved where the largest rectangle between two neighbours is unknown: the place
    where a point could change the curve most. A plan that takes less than its budget settles
    everything in between. Deterministic; ties by memory.

    References
    ----------
    .. [1] The budget as a constraint, one plan for each: Y. Haimes, L. Lasdon, D. Wismer, IEEE
       Trans. Systems, Man, and Cybernetics 1(3), 1971 (the epsilon-constraint method).
    """
    fleet = concurrent.fleet
    known = slowdowns or {}
    fast = _timed(concurrent, known)
    serial_bytes = next(s.bytes for s in strategies(concurrent) if s.name == "one-max-per-device")
    points = [fast]
    if serial_bytes < concurrent.total_bytes:
        slow = _timed(within(serial_bytes), known)
        points.append(slow)
        gaps = [_Gap(serial_bytes, concurrent.total_bytes, slow, fast)]
        while len(points) < plans_max:
            gaps = [gap for gap in gaps if gap.area > 0]
            if not gaps:
                break
            gap = max(gaps, key=lambda gap: (gap.area, -gap.floor))
            gaps.remove(gap)
            budget = (gap.floor + gap.ceiling) // 2
            found = _timed(within(budget), known)
            points.append(found)
            # No plan between `found` and its budget is faster than it. Where steps hand tensors on,
            # plans come out lower than the budget that they need.
            settled = budget if found.plan.buffers else min(budget, found.plan.total_bytes)
            gaps += [
                _Gap(gap.floor, settled, gap.slow, found),
                _Gap(budget, gap.ceiling, found, gap.fast),
            ]
    kept = non_dominated(points)
    for rank, point in enumerate(kept):
        share = tries_max // len(kept) + (rank < tries_max % len(kept))
        floor = kept[rank + 1].plan.total_bytes if rank + 1 < len(kept) else serial_bytes
        points.append(_tightened(point, floor, lambda budget: _timed(within(budget), known), share))
    kept = non_dominated(points)
    if finish is not None:
        kept = tuple(p if p is fast else _finished(p, _timed(finish(p.plan), known)) for p in kept)
        kept = non_dominated(kept)  # less added may be as fast as a point that takes more
    times, unit = times_of_steps(fleet)
    lanes = list(dict.fromkeys(row.lane for row in concurrent.instances))
    concurrent_point = _rated(fast)
    return Frontier(
        points=tuple(concurrent_point if p is fast else _rated(p) for p in kept),
        knee=knee_of([(p.plan.total_bytes, p.makespan) for p in kept]),
        unit=unit,
        concurrent=concurrent_point,
        serial_bytes=serial_bytes,
        serial_makespan=_serial_length(fleet, times),
        assumed=tuple(
            (lane, other)
            for index, lane in enumerate(lanes)
            for other in lanes[index + 1 :]
            if (lane, other) not in known or (other, lane) not in known
        ),
    )


def _tightened(
    point: FrontierPoint,
    floor: int,
    within: Callable[[int], FrontierPoint],
    tries_max: int,
) -> FrontierPoint:
    """Return the point in as little memory above `floor` as a few tries find.

    The first try asks for a byte less: mostly that is slower, and so is all below.
    """
    budget = point.plan.total_bytes - 1
    for _ in range(tries_max):
        if budget <= floor:
            break
        found = within(budget)
        if found.makespan <= point.makespan and found.plan.total_bytes < point.plan.total_bytes:
            point = found
        elif budget == point.plan.total_bytes - 1:
            break
        else:
            floor = budget
        budget = (floor + point.plan.total_bytes) // 2
    return point


def _finished(point: FrontierPoint, finished: FrontierPoint) -> FrontierPoint:
    """Return the point with less added, unless that took more memory or (slowdowns) more time."""
    is_worse = (
        finished.plan.total_bytes > point.plan.total_bytes or finished.makespan > point.makespan
    )
    return point if is_worse else finished


@dataclass(frozen=True, slots=True)
class _Gap:
    """Budgets above `floor` and below `ceiling`, of which nothing is known yet."""

    floor: int
    ceiling: int
    slow: FrontierPoint
    fast: FrontierPoint

    @property
    def area(self) -> int:
        """What a point in between could save: bytes x time."""
        width = self.ceiling - self.floor
        if width <= self.fast.plan.rule.align_bytes:
            return 0
        return width * (self.slow.makespan - self.fast.makespan)


def _serial_length(fleet: FleetSpec, times: StepTimes) -> int:
    return sum(times[p.id, s.id] * p.channels for p in fleet.pipelines for s in p.steps)


def non_dominated(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """Return the points that no other equals or beats in both memory and time, most memory first.

    Of points that are equal in both the first is kept.
    """
    kept: list[FrontierPoint] = []
    for point in sorted(points, key=lambda p: (p.plan.total_bytes, p.makespan)):
        if not kept or point.makespan < kept[-1].makespan:
            kept.append(point)
    return tuple(reversed(kept))


def knee_of(values: Sequence[tuple[int, int]]) -> int | None:
    """Return the index of the point farthest below the line between the first and the last.

    Parameters
    ----------
    values : sequence of (int, int)
        Memory, falling, and time, rising.

    Notes
    -----
    Exact; both axes count alike from end to end. None with fewer than three points, or where none
    is below the line. Ties go to less memory.

    References
    ----------
    .. [1] V. Satopaa et al., "Finding a 'Kneedle' in a Haystack", ICDCS Workshops 2011.

    Examples
    --------
    >>> knee_of([(100, 10), (60, 11), (50, 20), (10, 40)])
    1
    """
    if len(values) < 3:
        return None
    (most, fastest), (least, slowest) = values[0], values[-1]

    def below(value: tuple[int, int]) -> Fraction:
        memory = Fraction(value[0] - least, most - least)
        time = Fraction(value[1] - fastest, slowest - fastest)
        return 1 - memory - time

    index = max(range(1, len(values) - 1), key=lambda k: (below(values[k]), k))
    return index if below(values[index]) > 0 else None


def point_of(plan: Plan, slowdowns: Mapping[tuple[str, str], int]) -> FrontierPoint:
    """Return what a plan means for time."""
    return _rated(_timed(plan, slowdowns))


def _timed(plan: Plan, slowdowns: Mapping[tuple[str, str], int]) -> FrontierPoint:
    """Return a plan with its makespan alone: rates are worth their time for what is shown."""
    if slowdowns:
        schedule = schedule_of(plan.fleet, plan.added)
        jobs = Jobs.of_schedule(schedule)
        found = shortest(jobs, exact_limit=_EXACT_LIMIT)
        lanes = [schedule.instances[index].rpartition("@")[2] for index in jobs.instances]
        return FrontierPoint(plan, slowed_length(jobs, found.starts, lanes, slowdowns))
    if plan.price is not None:
        return FrontierPoint(plan, plan.price.makespan)
    return FrontierPoint(plan, makespan_of(schedule_of(plan.fleet, plan.added)).length)


def _rated(point: FrontierPoint) -> FrontierPoint:
    """Return the point with the rates that its plan can hold, where the times are known."""
    plan = point.plan
    times, unit = times_of_steps(plan.fleet)
    if unit is MakespanUnit.STEPS:
        return point
    schedule = schedule_of(plan.fleet, plan.added)
    wanted = declared_rates(plan.fleet)
    limits = RateLimits(schedule, times)
    rates = limits.rates(wanted)
    serial = limits.rates(wanted, one_lane=True)
    lanes = _lane_use(schedule, times, rates)
    return replace(point, rates=rates, serial_rates=serial, lanes=lanes)


def _lane_use(
    schedule: Schedule, times: StepTimes, rates: Sequence[PipelineRate]
) -> tuple[LaneUse, ...]:
    running = {rate.pipeline: rate.wanted or rate.most or Fraction(0) for rate in rates}
    loads = lock_loads(schedule, times)
    lanes: dict[str, None] = {}
    for channel in schedule.channels:
        for step in channel.pipeline.steps:
            # The lanes of a pool are equally busy, so one row stands for all.
            names = step.lanes_of(channel.index)
            pool = step.lane.name if isinstance(step.lane, LanePool) else ""
            lanes[names[0] if len(names) == 1 else pool] = None
    return tuple(
        LaneUse(lane, sum((running[p] * load for p, load in loads[lane].items()), Fraction(0)))
        for lane in lanes
    )
