"""One maximum per group: buffers of a group share one range as large as their largest.

For a fleet the groups are its lanes, and this is what serial execution alone allows; any plan worth
having is at least as low.
"""

from collections.abc import Sequence

from planner.errors import UsageError
from planner.problem import Assignment, Problem
from planner.solvers.starts import lowest_start

__all__ = ["stack_groups"]


def stack_groups(problem: Problem, groups: Sequence[int]) -> Assignment | None:
    """Return the assignment that stacks the groups, each as high as its largest buffer.

    Parameters
    ----------
    problem : Problem
        n buffers. Pinned ones stay; the groups of the others lie above the highest pin.
    groups : sequence of int, length n
        The group of each buffer. Buffers of one group must not conflict.

    Returns
    -------
    Assignment or None
        None where blocks have no room left for a whole group.

    Raises
    ------
    UsageError
        Wrong length, or two buffers of one group conflict. Caused by the caller.

    Examples
    --------
    >>> both = Problem.of_edges(sizes=[4, 2, 3], edges=[(0, 2), (1, 2)])
    >>> stack_groups(both, groups=[0, 0, 1])
    Assignment(offsets=(0, 0, 4))
    """
    if len(groups) != problem.n:
        raise UsageError(f"groups: found {len(groups)}, expected {problem.n}, one a buffer")
    pins = dict(problem.pins)
    members: dict[int, list[int]] = {}
    for i in range(problem.n):
        if i not in pins:
            members.setdefault(groups[i], []).append(i)
    offsets = [pins.get(i, 0) for i in range(problem.n)]
    top = max((pin + problem.sizes[i] for i, pin in pins.items()), default=0)
    for group, indices in members.items():
        _check_apart(problem, group, indices)
        base = _base(problem, indices, top)
        if base is None:
            return None
        for i in indices:
            offsets[i] = base if problem.sizes[i] else 0
        top = base + max(problem.sizes[i] for i in indices)
    return Assignment(tuple(offsets))


def _check_apart(problem: Problem, group: int, indices: Sequence[int]) -> None:
    seen = 0
    for k, i in enumerate(indices):
        if problem.conflict_masks is None or problem.conflict_masks[i] & seen:
            for j in indices[:k]:
                if problem.in_conflict(i, j):
                    raise UsageError(f"groups: buffers {j} and {i} of group {group} conflict")
        seen |= 1 << i


def _base(problem: Problem, indices: Sequence[int], offset: int) -> int | None:
    """Return the lowest start from `offset` on that suits every buffer of a group."""
    while True:
        base = offset
        for i in indices:
            start = lowest_start(problem, i, base) if problem.sizes[i] else base
            if start is None:
                return None
            base = start
        if base == offset:
            return base
        offset = base
