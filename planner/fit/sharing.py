"""From a timed schedule with offsets to constraints that keep sharers apart whatever times are.

    timed     [ a ]      [ c ]     a and b share bytes, one channel alone uses both and a was over
                    [ b ]          before b began: an order edge, a before b. Whoever meets in
                                   several channels, or in turns, is kept apart by a lock instead.

The schedule itself keeps every constraint: what is added never makes a frame longer than it was in
the schedule. Which times are right matters for the makespan alone, no longer for safety.
"""

from collections.abc import Iterator, Sequence

from planner.fit.placing import TimedPlan
from planner.fit.workload import Workload
from planner.masks import mask_indices
from planner.plan import AddedKind, AddedOrder

__all__ = ["constraints_of", "excluded_jobs", "sharing_pairs"]


def sharing_pairs(work: Workload, offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the pairs i < j of instances that share bytes, although they conflict by themselves."""
    order = sorted(
        (i for i, size in enumerate(work.work_bytes) if size), key=lambda i: (offsets[i], i)
    )
    pairs = []
    opened: list[int] = []
    for j in order:
        opened = [i for i in opened if offsets[i] + work.work_bytes[i] > offsets[j]]
        pairs += [(min(i, j), max(i, j)) for i in opened if work.conflicts[j] >> i & 1]
        opened.append(j)
    yield from sorted(pairs)


def excluded_jobs(work: Workload, offsets: Sequence[int]) -> list[int]:
    """Return the locks of each job with one more for each pair that shares bytes."""
    locks = list(work.jobs.locks)
    first = max(mask.bit_length() for mask in locks)
    extra = [0] * len(work.work_bytes)
    for k, pair in enumerate(sharing_pairs(work, offsets)):
        for instance in pair:
            extra[instance] |= 1 << first + k
    return [mask | extra[i] for mask, i in zip(locks, work.jobs.instances, strict=True)]


def constraints_of(work: Workload, timed: TimedPlan) -> tuple[AddedOrder, ...]:
    """Return orders and exclusions that keep apart all who share bytes: orders first.

    Notes
    -----
    Orders that follow from the fleet's and from one another are left out. O(pairs + steps x
    orders).
    """
    jobs, names = work.jobs, work.schedule.instances
    runs: list[list[int]] = [[] for _ in names]
    for position, job in enumerate(work.sequence(timed.starts)):
        runs[jobs.instances[job]].append(position)
    ordered: list[tuple[int, int, int]] = []
    exclusive: list[tuple[int, int]] = []
    for i, j in sharing_pairs(work, timed.offsets):
        if work.homes[i] is None or work.homes[i] != work.homes[j]:
            exclusive.append((i, j))
        elif runs[i][-1] < runs[j][0]:
            ordered.append((runs[j][0] - runs[i][-1], i, j))
        elif runs[j][-1] < runs[i][0]:
            ordered.append((runs[i][0] - runs[j][-1], j, i))
        else:
            exclusive.append((i, j))
    needed = _irredundant(work, sorted(ordered))
    return (
        *(AddedOrder(names[i], names[j], AddedKind.ORDER) for i, j in needed),
        *(AddedOrder(names[i], names[j], AddedKind.EXCLUSIVE) for i, j in exclusive),
    )


def _irredundant(work: Workload, ordered: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return the orders that do not follow from `after` and from those of shorter distance."""
    jobs = work.jobs
    users: list[list[int]] = [[] for _ in work.work_bytes]
    for job, instance in enumerate(jobs.instances):
        users[instance].append(job)
    after, before = [0] * jobs.n, [0] * jobs.n
    for job in reversed(jobs.line):
        for later in jobs.after[job]:
            after[job] |= after[later] | 1 << later
    for job in jobs.line:
        for later in jobs.after[job]:
            before[later] |= before[job] | 1 << job
    needed = []
    for _, i, j in ordered:
        missing = [(a, b) for a in users[i] for b in users[j] if not after[a] >> b & 1]
        if not missing:
            continue
        needed.append((i, j))
        for a, b in missing:
            earlier, later = before[a] | 1 << a, after[b] | 1 << b
            for job in mask_indices(earlier):
                after[job] |= later
            for job in mask_indices(later):
                before[job] |= earlier
    return needed
