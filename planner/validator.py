"""Judge an assignment by the definition of its problem: every pair, every rule, no cleverness.

This room imports no solver and no bound, and is O(n^2) on purpose: it must be too plain to be
wrong. What makes an assignment good (its height against a bound) is not judged here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise

from planner.problem import Assignment, Problem

__all__ = ["Rule", "Violation", "validate"]


class Rule(StrEnum):
    """What an assignment must keep."""

    LENGTH = "length"
    """One offset for every buffer."""
    NEGATIVE = "negative"
    """Offsets are not negative."""
    ALIGNMENT = "alignment"
    """An offset is a multiple of its buffer's alignment."""
    PIN = "pin"
    """A pinned buffer stays where it is."""
    BLOCK = "block"
    """A buffer lies inside one block."""
    CAPACITY = "capacity"
    """No buffer ends above the capacity."""
    OVERLAP = "overlap"
    """Buffers in conflict share no byte."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Attributes
    ----------
    rule : Rule
    buffers : tuple of int
        The buffers that break it, ascending: two for an overlap, none for a wrong length, else one.
    detail : str
        The byte ranges found and what was expected.
    """

    rule: Rule
    buffers: tuple[int, ...]
    detail: str

    def __str__(self) -> str:
        if not self.buffers:
            return f"{self.rule}: {self.detail}"
        names = " and ".join(map(str, self.buffers))
        return f"{self.rule}: buffer{'s' * (len(self.buffers) > 1)} {names}: {self.detail}"


def validate(problem: Problem, assignment: Assignment) -> Iterator[Violation]:
    """Yield every rule of `problem` that `assignment` breaks; nothing where it is valid.

    Parameters
    ----------
    problem : Problem
        n buffers.
    assignment : Assignment
        Offsets in bytes. With a wrong number of them only that is reported.

    Yields
    ------
    Violation
        First those of single buffers by index, then overlaps by pair.

    Notes
    -----
    Empty buffers meet nobody, need no block and no capacity; their alignment and pin count all the
    same. O(n^2) time, O(n) memory.

    Examples
    --------
    >>> pair = Problem.of_edges(sizes=[4, 2], edges=[(0, 1)])
    >>> list(validate(pair, Assignment((0, 4))))
    []
    >>> [str(found) for found in validate(pair, Assignment((0, 3)))]
    ['overlap: buffers 0 and 1: [0, 4) and [3, 5) share bytes']
    """
    if len(assignment.offsets) != problem.n:
        found, wanted = len(assignment.offsets), problem.n
        yield Violation(Rule.LENGTH, (), f"found {found} offsets, expected {wanted}")
        return
    for i in range(problem.n):
        yield from _single_violations(problem, i, assignment.offsets[i])
    yield from _overlaps(problem, assignment)


def _single_violations(problem: Problem, i: int, offset: int) -> Iterator[Violation]:
    size, alignment = problem.sizes[i], problem.alignment(i)
    end = offset + size
    if offset < 0:
        yield Violation(Rule.NEGATIVE, (i,), f"[{offset}, {end}) starts below 0")
    if offset % alignment:
        yield Violation(
            Rule.ALIGNMENT, (i,), f"[{offset}, {end}) does not start at a multiple of {alignment}"
        )
    for pinned, pin in problem.pins:
        if pinned == i and pin != offset:
            yield Violation(Rule.PIN, (i,), f"[{offset}, {end}) is pinned at {pin}")
    if size == 0:
        return
    if problem.blocks:
        blocks = pairwise(accumulate(problem.blocks, initial=0))
        inside = (base <= offset and end <= stop for base, stop in blocks)
        if not any(inside):
            yield Violation(
                Rule.BLOCK, (i,), f"[{offset}, {end}) lies inside none of blocks {problem.blocks}"
            )
    if problem.capacity_bytes is not None and end > problem.capacity_bytes:
        yield Violation(
            Rule.CAPACITY, (i,), f"[{offset}, {end}) ends above {problem.capacity_bytes}"
        )


def _overlaps(problem: Problem, assignment: Assignment) -> Iterator[Violation]:
    ranges = [
        (i, offset, offset + size)
        for i, (offset, size) in enumerate(zip(assignment.offsets, problem.sizes, strict=True))
        if size
    ]
    for k, (i, start, end) in enumerate(ranges):
        for j, other_start, other_end in ranges[k + 1 :]:
            # Half-open ranges meet iff each starts before the other ends.
            if start < other_end and other_start < end and problem.in_conflict(i, j):
                yield Violation(
                    Rule.OVERLAP,
                    (i, j),
                    f"[{start}, {end}) and [{other_start}, {other_end}) share bytes",
                )
