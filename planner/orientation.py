"""Graphs whose edges can be oriented transitively: comparability graphs of partial orders.

    a --> b --> c     a below b and b below c, and then a below c by an edge of its own: every
    +---------->      path is a clique.

Of a conflict graph such an orientation gives optimal offsets, of its complement the heaviest
clique. Graphs are int bit masks, one a vertex.
"""

from collections.abc import Sequence

from planner.masks import mask_indices

__all__ = ["orient_transitively"]


def orient_transitively(masks: Sequence[int]) -> list[int] | None:
    """Return for each vertex the mask of those above it, or None if no orientation exists.

    Notes
    -----
    Arc x -> y forces x -> z where z is joined to x alone, and z -> y where z is joined to y
    alone. The closure of one arc is a class; an orientation exists iff no class holds an arc and
    its reverse, each class being taken in what earlier classes left. O(m) steps on masks for m
    edges.

    References
    ----------
    .. [1] M. C. Golumbic, "Algorithmic Graph Theory and Perfect Graphs", 1980, ch. 5:
       orientation by implication classes.

    Examples
    --------
    >>> orient_transitively([0b010, 0b101, 0b010])
    [2, 0, 2]
    >>> pentagon = [0b10010, 0b00101, 0b01010, 0b10100, 0b01001]
    >>> orient_transitively(pentagon) is None
    True
    """
    left = list(masks)
    above = [0] * len(masks)
    for x in range(len(masks)):
        while left[x]:
            y = (left[x] & -left[x]).bit_length() - 1
            forced = _implication_class(left, x, y)
            if forced is None:
                return None
            for tail, heads in forced.items():
                above[tail] |= heads
                left[tail] &= ~heads
                for head in mask_indices(heads):
                    left[head] &= ~(1 << tail)
    return above


def _implication_class(masks: Sequence[int], x: int, y: int) -> dict[int, int] | None:
    """Return tail -> mask of heads of all arcs that x -> y forces; None on a contradiction."""
    heads: dict[int, int] = {x: 1 << y}
    tails: dict[int, int] = {y: 1 << x}
    todo = [(x, y)]
    while todo:
        tail, head = todo.pop()
        up = masks[tail] & ~masks[head] & ~(1 << head) & ~heads[tail]
        heads[tail] |= up
        for z in mask_indices(up):
            tails[z] = tails.get(z, 0) | 1 << tail
            todo.append((tail, z))
        down = masks[head] & ~masks[tail] & ~(1 << tail) & ~tails[head]
        tails[head] |= down
        for z in mask_indices(down):
            heads[z] = heads.get(z, 0) | 1 << head
            todo.append((z, head))
        if heads[tail] & tails.get(tail, 0) or heads.get(head, 0) & tails[head]:
            return None
    return heads
