"""How long one frame of every channel takes under a schedule: the makespan, and how sure it is.

    vision    [detect 0][detect 1][read 0][read 1]       Every execution of frame 0 of every
    tracking            [track 0 ][track 1 ]             channel, each as long as its step's time.
              |------------ length ------------|         Locks are held by one at a time, order is
                                                         kept, and nothing else delays anybody.

`length` belongs to a schedule that is found here: list schedules, then constraint programming.
`lower_bound` is proven: no schedule that keeps order and locks is shorter. On pools the length is
that of one way to spread the executions over their lanes, the bound holds for all ways. Lanes are
taken to be independent of one another; on one chip they share its cores, so `serial_length` stands
beside: the makespan if a second lane gained nothing.

Memory is no matter of this room; a schedule of locks that a plan relies on already stands for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from planner.makespan.bound import busiest_set, critical_path, pool_bound
from planner.makespan.exact import improve, is_available
from planner.makespan.jobs import Jobs, StepTimes, times_of_steps
from planner.makespan.listing import list_schedule, perturbed, schedule_in_order
from planner.schedule import Execution, Schedule
from planner.units import MakespanUnit

__all__ = [
    "Jobs",
    "Makespan",
    "MakespanUnit",
    "StepTimes",
    "list_schedule",
    "makespan_of",
    "perturbed",
    "schedule_in_order",
    "shortest",
    "times_of_steps",
]

EXACT_LIMIT: Final = 0.5
"""What constraint programming may do by default, in its own count; about so many seconds."""
_RESTARTS_MAX: Final = 40
_STARTS_MAX: Final = 20_000
"""Jobs that list schedules start in all restarts together: 0.2 s."""
_EXACT_JOBS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Makespan:
    """How long one frame of every channel takes.

    Attributes
    ----------
    length : int
        Of the best schedule found, in `unit`.
    lower_bound : int
        No schedule that keeps order and locks is shorter.
    serial_length : int
        The sum of all times: the makespan if a second lane gained nothing.
    unit : MakespanUnit
    executions : tuple of Execution
        All of frame 0: channels as declared, then steps.
    starts, times : tuple of int
        When each execution starts and how long it takes, in `unit`.
    """

    length: int
    lower_bound: int
    serial_length: int
    unit: MakespanUnit
    executions: tuple[Execution, ...]
    starts: tuple[int, ...]
    times: tuple[int, ...]

    @property
    def is_proven(self) -> bool:
        """Whether no shorter schedule exists."""
        return self.length == self.lower_bound


def makespan_of(
    schedule: Schedule,
    times: StepTimes | None = None,
    *,
    exact_limit: float = EXACT_LIMIT,
) -> Makespan:
    """Return the makespan of one frame of every channel under a schedule.

    Parameters
    ----------
    schedule : Schedule
        Order and locks, with what planning added.
    times : mapping of (pipeline, step) to int, optional
        Times of one execution, nanoseconds; they go before those of the fleet. Where a step has
        neither, every step counts 1.
    exact_limit : float
        What constraint programming may do in its own count, where list schedules do not meet the
        bound and OR-tools is installed; 0: nothing.

    Notes
    -----
    Deterministic: seeded restarts and limits are counted. A thousand executions take tens of
    milliseconds without constraint programming.

    Examples
    --------
    >>> from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> m = ModelId("m")
    >>> detect = StepSpec("detect", m, "x", time_ns=30)
    >>> track = StepSpec("track", m, "y", ("detect",), time_ns=20)
    >>> models = (ModelSpec(m, work_bytes=1, weight_bytes=0),)
    >>> fleet = FleetSpec("f", models, (PipelineSpec("cam", (detect, track), channels=2),))
    >>> found = makespan_of(Schedule.of_fleet(fleet))
    >>> found.length, found.is_proven, found.serial_length, found.unit.value
    (80, True, 100, 'ns')
    """
    return shortest(Jobs.of_schedule(schedule, times), exact_limit=exact_limit)


def shortest(jobs: Jobs, *, exact_limit: float = EXACT_LIMIT) -> Makespan:
    """Return the shortest schedule found for jobs."""
    bound = max(critical_path(jobs), busiest_set(jobs), pool_bound(jobs))
    work_behind = [time + tail for time, tail in zip(jobs.times, jobs.tails(), strict=True)]
    restarts = max(1, min(_RESTARTS_MAX, _STARTS_MAX // jobs.n))
    best: Sequence[int] = ()
    length = jobs.serial_length + 1
    for priorities in perturbed(work_behind, restarts):
        starts = list_schedule(jobs, priorities)
        if (found := _length(jobs, starts)) < length:
            best, length = starts, found
        if length == bound:
            break
    if length > bound and exact_limit > 0 and jobs.n <= _EXACT_JOBS_MAX and is_available():
        answer = improve(jobs, best, bound, exact_limit)
        bound = answer.lower_bound
        starts = schedule_in_order(jobs, _by_start(jobs, answer.starts or best))
        if (found := _length(jobs, starts)) < length:
            best, length = starts, found
    assert bound <= length, "a bound above a schedule"
    return Makespan(
        length=length,
        lower_bound=bound,
        serial_length=jobs.serial_length,
        unit=jobs.unit,
        executions=jobs.executions,
        starts=tuple(best),
        times=jobs.times,
    )


def _length(jobs: Jobs, starts: Sequence[int]) -> int:
    return max(start + time for start, time in zip(starts, jobs.times, strict=True))


def _by_start(jobs: Jobs, starts: Sequence[int]) -> list[int]:
    """Return the jobs by start; what comes after another stands behind it, whatever it takes."""
    rank = {job: k for k, job in enumerate(jobs.line)}
    return sorted(
        range(jobs.n), key=lambda job: (starts[job], starts[job] + jobs.times[job], rank[job])
    )
