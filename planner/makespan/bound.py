"""What no makespan goes below: paths of the order, jobs that exclude one another, memory in use."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final

from planner.makespan.jobs import Jobs
from planner.masks import mask_indices

__all__ = [
    "busiest_set",
    "critical_path",
    "energy_bound",
    "exclusive_sets",
    "one_machine_bound",
    "pool_bound",
]

_SEEDS_MAX: Final = 32
"""Sets of jobs that exclude one another are grown from so many places."""


def critical_path(jobs: Jobs) -> int:
    """Return the length of the longest path of the order."""
    return max(h + t for h, t in zip(jobs.heads(), jobs.times, strict=True))


def energy_bound(jobs: Jobs, work_bytes: Sequence[int], height_bytes: int) -> int:
    """Return how long `height_bytes` of memory are wholly in use.

    Jobs that run at the same time have regions of their own: what they occupy, times how long,
    sums to at most the height times the makespan.

    Parameters
    ----------
    jobs : Jobs
    work_bytes : sequence of int
        Reserved bytes of each instance of the schedule.
    height_bytes : int
        Height of the work reservation; 0 proves nothing.
    """
    energy = sum(
        time * work_bytes[instance]
        for time, instance in zip(jobs.times, jobs.instances, strict=True)
    )
    return -(-energy // height_bytes) if height_bytes > 0 else 0


def pool_bound(jobs: Jobs) -> int:
    """Return how long the busiest pool needs if its lanes share its jobs evenly."""
    return max(
        (-(-sum(jobs.times[job] for job in members) // size) for size, members in jobs.pools),
        default=0,
    )


def one_machine_bound(heads: Sequence[int], times: Sequence[int], tails: Sequence[int]) -> int:
    """Return the least makespan of jobs that exclude one another, if they could be interrupted.

    Notes
    -----
    Jackson's preemptive schedule: of the jobs that may run, always the one with the longest tail.
    O(n log n), exact for the relaxation.

    References
    ----------
    .. [1] J. Carlier, "The one-machine sequencing problem", European Journal of Operational
       Research 11, 1982.

    Examples
    --------
    >>> one_machine_bound([0, 0, 4], [3, 2, 1], [0, 5, 2])
    7
    """
    waiting = sorted(range(len(times)), key=lambda job: -heads[job])
    ready: list[list[int]] = []
    now = longest = 0
    while waiting or ready:
        if not ready:
            now = max(now, heads[waiting[-1]])
        while waiting and heads[waiting[-1]] <= now:
            job = waiting.pop()
            heappush(ready, [-tails[job], job, times[job]])
        top = ready[0]
        until = heads[waiting[-1]] if waiting else now + top[2]
        worked = min(top[2], until - now)
        now += worked
        top[2] -= worked
        if top[2] == 0:
            heappop(ready)
            longest = max(longest, now - top[0])
    return longest


def busiest_set(jobs: Jobs) -> int:
    """Return the best bound that jobs excluding one another give, by a lock or pair by pair."""
    heads, tails = jobs.heads(), jobs.tails()
    best = 0
    for members in exclusive_sets(jobs):
        total = sum(jobs.times[job] for job in members)
        if max(heads[j] for j in members) + total + max(tails[j] for j in members) > best:
            bound = one_machine_bound(
                [heads[j] for j in members],
                [jobs.times[j] for j in members],
                [tails[j] for j in members],
            )
            best = max(best, bound)
    return best


def exclusive_sets(jobs: Jobs) -> Iterator[list[int]]:
    """Yield sets of jobs any two of which share a lock: those of each lock, and some cliques."""
    held: dict[int, list[int]] = {}
    groups: dict[int, list[int]] = {}
    for job, mask in enumerate(jobs.certain):
        groups.setdefault(mask, []).append(job)
    weights = {mask: sum(jobs.times[job] for job in members) for mask, members in groups.items()}
    heaviest = sorted(groups, key=lambda mask: -weights[mask])  # stable: ties by first use
    for position, mask in enumerate(heaviest):
        for lock in mask_indices(mask):
            held.setdefault(lock, []).append(position)
    beside = [0] * len(heaviest)
    for positions in held.values():
        yield [job for position in positions for job in groups[heaviest[position]]]
        together = sum(1 << position for position in positions)
        for position in positions:
            beside[position] |= together
    for seed in range(min(_SEEDS_MAX, len(heaviest))):
        clique, candidates = [seed], beside[seed] & ~(1 << seed)
        while candidates:
            position = (candidates & -candidates).bit_length() - 1  # the heaviest left
            clique.append(position)
            candidates &= beside[position] & ~(1 << position)
        yield [job for position in clique for job in groups[heaviest[position]]]
