"""Try every order that matters: exact for a dozen buffers, whatever their rules.

The lowest assignments are *settled*: no buffer can move down. Taken by offset, each buffer of a
settled assignment lies at the lowest gap among pins and those before it. So it is enough to build
assignments upwards, never below the last offset, and to leave a branch when

    a buffer no longer fits below the capacity above the last offset,
    a clique of the remaining buffers does not,
    or a remaining buffer could have been placed wholly below: it could move down at the end.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from typing import Final

from planner.mask_graph import conflict_masks
from planner.masks import mask_indices
from planner.problem import Assignment, Problem
from planner.solvers.attempt import Attempt
from planner.solvers.starts import lowest_start

__all__ = ["BUFFERS_MAX", "fit"]

BUFFERS_MAX: Final = 14
"""Larger problems seldom end within the node limit."""


def fit(
    problem: Problem,
    capacity_bytes: int,
    nodes_max: int = 100_000,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Attempt:
    """Return an assignment of at most `capacity_bytes`, or the proof that there is none.

    Parameters
    ----------
    problem : Problem
        n buffers with any alignments, pins and blocks; its own capacity is not looked at.
    capacity_bytes : int
        Largest height accepted, bytes.
    nodes_max : int
        Placements tried before the search is given up.
    should_stop : callable or None
        Asked now and then; true ends the search.

    Notes
    -----
    Deterministic: buffers are tried by the offset they would take, then by size, then by index.
    Recursion is as deep as there are buffers: meant for at most `BUFFERS_MAX`.

    Examples
    --------
    >>> both = Problem.of_edges(sizes=[4, 2], edges=[(0, 1)])
    >>> fit(both, capacity_bytes=6).assignment, fit(both, capacity_bytes=5).status.value
    (Assignment(offsets=(0, 4)), 'infeasible')
    """
    search = _Search(problem, capacity_bytes, nodes_max, should_stop)
    if search.extend(0, -1):
        return Attempt.fits(Assignment(tuple(search.offsets)), nodes=search.nodes)
    if search.gave_up:
        return Attempt.gave_up(nodes=search.nodes)
    return Attempt.exhausted(nodes=search.nodes)


class _Search:
    """The state of one search: what is placed, and what remains."""

    def __init__(
        self,
        problem: Problem,
        capacity: int,
        nodes_max: int,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.problem, self.capacity, self.nodes_max = problem, capacity, nodes_max
        self.should_stop = should_stop
        self.masks = conflict_masks(problem)
        self.nodes = 0
        self.gave_up = False
        self.offsets = [0] * problem.n
        self.placed: list[tuple[int, int, int]] = []
        self.remaining = {i for i in range(problem.n) if problem.sizes[i]}
        self.pins_fit = True
        for i, pin in problem.pins:
            self.offsets[i] = pin
            if problem.sizes[i]:
                self.remaining.discard(i)
                end = pin + problem.sizes[i]
                self.pins_fit &= end <= capacity and self.gap(i, pin) == pin
                insort(self.placed, (pin, end, i))
        self.cliques = [self.clique_from(i) for i in self.remaining]

    def clique_from(self, i: int) -> tuple[int, ...]:
        """Return a clique of remaining buffers around `i`, the largest neighbours first."""
        clique, common = [i], self.masks[i]
        sizes = self.problem.sizes
        for j in sorted(self.remaining & set(mask_indices(common)), key=lambda j: (-sizes[j], j)):
            if common >> j & 1:
                clique.append(j)
                common &= self.masks[j]
        return tuple(clique)

    def gap(self, i: int, offset: int) -> int | None:
        """Return the lowest free offset of buffer `i` from `offset` on, beside what is placed."""
        size, mask = self.problem.sizes[i], self.masks[i]
        cursor = lowest_start(self.problem, i, offset)
        for start, end, j in self.placed:
            if cursor is None or start >= cursor + size:
                break
            if end > cursor and mask >> j & 1:
                cursor = lowest_start(self.problem, i, end)
        return cursor

    def extend(self, last: int, last_index: int) -> bool:
        """Place the remaining buffers at or above offset `last`; False if this cannot be."""
        if not self.pins_fit:
            return False
        if not self.remaining:
            return True
        tries = self.tries(last, last_index)
        for offset, _, i in tries:
            if self.nodes >= self.nodes_max or (self.should_stop and self.should_stop()):
                self.gave_up = True
                return False
            self.nodes += 1
            self.offsets[i] = offset
            entry = (offset, offset + self.problem.sizes[i], i)
            insort(self.placed, entry)
            self.remaining.remove(i)
            if self.extend(offset, i):
                return True
            self.remaining.add(i)
            self.placed.remove(entry)
            if self.gave_up:
                return False
        return False

    def tries(self, last: int, last_index: int) -> Sequence[tuple[int, int, int]]:
        """Return (offset, -size, buffer) worth trying next, in order; none if all is lost."""
        sizes = self.problem.sizes
        for clique in self.cliques:
            weight = sum(sizes[i] for i in clique if i in self.remaining)
            if weight and last + weight > self.capacity:
                return ()
        lowest = []
        for i in self.remaining:
            above = self.gap(i, last)
            if above is None or above + sizes[i] > self.capacity:
                return ()
            anywhere = self.gap(i, 0)
            assert anywhere is not None
            lowest.append((anywhere, -sizes[i], i))
        ceiling = min(offset - size for offset, size, _ in lowest)
        return sorted(
            (offset, size, i)
            for offset, size, i in lowest
            if last <= offset < ceiling and (offset > last or i > last_index)
        )
