"""The heaviest clique of a fleet's instances, by the structure that order and locks give it.

    one lane:      a --> b --> c      Instances that may share memory, joined along a line that
                   |           |      agrees with the order, make a DAG. Its antichains are cliques
    another lane:  `---> d     `->e   of conflicting instances, and one flow finds the heaviest.

With one frame in flight, a step for each instance and the steps of each lock in a chain, sharing is
exactly the order: the antichain is the heaviest clique. Elsewhere sharing is no order (locks
exclude without ordering; an instance is used in several steps, channels and frames), and a DAG that
holds all its pairs may relate further pairs by its paths. Then an antichain is still a clique, but
perhaps not the heaviest. Whether that happened is seen exactly: some path joins a conflicting pair.

Where it happened, the parts of the conflict graph are looked at apart. A part whose sharing can be
oriented transitively loses nothing along such an orientation. For the rest the line starts with the
instances that share most (holders of several locks), so that few paths lead through them.

An antichain of *executions* is no bound: two of them on one lane exclude each other and would count
twice. Here the nodes are instances, and nothing is claimed that does not pairwise conflict: every
candidate passes through `_grown`, which keeps only conflicting members.
"""

from collections.abc import Sequence
from typing import Final

from planner.bounds.antichain import heaviest_antichain
from planner.bounds.clique import clique_weight
from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.mask_graph import Shape, grown_clique, nonempty_mask, take_apart
from planner.masks import mask_indices
from planner.orientation import orient_transitively
from planner.problem import Bound

__all__ = ["fleet_bound"]

_ARCS_MAX: Final = 400_000
"""Sharing pairs, each twice, of a part whose orientation is tried: about 0.5 s."""


def fleet_bound(
    relation: ConflictRelation, sizes: Sequence[int], known: Bound | None = None
) -> Bound:
    """Return a heavy set of instances that pairwise conflict, and its weight.

    No plan of the fleet has a smaller work reservation. Ask last: unless `known` is as heavy as one
    instance for each lane can be, a flow solver is imported.

    Parameters
    ----------
    relation : ConflictRelation
        n instances.
    sizes : sequence of int, length n, bytes
        Reserved work memory of each instance, after the region rule; >= 0, sum at most 2^62.
    known : Bound or None
        A bound found by other means. The result is at least as heavy as its witness.

    Returns
    -------
    Bound
        The weight, and the instances of size > 0 that reach it, ascending.

    Raises
    ------
    SpecError
        `sizes` and `relation` differ in length, or sizes are out of range. Caused by the caller.

    Notes
    -----
    The heaviest clique where sharing is a partial order (see above), on the whole or in each part
    that splits, joins and dominance leave; a clique elsewhere. One flow for the whole and at most
    one for each part. Deterministic: ties by index.

    References
    ----------
    .. [1] M. C. Golumbic, "Algorithmic Graph Theory and Perfect Graphs", 1980, ch. 5: cliques of
       cocomparability graphs are antichains.

    Examples
    --------
    >>> from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> from planner.schedule import Schedule
    >>> m = ModelId("m")
    >>> steps = (StepSpec("a", m, "x"), StepSpec("b", m, "y", ("a",)), StepSpec("c", m, "z"))
    >>> models = (ModelSpec(m, work_bytes=1, weight_bytes=0),)
    >>> spec = FleetSpec("f", models, (PipelineSpec("p", steps),))
    >>> fleet_bound(ConflictRelation.of_schedule(Schedule.of_fleet(spec)), [4, 3, 2])
    Bound(lower_bound_bytes=6, witness=(0, 2))
    """
    if len(sizes) != relation.n:
        raise SpecError(f"sizes: found {len(sizes)}, expected {relation.n}, one for each instance")
    masks = relation.masks
    alive = nonempty_mask(sizes)
    best = grown_clique(masks, sizes, alive, known.witness if known else ())
    if clique_weight(sizes, best) < _lanes_weight(relation, sizes, alive):
        line = [i for i in _line_of_steps(relation) if alive >> i & 1]
        antichain, is_exact = _antichain_along(masks, sizes, line)
        candidates = [best, grown_clique(masks, sizes, alive, antichain)]
        if not is_exact:
            candidates.append(_by_parts(relation, sizes, alive, candidates))
        best = max(candidates, key=lambda clique: clique_weight(sizes, clique))
    assert all(best & ~masks[i] == 1 << i for i in mask_indices(best)), "the witness is no clique"
    return Bound(clique_weight(sizes, best), tuple(mask_indices(best)))


def _lanes_weight(relation: ConflictRelation, sizes: Sequence[int], part: int) -> int:
    """Return what no clique of a part exceeds: the largest instance of each lane, summed."""
    largest: dict[str, int] = {}
    for i in mask_indices(part):
        lane = relation.instances[i].rpartition("@")[2]
        largest[lane] = max(largest.get(lane, 0), sizes[i])
    return sum(largest.values())


def _line_of_steps(relation: ConflictRelation) -> list[int]:
    """Return the instances in an order that agrees with that of each one's first channel."""
    line: dict[int, None] = {}
    for channel in relation.schedule.channels:
        for step in channel.order.topological:
            for choice in channel.choices[step]:
                line.setdefault(choice.instance)
    return list(line)


def _by_parts(
    relation: ConflictRelation, sizes: Sequence[int], alive: int, known: Sequence[int]
) -> int:
    """Return the heaviest clique that flows and the known cliques give, part by part."""
    masks = relation.masks
    parts = take_apart(masks, sizes, alive)
    cliques = [0] * len(parts)
    for k in reversed(range(len(parts))):
        part = parts[k]
        inner = [cliques[child] for child in part.children]
        if part.shape is Shape.UNION:
            cliques[k] = max(inner, key=lambda clique: clique_weight(sizes, clique))
        elif part.shape is not Shape.LEAF:
            cliques[k] = sum(inner)  # of a join they are disjoint; of a thinned part there is one
        else:
            members = [mask_indices(clique & part.alive) for clique in known]
            pieces = [grown_clique(masks, sizes, part.alive, list(some)) for some in members]
            heaviest = max(clique_weight(sizes, piece) for piece in pieces)
            if heaviest < _lanes_weight(relation, sizes, part.alive):
                line = _line_of_part(masks, part.alive)
                antichain, _ = _antichain_along(masks, sizes, line)
                pieces.append(grown_clique(masks, sizes, part.alive, antichain))
            cliques[k] = max(pieces, key=lambda clique: clique_weight(sizes, clique))
    return cliques[0]


def _line_of_part(masks: Sequence[int], part: int) -> list[int]:
    """Return a part along a transitive orientation of its sharing, or what shares most first."""
    members = list(mask_indices(part))
    sharing = _sharing_along(masks, members)
    arcs = sum(row.bit_count() for row in sharing)
    above = orient_transitively(sharing) if arcs <= _ARCS_MAX else None
    ranks = above if above is not None else sharing
    order = sorted(range(len(members)), key=lambda k: (-ranks[k].bit_count(), k))
    return [members[k] for k in order]


def _sharing_along(masks: Sequence[int], line: Sequence[int]) -> list[int]:
    """Return for each position of a line the mask of the positions that do not conflict with it."""
    import numpy as np

    width = max(line) // 8 + 1
    low = (1 << 8 * width) - 1
    order = np.asarray(line)
    sharing = []
    for position, i in enumerate(line):  # row by row: the whole matrix as bytes would be large
        row = np.frombuffer((~masks[i] & low).to_bytes(width, "little"), np.uint8)
        along = np.packbits(np.unpackbits(row, bitorder="little")[order], bitorder="little")
        sharing.append(int.from_bytes(along.tobytes(), "little") & ~(1 << position))
    return sharing


def _antichain_along(
    masks: Sequence[int], sizes: Sequence[int], line: Sequence[int]
) -> tuple[list[int], bool]:
    """Return the heaviest antichain of sharing along a line, and whether no path says more."""
    sharing = _sharing_along(masks, line)
    after = [0] * len(line)
    edges: list[tuple[int, int]] = []
    is_exact = True
    for k in reversed(range(len(line))):
        # The nearest later position first: what it already precedes needs no edge of its own.
        wanted = rest = sharing[k] >> k + 1 << k + 1
        while rest:
            nearest = (rest & -rest).bit_length() - 1
            edges.append((k, nearest))
            after[k] |= after[nearest] | 1 << nearest
            rest &= ~after[k]
        is_exact = is_exact and after[k] == wanted
    bound = heaviest_antichain([sizes[i] for i in line], edges)
    return [line[k] for k in bound.witness] if bound is not None else [], is_exact
