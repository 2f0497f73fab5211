"""What runs in one frame of every channel: how long, after what, and under which locks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from planner.fleet import FleetSpec, StepSpec
from planner.lanes import LanePool
from planner.schedule import Channel, Choice, Execution, Schedule
from planner.units import MakespanUnit

__all__ = ["Jobs", "StepTimes", "times_of_steps"]

StepTimes: TypeAlias = Mapping[tuple[str, str], int]
"""(pipeline, step) -> time of one execution, nanoseconds, >= 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Jobs:
    """One frame of every channel as jobs: channels as the schedule has them, then steps.

    Attributes
    ----------
    executions : tuple of Execution
        All of frame 0.
    times : tuple of int
        How long each takes, in `unit`, >= 0.
    unit : MakespanUnit
    instances : tuple of int
        Index in `Schedule.instances` of the instance that each executes.
    locks : tuple of int
        Bit k is set iff the job holds lock k. Every job holds its lane: no mask is 0. Of a pool,
        this is the lane that has least to do so far: one way among those that are legal.
    certain : tuple of int
        The same of the locks that the job holds whatever lane it takes; no mask is 0.
    pools : tuple of (size, jobs)
        Jobs that run on so many lanes, however they are spread over them.
    after : tuple of tuple of int
        The jobs that come directly after each.
    line : tuple of int
        All jobs, none before what it comes after.
    """

    executions: tuple[Execution, ...]
    times: tuple[int, ...]
    unit: MakespanUnit
    instances: tuple[int, ...]
    locks: tuple[int, ...]
    certain: tuple[int, ...]
    pools: tuple[tuple[int, tuple[int, ...]], ...]
    after: tuple[tuple[int, ...], ...]
    line: tuple[int, ...]

    @classmethod
    def of_schedule(cls, schedule: Schedule, times: StepTimes | None = None) -> Self:
        """Return the jobs of a schedule; `times` goes before the times that the fleet gives."""
        known, unit = times_of_steps(schedule.spec, times)
        after: list[tuple[int, ...]] = []
        line: list[int] = []
        for channel in schedule.channels:
            start = len(after)
            after += _after(channel, start)
            line += (start + step for step in channel.order.topological)
        places = [(c, step) for c in schedule.channels for step in range(len(c.choices))]
        steps = [channel.pipeline.steps[step] for channel, step in places]
        lengths = tuple(known[c.pipeline.id, c.pipeline.steps[step].id] for c, step in places)
        taken = _taken([channel.choices[step] for channel, step in places], lengths)
        numbers: dict[str, int] = {}

        def mask(locks: Iterable[str]) -> int:
            return sum(1 << numbers.setdefault(lock, len(numbers)) for lock in sorted(locks))

        return cls(
            executions=tuple(channel.execution(step) for channel, step in places),
            times=lengths,
            unit=unit,
            instances=tuple(choice.instance for choice in taken),
            locks=tuple(mask(choice.locks) for choice in taken),
            certain=tuple(
                mask(_certain(channel.choices[step], f"job@{job}"))
                for job, (channel, step) in enumerate(places)
            ),
            pools=tuple(_pools(steps)),
            after=tuple(after),
            line=tuple(line),
        )

    @property
    def n(self) -> int:
        """Number of jobs."""
        return len(self.times)

    @property
    def serial_length(self) -> int:
        """The sum of all times: what one lane for everything would take."""
        return sum(self.times)

    def heads(self) -> list[int]:
        """Return the earliest start that the order alone allows each job."""
        heads = [0] * self.n
        for job in self.line:
            end = heads[job] + self.times[job]
            for later in self.after[job]:
                heads[later] = max(heads[later], end)
        return heads

    def tails(self) -> list[int]:
        """Return how long the order alone goes on after each job has ended."""
        tails = [0] * self.n
        for job in reversed(self.line):
            tails[job] = max((self.times[j] + tails[j] for j in self.after[job]), default=0)
        return tails


def _taken(choices: Sequence[Sequence[Choice]], times: Sequence[int]) -> list[Choice]:
    """Return one choice for each job: of several, the one whose locks are held least so far."""
    loads: dict[str, int] = {}
    taken: dict[int, Choice] = {}
    # Those without a choice first: the others spread around them. Stable: ties by job.
    for job in sorted(range(len(choices)), key=lambda job: len(choices[job]) > 1):
        least = min(choices[job], key=lambda choice: sum(loads.get(k, 0) for k in choice.locks))
        taken[job] = least
        for lock in least.locks:
            loads[lock] = loads.get(lock, 0) + times[job]
    return [taken[job] for job in range(len(choices))]


def _certain(choices: Sequence[Choice], own: str) -> frozenset[str]:
    """Return what is held whatever choice is taken; `own` where that is nothing."""
    held = frozenset.intersection(*(choice.locks for choice in choices))
    return held or frozenset((own,))


def _pools(steps: Sequence[StepSpec]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the size and the jobs of each pool; `steps` has the step of each job."""
    members: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for job, step in enumerate(steps):
        if isinstance(step.lane, LanePool):
            members.setdefault(step.lane.name, []).append(job)
            sizes[step.lane.name] = step.lane.size
    yield from ((sizes[name], tuple(jobs)) for name, jobs in members.items())


def times_of_steps(
    fleet: FleetSpec, times: StepTimes | None = None
) -> tuple[dict[tuple[str, str], int], MakespanUnit]:
    """Return the time of every (pipeline, step), and its unit.

    Measured `times` go before those that the fleet gives. Nanoseconds and steps cannot be added:
    where one step has no time, every step counts 1.

    Examples
    --------
    >>> from planner.fleet import ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> m = ModelId("m")
    >>> steps = (StepSpec("a", m, "x", time_ns=700), StepSpec("b", m, "y"))
    >>> models = (ModelSpec(m, work_bytes=1, weight_bytes=0),)
    >>> fleet = FleetSpec("f", models, (PipelineSpec("p", steps),))
    >>> times_of_steps(fleet)[0], times_of_steps(fleet, {("p", "b"): 300})[0]
    ({('p', 'a'): 1, ('p', 'b'): 1}, {('p', 'a'): 700, ('p', 'b'): 300})
    """
    given = times or {}
    found = {
        (pipeline.id, step.id): given.get((pipeline.id, step.id), step.time_ns)
        for pipeline in fleet.pipelines
        for step in pipeline.steps
    }
    known = {key: time for key, time in found.items() if time is not None}
    if len(known) < len(found):
        return dict.fromkeys(found, 1), MakespanUnit.STEPS
    return known, MakespanUnit.NS


def _after(channel: Channel, start: int) -> list[tuple[int, ...]]:
    """Return the jobs directly after each job of a channel, whose first job is `start`."""
    following: list[set[int]] = [set() for _ in channel.choices]
    for first, second, lag, _ in channel.order.edges:
        if lag == 0:
            following[first].add(start + second)
    return [tuple(sorted(jobs)) for jobs in following]
