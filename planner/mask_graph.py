"""Conflict graphs as bit masks: made from lifetimes, split, and thinned by dominance.

A graph of n buffers is n Python integers; bit j of mask i is set iff i and j conflict. A subset of
buffers is one more mask (`alive`): walking a part of a graph needs no copy of it. Bounds and
solvers both stand on these; offsets do not belong here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from planner.masks import mask_indices, mask_of
from planner.problem import Problem

__all__ = [
    "Part",
    "Shape",
    "bit_planes",
    "clique_in_parts",
    "co_components",
    "components",
    "conflict_masks",
    "dominators",
    "grown_clique",
    "nonempty_mask",
    "renumber",
    "take_apart",
    "weigh",
]


_NEAR_BY: Final = 64
_NEAR: Final = (1 << 2 * _NEAR_BY) - 1


class Shape(StrEnum):
    """How a part of a conflict graph is made of smaller ones."""

    UNION = "union"
    """Children that do not conflict with one another: heights are maxima."""
    JOIN = "join"
    """Children that all conflict with one another: heights are sums."""
    THINNED = "thinned"
    """One child: the part without its dominated buffers."""
    LEAF = "leaf"
    """Nothing of these applies."""


@dataclass(slots=True)
class Part:
    """A part of a conflict graph, by the buffers in it.

    Attributes
    ----------
    alive : int
        The buffers, as a mask.
    shape : Shape
    children : list of int
        Positions of the smaller parts in the list that `take_apart` returns.
    dominated : dict
        Of a thinned part: buffer -> the buffer of the child whose offset it can take.
    """

    alive: int
    shape: Shape = Shape.LEAF
    children: list[int] = field(default_factory=list)
    dominated: dict[int, int] = field(default_factory=dict)


def conflict_masks(problem: Problem) -> tuple[int, ...]:
    """Return the conflict graph of `problem`, whichever way it is given.

    Notes
    -----
    From lifetimes by one sweep over their ends: a buffer meets what started before its end and had
    not ended at its start. O(n log n) steps on masks of n bits, so O(n^2 / 8) bytes.

    Examples
    --------
    >>> conflict_masks(Problem((1, 1, 1), lifetimes=((0, 2), (1, 3), (2, 4))))
    (2, 5, 2)
    """
    if problem.conflict_masks is not None:
        return problem.conflict_masks
    assert problem.lifetimes is not None
    events = [(time, 0, i) for i, (lower, time) in enumerate(problem.lifetimes) if lower < time]
    events += [(time, 1, i) for i, (time, upper) in enumerate(problem.lifetimes) if time < upper]
    masks = [0] * problem.n
    started = ended = 0
    for _, is_start, i in sorted(events):  # at one time ends come first: ranges are half-open
        if is_start:
            masks[i] = ended
            started |= 1 << i
        else:
            ended |= 1 << i
            masks[i] = started & ~masks[i] & ~(1 << i)
    return tuple(masks)


def nonempty_mask(sizes: Sequence[int]) -> int:
    """Return the mask of the buffers of size > 0: the others meet nobody.

    Examples
    --------
    >>> bin(nonempty_mask([512, 0, 512]))
    '0b101'
    """
    return sum(1 << i for i, size in enumerate(sizes) if size)


def grown_clique(
    masks: Sequence[int], sizes: Sequence[int], alive: int, members: Sequence[int]
) -> int:
    """Return a clique of a part: the members that pairwise conflict, then others, heaviest first.

    Notes
    -----
    Members that all conflict are all in it. Ties by index.

    Examples
    --------
    >>> bin(grown_clique([0b110, 0b101, 0b011, 0], [1, 2, 3, 9], 0b1111, [0]))
    '0b111'
    """
    clique, candidates = 0, alive
    first = mask_of(members)
    for pool in (first, ~first):
        for i in sorted(mask_indices(candidates & pool), key=lambda i: (-sizes[i], i)):
            if candidates >> i & 1:
                clique |= 1 << i
                candidates &= masks[i]
    return clique


def bit_planes(sizes: Sequence[int]) -> list[int]:
    """Return for each binary digit of the sizes, lowest first, the mask of buffers that have it.

    With them the weight of any mask is a few population counts instead of a walk: see `weigh`.

    Examples
    --------
    >>> bit_planes([1, 2, 3])
    [5, 6]
    """
    planes = [0] * max((size.bit_length() for size in sizes), default=0)
    for i, size in enumerate(sizes):
        for digit in mask_indices(size):
            planes[digit] |= 1 << i
    return planes


def weigh(planes: Sequence[int], mask: int) -> int:
    """Return the sum of the sizes of the buffers in `mask`, from the bit planes of the sizes.

    Examples
    --------
    >>> weigh(bit_planes([1, 2, 3]), 0b110)
    5
    """
    return sum((plane & mask).bit_count() << digit for digit, plane in enumerate(planes))


def renumber(mask: int, order: Sequence[int]) -> int:
    """Return the mask whose bit k is bit order[k] of `mask`.

    Examples
    --------
    >>> bin(renumber(0b1010, [3, 0, 1]))
    '0b101'
    """
    digits = bin(mask)[:1:-1].ljust(max(order) + 1, "0")
    return int("".join([digits[i] for i in reversed(order)]), 2)


def components(masks: Sequence[int], alive: int) -> list[int]:
    """Return the connected components of the part `alive`, as masks, by lowest index.

    Examples
    --------
    >>> components([0b010, 0b001, 0b000], alive=0b111)
    [3, 4]
    """
    found = []
    while alive:
        part = frontier = alive & -alive
        while frontier:
            reached = 0
            for i in mask_indices(frontier):
                reached |= masks[i]
            frontier = reached & alive & ~part
            part |= frontier
        found.append(part)
        alive &= ~part
    return found


def co_components(masks: Sequence[int], alive: int) -> list[int]:
    """Return the components of the complement of the part `alive`, as masks, by lowest index.

    Any two buffers of different co-components conflict: the part is the *join* of them.

    Examples
    --------
    >>> co_components([0b110, 0b001, 0b001], alive=0b111)
    [1, 6]
    """
    found = []
    while alive:
        part = frontier = alive & -alive
        rest = alive & ~part
        while frontier:
            missed = rest
            for i in mask_indices(frontier):
                missed &= masks[i]
            frontier = rest & ~missed
            part |= frontier
            rest = missed
        found.append(part)
        alive = rest
    return found


def dominators(
    masks: Sequence[int],
    sizes: Sequence[int],
    alive: int,
    *,
    alignments: Sequence[int] = (),
    pinned: int = 0,
) -> dict[int, int]:
    """Return dominated buffer -> a buffer whose offset it can take, for the part `alive`.

    Buffer u is dominated by v iff they do not conflict, every conflict of u is one of v, v is at
    least as large, and the alignment of v is a multiple of u's. Then u fits wherever v lies, so the
    least height (and the heaviest clique) is that of the part without u. Dominators are themselves
    kept; pinned buffers are never dominated.

    Notes
    -----
    From the smallest buffer up, each is tested against what is still kept: O(n^2) steps on masks.
    Deterministic: ties by index, the largest dominator is taken.

    Examples
    --------
    >>> dominators([0b100, 0b100, 0b011], [4, 2, 1], alive=0b111)
    {1: 0}
    """
    order = sorted(mask_indices(alive), key=lambda i: (sizes[i], -i))
    kept = larger = alive
    passed = 0
    found: dict[int, int] = {}
    for k, u in enumerate(order):
        if sizes[u] > sizes[order[k - 1]]:
            larger &= ~passed
            passed = 0
        passed |= 1 << u
        if pinned >> u & 1:
            continue
        candidates = kept & larger & ~masks[u] & ~(1 << u)
        # Whoever dominates u conflicts with each of its neighbours. Those numbered close to u tell
        # most, as buffers are usually numbered along the order they come from; then, whatever is
        # fewer is walked: the neighbours, or the candidates that are left.
        conflicts = masks[u] & kept
        near = conflicts & _NEAR << max(u - _NEAR_BY, 0)
        for neighbours in (near, conflicts & ~near):
            if candidates.bit_count() < neighbours.bit_count():
                fitting = (v for v in mask_indices(candidates) if not conflicts & ~masks[v])
                candidates = mask_of(fitting)
                break
            while candidates and neighbours:
                neighbour = neighbours & -neighbours
                candidates &= masks[neighbour.bit_length() - 1]
                neighbours ^= neighbour
        if alignments:
            fitting = (v for v in mask_indices(candidates) if alignments[v] % alignments[u] == 0)
            candidates = mask_of(fitting)
        if candidates:
            found[u] = max(mask_indices(candidates), key=lambda v: (sizes[v], -v))
            kept &= ~(1 << u)
    # A dominator may have been dominated later, by one at least as large: follow to the kept one.
    for u in reversed(found):
        found[u] = found.get(found[u], found[u])
    return found


def take_apart(
    masks: Sequence[int],
    sizes: Sequence[int],
    alive: int,
    *,
    alignments: Sequence[int] = (),
    pinned: int = 0,
    with_joins: bool = True,
) -> list[Part]:
    """Return the part `alive` split until nothing splits: a cotree whose leaves are kernels.

    Parameters
    ----------
    masks, sizes, alignments : sequences of length n
        The graph; sizes and alignments in bytes, alignments empty for none.
    alive, pinned : int
        The buffers of the part; those whose offset is fixed, which stay in their leaf.
    with_joins : bool
        Whether parts may be stacked on one another: not where pins, blocks or alignments count.

    Returns
    -------
    list of Part
        The whole first; every child after its parent, so a walk from the end meets children first.

    Notes
    -----
    Every split is exact for the least height and for the heaviest clique. Without recursion: nested
    parts can be as deep as there are buffers.

    References
    ----------
    .. [1] D. G. Corneil, H. Lerchs, L. Stewart Burlingham, "Complement reducible graphs", 1981.

    Examples
    --------
    >>> parts = take_apart([0b110, 0b001, 0b001], [4, 2, 3], alive=0b111)
    >>> [(part.shape.value, part.alive) for part in parts]
    [('join', 7), ('leaf', 1), ('union', 6), ('leaf', 2), ('leaf', 4)]
    """
    parts = [Part(alive)]
    todo = [0]
    while todo:
        part = parts[todo.pop()]
        pieces = components(masks, part.alive)
        if len(pieces) > 1:
            part.shape = Shape.UNION
        elif with_joins and len(pieces := co_components(masks, part.alive)) > 1:
            part.shape = Shape.JOIN
        else:
            part.dominated = dominators(
                masks, sizes, part.alive, alignments=alignments, pinned=pinned
            )
            if not part.dominated:
                continue
            part.shape = Shape.THINNED
            pieces = [part.alive & ~sum(1 << i for i in part.dominated)]
        part.children = list(range(len(parts), len(parts) + len(pieces)))
        parts += [Part(piece) for piece in pieces]
        todo += reversed(part.children)
    return parts


def clique_in_parts(parts: Sequence[Part], clique: int) -> list[int]:
    """Return what of a clique falls into each of `parts`, as `take_apart` returns them.

    A dominated member is replaced by its dominator: the clique is as heavy as before.

    Examples
    --------
    >>> clique_in_parts(take_apart([0b100, 0b100, 0b011], [4, 2, 1], alive=0b111), 0b110)
    [6, 2, 4, 0, 2]
    """
    inside = [clique & parts[0].alive] * len(parts)
    for k, part in enumerate(parts):
        rest = inside[k]
        for i, j in part.dominated.items():
            if rest >> i & 1:
                rest = rest & ~(1 << i) | 1 << j
        for child in part.children:
            inside[child] = rest & parts[child].alive
    return inside
