"""Offsets for a timed schedule: only instances that run at the same time in it need bytes apart."""

from collections.abc import Sequence

from planner.fit.placing import TimedPlan
from planner.fit.workload import Workload
from planner.problem import Problem
from planner.solvers import SolveOptions, solve

__all__ = ["conflicts_in_time", "keeps_locks", "pack"]


def conflicts_in_time(work: Workload, starts: Sequence[int]) -> list[int]:
    """Return for each instance the mask of those that run beside it at some moment.

    A job without length that lies inside another one runs beside it; at its ends it does not.
    """
    jobs = work.jobs
    masks = [0] * len(work.work_bytes)
    running: list[int] = []
    for job in work.sequence(starts):
        running = [k for k in running if starts[k] + jobs.times[k] > starts[job]]
        instance = jobs.instances[job]
        for other in (jobs.instances[k] for k in running):
            if other != instance:
                masks[instance] |= 1 << other
                masks[other] |= 1 << instance
        running.append(job)
    return masks


def keeps_locks(work: Workload, starts: Sequence[int]) -> bool:
    """Return whether no two jobs that share a lock lie in one another, jobs without length too."""
    jobs = work.jobs
    running: list[int] = []
    for job in work.sequence(starts):
        running = [k for k in running if starts[k] + jobs.times[k] > starts[job]]
        if any(jobs.locks[k] & jobs.locks[job] for k in running):
            return False
        running.append(job)
    return True


def pack(work: Workload, starts: Sequence[int], height_bytes: int) -> TimedPlan:
    """Return offsets for a schedule, as low as `height_bytes` if a short search finds that."""
    problem = Problem(work.work_bytes, conflict_masks=tuple(conflicts_in_time(work, starts)))
    options = SolveOptions(
        target_bytes=height_bytes, nodes_max=20_000, clique_nodes_max=20_000, anytime=False
    )
    assignment = solve(problem, options).assignment
    assert assignment is not None, "without a capacity there is always an assignment"
    return TimedPlan(
        length=work.length_of(starts),
        height=assignment.height_bytes(problem),
        starts=tuple(starts),
        offsets=assignment.offsets,
    )
