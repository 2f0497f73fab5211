"""Searches that stop and go on, limits that are kept, and the edges of 64 bits."""

from itertools import count

import pytest

from planner.problem import Problem, SolveStatus
from planner.solvers import branch_graph, branch_intervals
from planner.solvers.attempt import Attempt
from planner.solvers.branching import Search
from planner.solvers.grid import Grid
from planner.units import BYTES_MAX

# Odd ring: three pairs of neighbours cannot be low at once, so 3 does not hold what 4 does.
RING = Problem.of_edges([2] * 5, [(i, (i + 1) % 5) for i in range(5)])


def timeline(n: int) -> Problem:
    """Pseudo-random lives and sizes, hard enough to search."""
    values = [(i * 7919 + 13) % 97 for i in range(3 * n)]
    lowers = [values[3 * i] % 20 for i in range(n)]
    return Problem(
        sizes=tuple(1 + values[3 * i + 1] % 9 for i in range(n)),
        lifetimes=tuple((a, a + 1 + values[3 * i + 2] % 7) for i, a in enumerate(lowers)),
    )


def test_a_search_in_small_steps_is_the_same_search() -> None:
    problem = timeline(30)
    board = branch_intervals.board_of(Grid(problem))
    whole = Search(board, board.tallest, 1)
    whole.go_on(4000)
    steps = Search(board, board.tallest, 1)
    while steps.status is SolveStatus.UNKNOWN and steps.nodes < 4000:
        steps.go_on(7)
    assert steps.status is whole.status
    if whole.status is SolveStatus.FEASIBLE:
        assert steps.offsets.tolist() == whole.offsets.tolist()
        assert steps.nodes == whole.nodes


def test_below_the_tallest_group_there_is_nothing_to_search() -> None:
    board = branch_intervals.board_of(Grid(timeline(12)))
    search = Search(board, board.tallest - 1, 0)
    search.go_on(100)
    assert (search.status, search.nodes) == (SolveStatus.INFEASIBLE, 0)


def test_shaken_searches_differ_and_repeat() -> None:
    board = branch_graph.board_of(Grid(timeline(30)))

    def offsets(seed: int) -> tuple[int, ...]:
        search = Search(board, 2 * board.tallest, 3, shake=0.9, seed=seed)
        search.go_on(2000)
        return tuple(search.offsets.tolist())

    assert offsets(5) == offsets(5)
    assert len({offsets(seed) for seed in range(8)}) > 1


def test_limits_end_the_search_without_a_verdict() -> None:
    problem = timeline(40)
    height = branch_intervals.board_of(Grid(problem)).tallest
    for few in (
        branch_intervals.fit(problem, height, 1),
        branch_graph.fit(problem, height, 1),
    ):
        assert (few.status, few.nodes) == (SolveStatus.UNKNOWN, 1)
    for stopped in (
        branch_intervals.fit(problem, height, 9, should_stop=lambda: True),
        branch_graph.fit(problem, height, 9, should_stop=lambda: True),
    ):
        assert stopped == Attempt.gave_up(nodes=0)


def test_a_search_told_to_stop_in_the_middle_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planner.solvers.branching.WORK_PER_CALL", 1)
    calls = count()
    attempt = branch_graph.fit(RING, 5, 1000, should_stop=lambda: next(calls) > 2)
    assert attempt.status is SolveStatus.UNKNOWN
    assert 0 < attempt.nodes < 4


def test_an_odd_ring_needs_more_than_its_cliques() -> None:
    assert branch_graph.fit(RING, 5, 1000).status is SolveStatus.INFEASIBLE
    fits = branch_graph.fit(RING, 6, 1000)
    assert fits.assignment is not None
    assert fits.assignment.height_bytes(RING) == 6
    shaken = branch_graph.fit(RING, 6, 1000, seed=3)
    assert shaken.status is SolveStatus.FEASIBLE


@pytest.mark.parametrize("fit", [branch_intervals.fit, branch_graph.fit])
def test_nothing_to_place_fits_unless_the_pins_do_not(fit: object) -> None:
    assert callable(fit)
    pinned = Problem((4,), lifetimes=((0, 1),), pins=((0, 2),))
    assert fit(pinned, 6, 1).status is SolveStatus.FEASIBLE
    assert fit(pinned, 5, 1).status is SolveStatus.INFEASIBLE


@pytest.mark.parametrize("fit", [branch_intervals.fit, branch_graph.fit])
def test_too_many_conflicts_are_not_held(fit: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(fit)
    for module in (branch_intervals, branch_graph):
        monkeypatch.setattr(module, "EDGES_MAX", 0)
    assert fit(Problem((1, 1), lifetimes=((0, 2), (1, 3))), 2, 10) == Attempt.gave_up(nodes=0)


def test_sums_of_sizes_reach_the_largest() -> None:
    third = BYTES_MAX // 3
    problem = Problem((third, third - 1, third), lifetimes=((0, 9), (1, 9), (2, 9)))
    total = sum(problem.sizes)
    assert branch_intervals.fit(problem, total, 100).status is SolveStatus.FEASIBLE
    assert branch_intervals.fit(problem, total - 1, 100).status is SolveStatus.INFEASIBLE
    assert branch_graph.fit(problem, total, 100).status is SolveStatus.FEASIBLE


def test_beyond_64_bits_nothing_is_proven() -> None:
    # Two halves in the way of each other at odd alignments above 2^62: only a search in larger
    # integers could tell.
    half = BYTES_MAX // 2
    problem = Problem(
        (half, half), lifetimes=((0, 2), (1, 3)), alignments=(BYTES_MAX + 1, half + 3)
    )
    fits = branch_intervals.fit(problem, 4 * BYTES_MAX, 100)
    assert fits.status in (SolveStatus.UNKNOWN, SolveStatus.FEASIBLE)
    assert branch_intervals.fit(problem, half + 2, 100).status is SolveStatus.INFEASIBLE
    lifted = Problem((half, half - 1), lifetimes=((0, 2), (1, 3)), alignments=(3 * half, 3 * half))
    assert branch_intervals.fit(lifted, 4 * BYTES_MAX, 100).status is SolveStatus.UNKNOWN
