"""Channels that do the same: which of them is which is no matter, so one order of them is enough.

found     cam@0 [ a ]      [ b ]        a in the order of the channels, b as well: whoever
          cam@1      [ a ]       [ b ]  ends step a as the k-th begins step b as the k-th.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise

from planner.makespan.jobs import Jobs
from planner.masks import mask_indices

__all__ = ["in_turn", "twins"]


def twins(jobs: Jobs, demands: Sequence[int] = ()) -> list[tuple[bool, list[int]]]:
    """Return the jobs of the same step in channels that are alike, channels upward.

    Parameters
    ----------
    jobs : Jobs
    demands : sequence of int, optional
        Bytes that each job takes while it runs.

    Returns
    -------
    list of (excluded, jobs)
        Whether the jobs of a set exclude one another. Of all schedules of one length there is one
        in which every set starts in its order, if there is one at all.

    Notes
    -----
    Channels are alike if their steps take as long, want as much, follow one another in the same
    way and hold the same locks. A lock all of whose holders follow one another anyway tells
    nothing apart: as the lane that a channel has to itself.

    Sorting the starts of each step by themselves keeps a schedule valid: the k-th to begin a step
    comes after at least k ends of the step before, and the spans, their locks and bytes are the
    same as ever.
    """
    locks = _telling(jobs)
    wanted = demands or [0] * jobs.n
    alike: dict[tuple[object, ...], list[list[int]]] = {}
    by_channel = groupby(
        range(jobs.n), key=lambda j: (jobs.executions[j].pipeline, jobs.executions[j].channel)
    )
    for _, members in by_channel:
        channel = list(members)
        key = tuple(
            (jobs.times[j], wanted[j], locks[j], tuple(k - channel[0] for k in jobs.after[j]))
            for j in channel
        )
        alike.setdefault(key, []).append(channel)
    return [
        (locks[step[0]] != 0, list(step))
        for channels in alike.values()
        if len(channels) > 1
        for step in zip(*channels, strict=True)
    ]


def in_turn(starts: Sequence[int], groups: Sequence[tuple[bool, Sequence[int]]]) -> list[int]:
    """Return the schedule with the starts of each set of twins in its order."""
    found = list(starts)
    for _, members in groups:
        for job, start in zip(members, sorted(starts[job] for job in members), strict=True):
            found[job] = start
    return found


def _telling(jobs: Jobs) -> list[int]:
    """Return the locks of each job without those whose holders follow one another anyway."""
    after = [0] * jobs.n
    for job in reversed(jobs.line):
        for later in jobs.after[job]:
            after[job] |= after[later] | 1 << later
    held: dict[int, list[int]] = {}
    for job in jobs.line:
        for lock in mask_indices(jobs.locks[job]):
            held.setdefault(lock, []).append(job)
    idle = sum(
        1 << lock
        for lock, members in held.items()
        if all(after[first] >> second & 1 for first, second in pairwise(members))
    )
    return [mask & ~idle for mask in jobs.locks]
