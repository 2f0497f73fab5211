"""A problem as integers on the grid of its granules: what the kernels count in.

The granule divides every size and every place that a buffer can be forced to, so no solution is
lost. Buffers that leave no choice (pinned or empty) are not on the grid: pinned ones become fences
for those in conflict with them.

NumPy is imported inside functions: a portfolio imports this room whether it searches or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import gcd
from typing import TYPE_CHECKING, Final

from planner.problem import Assignment, Problem
from planner.units import BYTES_MAX

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from planner.solvers.kernels.space import Ints, Space

    Bits = npt.NDArray[np.bool_]

__all__ = ["EDGES_MAX", "Grid", "starts"]

EDGES_MAX: Final = 20_000_000
"""Most conflicting pairs that a search will hold in memory, about half a gigabyte."""


@dataclass(frozen=True)
class Grid:
    """The buffers to place, in index order, and the grid that they stand on.

    Attributes
    ----------
    problem : Problem

    Examples
    --------
    >>> grid = Grid(Problem.of_edges([1024, 0, 512], [(0, 2)]))
    >>> grid.movable, grid.granule_bytes, grid.assignment([1, 0]).offsets
    ((0, 2), 512, (512, 0, 0))
    """

    problem: Problem

    @cached_property
    def movable(self) -> tuple[int, ...]:
        """Indices of the buffers to place: neither empty nor pinned."""
        pinned = {i for i, _ in self.problem.pins}
        return tuple(i for i, size in enumerate(self.problem.sizes) if size and i not in pinned)

    @cached_property
    def granule_bytes(self) -> int:
        """Largest common divisor of all sizes, pins, walls and alignments that can matter, >= 1.

        An alignment that divides the granule never moves anything.
        """
        problem = self.problem
        granule = gcd(*problem.sizes, *(offset for _, offset in problem.pins), *problem.blocks) or 1
        wanted = {problem.alignment(i) for i in self.movable}
        while loose := [align for align in wanted if granule % align and align % granule]:
            granule = gcd(granule, *loose)
        return granule

    @cached_property
    def sizes(self) -> Ints:
        """Sizes of the movable buffers, granules."""
        import numpy as np

        return np.array(
            [self.problem.sizes[i] // self.granule_bytes for i in self.movable], np.int64
        )

    @cached_property
    def pins_clash(self) -> bool:
        """Whether pinned buffers in conflict overlap, or one lies across a wall."""
        problem = self.problem
        pinned = [(i, offset, offset + problem.sizes[i]) for i, offset in problem.pins]
        walls = list(accumulate(problem.blocks))
        return any(low < wall < end for _, low, end in pinned for wall in walls) or any(
            max(low, other_low) < min(end, other_end) and problem.in_conflict(i, j)
            for k, (i, low, end) in enumerate(pinned)
            for j, other_low, other_end in pinned[:k]
        )

    def granules(self, capacity_bytes: int) -> int:
        """Return how many granules a capacity offers, not counting what lies behind all blocks."""
        if self.problem.blocks:
            capacity_bytes = min(capacity_bytes, sum(self.problem.blocks))
        return capacity_bytes // self.granule_bytes

    def space(self, capacity: int) -> Space | None:
        """Return the space below `capacity` granules, at most 2^62.

        None where it holds nothing: a buffer that finds no place even alone, or pins that clash or
        end above it.
        """
        import numpy as np

        from planner.solvers.kernels.space import Space, lift

        assert 0 <= capacity <= BYTES_MAX
        problem, granule = self.problem, self.granule_bytes
        pins = [
            (i, low // granule, (low + problem.sizes[i]) // granule)
            for i, low in problem.pins
            if problem.sizes[i]
        ]
        if self.pins_clash or max((end for _, _, end in pins), default=0) > capacity:
            return None
        if self.sizes.max(initial=0) > capacity:
            return None
        fences = [
            sorted((low, end) for j, low, end in pins if problem.in_conflict(i, j))
            for i in self.movable
        ]
        # Only multiples below the capacity exist for a huge alignment.
        aligns = [min(max(1, problem.alignment(i) // granule), capacity + 1) for i in self.movable]
        walls = [wall // granule for wall in accumulate(problem.blocks)]
        walls = [wall for wall in walls if 0 < wall < capacity]
        fence_start = starts(fences)
        space = Space(
            sizes=self.sizes,
            aligns=np.array(aligns, np.int64),
            fence_start=fence_start,
            fence_lows=np.array([low for row in fences for low, _ in row], np.int64),
            fence_ends=np.array([end for row in fences for _, end in row], np.int64),
            walls=np.array(walls, np.int64),
            capacity=capacity,
            is_plain=int(max(aligns, default=1) == 1 and not fence_start[-1] and not walls),
        )
        if space.is_plain:
            return space
        return None if any(lift(space, v, 0) > capacity for v in range(len(self.sizes))) else space

    def assignment(self, offsets: Iterable[int] | Ints) -> Assignment:
        """Return the assignment that puts the k-th movable buffer at `offsets[k]` granules."""
        whole = [0] * self.problem.n
        for i, offset in self.problem.pins:
            whole[i] = offset
        for i, offset in zip(self.movable, offsets, strict=True):
            whole[i] = int(offset) * self.granule_bytes
        return Assignment(tuple(whole))

    def offsets(self, assignment: Assignment) -> Ints:
        """Return the places of the movable buffers in an assignment on the grid, granules."""
        import numpy as np

        places = [assignment.offsets[i] // self.granule_bytes for i in self.movable]
        return np.array(places, np.int64)

    @cached_property
    def n_conflicts(self) -> int:
        """Number of conflicting pairs among the movable buffers."""
        import numpy as np

        problem = self.problem
        if problem.conflict_masks is not None:
            among = sum(1 << i for i in self.movable)
            return sum((problem.conflict_masks[i] & among).bit_count() for i in self.movable) // 2
        lowers, uppers = self.lives
        alive = np.flatnonzero(lowers < uppers)
        begun = np.searchsorted(np.sort(lowers[alive]), uppers[alive], side="left")
        ended = np.searchsorted(np.sort(uppers[alive]), lowers[alive], side="right")
        return int((begun - ended - 1).sum()) // 2

    @cached_property
    def lives(self) -> tuple[Ints, Ints]:
        """Ranks of the lower and upper ends of the movable buffers' lives on one line of times."""
        import numpy as np

        assert self.problem.lifetimes is not None
        ends = [self.problem.lifetimes[i] for i in self.movable]
        rank = {time: k for k, time in enumerate(sorted({t for pair in ends for t in pair}))}
        lowers = np.array([rank[lower] for lower, _ in ends], np.int64)
        return lowers, np.array([rank[upper] for _, upper in ends], np.int64)

    def conflict_row(self, k: int) -> Bits:
        """Return which movable buffers conflict with the k-th one, shape (number of movable,)."""
        import numpy as np

        if self.problem.conflict_masks is None:
            lowers, uppers = self.lives
            lower, upper = lowers[k], uppers[k]
            row: Bits = (lowers < upper) & (lower < uppers) & (lowers < uppers)
            row[k] = False
            return row & bool(lower < upper)
        n_bytes = (self.problem.n + 7) // 8
        packed = self.problem.conflict_masks[self.movable[k]].to_bytes(n_bytes, "little")
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        chosen: Bits = bits[np.array(self.movable, np.intp)].astype(np.bool_)
        return chosen

    def masks(self, order: Sequence[int]) -> list[int]:
        """Return the conflicts as bit masks, buffers and bits in `order` of the movable ones."""
        import numpy as np

        ranks = np.array(order, np.intp)
        rows = (np.packbits(self.conflict_row(k)[ranks], bitorder="little") for k in order)
        return [int.from_bytes(row.tobytes(), "little") for row in rows]

    def neighbours(self) -> tuple[Ints, Ints]:
        """Return the conflicts among the movable buffers as compressed rows: starts, indices."""
        import numpy as np

        rows = [np.flatnonzero(self.conflict_row(k)) for k in range(len(self.movable))]
        flat = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return starts(rows), flat.astype(np.int64)


def starts(rows: Sequence[Sequence[object]] | Sequence[Ints]) -> Ints:
    """Return where each row begins, and the last ends, when all are written one after another."""
    import numpy as np

    start = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=start[1:])
    return start
