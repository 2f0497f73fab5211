"""The offset-assignment problem and its answer, as plain integers.

    offset
      ^   +-----+          Which buffers must not share bytes is given either by `conflict_masks`
      |   |  c  |          (any graph: instances of a fleet) or by `lifetimes` (half-open ranges:
      |   +-----+---+      allocations inside one model). Two buffers in conflict get disjoint
      |   |  a  | b |      byte ranges; all others may lie anywhere.
      +---+-----+---+-->   Height is the highest end of any buffer.

Nothing here solves or judges: see `solvers`, `bounds` and `validator`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from planner.errors import SpecError
from planner.masks import mask_indices
from planner.units import BYTES_MAX

__all__ = ["Assignment", "Bound", "Problem", "SolveStatus", "mask_indices"]

_BAND: Final = 256


class SolveStatus(StrEnum):
    """What is known of a problem; a heuristic never says `infeasible`."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """Buffers to place in one address space.

    Attributes
    ----------
    sizes : tuple of int, length n, bytes
        Reserved size of each buffer, >= 0. The sum is at most 2^62.
    conflict_masks : tuple of int, length n, or None
        Bit j of mask i is set iff buffers i and j conflict: symmetric, irreflexive.
    lifetimes : tuple of (lower, upper), length n, or None
        Half-open live ranges; two buffers conflict iff their ranges meet. Exactly one of
        `conflict_masks` and `lifetimes` is given.
    alignments : tuple of int, length n, bytes
        The offset of buffer i is a multiple of alignments[i] (>= 1); empty means 1 for all.
    pins : tuple of (index, offset)
        Buffers whose offset is already fixed (what is loaded stays where it is).
    blocks : tuple of int, bytes
        The address space is these blocks end to end and no buffer of size > 0 straddles two of
        them; empty: one block without end.
    capacity_bytes : int or None
        Heights above it are of no use to the caller; None: as small as possible.

    Examples
    --------
    >>> Problem.of_edges(sizes=[4, 2, 2], edges=[(0, 1), (0, 2)]).conflict_masks
    (6, 1, 1)
    """

    sizes: tuple[int, ...]
    conflict_masks: tuple[int, ...] | None = None
    lifetimes: tuple[tuple[int, int], ...] | None = None
    alignments: tuple[int, ...] = ()
    pins: tuple[tuple[int, int], ...] = ()
    blocks: tuple[int, ...] = ()
    capacity_bytes: int | None = None

    def __post_init__(self) -> None:
        n = len(self.sizes)
        if any(size < 0 for size in self.sizes) or sum(self.sizes) > BYTES_MAX:
            raise SpecError("sizes: expected every size >= 0 and a sum of at most 2^62 bytes")
        if (self.conflict_masks is None) == (self.lifetimes is None):
            raise SpecError("expected exactly one of conflict_masks and lifetimes")
        if self.conflict_masks is not None:
            self._check_masks(self.conflict_masks)
        if self.lifetimes is not None:
            if len(self.lifetimes) != n:
                raise SpecError(f"lifetimes: found {len(self.lifetimes)}, expected {n}")
            for i, (lower, upper) in enumerate(self.lifetimes):
                if lower > upper:
                    raise SpecError(
                        f"found [{lower}, {upper}), expected lower <= upper", f"lifetimes[{i}]"
                    )
        if self.alignments and (len(self.alignments) != n or min(self.alignments) < 1):
            raise SpecError(f"alignments: expected none or {n}, each >= 1")
        if len({i for i, _ in self.pins}) != len(self.pins):
            raise SpecError("pins: a buffer is pinned twice")
        for i, offset in self.pins:
            if not 0 <= i < n or not 0 <= offset <= BYTES_MAX:
                raise SpecError(f"pin ({i}, {offset}): expected a buffer index and an offset >= 0")
            if offset % self.alignment(i):
                raise SpecError(f"pin ({i}, {offset}): not a multiple of {self.alignment(i)}")
        if any(block < 0 for block in self.blocks):
            raise SpecError(f"blocks {self.blocks}: expected sizes >= 0")
        if self.capacity_bytes is not None and self.capacity_bytes < 0:
            raise SpecError(f"capacity_bytes is {self.capacity_bytes}, expected >= 0")

    def _check_masks(self, masks: tuple[int, ...]) -> None:
        n = len(self.sizes)
        if len(masks) != n:
            raise SpecError(f"conflict_masks: found {len(masks)}, expected {n}")
        for i, mask in enumerate(masks):
            if mask < 0 or mask >> n:
                raise SpecError(f"conflict_masks[{i}] names buffers beyond {n}")
            if mask >> i & 1:
                raise SpecError(f"buffer {i} conflicts with itself")
        # Symmetry, by transposing the bit matrix in bands of columns as text: bit by bit would take
        # seconds at 5,000 buffers.
        for start in range(0, n, _BAND):
            width = min(_BAND, n - start)
            low = (1 << width) - 1
            text = "".join(format(mask >> start & low, f"0{width}b") for mask in masks)
            for k in range(width):
                column = int(text[width - 1 - k :: width][::-1], 2)
                if column != masks[start + k]:
                    i, j = start + k, next(mask_indices(column ^ masks[start + k]))
                    raise SpecError(f"buffers {i} and {j} conflict in one direction only")

    @classmethod
    def of_edges(
        cls,
        sizes: Iterable[int],
        edges: Iterable[tuple[int, int]],
        *,
        capacity_bytes: int | None = None,
    ) -> Self:
        """Return the problem whose conflicts are the undirected `edges`, pairs of indices."""
        sizes = tuple(sizes)
        masks = [0] * len(sizes)
        for i, j in edges:
            if not (0 <= i < len(sizes) and 0 <= j < len(sizes)) or i == j:
                raise SpecError(
                    f"edge ({i}, {j}): expected two different indices below {len(sizes)}"
                )
            masks[i] |= 1 << j
            masks[j] |= 1 << i
        return cls(sizes, conflict_masks=tuple(masks), capacity_bytes=capacity_bytes)

    @property
    def n(self) -> int:
        """Number of buffers."""
        return len(self.sizes)

    def alignment(self, i: int) -> int:
        """Return the alignment of buffer `i`, bytes."""
        return self.alignments[i] if self.alignments else 1

    def in_conflict(self, i: int, j: int) -> bool:
        """Return whether buffers `i` and `j` must not share bytes."""
        if self.conflict_masks is not None:
            return bool(self.conflict_masks[i] >> j & 1)
        assert self.lifetimes is not None
        (a, b), (c, d) = self.lifetimes[i], self.lifetimes[j]
        return i != j and max(a, c) < min(b, d)


@dataclass(frozen=True, slots=True)
class Bound:
    """A height that no valid assignment can go below, with the buffers that force it.

    Attributes
    ----------
    lower_bound_bytes : int
    witness : tuple of int
        Buffer indices, ascending, that pairwise conflict and whose sizes sum to the bound (or one
        buffer whose pin forces it); empty where the bound is 0 or was proven by exhausting a
        search.
    """

    lower_bound_bytes: int
    witness: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """An offset for every buffer.

    Attributes
    ----------
    offsets : tuple of int, length n, bytes
        Offset of each buffer from the base of the address space; 0 for empty buffers.
    """

    offsets: tuple[int, ...]

    def height_bytes(self, problem: Problem) -> int:
        """Return the highest end of any non-empty buffer, bytes; 0 without one."""
        ends = (o + s for o, s in zip(self.offsets, problem.sizes, strict=True) if s)
        return max(ends, default=0)

    @classmethod
    def of_mapping(cls, offsets: Mapping[int, int], n: int) -> Self:
        """Return the assignment of buffers 0 to n - 1 from index -> offset."""
        return cls(tuple(offsets[i] for i in range(n)))
