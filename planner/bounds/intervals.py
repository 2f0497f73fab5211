"""The largest live load: the heaviest clique where conflicts come from lifetimes.

Half-open ranges that pairwise meet all meet in one point, so the largest sum of sizes alive at one
time is exactly the heaviest clique. Needs lifetimes; other relations are `clique`'s.
"""

from planner.errors import UsageError
from planner.problem import Bound, Problem

__all__ = ["largest_live_load"]


def largest_live_load(problem: Problem) -> Bound:
    """Return the largest sum of sizes that are live at one time, and who they are.

    Parameters
    ----------
    problem : Problem
        n buffers with lifetimes.

    Returns
    -------
    Bound
        The load in bytes; the witness are the buffers of size > 0 live at the first time that
        reaches it, or one buffer with an empty lifetime where that alone is larger.

    Raises
    ------
    UsageError
        The problem has conflict masks instead of lifetimes. Caused by the caller.

    Notes
    -----
    A sweep over the sorted ends: O(n log n), exact.

    Examples
    --------
    >>> largest_live_load(Problem((4, 2, 3), lifetimes=((0, 2), (1, 3), (2, 4))))
    Bound(lower_bound_bytes=6, witness=(0, 1))
    """
    if problem.lifetimes is None:
        raise UsageError("largest_live_load: found conflict_masks, expected lifetimes")
    # A size freed at a time leaves before one allocated at that time comes: ranges are half-open.
    changes: list[tuple[int, int]] = []
    for (lower, upper), size in zip(problem.lifetimes, problem.sizes, strict=True):
        if size and lower < upper:
            changes += ((lower, size), (upper, -size))
    changes.sort()
    load = load_max = peak_time = 0
    for time, change in changes:
        load += change
        if load > load_max:
            load_max, peak_time = load, time
    largest = max(range(problem.n), key=problem.sizes.__getitem__, default=0)
    if problem.n and problem.sizes[largest] > load_max:
        return Bound(problem.sizes[largest], (largest,))
    witness = tuple(
        i
        for i, (lower, upper) in enumerate(problem.lifetimes)
        if lower <= peak_time < upper and problem.sizes[i]
    )
    return Bound(load_max, witness if load_max else ())
