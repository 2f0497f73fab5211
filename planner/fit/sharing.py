"""From a timed schedule with offsets to constraints that keep sharers apart whatever times are.

    timed     [ a ]      [ c ]     a and b share bytes, one channel alone uses both and a was over
                    [ b ]          before b began: an order edge, a before b. Whoever meets in
                                   several channels, or in turns, is kept apart by a lock instead.

The schedule itself keeps every constraint: what is added never makes a frame longer than it was in
the schedule. Which times are right matters for the makespan alone, no longer for safety.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

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


def constraints_of(
    work: Workload, timed: TimedPlan, also: Iterable[tuple[int, int]] = ()
) -> tuple[AddedOrder, ...]:
    """Return orders and exclusions that keep apart all who share bytes: orders first.

    Parameters
    ----------
    work : Workload
    timed : TimedPlan
    also : iterable of (int, int)
        Pairs of instances of one home: where all runs of one are over before the other's, they are
        ordered, too.

    Notes
    -----
    Orders that follow from the fleet's and from one another are left out. O(pairs + steps x
    orders).
    """
    names = work.schedule.instances
    spans = _spans(work, timed)
    ordered: set[tuple[int, int, int]] = set()
    exclusive: list[tuple[int, int]] = []
    for i, j in sharing_pairs(work, timed.offsets):
        is_home = work.homes[i] is not None and work.homes[i] == work.homes[j]
        if is_home and (order := _order(spans, i, j)) is not None:
            ordered.add(order)
        else:
            exclusive.append((i, j))
    ordered |= {order for i, j in also if (order := _order(spans, i, j)) is not None}
    needed = _irredundant(work, sorted(ordered))
    return (
        *(AddedOrder(names[i], names[j], AddedKind.ORDER) for i, j in needed),
        *(AddedOrder(names[i], names[j], AddedKind.EXCLUSIVE) for i, j in exclusive),
    )


class _Span(NamedTuple):
    """From the first run of an instance to its last one: time, and position among all runs."""

    start: int
    end: int
    first: int
    last: int


def _spans(work: Workload, timed: TimedPlan) -> dict[int, _Span]:
    """Return the span of each instance that runs: some lanes of a pool may take no execution."""
    starts, times = timed.starts, work.jobs.times
    runs: list[list[tuple[int, int]]] = [[] for _ in work.work_bytes]
    for position, job in enumerate(work.sequence(starts)):
        runs[work.jobs.instances[job]].append((position, job))
    return {
        i: _Span(starts[own[0][1]], starts[own[-1][1]] + times[own[-1][1]], own[0][0], own[-1][0])
        for i, own in enumerate(runs)
        if own
    }


def _order(spans: Mapping[int, _Span], i: int, j: int) -> tuple[int, int, int] | None:
    """Return (distance, first, second) of two instances; None: their spans meet."""
    first, second = (i, j) if spans[i].first < spans[j].first else (j, i)
    before, after = spans[first], spans[second]
    if before.last < after.first and before.end <= after.start:
        return after.first - before.last, first, second
    return None


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
