"""A problem taken apart into kernels, and its assignment put together again. All of it exact.

    whole = join ─┬─ union ─┬─ leaf          height of a union: the highest child
                  │         └─ leaf          height of a join: the sum of its children
                  └─ thinned ── thinned ── leaf
                     dominated  set aside    each gives its buffers a place when put together

Splitting and dominance come from `mask_graph`; this room adds peeling, the flow of targets down to
the leaves and of bounds, heights and offsets up again. How a leaf is solved is not its business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.bounds.clique import CliqueSearch, clique_weight
from planner.mask_graph import (
    Part,
    Shape,
    bit_planes,
    clique_in_parts,
    nonempty_mask,
    renumber,
    take_apart,
)
from planner.masks import mask_indices, mask_of
from planner.problem import Assignment, Bound, Problem
from planner.solvers.peeling import peel
from planner.solvers.starts import lowest_start

__all__ = ["Cotree", "Leaf"]


@dataclass(slots=True)
class Leaf:
    """A kernel: a part that nothing reduces further, with the best that is known of it.

    Attributes
    ----------
    problem : Problem
        The kernel on its own, m buffers.
    indices : tuple of int, length m
        Its buffers in the whole, ascending.
    bound : Bound
        Proven for the kernel; the witness by indices of the whole.
    floor_bytes : int
        A height of the kernel that there is no use in going below.
    assignment : Assignment or None
        The lowest found so far, by indices of the kernel; of height `height_bytes`.
    solver : str
        Who found it.
    """

    problem: Problem
    indices: tuple[int, ...]
    bound: Bound
    floor_bytes: int
    assignment: Assignment | None = None
    height_bytes: int | None = None
    solver: str = ""

    def offer(self, assignment: Assignment | None, solver: str) -> bool:
        """Keep `assignment` if it is the lowest so far, and return whether it is."""
        if assignment is None:
            return False
        height = assignment.height_bytes(self.problem)
        if self.height_bytes is not None and height >= self.height_bytes:
            return False
        self.assignment, self.height_bytes, self.solver = assignment, height, solver
        return True

    def raise_bound(self, lower_bound_bytes: int) -> None:
        """Note that a search has proven that nothing lower exists."""
        if lower_bound_bytes > self.bound.lower_bound_bytes:
            self.bound = Bound(lower_bound_bytes)

    def learn(self, twin: "Leaf") -> None:
        """Take over what is known of a kernel with the same problem."""
        self.offer(twin.assignment, twin.solver)
        self.raise_bound(twin.bound.lower_bound_bytes)


@dataclass(slots=True)
class _Node:
    """A part with what this room knows of it beyond the graph."""

    part: Part
    bound: Bound = field(default_factory=lambda: Bound(0))
    floor: int = 0
    """A height that there is no use in going below."""
    peeled: list[int] = field(default_factory=list)
    leaf: Leaf | None = None


class Cotree:
    """The kernels of a problem, and how they make up the whole.

    Parameters
    ----------
    problem : Problem
        n buffers; alignments, pins and blocks keep parts from being stacked, no more.
    masks : sequence of int, length n
        Its conflicts.
    bound : Bound
        A bound that is already known; peeling uses it. With a witness it is taken for the heaviest
        clique: no search for a heavier one.
    nodes_max : int
        Search nodes for the heaviest cliques of the kernels, all together.
    """

    def __init__(
        self, problem: Problem, masks: Sequence[int], bound: Bound, nodes_max: int
    ) -> None:
        self._problem, self._masks, self._known = problem, masks, bound
        self._cliques = CliqueSearch(masks, problem.sizes, 0 if bound.witness else nodes_max)
        self._planes = bit_planes(problem.sizes)
        self._nodes: list[_Node] = []
        self._pinned = mask_of(i for i, _ in problem.pins)
        self._can_stack = not (problem.alignments or problem.pins or problem.blocks)
        # What is peeled off a leaf leaves a kernel that may split again, until nothing does.
        whole = _Node(Part(nonempty_mask(problem.sizes)), bound, bound.lower_bound_bytes)
        todo = self._grow(whole)
        while todo:
            parent = todo.pop()
            parent.part.children = [len(self._nodes)]
            todo += self._grow(parent)

    def _grow(self, parent: _Node) -> list[_Node]:
        """Append the parts of what `parent` has not peeled; return their leaves that peel."""
        parts = take_apart(
            self._masks,
            self._problem.sizes,
            parent.part.alive & ~mask_of(parent.peeled),
            alignments=self._problem.alignments,
            pinned=self._pinned,
            with_joins=self._can_stack,
        )
        cliques = clique_in_parts(parts, mask_of(parent.bound.witness))
        first = len(self._nodes)
        for part in parts:
            part.children = [first + child for child in part.children]
        new = [_Node(part) for part in parts]
        self._nodes += new
        new[0].floor = parent.floor
        self._spread_floors(new)
        for node, clique in zip(reversed(new), reversed(cliques), strict=True):
            children = node.part.children
            node.bound = self._bound_of(node) if children else self._clique(node, clique)
        new[0].floor = max(parent.floor, new[0].bound.lower_bound_bytes)
        self._spread_floors(new)
        for node in new:
            if node.part.shape is Shape.LEAF:
                node.peeled = self._peel(node)
                if node.peeled:
                    node.part.shape = Shape.THINNED
                else:
                    node.leaf = self._leaf(node)
        return [node for node in new if node.peeled]

    def _spread_floors(self, nodes: Sequence[_Node]) -> None:
        """Pass floors on: a height useless for the parent is so for a child, unless they add up."""
        for node in nodes:
            for child in (self._nodes[k] for k in node.part.children):
                joined = node.part.shape is Shape.JOIN
                child.floor = child.bound.lower_bound_bytes if joined else node.floor

    def _peel(self, node: _Node) -> list[int]:
        if node.part.alive.bit_count() < 2:
            return []
        return peel(self._problem, self._masks, node.part.alive, node.floor, self._planes)

    def _clique(self, node: _Node, known: int) -> Bound:
        """Return the heaviest clique or the highest pinned end of a leaf."""
        part = node.part
        clique = self._cliques.heaviest_within(part.alive, known=known, enough=node.floor)
        bound = Bound(clique_weight(self._problem.sizes, clique), tuple(mask_indices(clique)))
        for i, offset in self._problem.pins:
            end = offset + self._problem.sizes[i]
            if part.alive >> i & 1 and end > bound.lower_bound_bytes:
                bound = Bound(end, (i,))
        return bound

    def _leaf(self, node: _Node) -> Leaf:
        indices = tuple(mask_indices(node.part.alive))
        place = {i: k for k, i in enumerate(indices)}
        whole = self._problem
        masks = lifetimes = None
        if whole.lifetimes is not None:
            lifetimes = tuple(whole.lifetimes[i] for i in indices)
        else:
            masks = tuple(renumber(self._masks[i], indices) for i in indices)
        problem = Problem(
            sizes=tuple(whole.sizes[i] for i in indices),
            conflict_masks=masks,
            lifetimes=lifetimes,
            alignments=tuple(whole.alignment(i) for i in indices) if whole.alignments else (),
            pins=tuple((place[i], offset) for i, offset in whole.pins if i in place),
            blocks=whole.blocks,
        )
        return Leaf(problem, indices, node.bound, node.floor)

    @property
    def leaves(self) -> list[Leaf]:
        """Every kernel, in the order of the parts."""
        return [node.leaf for node in self._nodes if node.leaf is not None]

    def _bound_of(self, node: _Node) -> Bound:
        """Return the bound of a node from those of its children, or from its leaf."""
        if node.leaf is not None:
            return node.leaf.bound
        bounds = [self._nodes[k].bound for k in node.part.children]
        if node.part.shape is Shape.JOIN:
            witness = sorted(i for bound in bounds for i in bound.witness)
            proven = all(bound.witness for bound in bounds if bound.lower_bound_bytes)
            total = sum(bound.lower_bound_bytes for bound in bounds)
            return Bound(total, tuple(witness) if proven else ())
        # Of a peeled leaf the clique may have lost members to peeling: its own bound still counts.
        return max([node.bound, *bounds], key=lambda bound: bound.lower_bound_bytes)

    def bound(self) -> Bound:
        """Return the best bound of the whole: from the leaves, or the one known before."""
        for node in reversed(self._nodes):
            node.bound = self._bound_of(node)
        return max(self._nodes[0].bound, self._known, key=lambda bound: bound.lower_bound_bytes)

    def _heights(self) -> list[int | None]:
        heights: list[int | None] = [None] * len(self._nodes)
        for k in reversed(range(len(self._nodes))):
            node = self._nodes[k]
            if node.leaf is not None:
                heights[k] = node.leaf.height_bytes
                continue
            inner = [heights[child] for child in node.part.children]
            known = [height for height in inner if height is not None]
            if len(known) == len(inner):
                total = sum(known) if node.part.shape is Shape.JOIN else max(known)
                heights[k] = max(total, node.floor) if node.peeled else total
        return heights

    def open_leaves(self, target_bytes: int) -> list[tuple[Leaf, int]]:
        """Return the leaves that keep the whole above the target, each with its own target.

        A leaf at its target is low enough for now: in a union only the highest child counts, in a
        join it is enough that the sum comes down.
        """
        heights = self._heights()
        targets = [0] * len(self._nodes)
        targets[0] = target_bytes
        found = []
        for k, node in enumerate(self._nodes):
            height, target = heights[k], targets[k]
            if node.leaf is not None:
                lowest = max(target, node.leaf.bound.lower_bound_bytes)
                if height is None or height > lowest:
                    found.append((node.leaf, lowest))
            for child in node.part.children:
                slack = 0
                if node.part.shape is Shape.JOIN:
                    assert height is not None
                    slack = height - (heights[child] or 0)
                targets[child] = target - slack
        return found

    def assignment(self) -> Assignment | None:
        """Return the whole put together from the leaves; None while one of them has nothing."""
        heights = self._heights()
        if heights[0] is None:
            return None
        bases = [0] * len(self._nodes)
        pins = dict(self._problem.pins)
        offsets = [pins.get(i, 0) for i in range(self._problem.n)]
        for k, node in enumerate(self._nodes):
            base = bases[k]
            for child in node.part.children:
                bases[child] = base
                if node.part.shape is Shape.JOIN:
                    base += heights[child] or 0
            if node.leaf is not None and node.leaf.assignment is not None:
                for i, offset in zip(node.leaf.indices, node.leaf.assignment.offsets, strict=True):
                    offsets[i] = base + offset
        for k in reversed(range(len(self._nodes))):
            part = self._nodes[k].part
            for i, j in part.dominated.items():
                offsets[i] = offsets[j]
            present = part.alive & ~mask_of(self._nodes[k].peeled)
            for i in reversed(self._nodes[k].peeled):
                offsets[i] = self._lowest_gap(i, present, offsets, bases[k])
                present |= 1 << i
        return Assignment(tuple(offsets))

    def _lowest_gap(self, i: int, present: int, offsets: Sequence[int], base: int) -> int:
        sizes = self._problem.sizes
        placed = sorted((offsets[j], sizes[j]) for j in mask_indices(self._masks[i] & present))
        cursor = lowest_start(self._problem, i, base)
        for start, size in placed:
            assert cursor is not None, "a peeled buffer always finds room"
            if start >= cursor + sizes[i]:
                break
            if start + size > cursor:
                cursor = lowest_start(self._problem, i, start + size)
        assert cursor is not None, "a peeled buffer always finds room"
        return cursor
