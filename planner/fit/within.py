"""The shortest frame within a height: lists that place memory, then constraint programming.

    lists ──► good enough? ──► CP-SAT: order, locks and memory in use ──► pack ──► fits: take it
                                    ▲                                      │
                                    └───────── a smaller height ◄──────────┘ no: bytes in use are
                                                                             no offsets yet
              CP-SAT once more with the offsets of the best list kept

A height is all that this room is told: what fits into less memory is no matter of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from planner.fit.packing import keeps_locks, pack
from planner.fit.placing import GapRule, TimedPlan, place_in_time
from planner.fit.sharing import excluded_jobs
from planner.fit.together import fit_together
from planner.fit.workload import Workload
from planner.makespan import perturbed, schedule_in_order
from planner.makespan.bound import busiest_set, crowded_bound, rounds_bound
from planner.makespan.exact import improve, is_available

__all__ = ["Effort", "Within", "fit_within", "memory_bound"]


_SIDE_BY_SIDE_MAX: Final = 64
"""Most regions side by side that are counted for the bound."""
_FAR: Final = 4
"""A packing that is higher by more than one in so many parts ends the shrinking."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try at one height: counted, so that every machine finds the same.

    Attributes
    ----------
    restarts : int
        List schedules for each way to choose gaps.
    exact_limit : float
        What each run of constraint programming may do, in its own count; 0: none is made.
    together_max : int
        Most executions whose starts and offsets are looked for in one model.
    shrinks_max : int
        Runs with a smaller height after one whose schedule could not be packed.
    """

    restarts: int
    exact_limit: float
    together_max: int = 60
    shrinks_max: int = 2


@dataclass(frozen=True, slots=True)
class Within:
    """The best plan found within a height, and what none goes below there."""

    timed: TimedPlan
    lower_bound: int


def memory_bound(work: Workload, height_bytes: int) -> int:
    """Return a makespan that no plan within `height_bytes` is below.

    Notes
    -----
    The memory in use; the locks of the fleet with one more for all that take more than half; and
    for k = 2, 3, ... those of which no more than k find room at the same time.
    """
    jobs, sizes = work.jobs, work.job_bytes()
    first = max(mask.bit_length() for mask in jobs.certain)
    certain = tuple(
        mask | (2 * size > height_bytes) << first
        for mask, size in zip(jobs.certain, sizes, strict=True)
    )
    best = busiest_set(replace(jobs, certain=certain))
    heads, tails = jobs.heads(), jobs.tails()
    best = max(best, crowded_bound(heads, jobs.times, tails, sizes, height_bytes))
    wide: list[int] = []
    for k in range(2, _SIDE_BY_SIDE_MAX + 1):
        before = wide
        wide = [job for job, size in enumerate(sizes) if size * (k + 1) > height_bytes]
        if len(wide) <= k or len(wide) == len(before):
            continue  # they all find room, or fewer of them did before
        some = [jobs.times[job] for job in wide]
        after = [tails[job] for job in wide]
        best = max(best, rounds_bound(some, after, k))
        best = max(best, crowded_bound([heads[j] for j in wide], some, after, [1] * len(wide), k))
    return best


def fit_within(work: Workload, height_bytes: int, bound: int, effort: Effort) -> Within:
    """Return the shortest frame found within a height that holds the largest region.

    Parameters
    ----------
    work : Workload
    height_bytes : int
        A multiple of every region's alignment.
    bound : int
        Proven for that height.
    effort : Effort
    """
    best = _by_lists(work, height_bytes, bound, effort.restarts)
    if best.length == bound or effort.exact_limit == 0 or not is_available():
        return Within(best, bound)
    limit = height_bytes
    for _ in range(1 + effort.shrinks_max):
        answer = improve(
            work.jobs,
            best.starts,
            bound,
            effort.exact_limit,
            work_bytes=work.work_bytes,
            height_bytes=limit,
        )
        if limit == height_bytes:
            bound = answer.lower_bound
        if answer.starts is None or not keeps_locks(work, answer.starts):
            break
        if work.length_of(answer.starts) >= best.length:
            break
        packed = pack(work, answer.starts, height_bytes)
        if packed.height <= height_bytes:
            best = packed
            break
        best = min(
            (best, _not_before(work, answer.starts, height_bytes)), key=lambda plan: plan.length
        )
        if packed.height > height_bytes * (_FAR + 1) // _FAR:
            break  # what runs at different times conflicts all the same: less memory is no help
        limit = max(work.least_height, limit * height_bytes // packed.height)
    is_small = work.jobs.n <= effort.together_max
    if best.length > bound and is_small:
        best = _with_offsets_kept(work, best, bound, effort.exact_limit)
    if best.length > bound and is_small:
        best, bound = fit_together(work, best, height_bytes, bound, effort.exact_limit)
    return Within(best, bound)


def _by_lists(work: Workload, height_bytes: int, bound: int, restarts: int) -> TimedPlan:
    jobs = work.jobs
    work_behind = [time + tail for time, tail in zip(jobs.times, jobs.tails(), strict=True)]
    best: TimedPlan | None = None
    for priorities in perturbed(work_behind, restarts):
        for rule, is_strict in product(GapRule, (False, True)):
            found = place_in_time(work, priorities, height_bytes, rule=rule, is_strict=is_strict)
            if best is None or (found.length, found.height) < (best.length, best.height):
                best = found
            if best.length <= bound:
                return best
    assert best is not None, "there is at least one restart"
    return best


def _not_before(work: Workload, starts: Sequence[int], height_bytes: int) -> TimedPlan:
    """Return a plan along a schedule that cannot be packed: what finds no bytes waits for them."""
    priorities = [-start for start in starts]
    return min(
        (
            place_in_time(
                work, priorities, height_bytes, rule=rule, is_strict=strict, floors=starts
            )
            for rule, strict in product(GapRule, (False, True))
        ),
        key=lambda plan: plan.length,
    )


def _with_offsets_kept(work: Workload, best: TimedPlan, bound: int, limit: float) -> TimedPlan:
    """Return the plan with a better schedule of what its offsets allow, if one is found."""
    jobs = replace(work.jobs, locks=tuple(excluded_jobs(work, best.offsets)))
    answer = improve(jobs, best.starts, bound, limit)
    if answer.starts is None:
        return best
    starts = schedule_in_order(jobs, work.sequence(answer.starts))
    if work.length_of(starts) >= best.length:
        return best
    return replace(best, starts=tuple(starts), length=work.length_of(starts))
