"""Greedy orders for timelines of many thousand buffers: nothing is held that grows with pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from planner.problem import Assignment, Problem
from planner.solvers.grid import Grid
from planner.units import BYTES_MAX

if TYPE_CHECKING:
    from planner.solvers.kernels.space import Ints

__all__ = ["solve"]

_BUFFERS_PER_CALL: Final = 2_000


def solve(
    problem: Problem,
    bound_bytes: int,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Assignment | None:
    """Return the lowest of three first-fit assignments; stop at the first of height `bound_bytes`.

    Parameters
    ----------
    problem : Problem
        With lifetimes; alignments, pins and blocks are kept.
    bound_bytes : int
        A height that cannot be beaten.
    should_stop : callable, optional
        Asked every two thousand buffers; an order that is not through is dropped.

    Returns
    -------
    Assignment or None
        None where no order found room for every buffer, or none was through when told to stop.

    Notes
    -----
    O(n^2) at worst, with a small constant; memory O(n). Deterministic: ties by index.

    Examples
    --------
    >>> solve(Problem((1, 2, 1), lifetimes=((0, 2), (1, 4), (3, 5))), 3)
    Assignment(offsets=(2, 0, 2))
    """
    from planner.solvers.kernels import line

    grid = Grid(problem)
    space = grid.space(min(grid.granules(BYTES_MAX), BYTES_MAX))
    if space is None:
        return None
    lowers, uppers = grid.lives
    best, best_height = None, BYTES_MAX + 1
    n = len(grid.movable)
    for order in _orders(grid):
        shelf = line.fresh(n)
        for begin in range(0, n, _BUFFERS_PER_CALL):
            if should_stop is not None and should_stop():
                return best
            end = min(n, begin + _BUFFERS_PER_CALL)
            if not line.place(space, shelf, lowers, uppers, order, begin, end):
                break
        else:
            assignment = grid.assignment(shelf.offsets)
            height = assignment.height_bytes(problem)
            if height < best_height:
                best, best_height = assignment, height
            if best_height <= bound_bytes:
                break
    return best


def _orders(grid: Grid) -> Iterator[Ints]:
    """Yield orders by size, by size times life, and by life, largest first, ties by index."""
    import numpy as np

    lowers, uppers = grid.lives
    sizes, spans = grid.sizes.astype(np.float64), (uppers - lowers).astype(np.float64)
    for key in (sizes, sizes * spans, spans):
        yield np.argsort(-key, kind="stable")
