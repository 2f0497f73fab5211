"""Starts and offsets in one model: exact, for few executions.

Every execution is a rectangle, its time by the bytes of its instance; no two of them meet. All
executions of an instance have one offset, which constraint programming chooses along with the
starts. What lists and packing do one after the other is decided at once here, and proven.
"""

from collections.abc import Sequence
from math import gcd

from planner.fit.packing import conflicts_in_time, keeps_locks
from planner.fit.placing import TimedPlan
from planner.fit.workload import Workload
from planner.makespan.exact import ExactModel

__all__ = ["fit_together"]


def fit_together(
    work: Workload, known: TimedPlan, height_bytes: int, lower_bound: int, limit: float
) -> tuple[TimedPlan, int]:
    """Return a plan at least as short as `known`, and a bound for the height.

    Parameters
    ----------
    work : Workload
    known : TimedPlan
        Of at most `height_bytes`.
    height_bytes : int
    lower_bound : int
        Proven for that height.
    limit : float
        CP-SAT's own count of work.
    """
    jobs, sizes = work.jobs, work.work_bytes
    exact = ExactModel.of_jobs(jobs, known.starts, lower_bound)
    if exact is None:
        return known, lower_bound
    share = gcd(*sizes)
    top = height_bytes // share
    floors = [exact.model.new_int_var(0, top - size // share, "") for size in sizes]
    for floor, offset in zip(floors, known.offsets, strict=True):
        exact.model.add_hint(floor, offset // share)
    solid = [job for job, size in enumerate(work.job_bytes()) if size]
    regions = [
        exact.model.new_fixed_size_interval_var(floor, size // share, "")
        for floor, size in zip(floors, sizes, strict=True)
    ]
    exact.model.add_no_overlap_2d(
        [exact.spans[job] for job in solid], [regions[jobs.instances[job]] for job in solid]
    )
    exact.model.add_cumulative(exact.spans, [size // share for size in work.job_bytes()], top)
    answer = exact.solve(limit, floors)
    if answer.starts is None or work.length_of(answer.starts) >= known.length:
        return known, answer.lower_bound
    offsets = [floor * share for floor in exact.found]
    if not keeps_locks(work, answer.starts) or _meet(work, answer.starts, offsets):
        return known, answer.lower_bound
    ends = (offset + size for offset, size in zip(offsets, sizes, strict=True) if size)
    found = TimedPlan(work.length_of(answer.starts), max(ends), answer.starts, tuple(offsets))
    return found, answer.lower_bound


def _meet(work: Workload, starts: Sequence[int], offsets: Sequence[int]) -> bool:
    """Return whether bytes meet in time: rectangles without length do where the model allows."""
    sizes = work.work_bytes
    masks = conflicts_in_time(work, starts)
    return any(
        masks[i] >> j & 1
        and offsets[i] < offsets[j] + sizes[j]
        and offsets[j] < offsets[i] + sizes[i]
        for i in range(len(sizes))
        for j in range(i)
        if sizes[i] and sizes[j]
    )
