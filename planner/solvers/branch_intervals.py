"""Exact search for buffers on a timeline: fit them below a given capacity, or prove that none can.

Aimed at the lower bound it finds most optima at once; told a larger capacity it is a decision
procedure. Difficulty does not fall steadily with capacity, so aim at several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from planner.problem import Problem
from planner.solvers.attempt import Attempt
from planner.solvers.branching import Board
from planner.solvers.branching import fit as fit_board
from planner.solvers.grid import EDGES_MAX, Grid

__all__ = ["PREORDERS", "board_of", "fit"]

PREORDERS: Final = (0, 1, 2)
"""Width, area, total; total, area, width; total, width, area: the order they take turns in."""

_LONG: Final = 1 << 62
"""Longer lives are all alike."""


def fit(
    problem: Problem,
    capacity_bytes: int,
    nodes_max: int,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Attempt:
    """Place all buffers below a capacity by branch and bound over lower-justified solutions.

    Parameters
    ----------
    problem : Problem
        With lifetimes; alignments, pins and blocks are kept.
    capacity_bytes : int
        No buffer may end above it, >= 0. The problem's own capacity is not looked at.
    nodes_max : int
        Search nodes over all preorders together.
    should_stop : callable, optional
        Asked every few thousand nodes.

    Returns
    -------
    Attempt
        `INFEASIBLE` only after exhausting the search; `UNKNOWN` at a limit, or where more than
        `EDGES_MAX` pairs conflict.

    Notes
    -----
    Deterministic for given limits. Exponential in the worst case.

    References
    ----------
    .. [1] M. D. Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated
       Machine Learning", ASPLOS 2023.

    Examples
    --------
    >>> two_by_two = Problem((2, 1, 1), lifetimes=((0, 4), (0, 2), (1, 4)))
    >>> fit(two_by_two, 4, nodes_max=100).status.value
    'feasible'
    >>> fit(two_by_two, 3, nodes_max=100).status.value
    'infeasible'
    """
    grid = Grid(problem)
    if grid.n_conflicts > EDGES_MAX:
        return Attempt.gave_up(nodes=0)
    return fit_board(grid, board_of, PREORDERS, capacity_bytes, nodes_max, should_stop)


def board_of(grid: Grid) -> Board:
    """Return the board whose groups are the maximal sets of buffers alive at one time."""
    import numpy as np

    lowers, uppers = grid.lives
    alive = lowers < uppers
    # From one end of a life to the next the same buffers are alive; that set is maximal iff one of
    # them starts where it begins and one ends where it ends.
    ends = np.union1d(lowers[alive], uppers[alive])
    starting, ending = np.isin(ends, lowers[alive]), np.isin(ends, uppers[alive])
    kept = ends[:-1][starting[:-1] & ending[1:]]
    first, last = np.searchsorted(kept, lowers), np.searchsorted(kept, uppers)
    members: list[list[int]] = [[] for _ in kept]
    for v, (low, high) in enumerate(zip(first, last, strict=True)):
        if alive[v]:
            for section in range(low, high):
                members[section].append(v)
        else:
            members.append([v])  # meets nobody: a line of its own
    assert grid.problem.lifetimes is not None
    lives = [grid.problem.lifetimes[i] for i in grid.movable]
    spreads = np.array([float(min(upper - lower, _LONG)) for lower, upper in lives])
    return Board.of(grid, spreads, members, on_line=True)
