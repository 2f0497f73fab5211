"""Greedy orders for very many buffers on a timeline, where no matrix of conflicts can be held.

First those that live where most is alive at once, long lives before short ones: what is tightest
finds room while there is some. Then buffers of about the same size from left to right, which wastes
least among equals (first fit by lower end colours intervals optimally); classes of sizes come from
large to small. How coarse the classes should be differs from trace to trace: several are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from planner.errors import UsageError
from planner.problem import Assignment, Problem
from planner.solvers.grid import Grid
from planner.units import BYTES_MAX

if TYPE_CHECKING:
    from planner.solvers.kernels.buckets import Shelves
    from planner.solvers.kernels.line import Shelf
    from planner.solvers.kernels.space import Ints, Space

__all__ = ["STEPS_MAX", "orders", "solve"]

STEPS_MAX: Final = 500_000_000
"""Placed buffers looked at before no further order is tried: about 8 s compiled."""

_CLASS_RATIOS: Final = (1.1, 2.0, 1.0, 1.2, 1.05, 1.5, 4.0)
"""Sizes within such a factor are one class; 1: only equal ones. The best on average come first."""

_BUCKETS_MAX: Final = 4_096
_BUCKETS_MIN: Final = 64
_COPIES_MAX: Final = 2.5  # of each buffer on average, over all buckets that it is live in
_SORTED_MAX: Final = 25  # buckets' places gathered by long-lived buffers, per buffer of the whole
_BUFFERS_PER_CALL: Final = 2_000  # between two looks at the clock


def solve(
    problem: Problem,
    bound_bytes: int,
    steps_max: int = STEPS_MAX,
    *,
    should_stop: Callable[[], bool] | None = None,
    on_best: Callable[[Assignment], None] | None = None,
) -> Assignment | None:
    """Return the lowest of some greedy assignments; stop at the first of height `bound_bytes`.

    Parameters
    ----------
    problem : Problem
        With lifetimes; alignments, pins and blocks are kept.
    bound_bytes : int
        A height that cannot be beaten.
    steps_max : int
        Placed buffers looked at before no further order is begun: at least one order is finished.
    should_stop : callable or None
        Asked every few thousand buffers; true ends the sweep with the best so far.
    on_best : callable or None
        Given each better assignment when it is found.

    Returns
    -------
    Assignment or None
        None where no order found room for every buffer in the blocks or beside the pins, or none
        was finished: that proves nothing.

    Raises
    ------
    UsageError
        The problem has conflict masks instead of lifetimes. Caused by the caller.

    Notes
    -----
    An order costs about the sum over all buffers of those live beside them and lying below. Orders
    that come out higher than the best are left early. Deterministic: ties by index.

    Examples
    --------
    >>> solve(Problem((4, 2, 3), lifetimes=((0, 2), (1, 3), (2, 4))), bound_bytes=6)
    Assignment(offsets=(0, 4, 0))
    """
    if problem.lifetimes is None:
        raise UsageError("sweep.solve: found conflict_masks, expected lifetimes")
    grid = Grid(problem)
    space = grid.space(min(grid.granules(BYTES_MAX), BYTES_MAX))
    if space is None:
        return None
    lowers, uppers = grid.lives
    cut = _cut(lowers, uppers)
    best, best_height, steps = None, BYTES_MAX + 1, 0
    for order in orders(space.sizes, lowers, uppers):
        shelf = _fresh(lowers, uppers, cut)
        height_max = (best_height - 1) // grid.granule_bytes
        if _sweep(space, shelf, order, height_max, should_stop):
            best = grid.assignment(shelf.offsets)
            best_height = best.height_bytes(problem)
            if on_best is not None:
                on_best(best)
        steps += int(shelf.steps[0])
        is_stopped = should_stop is not None and should_stop()
        if best_height <= bound_bytes or steps > steps_max or is_stopped:
            break
    return best


def _fresh(lowers: Ints, uppers: Ints, cut: tuple[Ints, Ints, Ints] | None) -> Shelf | Shelves:
    from planner.solvers.kernels import buckets, line

    return line.fresh(lowers, uppers) if cut is None else buckets.fresh(lowers, uppers, *cut)


def _sweep(
    space: Space,
    shelf: Shelf | Shelves,
    order: Ints,
    height_max: int,
    should_stop: Callable[[], bool] | None,
) -> bool:
    """Place all buffers of an order; return whether they found room, and time."""
    from planner.solvers.kernels import buckets, line

    for k in range(0, len(order), _BUFFERS_PER_CALL):
        if should_stop is not None and should_stop():
            return False
        part = order[k : k + _BUFFERS_PER_CALL]
        if isinstance(shelf, line.Shelf):
            count = line.place(space, shelf, part, height_max)
        else:
            count = buckets.place(space, shelf, part, height_max)
        if count < len(part):
            return False
    return True


def orders(sizes: Ints, lowers: Ints, uppers: Ints) -> Iterator[Ints]:
    """Yield orders of the buffers, without repeats.

    Sizes in granules; lives half-open; all of shape (n,), as the orders, which hold indices.
    """
    import numpy as np

    seen: list[Ints] = []
    by_class = (
        np.lexsort((uppers, -sizes, lowers, -_classes(sizes, ratio))) for ratio in _CLASS_RATIOS
    )
    for order in chain([_tightest_first(sizes, lowers, uppers)], by_class):
        if not any(np.array_equal(order, other) for other in seen):
            seen.append(order)
            yield order


def _tightest_first(sizes: Ints, lowers: Ints, uppers: Ints) -> Ints:
    """Return the order by the most that is alive at one time of a life, then by its length."""
    import numpy as np

    times = np.union1d(lowers, uppers)
    first, last = np.searchsorted(times, lowers), np.searchsorted(times, uppers)
    changes = np.zeros(len(times) + 1, np.int64)
    np.add.at(changes, first, sizes)
    np.add.at(changes, last, -sizes)
    # Row k: the most over 2^k times from each on.
    peaks = [np.cumsum(changes)]
    while 1 << len(peaks) <= len(times):
        half = 1 << len(peaks) - 1
        peaks.append(np.maximum(peaks[-1][:-half], peaks[-1][half:]))
    lengths = np.maximum(last - first, 1)
    rows = np.frexp(lengths)[1] - 1
    peak = np.zeros(len(sizes), np.int64)
    for row in np.unique(rows):
        of_row = rows == row
        peak[of_row] = np.maximum(
            peaks[row][first[of_row]], peaks[row][first[of_row] + lengths[of_row] - (1 << row)]
        )
    return np.lexsort((uppers, -sizes, lowers - uppers, -peak))


def _classes(sizes: Ints, ratio: float) -> Ints:
    """Return the class of each size: how many class limits lie at or below it."""
    import numpy as np

    if ratio == 1.0:
        return sizes
    limits = [int(sizes.min(initial=1))]
    while limits[-1] < sizes.max(initial=0):
        limits.append(max(limits[-1] + 1, int(limits[-1] * ratio)))
    return np.searchsorted(np.array(limits, np.int64), sizes, side="right")


def _cut(lowers: Ints, uppers: Ints) -> tuple[Ints, Ints, Ints] | None:
    """Cut time into buckets of about equally many beginnings; None where lives are too long for it.

    Returns
    -------
    first, last : int64 array, shape (n,)
        Buckets that each buffer is live in, both ends included; last < first for none.
    begins : int64 array, shape (n_buckets + 1,)
        Sums of the buffers live in the buckets before.
    """
    import numpy as np

    from planner.solvers.kernels.buckets import MERGE_MAX

    n = len(lowers)
    times = np.sort(lowers)
    n_buckets = _BUCKETS_MAX
    while n_buckets >= _BUCKETS_MIN:
        cuts = np.unique(times[np.arange(1, n_buckets) * n // n_buckets] if n else times)
        first = np.searchsorted(cuts, lowers, side="right")
        last = np.searchsorted(cuts, uppers - 1, side="right")
        last = np.where(lowers < uppers, last, first - 1)
        counts = np.bincount(first, minlength=len(cuts) + 2)[:-1]
        counts = np.cumsum(counts - np.bincount(last + 1, minlength=len(cuts) + 2)[:-1])
        begins = np.concatenate([[0], np.cumsum(counts)])
        gathered = (begins[last + 1] - begins[first])[last - first >= MERGE_MAX].sum()
        if begins[-1] <= _COPIES_MAX * n and gathered <= _SORTED_MAX * n:
            return first, last, begins
        n_buckets //= 2
    return None
