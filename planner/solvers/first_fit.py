"""Greedy orders: each buffer in turn takes the first, or the tightest, gap that holds it.

offset
  ^         +---+      placed conflicts of the next buffer, by offset; the first gap that
  |  +---+  | b |      holds it ends the scan. Most scans are short, so no list of
  |  | a |  +---+      neighbours is kept: one character a pair says whether it conflicts.
  +--+---+------>
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from planner.mask_graph import bit_planes, conflict_masks, weigh
from planner.problem import Assignment, Problem
from planner.solvers.starts import lowest_start

__all__ = ["PAIRS_MAX", "Fit", "greedy_orders", "place", "solve"]

PAIRS_MAX: Final = 10_000_000
"""Pairs looked at before no further order is tried: about half a second."""


class Fit(StrEnum):
    """Which gap a buffer takes."""

    FIRST = "first"
    BEST = "best"


def solve(problem: Problem, bound_bytes: int, pairs_max: int = PAIRS_MAX) -> Assignment | None:
    """Return the lowest of the greedy assignments; stop at the first of height `bound_bytes`.

    Parameters
    ----------
    problem : Problem
        n buffers; alignments, pins and blocks are kept.
    bound_bytes : int
        A height that cannot be beaten.
    pairs_max : int
        Pairs that may be looked at: of large problems fewer orders are tried, two at least.

    Returns
    -------
    Assignment or None
        None where no order found room for every buffer in the blocks or beside the pins: that
        proves nothing.

    Notes
    -----
    O(n^2) a try. Deterministic: ties by index.

    Examples
    --------
    >>> solve(Problem.of_edges(sizes=[1, 4, 2], edges=[(0, 1), (1, 2)]), bound_bytes=6)
    Assignment(offsets=(4, 0, 4))
    """
    masks = conflict_masks(problem)
    rows = _rows(masks)
    best, best_height = None, -1
    tries_max = max(2, pairs_max // (problem.n * problem.n + 1))
    for tries, (order, fit) in enumerate(greedy_orders(problem, masks)):
        if tries >= tries_max:
            break
        found = place(problem, order, fit, rows)
        if found is None:
            continue
        height = found.height_bytes(problem)
        if best is None or height < best_height:
            best, best_height = found, height
        if best_height <= bound_bytes:
            break
    return best


def greedy_orders(problem: Problem, masks: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Fit]]:
    """Yield orders of the buffers and the gap to take, the best on average first.

    Notes
    -----
    Largest first: a large buffer placed late finds only small holes [1]_. Ties matter as much as
    the order: by conflicts, then by index.

    References
    ----------
    .. [1] Y. Pisarchyk, J. Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
    """
    sizes = problem.sizes
    degrees = [mask.bit_count() for mask in masks]
    planes = bit_planes(sizes)
    around = [size + weigh(planes, mask) for size, mask in zip(sizes, masks, strict=True)]
    keys: list[list[tuple[int, ...]]] = [
        [(-s, -d) for s, d in zip(sizes, degrees, strict=True)],
        [(-s * (d + 1),) for s, d in zip(sizes, degrees, strict=True)],
        [(-s * s * (d + 1),) for s, d in zip(sizes, degrees, strict=True)],
        [(-a,) for a in around],
        [(-a * s,) for a, s in zip(around, sizes, strict=True)],
        [(-s,) for s in sizes],
        [(-d, -s) for s, d in zip(sizes, degrees, strict=True)],
        [(i,) for i in range(problem.n)],
        [(-i,) for i in range(problem.n)],
    ]
    if problem.lifetimes is not None:
        spans = [upper - lower for lower, upper in problem.lifetimes]
        keys += [
            [(-s * w, -s) for s, w in zip(sizes, spans, strict=True)],
            [(-w, -s) for s, w in zip(sizes, spans, strict=True)],
            [(-a, -w) for a, w in zip(around, spans, strict=True)],
            [(lower, -s) for s, (lower, _) in zip(sizes, problem.lifetimes, strict=True)],
        ]
        # From left to right among sizes of about a power of two: see `sweep`.
        keys += [[(-s.bit_length(), a) for s, (a, _) in zip(sizes, problem.lifetimes, strict=True)]]
    for fit in Fit:
        for key in keys:
            yield tuple(sorted(range(problem.n), key=key.__getitem__)), fit  # stable: by index


def place(
    problem: Problem, order: Sequence[int], fit: Fit = Fit.FIRST, rows: Sequence[str] = ()
) -> Assignment | None:
    """Return the assignment that takes the buffers in `order`, each at its lowest (tightest) gap.

    Parameters
    ----------
    problem : Problem
    order : sequence of int
        Every buffer once. Pinned buffers lie at their pins before the first is placed.
    fit : Fit
    rows : sequence of str
        Row i, character j: "1" iff i and j conflict; made here if not given.

    Returns
    -------
    Assignment or None
        None where a buffer has no room left in the blocks.

    Notes
    -----
    First fit over *all* orders reaches the least height: take the buffers of an optimal assignment
    by offset, and each lands no higher than it lay.
    """
    rows = rows or _rows(conflict_masks(problem))
    offsets = [0] * problem.n
    pins = dict(problem.pins)
    placed: list[tuple[int, int, int]] = []
    for i, pin in pins.items():
        offsets[i] = pin
        if problem.sizes[i]:
            insort(placed, (pin, pin + problem.sizes[i], i))
    for i in order:
        size = problem.sizes[i]
        if i in pins or not size:
            continue
        offset = _gap(problem, i, placed, rows[i], fit)
        if offset is None:
            return None
        offsets[i] = offset
        insort(placed, (offset, offset + size, i))
    return Assignment(tuple(offsets))


def _gap(
    problem: Problem, i: int, placed: Sequence[tuple[int, int, int]], row: str, fit: Fit
) -> int | None:
    """Return the offset that buffer `i` takes beside what is placed (by offset)."""
    size = problem.sizes[i]
    anywhere = not problem.alignments and not problem.blocks
    cursor = 0 if anywhere else lowest_start(problem, i, 0)
    tightest, tightest_offset = -1, None
    for start, end, j in placed:
        if cursor is None:
            break
        if row[j] != "1" or end <= cursor:
            continue
        gap = start - cursor
        if gap >= size:
            if fit is Fit.FIRST:
                return cursor
            if tightest_offset is None or gap < tightest:
                tightest, tightest_offset = gap, cursor
        cursor = end if anywhere else lowest_start(problem, i, end)
    return cursor if tightest_offset is None else tightest_offset


def _rows(masks: Sequence[int]) -> list[str]:
    """Return each mask as text, character j for buffer j."""
    width = len(masks)
    return [format(mask, f"0{width}b")[::-1] for mask in masks]
