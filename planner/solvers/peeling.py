"""Set aside what can always be placed last below a given height. Exact for that height and above.

A neighbour of size s forbids a buffer of size t the starts strictly within s + t of each other. A
buffer with more starts than all its neighbours together can forbid finds room wherever they lie.
"""

from collections.abc import Sequence

from planner.mask_graph import bit_planes, weigh
from planner.masks import mask_indices
from planner.problem import Problem
from planner.units import align_up

__all__ = ["peel"]


def peel(
    problem: Problem,
    masks: Sequence[int],
    alive: int,
    height_bytes: int,
    planes: Sequence[int] = (),
) -> list[int]:
    """Return buffers of the part `alive` that always find room below the height, in peeling order.

    Undone in reverse: once the rest lies anywhere, each takes its lowest gap, last peeled first,
    and ends at most at `height_bytes`.

    Parameters
    ----------
    problem : Problem
        n buffers; pinned ones are never peeled. Offsets of all that is not peeled are integers.
    masks : sequence of int, length n
    alive : int
        Mask of the buffers looked at; all of size > 0.
    height_bytes : int
        A height that the caller cannot or need not beat.
    planes : sequence of int
        The bit planes of the sizes; made here if not given.

    Notes
    -----
    A few passes of O(n) steps on masks. Deterministic: lowest index first.

    Examples
    --------
    >>> path = Problem.of_edges(sizes=[1, 2, 1], edges=[(0, 1), (1, 2)])
    >>> peel(path, path.conflict_masks, alive=0b111, height_bytes=4)
    [0, 1, 2]
    """
    planes = planes or bit_planes(problem.sizes)
    starts = {i: _starts(problem, i, height_bytes) for i in mask_indices(alive)}
    for i, _ in problem.pins:
        starts.pop(i, None)
    peeled: list[int] = []
    found = True
    while found:
        found = False
        for i, count in list(starts.items()):
            neighbours = masks[i] & alive
            if _forbidden(problem, i, neighbours.bit_count(), weigh(planes, neighbours)) < count:
                peeled.append(i)
                alive &= ~(1 << i)
                del starts[i]
                found = True
    return peeled


def _starts(problem: Problem, i: int, height: int) -> int:
    """Return how many offsets buffer `i` has below the height when it is alone."""
    size, alignment = problem.sizes[i], problem.alignment(i)
    count = base = 0
    for block in problem.blocks or (height,):
        stop = min(base + block, height)
        first = align_up(base, alignment)
        if first + size <= stop:
            count += (stop - size - first) // alignment + 1
        base += block
    return count


def _forbidden(problem: Problem, i: int, degree: int, weight: int) -> int:
    """Return the most offsets of buffer `i` that `degree` neighbours of this weight can forbid."""
    # One of size s: at most ceil((size + s - 1) / alignment) multiples of the alignment; summed.
    size, alignment = problem.sizes[i], problem.alignment(i)
    return (degree * (size + alignment - 2) + weight) // alignment
