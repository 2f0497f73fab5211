"""The heaviest set of buffers that pairwise conflict: the bound for any conflict graph.

Disjoint byte ranges of such a set add up, so no height is below its weight. Any clique is a valid
bound, found with or without proof that it is the heaviest.

    part of the graph             its heaviest clique
    several components            the heaviest of theirs
    several co-components (join)  all of theirs together
    one dominates another         as without the dominated one
    what remains                  a counted branch and bound
"""

from collections.abc import Sequence
from typing import Final

from planner.mask_graph import (
    Shape,
    clique_in_parts,
    conflict_masks,
    nonempty_mask,
    renumber,
    take_apart,
)
from planner.masks import mask_indices
from planner.problem import Bound, Problem

__all__ = ["NODES_MAX", "CliqueSearch", "clique_weight", "heaviest_clique"]

NODES_MAX: Final = 400_000
"""Buffers coloured before a search ends: about 0.2 s; the count, not the time, is the limit."""

_STARTS_MAX: Final = 64


def clique_weight(sizes: Sequence[int], clique: int) -> int:
    """Return the sum of the sizes of the buffers in the mask `clique`, bytes."""
    return sum(sizes[i] for i in mask_indices(clique))


def heaviest_clique(problem: Problem, nodes_max: int = NODES_MAX) -> Bound:
    """Return the heaviest set of buffers that pairwise conflict, and its weight.

    Parameters
    ----------
    problem : Problem
        n buffers; conflicts as masks or lifetimes.
    nodes_max : int
        Search nodes (buffers coloured) before the best clique found so far is returned: still a
        valid bound, perhaps not the heaviest clique.

    Returns
    -------
    Bound
        The weight in bytes, and the clique.

    Notes
    -----
    Sums over joins and maxima over unions are exact; what neither splits goes through a branch and
    bound whose bound is a greedy weighted colouring [1]_. Deterministic: ties by index.

    References
    ----------
    .. [1] D. Kumlander, "A new exact algorithm for the maximum-weight clique problem based on a
       heuristic vertex-coloring and a backtrack search", 2004.

    Examples
    --------
    >>> heaviest_clique(Problem.of_edges(sizes=[4, 2, 1], edges=[(0, 1), (1, 2)]))
    Bound(lower_bound_bytes=6, witness=(0, 1))
    """
    search = CliqueSearch(conflict_masks(problem), problem.sizes, nodes_max)
    clique = search.heaviest_within(nonempty_mask(problem.sizes))
    return Bound(clique_weight(problem.sizes, clique), tuple(mask_indices(clique)))


class CliqueSearch:
    """`heaviest_clique` on parts of one graph, for solvers that take a graph apart themselves.

    Attributes
    ----------
    nodes_left : int
        Search nodes left for all parts together; without any, greedy cliques are returned.
    """

    def __init__(self, masks: Sequence[int], sizes: Sequence[int], nodes_max: int) -> None:
        self._masks, self._sizes = masks, sizes
        self.nodes_left = nodes_max

    def heaviest_within(self, alive: int, *, known: int = 0, enough: int = 0) -> int:
        """Return the heaviest clique found in the part `alive`, as a mask.

        Parameters
        ----------
        alive, known : int
            Masks: the part, and a clique of the graph that may reach into it.
        enough : int
            Bytes: nothing is searched that cannot be heavier, so a lighter clique may be returned.
        """
        parts = take_apart(self._masks, self._sizes, alive)
        has_joins = any(part.shape is Shape.JOIN for part in parts)
        inside = clique_in_parts(parts, known)
        cliques = [0] * len(parts)
        for k in reversed(range(len(parts))):
            inner = [cliques[child] for child in parts[k].children]
            if parts[k].shape is Shape.LEAF:
                cliques[k] = self._search(parts[k].alive, inside[k], 0 if has_joins else enough)
            elif parts[k].shape is Shape.UNION:
                cliques[k] = max(inner, key=lambda clique: clique_weight(self._sizes, clique))
            else:
                cliques[k] = sum(inner)  # of a join disjoint, of a thinned part one
        return cliques[0]

    def _search(self, alive: int, known: int, enough: int) -> int:
        """Search a part that nothing splits, after renumbering: bit 0 is its heaviest buffer."""
        if alive & (alive - 1) == 0:
            return alive
        order = sorted(mask_indices(alive), key=lambda i: (-self._sizes[i], i))
        weights = [self._sizes[i] for i in order]
        neighbours = [renumber(self._masks[i], order) for i in order]
        best = max(
            _greedy(neighbours, weights),
            renumber(known, order),
            key=lambda clique: clique_weight(weights, clique),
        )
        best_weight = max(clique_weight(weights, best), enough)
        # Each entry of the stack: what is chosen, its weight, and the candidates left to try with
        # it, as (candidate, bound with it, those coloured before it), the most promising last.
        stack = [(0, 0, _colour((1 << len(order)) - 1, neighbours, weights))]
        while stack and self.nodes_left > 0:
            chosen, weight, tries = stack[-1]
            if not tries:
                stack.pop()
                continue
            v, bound, before = tries.pop()
            if weight + bound <= best_weight:
                continue
            grown, grown_weight = chosen | 1 << v, weight + weights[v]
            if grown_weight > best_weight:
                best, best_weight = grown, grown_weight
            colours = _colour(before & neighbours[v], neighbours, weights)
            self.nodes_left -= len(colours) + 1
            stack.append((grown, grown_weight, colours))
        return sum(1 << order[k] for k in mask_indices(best))


def _greedy(neighbours: Sequence[int], weights: Sequence[int]) -> int:
    """Return a heavy clique: from promising starts, always the heaviest candidate next."""
    n = len(weights)
    degrees = [neighbours[v].bit_count() for v in range(n)]
    starts = sorted(range(n), key=lambda v: (-weights[v] * (degrees[v] + 1), v))[:_STARTS_MAX]
    best, best_weight = 0, -1
    for start in starts:
        clique, weight, candidates = 1 << start, weights[start], neighbours[start]
        while candidates:
            v = (candidates & -candidates).bit_length() - 1
            clique |= 1 << v
            weight += weights[v]
            candidates &= neighbours[v]
        if weight > best_weight:
            best, best_weight = clique, weight
    return best


def _colour(
    candidates: int, neighbours: Sequence[int], weights: Sequence[int]
) -> list[tuple[int, int, int]]:
    """Return (candidate, bound, coloured before it) for each, colour by colour.

    A clique holds at most one buffer of a colour, so with v at most v and the heaviest of each
    earlier colour.
    """
    result = []
    coloured = total = 0
    while candidates:
        independent = candidates
        earlier = coloured
        heaviest = weights[(candidates & -candidates).bit_length() - 1]
        while independent:
            v = (independent & -independent).bit_length() - 1
            result.append((v, total + weights[v], earlier))
            coloured |= 1 << v
            independent &= ~neighbours[v] & ~(1 << v)
        total += heaviest
        candidates &= ~coloured
    return result
