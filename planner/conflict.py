"""Which instances may be live at once: the relation that offsets must respect.

Theory of operation
-------------------
An instance's work buffer is live while one of its executions runs. Two instances conflict iff some
execution of the one may overlap some execution of the other: no path of the order joins them and
they hold no lock in common. One frame in flight, rows are lanes, `#` is a conflict:

    camera[0]   vision    detect --> read            D = det@vision           D R T
                              |                      R = rec@vision        D  . . .
                tracking      `----> track           T = trk@tracking      R  . . #
                                                                           T  . # .
    a second channel on the same lanes has an
    order of its own: detect of camera[1] may                                 D R T
    run beside track of camera[0]                                          D  . . #
                                                                           R  . . #
    vision    [detect 0][read 0][detect 1][read 1]                         T  # # .
    tracking            [track 0  .........]

The relation is the union of two parts, and neither enumerates pairs of executions.

*Across channels* nothing is ordered, so only locks count. What matters of an instance is which sets
of locks its steps hold and, for each set, whether one channel or several use it so. Instances i and
j stay apart iff for each lock set L of i, all uses of j in other channels share a lock with L. Most
lock sets are disjoint, so the small complement is computed, once for each L: the instances all of
whose uses share a lock with L, and those whose other uses lie in one single channel, which stay
apart from the use of L in that channel.

*Inside a channel* the closure of the order counts: some executions of the two steps are joined by
no path, and the steps share no lock. Masks over steps become masks over instances by runs of steps
whose instances are numbered consecutively, as they are where a channel brings its own instances.

A step that takes any lane of a pool uses an instance on each: the relation is the union over them.
Two runs of one execution are never side by side, whatever lane each takes. So the instances of a
pool that one step of one channel uses, one frame at a time, share memory; a second channel, frame
or unordered step makes them conflict.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, chain, pairwise, product
from operator import or_
from typing import Final, Self

from planner.errors import SpecError, UsageError
from planner.masks import mask_indices
from planner.model import InstanceId
from planner.schedule import Channel, Execution, Schedule

__all__ = ["INSTANCES_MAX", "ConflictRelation", "Explanation", "consecutive_runs"]

INSTANCES_MAX: Final = 32_768
"""Most instances of a relation: its masks then take 128 MiB."""

_Locks = frozenset[str]
_Uses = dict[_Locks, tuple[int, ...]]
"""Lock sets of one instance -> the channels that use it so: one, or two of several."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why two instances conflict, or why they never do.

    Attributes
    ----------
    first, second : InstanceId
    overlap : tuple of two Execution, or None
        Executions of the two that may overlap; None iff the instances do not conflict.
    locks : tuple of str
        Without a conflict: locks that keep executions of the two apart, sorted.
    ordered : tuple of two Execution, or None
        Without a conflict: executions that share no lock, the earlier first, as an example of
        those that the order keeps apart.
    lane : str
        The lane of both; empty where they have different lanes.
    alone : Execution or None
        Without a conflict: an execution that either of the two may serve; it takes one lane at a
        time.
    """

    first: InstanceId
    second: InstanceId
    overlap: tuple[Execution, Execution] | None
    locks: tuple[str, ...] = ()
    ordered: tuple[Execution, Execution] | None = None
    lane: str = ""
    alone: Execution | None = None

    def __str__(self) -> str:
        if self.overlap:
            return (
                f"{self.first} and {self.second} conflict: {self.overlap[0]} may overlap "
                f"{self.overlap[1]}, no path of the order joins them and they share no lock"
            )
        if self.lane:
            return f"{self.first} and {self.second} never overlap: lane {self.lane!r} is serial"
        reasons = [f"they share lock {lock!r}" for lock in self.locks]
        if self.ordered:
            reasons.append(f"{self.ordered[0]} precedes {self.ordered[1]}")
        if self.alone:
            reasons.append(f"{self.alone} takes one of the two at a time")
        return f"{self.first} and {self.second} never overlap: {'; '.join(reasons)}"


@dataclass(frozen=True, slots=True)
class ConflictRelation:
    """Which instances of a schedule conflict: symmetric, and none conflicts with itself.

    Attributes
    ----------
    schedule : Schedule
    masks : tuple of int, length n
        Bit j of ``masks[i]`` is set iff instances i and j, counted as in `schedule.instances`,
        conflict.

    Notes
    -----
    Building is linear in the steps of all channels plus, for each set of locks, the instances that
    hold one of its locks in some of their uses only; the masks take n^2 / 8 bytes.

    Examples
    --------
    >>> from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> m = ModelId("m")
    >>> steps = (StepSpec("detect", m, "vision"), StepSpec("track", m, "tracking", ("detect",)))
    >>> for channels in (1, 2):
    ...     spec = FleetSpec(
    ...         name="street",
    ...         models=(ModelSpec(m, work_bytes=1, weight_bytes=0),),
    ...         pipelines=(PipelineSpec("camera", steps, channels=channels),),
    ...     )
    ...     relation = ConflictRelation.of_schedule(Schedule.of_fleet(spec))
    ...     print(relation.explain(*relation.instances))
    m@vision and m@tracking never overlap: camera[0].detect of frame 0 precedes camera[0].track \
of frame 0
    m@vision and m@tracking conflict: camera[0].detect of frame 0 may overlap camera[1].track \
of frame 0, no path of the order joins them and they share no lock
    """

    schedule: Schedule
    masks: tuple[int, ...]

    @classmethod
    def of_schedule(cls, schedule: Schedule) -> Self:
        """Return the conflicts of a schedule.

        Raises
        ------
        SpecError
            The fleet has more than `INSTANCES_MAX` instances.
        """
        n = len(schedule.instances)
        if n > INSTANCES_MAX:
            raise SpecError(
                f"fleet {schedule.spec.name!r} has {n} instances, expected at most "
                f"{INSTANCES_MAX}: let channels share lanes, or plan its parts apart"
            )
        everything = (1 << n) - 1
        masks = [everything & ~apart for apart in _apart_across(_uses(schedule))]
        _add_inside(schedule.channels, masks)
        return cls(schedule, tuple(masks))

    @property
    def instances(self) -> tuple[InstanceId, ...]:
        """Instances, in the order of the masks."""
        return self.schedule.instances

    @property
    def n(self) -> int:
        """Number of instances."""
        return len(self.masks)

    @property
    def pair_count(self) -> int:
        """Number of unordered pairs in conflict."""
        return sum(mask.bit_count() for mask in self.masks) // 2

    def index(self, instance: InstanceId) -> int:
        """Return the position of an instance.

        Raises
        ------
        UsageError
            The fleet has no such instance. Caused by the caller.
        """
        try:
            return self.instances.index(instance)
        except ValueError:
            raise UsageError(
                f"unknown instance {instance!r}, expected one of {self.n} such as "
                f"{self.instances[0]!r}"
            ) from None

    def in_conflict(self, first: InstanceId, second: InstanceId) -> bool:
        """Return whether two instances conflict."""
        return bool(self.masks[self.index(first)] >> self.index(second) & 1)

    def explain(self, first: InstanceId, second: InstanceId) -> Explanation:
        """Return why two instances conflict, with executions that may overlap, or why they do not.

        Examples of one channel come before examples across channels, early frames before late.
        """
        ours, theirs = self._places(self.index(first)), self._places(self.index(second))
        if self.in_conflict(first, second):
            overlaps = chain(_overlaps_inside(ours, theirs), _overlaps_across(ours, theirs))
            return Explanation(first, second, overlap=next(overlaps))
        locks: set[str] = set()
        for held, held_there in product(_by_locks(ours), _by_locks(theirs)):
            locks |= held & held_there
        ordered, alone = _apart_inside(ours, theirs)
        lanes = {str(instance).rpartition("@")[2] for instance in (first, second)}
        return Explanation(
            first,
            second,
            overlap=None,
            locks=tuple(sorted(locks)),
            ordered=ordered,
            lane=lanes.pop() if len(lanes) == 1 else "",
            alone=alone,
        )

    def _places(self, instance: int) -> "list[_Place]":
        return [
            (channel, step, choice.locks)
            for channel in self.schedule.channels
            for step, choices in enumerate(channel.choices)
            for choice in choices
            if choice.instance == instance
        ]


def _uses(schedule: Schedule) -> list[_Uses]:
    uses: list[_Uses] = [{} for _ in schedule.instances]
    for position, channel in enumerate(schedule.channels):
        for instance, locks in chain.from_iterable(channel.choices):
            seen = uses[instance].get(locks, ())
            if len(seen) < 2 and position not in seen:
                uses[instance][locks] = (*seen, position)
    return uses


def _apart_across(uses: Sequence[_Uses]) -> Iterator[int]:
    """Yield for each instance the mask of those that it never overlaps across channels."""
    holding: dict[str, int] = {}  # instances that hold a lock in some use
    wholly: dict[str, int] = {}  # in every use
    at_home: dict[int, int] = {}  # instances that a single channel uses
    for j, sets in enumerate(uses):
        for lock in frozenset().union(*sets):
            holding[lock] = holding.get(lock, 0) | 1 << j
        for lock in frozenset.intersection(*sets):
            wholly[lock] = wholly.get(lock, 0) | 1 << j
        homes = {channel for some in sets.values() for channel in some}
        if len(homes) == 1:
            home = homes.pop()
            at_home[home] = at_home.get(home, 0) | 1 << j

    def apart_from(locks: _Locks) -> tuple[int, dict[int, int]]:
        """Return who always shares a lock with `locks`, and who does outside one channel."""
        always = reduce(or_, (wholly.get(lock, 0) for lock in locks))
        sometimes = reduce(or_, (holding[lock] for lock in locks)) & ~always
        outside: dict[int, int] = {}
        for j in mask_indices(sometimes):
            free = {
                channel
                for other, some in uses[j].items()
                if locks.isdisjoint(other)
                for channel in some
            }
            if not free:
                always |= 1 << j
            elif len(free) == 1:
                channel = free.pop()
                outside[channel] = outside.get(channel, 0) | 1 << j
        return always, outside

    known: dict[_Locks, tuple[int, dict[int, int]]] = {}
    for sets in uses:
        apart = -1
        for locks, channels in sets.items():
            if locks not in known:
                known[locks] = apart_from(locks)
            always, outside = known[locks]
            if len(channels) == 1:
                (channel,) = channels
                always |= outside.get(channel, 0) | at_home.get(channel, 0)
            apart &= always
        yield apart


def _add_inside(channels: Sequence[Channel], masks: list[int]) -> None:
    previous: object = None
    for channel in channels:
        shape = (channel.order, channel.choices)
        if shape == previous:
            continue  # the same steps with the same instances and locks: the same conflicts
        previous = shape
        steps = [(step, c) for step, choices in enumerate(channel.choices) for c in choices]
        holding: dict[str, int] = {}
        for position, (_, choice) in enumerate(steps):
            for lock in choice.locks:
                holding[lock] = holding.get(lock, 0) | 1 << position
        runs = consecutive_runs([choice.instance for _, choice in steps])
        concurrent = _by_choice(channel)
        for step, choice in steps:
            excluded = reduce(or_, (holding[lock] for lock in choice.locks))
            free = concurrent[step] & ~excluded
            for start, ones, instance in runs:
                masks[choice.instance] |= (free >> start & ones) << instance


def _by_choice(channel: Channel) -> Sequence[int]:
    """Return for each step the mask of the choices, over all steps, of those concurrent with it."""
    concurrent = channel.order.concurrent
    counts = [len(choices) for choices in channel.choices]
    if max(counts) == 1:
        return concurrent
    starts = [0, *accumulate(counts)]
    ones = [(1 << n) - 1 << start for n, start in zip(counts, starts, strict=False)]
    return [reduce(or_, (ones[j] for j in mask_indices(mask)), 0) for mask in concurrent]


def consecutive_runs(instances: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the runs of consecutive numbers: (first position, ones of its length, number)."""
    breaks = [k for k, (i, j) in enumerate(pairwise(instances), start=1) if j != i + 1]
    return [
        (start, (1 << end - start) - 1, instances[start])
        for start, end in pairwise([0, *breaks, len(instances)])
    ]


_Place = tuple[Channel, int, _Locks]
_Places = Sequence[_Place]
"""Channels and steps that use an instance, with the locks held then."""


def _by_locks(places: _Places) -> dict[_Locks, list[tuple[Channel, int]]]:
    """Return lock set -> the first place of each of the first two channels that use it."""
    found: dict[_Locks, list[tuple[Channel, int]]] = {}
    for channel, step, locks in places:
        some = found.setdefault(locks, [])
        if len(some) < 2 and all(channel is not other for other, _ in some):
            some.append((channel, step))
    return found


def _pairs_inside(ours: _Places, theirs: _Places) -> Iterator[tuple[Channel, int, int]]:
    """Yield the pairs of steps of one channel that share no lock."""
    by_channel: dict[int, list[tuple[int, _Locks]]] = {}
    for channel, step, locks in theirs:
        by_channel.setdefault(id(channel), []).append((step, locks))
    for channel, i, locks in ours:
        for j, others in by_channel.get(id(channel), ()):
            if locks.isdisjoint(others):
                yield channel, i, j


def _overlaps_inside(ours: _Places, theirs: _Places) -> Iterator[tuple[Execution, Execution]]:
    for channel, i, j in _pairs_inside(ours, theirs):
        order = channel.order
        # Beyond the rows of the closure one distance is like another.
        for distance in range(min(order.frames_in_flight, len(order.reach) + 1)):
            for lag in (distance, -distance):
                if order.are_concurrent(first=i, second=j, lag=lag):
                    yield channel.execution(i, max(0, -lag)), channel.execution(j, max(0, lag))


def _overlaps_across(ours: _Places, theirs: _Places) -> Iterator[tuple[Execution, Execution]]:
    return (
        (channel.execution(i), other.execution(j))
        for (locks, here), (other_locks, there) in product(
            _by_locks(ours).items(), _by_locks(theirs).items()
        )
        if locks.isdisjoint(other_locks)
        for (channel, i), (other, j) in product(here, there)
        if channel is not other
    )


def _apart_inside(
    ours: _Places, theirs: _Places
) -> tuple[tuple[Execution, Execution] | None, Execution | None]:
    """Return an example of what the order keeps apart, and one of an execution of both."""
    ordered: tuple[Execution, Execution] | None = None
    alone: Execution | None = None
    for channel, i, j in _pairs_inside(ours, theirs):
        pair = channel.execution(i), channel.execution(j)
        if i == j:
            alone = alone or pair[0]
        elif ordered is None:
            is_first = channel.order.precedes(first=i, second=j, lag=0)
            ordered = pair if is_first else pair[::-1]
    return ordered, alone
