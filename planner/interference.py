"""How long a frame takes when lanes slow one another down.

    vision    [detect======][read==]            Executions start in the same turns under each lock
    tracking  [track=====]      [track]         as in a schedule that was made for independent
              both slower while both run        lanes; only how long they take differs.

An execution beside others takes longer by the sum of what each of them costs it alone: two lanes on
one core take twice as long each, three lanes three times.
"""

from collections.abc import Mapping, Sequence

from planner.makespan import Jobs
from planner.masks import mask_indices

__all__ = ["slowed_length"]


def slowed_length(
    jobs: Jobs,
    starts: Sequence[int],
    lanes: Sequence[str],
    slowdowns: Mapping[tuple[str, str], int],
) -> int:
    """Return the makespan of a schedule under measured slowdowns, rounded to the unit.

    Parameters
    ----------
    jobs : Jobs
    starts : sequence of int
        A schedule that keeps order and locks; its turns under each lock are kept.
    lanes : sequence of str
        Lane of each job.
    slowdowns : mapping of (lane, other) to int
        Thousandths of the time alone; a pair that is missing, or below 1000, slows nothing.

    Notes
    -----
    Between two moments when something ends all speeds are constant: O(jobs x lanes that run at
    once squared). Floating point, in an order that the jobs fix.
    """
    waits_for, after = _turns(jobs, starts)
    left = [float(time) for time in jobs.times]
    running = [job for job in range(jobs.n) if not waits_for[job]]
    now = 0.0
    while running:
        rates = [_rate(job, running, lanes, slowdowns) for job in running]
        step = min(left[job] / rate for job, rate in zip(running, rates, strict=True))
        now += step
        ended = []
        for job, rate in zip(running, rates, strict=True):
            left[job] -= step * rate
            if left[job] <= 1e-9 * (1 + jobs.times[job]):
                ended.append(job)
        running = [job for job in running if job not in ended]
        for job in ended:
            for later in after[job]:
                waits_for[later] -= 1
                if not waits_for[later]:
                    running.append(later)
    return round(now)


def _rate(
    job: int,
    running: Sequence[int],
    lanes: Sequence[str],
    slowdowns: Mapping[tuple[str, str], int],
) -> float:
    """Return how much of an execution is done in a unit of time beside what else runs."""
    extra = sum(
        max(0, slowdowns.get((lanes[job], lanes[other]), 1000) - 1000)
        for other in running
        if other != job
    )
    return 1000 / (1000 + extra)


def _turns(jobs: Jobs, starts: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Return how many jobs each job waits for, and which jobs come directly after each."""
    rank = {job: k for k, job in enumerate(jobs.line)}
    after = [list(later) for later in jobs.after]
    last: dict[int, int] = {}
    for job in sorted(range(jobs.n), key=lambda j: (starts[j], starts[j] + jobs.times[j], rank[j])):
        for lock in mask_indices(jobs.locks[job]):
            if lock in last and job not in after[last[lock]]:
                after[last[lock]].append(job)
            last[lock] = job
    waits_for = [0] * jobs.n
    for later in after:
        for job in later:
            waits_for[job] += 1
    return waits_for, after
