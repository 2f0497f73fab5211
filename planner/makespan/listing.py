"""List schedules: whenever a lock is free, the waiting job with the most work behind it starts."""

import random
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from planner.makespan.jobs import Jobs

__all__ = ["list_schedule", "perturbed", "schedule_in_order"]

_SCALE: Final = 64


def list_schedule(jobs: Jobs, priorities: Sequence[int]) -> list[int]:
    """Return a start for each job; of the jobs that may start, the largest priority goes first.

    No job waits while all its locks are free and what it comes after is over. Ties by job.

    Notes
    -----
    O(n x sets of locks) at worst: jobs with the same locks wait in one queue.

    References
    ----------
    .. [1] R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM Journal on Applied
       Mathematics 17, 1969.
    """
    open_before = [0] * jobs.n
    for later in jobs.after:
        for job in later:
            open_before[job] += 1
    queues: dict[int, list[tuple[int, int]]] = {}
    for job in range(jobs.n):
        if not open_before[job]:
            queues.setdefault(jobs.locks[job], []).append((-priorities[job], job))
    for queue in queues.values():
        heapify(queue)
    starts = [0] * jobs.n
    running: list[tuple[int, int]] = []
    busy = now = 0
    while queues or running:
        free = sorted((queue[0], mask) for mask, queue in queues.items() if not mask & busy)
        for (_, job), mask in free:
            if mask & busy:
                continue
            heappop(queues[mask])
            if not queues[mask]:
                del queues[mask]
            starts[job] = now
            busy |= mask
            heappush(running, (now + jobs.times[job], job))
        now = running[0][0]
        while running and running[0][0] == now:
            _, ended = heappop(running)
            busy ^= jobs.locks[ended]
            for job in jobs.after[ended]:
                open_before[job] -= 1
                if not open_before[job]:
                    queue = queues.setdefault(jobs.locks[job], [])
                    heappush(queue, (-priorities[job], job))
    return starts


def schedule_in_order(jobs: Jobs, order: Sequence[int]) -> list[int]:
    """Return the earliest starts if jobs that share a lock run in the given order.

    Parameters
    ----------
    jobs : Jobs
    order : sequence of int
        All jobs, none before what it comes after.
    """
    starts = [0] * jobs.n
    free_at: dict[int, int] = {}
    for job in order:
        mask, start = jobs.locks[job], starts[job]
        rest = mask
        while rest:
            lock = rest & -rest
            start = max(start, free_at.get(lock, 0))
            rest ^= lock
        starts[job] = start
        end = start + jobs.times[job]
        while mask:
            lock = mask & -mask
            free_at[lock] = end
            mask ^= lock
        for later in jobs.after[job]:
            starts[later] = max(starts[later], end)
    return starts


def perturbed(priorities: Sequence[int], restarts: int) -> Iterator[list[int]]:
    """Yield the priorities, then `restarts` - 1 seeded variations, each farther from them."""
    yield [_SCALE * priority for priority in priorities]
    for seed in range(1, restarts):
        spread = 1 + _SCALE * seed // restarts
        rng = random.Random(seed)
        yield [
            priority * (_SCALE + rng.randrange(-spread, spread + 1)) + rng.randrange(_SCALE)
            for priority in priorities
        ]
