"""Exact search on any conflict graph: fit the buffers below a capacity, or prove that none can.

The same search as on a line, with the cliques of a cover in place of sections and components in
place of cuts in time. Aimed at a capacity that is easy it answers at once; below, it may stall:
try several with small limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from planner.problem import Problem
from planner.solvers.attempt import Attempt
from planner.solvers.branching import Board
from planner.solvers.branching import fit as fit_board
from planner.solvers.clique_cover import clique_cover
from planner.solvers.grid import EDGES_MAX, Grid

__all__ = ["PREORDERS", "board_of", "fit"]

PREORDERS: Final = (0, 1, 2, 3)
"""By conflicts, by the tallest clique (twice), by size: the order they take turns in."""

_SHAKE: Final = 0.15
_CLIQUES_PER_BUFFER: Final = 4


def fit(
    problem: Problem,
    capacity_bytes: int,
    nodes_max: int,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> Attempt:
    """Place all buffers below a capacity by branch and bound over lower-justified solutions.

    Parameters
    ----------
    problem : Problem
        With conflict masks or lifetimes; alignments, pins and blocks are kept.
    capacity_bytes : int
        No buffer may end above it, >= 0. The problem's own capacity is not looked at.
    nodes_max : int
        Search nodes over all preorders together.
    seed : int
        0: the preorders as they are; above, shaken at random.
    should_stop : callable, optional
        Asked every few thousand nodes.

    Returns
    -------
    Attempt
        `INFEASIBLE` only after exhausting the search; `UNKNOWN` at a limit, or where more than
        `EDGES_MAX` pairs conflict.

    Notes
    -----
    Deterministic for given limits and seed. Exponential in the worst case.

    Examples
    --------
    >>> ring = Problem.of_edges([2, 1, 2, 1], [(0, 1), (1, 2), (2, 3), (3, 0)])
    >>> fit(ring, 3, nodes_max=100).assignment.offsets
    (0, 2, 0, 2)
    >>> fit(ring, 2, nodes_max=100).status.value
    'infeasible'
    """
    grid = Grid(problem)
    if grid.n_conflicts > EDGES_MAX:
        return Attempt.gave_up(nodes=0)
    return fit_board(
        grid,
        board_of,
        PREORDERS,
        capacity_bytes,
        nodes_max,
        should_stop,
        shake=_SHAKE if seed else 0.0,
        seed=seed,
    )


def board_of(grid: Grid) -> Board:
    """Return the board whose groups are the cliques of a cover."""
    import numpy as np

    order = sorted(range(len(grid.movable)), key=lambda v: (-grid.sizes[v], v))
    masks = grid.masks(order)
    spreads = np.empty(len(order))
    spreads[order] = [mask.bit_count() for mask in masks]
    cliques = clique_cover(masks, cliques_max=_CLIQUES_PER_BUFFER * len(order))
    members = [sorted(order[k] for k in clique) for clique in cliques]
    return Board.of(grid, spreads, members, on_line=False)
