"""The slowest cycle of an event graph: how long events take that wait for one another in a ring.

    a ---12, 0 frames---> b        12 + 3 of time for 2 frames: each of the ring's events comes
    ^                     |        every 7.5, however fast all the rest is
    `----3, 2 frames------'

What events are, and which wait for which, is their owner's matter.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from planner.errors import UsageError

__all__ = ["RatioEdge", "cycle_ratio"]


class RatioEdge(NamedTuple):
    """An arc of an event graph: `second` starts `time` after `first`, `frames` frames later.

    Attributes
    ----------
    first, second : int
        Nodes, counted from 0.
    time, frames : int
        Both >= 0.
    """

    first: int
    second: int
    time: int
    frames: int


def cycle_ratio(n_nodes: int, edges: Sequence[RatioEdge]) -> Fraction:
    """Return the greatest time / frames over all cycles of an event graph; 0 without a cycle.

    In a graph whose events repeat as fast as they can, that is the time between two frames.

    Raises
    ------
    UsageError
        A cycle takes time and advances no frame: it would wait for itself.

    Notes
    -----
    Newton's method on the ratio: as long as some cycle is above it, take that cycle's. Each step is
    a search for a positive cycle by relaxation, whose parents are looked at after every pass.
    Exact: integers and fractions alone. Deterministic: edges are tried as given. Edges in a
    topological order of those without frames need the fewest passes.

    References
    ----------
    .. [1] E. L. Lawler, "Combinatorial Optimization: Networks and Matroids", 1976, sec. 3.13:
           the ratio problem as a search for cycles of one sign.
    .. [2] A. Dasdan, "Experimental analysis of the fastest optimum cycle ratio and mean
           algorithms", ACM TODAES 9(4), 2004.
    .. [3] B. Cherkassky, A. Goldberg, "Negative-cycle detection algorithms", Math. Prog. 85, 1999:
           a cycle among the parents is one of the sign looked for.

    Examples
    --------
    >>> cycle_ratio(2, [RatioEdge(0, 1, 12, 0), RatioEdge(1, 0, 3, 2)])
    Fraction(15, 2)
    """
    ratio = Fraction(0)
    while cycle := _cycle_above(ratio, n_nodes, edges):
        frames = sum(edge.frames for edge in cycle)
        if frames == 0:
            raise UsageError(
                f"nodes {sorted(edge.first for edge in cycle)} of the event graph wait for one "
                "another inside one frame"
            )
        ratio = Fraction(sum(edge.time for edge in cycle), frames)
    return ratio


def _cycle_above(ratio: Fraction, n_nodes: int, edges: Sequence[RatioEdge]) -> list[RatioEdge]:
    """Return the edges of a cycle whose ratio is above `ratio`; none: there is no such cycle."""
    p, q = ratio.as_integer_ratio()
    lengths = [edge.time * q - edge.frames * p for edge in edges]
    longest = [0] * n_nodes
    parents: list[RatioEdge | None] = [None] * n_nodes
    changed = True
    while changed:
        changed = False
        for edge, length in zip(edges, lengths, strict=True):
            if longest[edge.first] + length > longest[edge.second]:
                longest[edge.second] = longest[edge.first] + length
                parents[edge.second] = edge
                changed = True
        if changed and (cycle := _parent_cycle(parents)):
            return cycle
    return []


def _parent_cycle(parents: Sequence[RatioEdge | None]) -> list[RatioEdge]:
    """Return a cycle among the parents, if there is one."""
    visited_from = [-1] * len(parents)
    for start in range(len(parents)):
        node = start
        while visited_from[node] < 0:
            visited_from[node] = start
            edge = parents[node]
            if edge is None:
                break
            node = edge.first
        else:
            if visited_from[node] == start:
                return _walk_back(parents, node)
    return []


def _walk_back(parents: Sequence[RatioEdge | None], end: int) -> list[RatioEdge]:
    cycle: list[RatioEdge] = []
    node = end
    while not cycle or node != end:
        edge = parents[node]
        assert edge is not None, "every node of a cycle has a parent"
        cycle.append(edge)
        node = edge.first
    return cycle
