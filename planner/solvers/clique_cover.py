"""Cliques that cover the edges of a conflict graph: what a search sees of it at a glance."""

from collections.abc import Sequence

from planner.masks import mask_indices

__all__ = ["clique_cover", "maximal_cliques"]


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


def maximal_cliques(masks: Sequence[int], most: int) -> list[tuple[int, ...]] | None:
    """Return every maximal clique, each ascending, or None where there are more than `most`.

    Parameters
    ----------
    masks : sequence of int, length n
        Bit j of mask i is set iff i and j are joined.
    most : int
        >= 0. A graph of n vertices may have 3^(n/3) of them.

    Notes
    -----
    Deterministic. Gives up as soon as one is too many, or after 8 (`most` + n) partial cliques.

    References
    ----------
    .. [1] C. Bron, J. Kerbosch, "Algorithm 457: finding all cliques of an undirected graph", CACM
       16 (9), 1973; the pivot of E. Tomita, A. Tanaka, H. Takahashi, TCS 363, 2006.

    Examples
    --------
    >>> maximal_cliques([0b0110, 0b0101, 0b1011, 0b0100], most=9)
    [(2, 3), (0, 1, 2)]
    >>> maximal_cliques([0b0110, 0b0101, 0b1011, 0b0100], most=1) is None
    True
    """
    found: list[tuple[int, ...]] = []
    # Of a clique: the vertices that could extend it, and those that were tried already.
    todo: list[tuple[tuple[int, ...], int, int]] = [((), (1 << len(masks)) - 1, 0)]
    for _ in range(8 * (most + len(masks)) + 1):
        if not todo:
            return found
        clique, candidates, tried = todo.pop()
        if not candidates:
            if not tried and clique:
                found.append(tuple(sorted(clique)))
                if len(found) > most:
                    return None
            continue
        pivot = max(
            mask_indices(candidates | tried),
            key=lambda v: ((masks[v] & candidates).bit_count(), -v),
        )
        for v in mask_indices(candidates & ~masks[pivot]):
            todo.append(((*clique, v), candidates & masks[v], tried & masks[v]))
            candidates ^= 1 << v
            tried |= 1 << v
    return None if todo else found
