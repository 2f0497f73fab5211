"""How fast frames can follow one another: no run of a schedule is faster than these bounds.

    channel   detect --> read --> (end) ==d==> detect ...     a cycle takes its executions' time and
                                                              advances some frames: time / frames
    lock      vision: detect, read of camera[0], [1], ...     is held for so long in every round
    turns     detect of [0], [1], [2], any two of which       take so long in every round
              exclude each other, by whatever lock

A **round** is one frame of every channel. Its period is at least the greatest ratio of a cycle of
any channel's event graph, and at least the time that steps take any two of which share a lock. Each
pipeline may also run at a rate of its own; then these sets are shared among the rates.

Rates of a long run: its beginning and its end cost more. And bounds, not promises: steps that hold
several locks may keep them further apart. How long a single frame takes is `makespan`'s matter.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TypeAlias

from planner.cycles import RatioEdge, cycle_ratio
from planner.filling import Limit, SharedTime
from planner.fleet import FleetSpec
from planner.lanes import LanePool
from planner.makespan import Jobs, StepTimes
from planner.makespan.bound import exclusive_sets
from planner.schedule import Channel, Schedule
from planner.units import NS_IN_1000_S

__all__ = [
    "PipelineRate",
    "RateLimits",
    "RoundBound",
    "channel_period",
    "declared_rates",
    "lock_loads",
    "round_bound",
]


def declared_rates(fleet: FleetSpec) -> dict[str, Fraction]:
    """Return the declared rates by pipeline, frames of each channel in a nanosecond."""
    return {
        pipeline.id: Fraction(pipeline.rate_millihertz, NS_IN_1000_S)
        for pipeline in fleet.pipelines
        if pipeline.rate_millihertz is not None
    }


def channel_period(channel: Channel, times: StepTimes) -> Fraction:
    """Return the least time between two frames of a channel, if it had all its locks to itself.

    Parameters
    ----------
    channel : Channel
    times : mapping of (pipeline, step) to int
        Time of one execution, >= 0; the result has the same unit.
    """
    order, pipeline = channel.order, channel.pipeline
    n = len(pipeline.steps)
    boundary = n
    own = [times[pipeline.id, step.id] for step in pipeline.steps]
    position = {step: index for index, step in enumerate(order.topological)}
    edges = [RatioEdge(i, j, own[i], lag) for i, j, lag, _ in order.edges]
    edges += [RatioEdge(i, boundary, own[i], 0) for i in range(n)]
    edges.sort(key=lambda edge: position[edge.first])
    edges += [RatioEdge(boundary, j, 0, order.frames_in_flight) for j in range(n)]
    return cycle_ratio(n + 1, edges)


def lock_loads(schedule: Schedule, times: StepTimes) -> dict[str, dict[str, Fraction]]:
    """Return for each lock how long each pipeline holds it in one frame of all its channels.

    Locks in order of first use; lanes are locks. A pool stands beside them by its name, with what
    each of its lanes would carry if they shared its executions evenly.
    """
    loads: dict[str, dict[str, Fraction]] = {}
    for channel in schedule.channels:
        pipeline = channel.pipeline
        for index, step in enumerate(pipeline.steps):
            for lock, share in _held(channel, index):
                own = loads.setdefault(lock, {})
                load = share * times[pipeline.id, step.id]
                own[pipeline.id] = own.get(pipeline.id, Fraction(0)) + load
    return loads


_Share: TypeAlias = Fraction | int
"""Of the time of a step: 1, or what a lane of a pool has to carry if all carry the same."""


def _held(channel: Channel, index: int) -> Iterator[tuple[str, _Share]]:
    """Yield what a step holds whatever lane it takes, lanes first, and its share of its pool."""
    step, choices = channel.pipeline.steps[index], channel.choices[index]
    lanes = step.lanes_of(channel.index)
    held = frozenset.intersection(*(choice.locks for choice in choices))
    for lock in sorted(held, key=lambda name: (name not in lanes, name)):
        yield lock, 1
    if isinstance(step.lane, LanePool):
        yield step.lane.name, Fraction(1, step.lane.size)


@dataclass(frozen=True, slots=True)
class RoundBound:
    """The least time of a round, one frame of every channel, in the long run.

    Attributes
    ----------
    period : Fraction
        In the unit of the times.
    limited_by : str
        The lock, the steps or the channel that sets it; empty where it is 0.
    """

    period: Fraction
    limited_by: str


def round_bound(
    schedule: Schedule,
    times: StepTimes,
    frames: Mapping[str, int] | None = None,
) -> RoundBound:
    """Return what no run of one round after another can go below.

    Parameters
    ----------
    schedule : Schedule
    times : mapping of (pipeline, step) to int
        Time of one execution, >= 0.
    frames : mapping of channel to int, optional
        Another round: so many frames of each channel (``camera[0]``), >= 0; None: one of each.

    Examples
    --------
    >>> from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> m = ModelId("m")
    >>> steps = StepSpec("detect", m, "a"), StepSpec("read", m, "b", after=("detect",))
    >>> spec = FleetSpec(
    ...     "f",
    ...     (ModelSpec(m, work_bytes=1, weight_bytes=0),),
    ...     (PipelineSpec("camera", steps, frames_in_flight=2),),
    ... )
    >>> times = {("camera", "detect"): 12, ("camera", "read"): 4}
    >>> round_bound(Schedule.of_fleet(spec), times)  # 16 for 2 frames, but lane `a` is held for 12
    RoundBound(period=Fraction(12, 1), limited_by='lock a')
    """
    counts = [1 if frames is None else frames[channel.name] for channel in schedule.channels]
    found = [
        (count * period, f"channel {channel.name}")
        for count, (channel, period) in zip(counts, _periods(schedule.channels, times), strict=True)
    ]
    for turns in _exclusive_steps(schedule, times):
        load = sum(
            share * counts[position] * _time(schedule.channels[position], step, times)
            for position, step, share in turns.steps
        )
        found.append((Fraction(load), turns.label))
    period, limited_by = max(found, key=lambda item: item[0])
    return RoundBound(period, limited_by if period else "")


@dataclass(frozen=True, slots=True)
class _Turns:
    """Steps of channels that exclude each other: (position, step, share of its time)."""

    label: str
    steps: tuple[tuple[int, int, _Share], ...]


def _exclusive_steps(schedule: Schedule, times: StepTimes) -> list[_Turns]:
    """Return the holders of each lock, and further sets that exclude one another pair by pair."""
    held: dict[str, list[tuple[int, int, _Share]]] = {}
    places: list[tuple[int, int, _Share]] = []
    for position, channel in enumerate(schedule.channels):
        for step in range(len(channel.choices)):
            places.append((position, step, 1))
            for lock, share in _held(channel, step):
                held.setdefault(lock, []).append((position, step, share))
    found = [_Turns(f"lock {lock}", tuple(steps)) for lock, steps in held.items()]
    found += _turns_with_pools(schedule, held)
    known = {turns.steps for turns in found}
    for members in exclusive_sets(Jobs.of_schedule(schedule, times)):
        steps = tuple(sorted(places[job] for job in members))
        if steps not in known and len(steps) > 1:
            known.add(steps)
            position, step, _ = steps[0]
            first = schedule.instances[schedule.channels[position].choices[step][0].instance]
            found.append(_Turns(f"turns of {first} and {len(steps) - 1} more steps", steps))
    return found


def _turns_with_pools(
    schedule: Schedule, held: Mapping[str, Sequence[tuple[int, int, _Share]]]
) -> Iterator[_Turns]:
    """Yield the steps of each pool with holders of a lock that exclude it whatever lane it takes.

    The locks differ from lane to lane, so no lock says it. On each lane what it carries takes turns
    with those holders; over all lanes, a part of the pool's steps for each. Where the lanes exclude
    one another too, all of them.
    """
    locks = {
        (position, step): {choice.locks for choice in choices}
        for position, channel in enumerate(schedule.channels)
        for step, choices in enumerate(channel.choices)
    }
    pools: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for position, step in locks:
        lane = schedule.channels[position].pipeline.steps[step].lane
        if isinstance(lane, LanePool):
            pools.setdefault((lane.name, lane.size), []).append((position, step))
    for (name, size), members in pools.items():
        lanes = set().union(*(locks[place] for place in members))
        apart = {
            place
            for place in locks.keys() - members
            if all(a & b for a in locks[place] for b in lanes)
        }
        share = 1 if all(a & b for a, b in combinations(lanes, 2)) else Fraction(1, size)
        own = tuple((*place, share) for place in members)
        if share == 1:
            yield _Turns(f"turns on pool {name}", own)
        for lock, holders in held.items():
            beside = tuple(
                held_by for held_by in holders if held_by[:2] in apart and held_by[2] == 1
            )
            if beside:
                yield _Turns(f"turns on pool {name} beside lock {lock}", own + beside)


def _time(channel: Channel, step: int, times: StepTimes) -> int:
    return times[channel.pipeline.id, channel.pipeline.steps[step].id]


def _periods(channels: Iterable[Channel], times: StepTimes) -> list[tuple[Channel, Fraction]]:
    """Return channels with their periods; channels of one shape are looked at once."""
    known: dict[int, Fraction] = {}
    found = []
    for channel in channels:
        if id(channel.order) not in known:
            known[id(channel.order)] = channel_period(channel, times)
        found.append((channel, known[id(channel.order)]))
    return found


@dataclass(frozen=True, slots=True)
class PipelineRate:
    """The rate that each channel of a pipeline can hold at most, beside the others.

    Attributes
    ----------
    pipeline : str
    wanted : Fraction or None
        Frames in a unit of time that the fleet declares.
    most : Fraction or None
        Frames in a unit of time; None: nothing limits it, since its steps take no time. Below
        `wanted` where declared rates cannot all be held.
    limited_by : str
        The lock, the steps or the channel that sets `most`; empty for None.
    """

    pipeline: str
    wanted: Fraction | None
    most: Fraction | None
    limited_by: str

    @property
    def feasible(self) -> bool | None:
        """Whether the declared rate can be held; None: none is declared."""
        return None if self.wanted is None else self.most is None or self.wanted <= self.most

    @property
    def is_left_out(self) -> bool:
        """Whether it declares no rate, and those declared by others leave it no time at all."""
        return self.wanted is None and self.most == 0


class RateLimits:
    """What limits the rates of a schedule's pipelines, found once for all that may be wanted.

    Parameters
    ----------
    schedule : Schedule
    times : mapping of (pipeline, step) to int
        Time of one execution, >= 0.
    """

    def __init__(self, schedule: Schedule, times: StepTimes) -> None:
        self._pipelines = [pipeline.id for pipeline in schedule.spec.pipelines]
        self._periods: dict[str, tuple[Fraction, str]] = {}
        for channel, period in _periods(schedule.channels, times):
            slowest = self._periods.get(channel.pipeline.id, (Fraction(-1), ""))
            if period > slowest[0]:
                self._periods[channel.pipeline.id] = (period, f"channel {channel.name}")
        every = dict.fromkeys(self._pipelines, 0)
        for channel in schedule.channels:
            steps = range(len(channel.choices))
            every[channel.pipeline.id] += sum(_time(channel, step, times) for step in steps)
        self._one_lane = tuple(every.values())
        # How long each pipeline is in a set, a frame of all its channels. Of sets with the same
        # loads the first stands for all: channels that are alike have many.
        self._sets: dict[tuple[_Share, ...], str] = {}
        for turns in _exclusive_steps(schedule, times):
            loads: dict[str, _Share] = dict.fromkeys(self._pipelines, 0)
            for position, step, share in turns.steps:
                channel = schedule.channels[position]
                loads[channel.pipeline.id] += share * _time(channel, step, times)
            self._sets.setdefault(tuple(loads.values()), turns.label)

    def rates(
        self, wanted: Mapping[str, Fraction], *, one_lane: bool = False
    ) -> tuple[PipelineRate, ...]:
        """Return the rate that each pipeline can hold at most; all channels of it run at that rate.

        Declared rates come first. Those that cannot all be held fall behind in the same proportion,
        as far as a lock or a channel holds them back; a pipeline with a declared rate then has what
        the others leave of its locks. Those without one share what all declared rates leave,
        max-min fair: none could have more unless one that has no more than it had less.

        Parameters
        ----------
        wanted : mapping of pipeline to Fraction
            Declared rates, frames in a unit of time of the steps' times.
        one_lane : bool
            Whether a second lane gains nothing: then all executions share one more lock.
        """
        sets = self._sets
        if one_lane:
            sets = {**sets}
            sets.setdefault(self._one_lane, "one lane for all")
        shared = SharedTime(
            self._periods,
            [
                (label, {p: load for p, load in zip(self._pipelines, loads, strict=True) if load})
                for loads, label in sets.items()
            ],
        )
        held = {name: r for name, (r, _) in shared.fill(wanted, {}, highest=Fraction(1)).items()}
        rates: dict[str, Limit] = {}
        for name in wanted:
            others = {other: rate for other, rate in held.items() if other != name}
            rates |= shared.fill({name: Fraction(1)}, others)
        free = {name: Fraction(1) for name in self._pipelines if name not in wanted}
        rates |= shared.fill(free, held)
        return tuple(PipelineRate(name, wanted.get(name), *rates[name]) for name in self._pipelines)
