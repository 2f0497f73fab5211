"""What no makespan goes below: paths of the order, jobs that exclude one another, memory in use."""

from bisect import insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Final

from planner.makespan.jobs import Jobs
from planner.masks import mask_indices

__all__ = [
    "busiest_set",
    "critical_path",
    "crowded_bound",
    "exclusive_sets",
    "one_machine_bound",
    "pool_bound",
    "rounds_bound",
]

_HEADS_MAX: Final = 40
"""Earliest starts from which the work that is left is summed."""
_SEEDS_MAX: Final = 32
"""Sets of jobs that exclude one another are grown from so many places."""


def critical_path(jobs: Jobs) -> int:
    """Return the length of the longest path of the order."""
    return max(h + t for h, t in zip(jobs.heads(), jobs.times, strict=True))


def pool_bound(jobs: Jobs) -> int:
    """Return how long the busiest pool needs if its lanes share its jobs evenly."""
    return max(
        (-(-sum(jobs.times[job] for job in members) // size) for size, members in jobs.pools),
        default=0,
    )


def crowded_bound(
    heads: Sequence[int],
    times: Sequence[int],
    tails: Sequence[int],
    demands: Sequence[int],
    capacity: int,
) -> int:
    """Return a makespan that jobs which share a capacity while they run do not go below.

    Those whose head is at least r and whose tail is at least q run between r and q before the end,
    and together they take no more than the capacity all that time.

    Notes
    -----
    Every tail with some of the heads, evenly: O(n) for each of at most `_HEADS_MAX`.

    Examples
    --------
    Three jobs of 4, two at a time, and 5 more of work after each:

    >>> crowded_bound([0, 0, 0], [4, 4, 4], [5, 5, 5], [1, 1, 1], 2)
    11
    """
    if capacity <= 0:
        return 0
    by_tail = sorted(range(len(times)), key=lambda job: -tails[job])
    starts = sorted(set(heads))
    best = 0
    for head in starts[:: -(-len(starts) // _HEADS_MAX)]:
        energy = 0
        for job in by_tail:
            if heads[job] >= head:
                energy += demands[job] * times[job]
                best = max(best, head + tails[job] - (-energy // capacity))
    return best


def rounds_bound(times: Sequence[int], tails: Sequence[int], machines: int) -> int:
    """Return a makespan that jobs do not go below of which so many run at the same time.

    Of m * `machines` + 1 jobs some m + 1 run one after the other: at least the shortest of them.

    Notes
    -----
    For the jobs with the longest tails, however many: O(n^2 / machines) at most.

    Examples
    --------
    Three jobs of 4, two at a time, and 5 more of work after each:

    >>> rounds_bound([4, 4, 4], [5, 5, 5], 2)
    13
    """
    longest: list[int] = []  # times so far, negative: the longest first
    best = 0
    for job in sorted(range(len(times)), key=lambda job: -tails[job]):
        insort(longest, -times[job])
        for rounds in range(1, (len(longest) - 1) // machines + 1):
            last = rounds * machines
            best = max(best, tails[job] - sum(longest[last - rounds : last + 1]))
    return best


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
