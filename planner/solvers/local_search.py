"""Annealing over placement orders: what improves where exact search stalls.

Many short runs do better than a long one: every other run goes on from the best solution, those
between begin anew from the best of some random orders by bands (sets of buffers without conflict).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from planner.problem import Assignment, Problem
from planner.solvers.grid import Grid
from planner.units import BYTES_MAX

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from planner.solvers.kernels.space import Ints

    Floats = npt.NDArray[np.float64]

__all__ = ["BUFFERS_MAX", "MOVES_PER_RUN", "improve"]

MOVES_PER_RUN: Final = 4_000
BUFFERS_MAX: Final = 8_000
"""A matrix of conflicts is held: 64 MB here."""

_HEAT: Final = 0.005  # of the target
_SHAKES: Final = (0.05, 0.2, 0.4)
_BANDINGS: Final = 20
_WORK_PER_CALL: Final = 4_000_000  # moves x buffers x buffers between two looks at the clock


def improve(
    problem: Problem,
    assignment: Assignment,
    target_bytes: int,
    iterations_max: int,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
    on_best: Callable[[Assignment], None] | None = None,
) -> Assignment:
    """Return an assignment at most as high as the given one, searched for a lower one.

    Parameters
    ----------
    problem : Problem
        Alignments, pins and blocks are kept.
    assignment : Assignment
        Valid for `problem`.
    target_bytes : int
        A height at which to stop, such as the lower bound, >= 0.
    iterations_max : int
        Moves tried.
    seed : int
        >= 0; one seed, one result.
    should_stop : callable, optional
        Asked every few hundredths of a second.
    on_best : callable, optional
        Given each better assignment when it is found.

    Notes
    -----
    A move costs about n times the number of buffers that come after it. Nothing is tried with more
    than `BUFFERS_MAX` buffers.

    References
    ----------
    .. [1] Y. Pisarchyk, J. Lee, "Efficient memory management for deep neural net inference", 2020:
       greedy orders.

    Examples
    --------
    >>> path = Problem.of_edges([4, 2, 2, 4], [(0, 1), (1, 2), (2, 3)])
    >>> worse = Assignment((0, 4, 6, 8))
    >>> improve(path, worse, 6, 100).height_bytes(path)
    6
    """
    import numpy as np

    from planner.solvers.kernels import orders

    grid = Grid(problem)
    n = len(grid.movable)
    pinned = max((offset + problem.sizes[i] for i, offset in problem.pins), default=0)
    target = max(target_bytes, pinned) // grid.granule_bytes
    height = assignment.height_bytes(problem)
    capacity = min(BYTES_MAX, grid.granules(max(height, pinned)))
    if n < 2 or n > BUFFERS_MAX or height <= target_bytes:
        return assignment
    space = grid.space(capacity)
    assert space is not None, "the given assignment is not valid"
    adjacent = np.array([grid.conflict_row(k) for k in range(n)], np.uint8)
    first = int((grid.offsets(assignment) + space.sizes).max())
    walk = orders.fresh(adjacent, seed, first)
    weights = _weights(space.sizes, adjacent)
    best, best_height, tried, run = assignment, first, 0, 0
    while tried < iterations_max:
        kind, is_new = divmod(run, 2)
        if is_new:
            by, shake = weights[kind % len(weights)], _SHAKES[kind // len(weights) % len(_SHAKES)]
            orders.restart_in_bands(space, walk, target, _HEAT * target, by, shake, _BANDINGS)
        else:
            walk.trial_order[:] = np.argsort(grid.offsets(best), kind="stable")
            orders.restart(space, walk, target, _HEAT * target)
        end = min(iterations_max, tried + MOVES_PER_RUN)
        while True:
            if walk.registers[orders.BEST] < best_height:
                best_height = int(walk.registers[orders.BEST])
                best = grid.assignment(walk.best_offsets)
                if on_best is not None:
                    on_best(best)
            if best_height <= target or (should_stop is not None and should_stop()):
                return best
            if tried == end:
                break
            moves = min(max(1, _WORK_PER_CALL // (n * n)), end - tried)
            orders.anneal(space, walk, target, moves)
            tried += moves
        run += 1
    return best


def _weights(sizes: Ints, adjacent: npt.NDArray[np.uint8]) -> tuple[Floats, ...]:
    """Return what can make a buffer come first: how much it and its conflicts weigh."""
    import numpy as np

    degrees = adjacent.sum(axis=1, dtype=np.int64) + 1.0
    own = sizes.astype(np.float64)
    return own * degrees, degrees, adjacent @ own + own
