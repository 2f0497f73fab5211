"""Count in the largest unit that every offset can be a multiple of. Exact, and undone by a product.

In some lowest assignment each buffer rests on 0, on a pin, on a block or on the end of another, or
on the next aligned offset above. So all offsets are multiples of the common divisor of these
quantities, and an alignment that divides it holds by itself.
"""

from dataclasses import replace
from math import gcd

from planner.problem import Assignment, Bound, Problem

__all__ = ["divide", "multiply"]


def divide(problem: Problem) -> tuple[Problem, int]:
    """Return the problem counted in granules, and the granule in bytes (>= 1).

    Alignments that hold by themselves are dropped; a capacity is rounded down.

    Examples
    --------
    >>> small, granule = divide(
    ...     Problem((1024, 1536), lifetimes=((0, 1), (0, 1)), alignments=(512, 256))
    ... )
    >>> small.sizes, small.alignments, granule
    ((2, 3), (), 512)
    """
    granule = gcd(*problem.sizes, *(offset for _, offset in problem.pins), *problem.blocks) or 1
    alignments = problem.alignments
    if all(granule % alignment == 0 for alignment in alignments):
        alignments = ()
    else:
        granule = gcd(granule, *alignments)
    if granule == 1 and alignments == problem.alignments:
        return problem, 1
    capacity = problem.capacity_bytes
    return replace(
        problem,
        sizes=tuple(size // granule for size in problem.sizes),
        alignments=tuple(alignment // granule for alignment in alignments),
        pins=tuple((i, offset // granule) for i, offset in problem.pins),
        blocks=tuple(block // granule for block in problem.blocks),
        capacity_bytes=None if capacity is None else capacity // granule,
    ), granule


def multiply(assignment: Assignment, granule: int) -> Assignment:
    """Return an assignment of the divided problem in bytes again.

    Examples
    --------
    >>> multiply(Assignment((0, 3)), 512)
    Assignment(offsets=(0, 1536))
    """
    return Assignment(tuple(offset * granule for offset in assignment.offsets))


def bound_in_bytes(bound: Bound, granule: int) -> Bound:
    """Return a bound of the divided problem in bytes."""
    return replace(bound, lower_bound_bytes=bound.lower_bound_bytes * granule)
