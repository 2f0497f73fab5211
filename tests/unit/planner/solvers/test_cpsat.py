"""CP-SAT as a second opinion: better, a proof, or an honest shrug."""

from itertools import accumulate
from unittest.mock import MagicMock

import pytest

from planner.problem import Assignment, Problem, SolveStatus
from planner.solvers import cpsat
from planner.units import BYTES_MAX
from planner.validator import validate
from tests.second_opinion import lowest

pytest.importorskip("ortools", reason="needs OR-tools, an optional part")

RING = Problem.of_edges([2] * 7, [(i, (i + 1) % 7) for i in range(7)])
STACKED = Assignment(tuple(range(0, 14, 2)))


def hard() -> tuple[Problem, Assignment, int]:
    """A timeline that nobody places at its greatest sum at once, and that sum."""
    values = [(i * 7919 + 13) % 997 for i in range(400)]
    lifetimes = tuple((values[2 * i] % 60, values[2 * i] % 60 + 5 + i % 17) for i in range(200))
    sizes = tuple(100 + values[2 * i + 1] for i in range(200))
    greatest = max(
        sum(size for size, (a, b) in zip(sizes, lifetimes, strict=True) if a <= at < b)
        for at in range(80)
    )
    stacked = Assignment((0, *accumulate(sizes[:-1])))
    return Problem(sizes, lifetimes=lifetimes), stacked, greatest


def test_a_buffer_without_conflicts_is_free() -> None:
    problem = Problem((3, 2, 2), conflict_masks=(0, 4, 2))
    attempt = lowest(problem, Assignment((4, 0, 2)))
    assert attempt.assignment is not None
    assert attempt.assignment.height_bytes(problem) == 4


def test_buffers_without_any_conflict_all_lie_at_the_bottom() -> None:
    loose = Problem((3, 2), conflict_masks=(0, 0))
    attempt = lowest(loose, Assignment((0, 3)))
    assert attempt.assignment is not None
    assert attempt.assignment.offsets == (0, 0)


def test_it_finds_lower_and_proves_lowest() -> None:
    attempt = lowest(RING, STACKED)
    assert attempt.assignment is not None
    assert attempt.assignment.height_bytes(RING) == 6
    again = lowest(RING, attempt.assignment)
    assert again.status is SolveStatus.INFEASIBLE


def test_only_what_is_low_enough_is_looked_for() -> None:
    for below, found in ((8, True), (7, True), (6, False)):
        opinion = cpsat.SecondOpinion(RING, STACKED, below_bytes=below, seconds=60, workers=1)
        opinion.wait(60)
        assert opinion.attempt is not None
        assert (opinion.attempt.assignment is not None) == found


def test_the_mirror_of_a_hint_is_a_hint() -> None:
    """Wherever the incumbent puts the pair that is ordered, it may still be optimal."""
    problem = Problem.of_edges([4, 2, 3], [(0, 2), (1, 2)])
    for incumbent in (Assignment((0, 0, 4)), Assignment((3, 3, 0)), Assignment((5, 3, 0))):
        attempt = lowest(problem, incumbent)
        height = incumbent.height_bytes(problem)
        assert (attempt.assignment is None) == (height == 7)
        if attempt.assignment is not None:
            assert attempt.assignment.height_bytes(problem) == 7


def test_lifetimes_alignments_pins_and_blocks_are_kept() -> None:
    problem = Problem(
        sizes=(4, 3, 2, 2),
        lifetimes=((0, 4), (1, 5), (2, 6), (5, 5)),
        alignments=(1, 4, 2, 1),
        pins=((2, 6),),
        blocks=(8, 20),
    )
    start = Assignment((22, 16, 6, 0))
    assert list(validate(problem, start)) == []
    attempt = lowest(problem, start)
    assert attempt.assignment is not None
    assert list(validate(problem, attempt.assignment)) == []
    # Buffer 0 below the pin, buffer 1 above it, at the first multiple of 4 behind the wall.
    assert attempt.assignment.height_bytes(problem) == 11


def test_an_incumbent_at_the_bound_or_at_a_pin_needs_no_search() -> None:
    whole = cpsat.SecondOpinion(RING, STACKED, below_bytes=0, seconds=60, workers=1)
    assert whole.attempt is not None
    assert (whole.attempt.status, whole.attempt.nodes) == (SolveStatus.INFEASIBLE, 0)
    pinned = Problem((2, 2), conflict_masks=(2, 1), pins=((0, 5),))
    attempt = lowest(pinned, Assignment((5, 0)))
    assert (attempt.status, attempt.nodes) == (SolveStatus.INFEASIBLE, 0)


def test_time_and_the_caller_end_it() -> None:
    problem, start, greatest = hard()
    below = greatest + 1
    hasty = cpsat.SecondOpinion(problem, start, below_bytes=below, seconds=0.01, workers=1)
    hasty.wait(60)
    stopped = cpsat.SecondOpinion(problem, start, below_bytes=below, seconds=200, workers=1)
    stopped.stop()
    for opinion in (hasty, stopped):
        assert opinion.attempt is not None
        assert opinion.attempt.status is SolveStatus.UNKNOWN


def test_heights_beyond_its_integers_are_not_asked() -> None:
    problem = Problem((BYTES_MAX // 2 + 1, 1), conflict_masks=(2, 1))
    start = Assignment((0, BYTES_MAX // 2 + 1))
    assert lowest(problem, start).status is SolveStatus.UNKNOWN


def test_it_is_known_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpsat.is_available()
    monkeypatch.setattr("importlib.util.find_spec", MagicMock(return_value=None))
    assert not cpsat.is_available()
