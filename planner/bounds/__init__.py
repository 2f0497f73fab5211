"""Heights that no valid assignment can go below, each with the buffers that force it."""

from planner.bounds.antichain import heaviest_antichain
from planner.bounds.clique import heaviest_clique
from planner.bounds.fleet import fleet_bound
from planner.bounds.intervals import largest_live_load
from planner.problem import Bound, Problem

__all__ = [
    "fleet_bound",
    "heaviest_antichain",
    "heaviest_clique",
    "largest_live_load",
    "lower_bound",
]


def lower_bound(problem: Problem) -> Bound:
    """Return the best bound that the structure of `problem` gives without search for offsets.

    The largest live load of lifetimes, the heaviest clique (counted search) of a general relation,
    or the highest end of a pinned buffer, whichever is largest. Alignments and blocks can only
    raise the least height, so the bound holds with them.

    Examples
    --------
    >>> lower_bound(Problem((4, 2), lifetimes=((0, 2), (2, 4)), pins=((1, 8),)))
    Bound(lower_bound_bytes=10, witness=(1,))
    """
    bound = heaviest_clique(problem) if problem.lifetimes is None else largest_live_load(problem)
    for i, offset in problem.pins:
        if problem.sizes[i] and offset + problem.sizes[i] > bound.lower_bound_bytes:
            bound = Bound(offset + problem.sizes[i], (i,))
    return bound
