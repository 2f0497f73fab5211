"""Closed form: where conflicts can be oriented transitively, longest paths are optimal offsets.

    a --> b --> c     If a must lie below b and b below c, and then a below c by an edge of its
    +---------->      own, every path is a clique: the longest path is both a height and a bound.

Independent streams, any two streams however synchronised, and every series-parallel order have such
a conflict graph.
"""

from collections.abc import Sequence
from typing import Final

from planner.errors import UsageError
from planner.mask_graph import conflict_masks
from planner.masks import mask_indices
from planner.orientation import orient_transitively
from planner.problem import Assignment, Problem

__all__ = ["ARCS_MAX", "solve"]

ARCS_MAX: Final = 2_000_000
"""Oriented conflicts before an orientation is given up: about 2 s."""


def solve(problem: Problem, arcs_max: int = ARCS_MAX) -> Assignment | None:
    """Return an assignment as high as the heaviest clique, if conflicts orient transitively.

    Parameters
    ----------
    problem : Problem
        n buffers without alignments, pins or blocks: with them longest paths are not optimal.
    arcs_max : int
        Conflicts (each twice) above which the problem is left alone.

    Returns
    -------
    Assignment or None
        None: no transitive orientation exists, or there are too many conflicts. An assignment is
        optimal.

    Raises
    ------
    UsageError
        The problem has alignments, pins or blocks. Caused by the caller.

    References
    ----------
    .. [1] M. C. Golumbic, "Algorithmic Graph Theory and Perfect Graphs", 1980, ch. 5 and 9:
       orientation by implication classes; comparability graphs are superperfect.

    Examples
    --------
    >>> solve(Problem.of_edges(sizes=[4, 2, 3], edges=[(0, 1), (1, 2)]))
    Assignment(offsets=(0, 4, 0))
    """
    if problem.alignments or problem.pins or problem.blocks:
        raise UsageError("transitive.solve: expected no alignments, pins and blocks")
    masks = conflict_masks(problem)
    if sum(mask.bit_count() for mask in masks) > arcs_max:
        return None
    above = orient_transitively(masks)
    return None if above is None else _longest_paths(problem.sizes, above)


def _longest_paths(sizes: Sequence[int], above: Sequence[int]) -> Assignment:
    """Return as offset of each buffer the heaviest path that ends below it."""
    # In a transitive orientation what lies above y is a subset of what lies above x for x -> y.
    order = sorted(range(len(sizes)), key=lambda i: -above[i].bit_count())
    offsets = [0] * len(sizes)
    for i in order:
        end = offsets[i] + sizes[i]
        for j in mask_indices(above[i]):
            offsets[j] = max(offsets[j], end)
    return Assignment(tuple(offsets))
