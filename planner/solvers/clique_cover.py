"""Cliques that cover the edges of a conflict graph: what a search sees of it at a glance."""

from collections.abc import Sequence

__all__ = ["clique_cover"]


def clique_cover(masks: Sequence[int], cliques_max: int | None = None) -> list[tuple[int, ...]]:
    """Return maximal cliques that cover the vertices and, as far as `cliques_max` goes, the edges.

    Parameters
    ----------
    masks : sequence of int, length n
        Bit j of mask i is set iff i and j are joined. Low indices are taken first: number the
        vertices by weight to get heavy cliques.
    cliques_max : int or None
        Edges are covered while there are fewer cliques; each vertex begins one in any case. None:
        all edges are covered.

    Returns
    -------
    list of tuple of int
        Each ascending, none twice.

    Notes
    -----
    Each vertex begins a clique, grown by the lowest vertex joined to all of it; then each edge in
    no clique yet begins one, grown rather through further such edges. Deterministic.

    Examples
    --------
    >>> clique_cover([0b0110, 0b0101, 0b1011, 0b0100])
    [(0, 1, 2), (2, 3)]
    """
    cliques: dict[tuple[int, ...], None] = {}
    uncovered = list(masks)

    def add(clique: list[int], common: int) -> None:
        first = uncovered[clique[0]] if len(clique) > 1 else -1
        while common:
            wanted = common & first or common
            k = (wanted & -wanted).bit_length() - 1
            clique.append(k)
            common &= masks[k]
        cliques[tuple(sorted(clique))] = None
        whole = sum(1 << k for k in clique)
        for k in clique:
            uncovered[k] &= ~whole

    for k, mask in enumerate(masks):
        add([k], mask)
    for k, mask in enumerate(masks):
        while uncovered[k] and (cliques_max is None or len(cliques) < cliques_max):
            other = (uncovered[k] & -uncovered[k]).bit_length() - 1
            add([k, other], mask & masks[other])
    return list(cliques)
