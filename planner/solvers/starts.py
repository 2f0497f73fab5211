"""Where a buffer may start, whatever lies around it: alignment and blocks. Nothing else."""

from itertools import accumulate

from planner.problem import Problem
from planner.units import align_up

__all__ = ["lowest_start"]


def lowest_start(problem: Problem, i: int, offset: int) -> int | None:
    """Return the lowest offset >= `offset` where buffer `i` is aligned and inside one block.

    None where the blocks above `offset` are all too small. Bytes. Pins are not looked at.

    Examples
    --------
    >>> two_blocks = Problem((4,), lifetimes=((0, 1),), alignments=(4,), blocks=(6, 6))
    >>> [lowest_start(two_blocks, 0, offset) for offset in (0, 1, 9)]
    [0, 8, None]
    """
    size, alignment = problem.sizes[i], problem.alignment(i)
    start = align_up(offset, alignment)
    if not problem.blocks or not size:
        return start
    for block, stop in zip(problem.blocks, accumulate(problem.blocks), strict=True):
        inside = max(start, align_up(stop - block, alignment))
        if inside + size <= stop:
            return inside
    return None
