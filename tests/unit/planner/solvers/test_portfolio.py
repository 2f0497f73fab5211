import random
import subprocess
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import pytest

from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.solvers import SolveOptions, exhaustive, first_fit, portfolio, solve
from planner.solvers.attempt import Attempt
from planner.solvers.ladder import Ladder
from planner.units import BYTES_MAX
from planner.validator import validate
from tests.unit.planner.solvers.test_exhaustive import fixture

RING = Problem.of_edges([2] * 5, [(i, (i + 1) % 5) for i in range(5)])


def test_the_fixture_whose_bound_is_not_tight_is_solved_and_proven() -> None:
    found = solve(fixture())
    assert found.status is SolveStatus.OPTIMAL
    assert found.assignment is not None
    assert found.assignment.height_bytes(fixture()) == 9
    assert found.bound == Bound(9)  # proven by search: no clique is its witness
    assert found.solver == "first_fit"  # the lowest came first, its proof later


def test_an_empty_problem_is_solved() -> None:
    assert solve(Problem((), conflict_masks=())).assignment == Assignment(())
    assert solve(Problem((0, 0), lifetimes=((0, 1), (0, 1)))).assignment == Assignment((0, 0))


def test_one_maximum_per_group_is_never_beaten_by_the_answer() -> None:
    groups = [0, 1, 0, 1, 2]
    quick = solve(RING, SolveOptions(rounds_max=0), groups=groups)
    assert quick.assignment is not None
    assert quick.assignment.height_bytes(RING) <= 6


def test_a_bound_of_the_caller_ends_the_search_and_is_the_answers() -> None:
    found = solve(RING, bound=Bound(6, (0, 1)))
    assert (found.status, found.bound) == (SolveStatus.OPTIMAL, Bound(6, (0, 1)))
    assert solve(RING).bound == Bound(6)


def test_a_target_is_enough() -> None:
    found = solve(RING, SolveOptions(target_bytes=6))
    assert found.status is SolveStatus.FEASIBLE
    assert found.bound.lower_bound_bytes == 4


def test_without_search_the_gap_stays_open() -> None:
    found = solve(RING, SolveOptions(rounds_max=0))
    assert (found.status, found.bound.lower_bound_bytes) == (SolveStatus.FEASIBLE, 4)
    unknown = solve(replace(RING, capacity_bytes=5), SolveOptions(rounds_max=0))
    assert (unknown.status, unknown.assignment) == (SolveStatus.UNKNOWN, None)


def test_equal_kernels_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten copies of a kernel, each in conflict with all others: ten times its height."""
    tried: list[Problem] = []
    plain = exhaustive.fit

    def fit(problem: Problem, *rest: Any, **named: Any) -> Any:
        tried.append(problem)
        return plain(problem, *rest, **named)

    monkeypatch.setattr(exhaustive, "fit", fit)
    one = fixture()
    assert one.conflict_masks is not None
    copies, n = 10, one.n
    edges = [
        (i, j)
        for i in range(copies * n)
        for j in range(i)
        if i // n != j // n or one.conflict_masks[i % n] >> j % n & 1
    ]
    many = Problem.of_edges(one.sizes * copies, edges)
    found = solve(many)
    assert found.assignment is not None
    assert (found.status, found.assignment.height_bytes(many)) == (SolveStatus.OPTIMAL, 90)
    assert list(validate(many, found.assignment)) == []
    searched = len(tried)
    tried.clear()
    solve(one)
    assert searched == len(tried)


def test_a_capacity_below_the_bound_is_refused_with_proof() -> None:
    assert solve(replace(RING, capacity_bytes=3)).status is SolveStatus.INFEASIBLE
    assert solve(replace(RING, capacity_bytes=5)).status is SolveStatus.INFEASIBLE
    assert solve(replace(RING, capacity_bytes=6)).status is SolveStatus.OPTIMAL


@pytest.mark.parametrize(
    "problem",
    [
        Problem((4,), conflict_masks=(0,), blocks=(3, 3)),  # no block is large enough
        Problem((4,), conflict_masks=(0,), pins=((0, 2),), blocks=(3, 6)),  # straddles
        Problem((4, 4), conflict_masks=(2, 1), pins=((0, 2), (1, 5))),  # share byte 5
        Problem((4, 4), conflict_masks=(2, 1), blocks=(4, 3)),  # the second finds no room
    ],
)
def test_contradictory_rules_are_infeasible(problem: Problem) -> None:
    found = solve(problem)
    assert (found.status, found.assignment) == (SolveStatus.INFEASIBLE, None)


def test_a_report_tells_every_improvement_in_bytes() -> None:
    heard: list[tuple[int | None, int]] = []
    scaled = replace(RING, sizes=(1024,) * 5)
    solve(scaled, report=lambda height, bound: heard.append((height, bound)))
    assert heard[-1] == (3072, 3072)
    assert heard == sorted(heard, key=lambda pair: (-(pair[0] or 1 << 62), pair[1]))


def test_an_interruption_leaves_a_valid_answer() -> None:
    def interrupt(height: int | None, bound: int) -> None:
        raise KeyboardInterrupt

    found = solve(RING, report=interrupt)
    assert found.assignment is not None
    assert list(validate(RING, found.assignment)) == []


@pytest.mark.parametrize("calls", range(8))
def test_a_stop_at_any_call_leaves_a_valid_answer(calls: int) -> None:
    left = [calls]

    def should_stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    found = solve(RING, should_stop=should_stop)
    assert found.assignment is not None
    assert list(validate(RING, found.assignment)) == []


def timeline(seed: int, n: int = 60) -> Problem:
    draw = random.Random(seed)
    lowers = [draw.randrange(20) for _ in range(n)]
    return Problem(
        sizes=tuple(draw.randint(1, 30) for _ in range(n)),
        lifetimes=tuple((a, a + draw.randint(1, 12)) for a in lowers),
    )


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_line_is_searched_whole_and_in_kernels(seed: int) -> None:
    problem = timeline(seed)
    news: list[tuple[int | None, int]] = []
    quick = solve(problem, SolveOptions(rounds_max=0))
    found = solve(problem, report=lambda height, bound: news.append((height, bound)))
    assert quick.assignment is not None
    assert found.assignment is not None
    assert list(validate(problem, found.assignment)) == []
    assert (found.status, found.solver) == (SolveStatus.OPTIMAL, "ladder")
    height = found.assignment.height_bytes(problem)
    assert news[-1] == (height, found.bound.lower_bound_bytes)
    assert height < quick.assignment.height_bytes(problem)


def test_nodes_and_rounds_are_counted() -> None:
    draw = random.Random(0)
    pairs = [(i, j) for i in range(70) for j in range(i) if draw.random() < 0.4]
    problem = Problem.of_edges([draw.randint(1, 99) for _ in range(70)], pairs)
    once = solve(problem, SolveOptions(nodes_max=1))
    assert once == solve(problem, SolveOptions(nodes_max=1))
    twice = solve(problem, SolveOptions(nodes_max=1, rounds_max=15))
    assert once.status is SolveStatus.FEASIBLE, "it was meant to be hard"
    assert once.assignment is not None
    assert twice.assignment is not None
    assert twice.assignment.height_bytes(problem) <= once.assignment.height_bytes(problem)


@pytest.mark.parametrize("nodes_max", [50_000, 400_000])
def test_the_limit_cuts_inside_a_round(nodes_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    pairs = [(i, j) for i in range(70) for j in range(i) if draw.random() < 0.4]
    problem = Problem.of_edges([draw.randint(1, 99) for _ in range(70)], pairs)
    made: list[Ladder] = []

    class Counted(Ladder):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            made.append(self)

    monkeypatch.setattr(portfolio, "Ladder", Counted)
    solve(problem, SolveOptions(nodes_max=nodes_max))
    # Whole rounds took 1.37 and 1.20 times the limit; what is left over is one step of a round.
    assert nodes_max <= sum(ladder.work for ladder in made) < 1.05 * nodes_max


def test_small_kernels_share_the_nodes_of_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def gives_up(_problem: Problem, _capacity: int, nodes_max: int, **_named: Any) -> Attempt:
        asked.append(nodes_max)
        return Attempt.gave_up(nodes=1_000)

    monkeypatch.setattr(exhaustive, "fit", gives_up)
    # Three rings, no two alike, each above its bound; all of one conflict with all of another.
    rings = [(start, [2 + start // 5] * 5) for start in (0, 5, 10)]
    pairs = [(start + i, start + (i + 1) % 5) for start, _ in rings for i in range(5)]
    between = [(i, j) for i in range(15) for j in range(i) if i // 5 != j // 5]
    problem = Problem.of_edges([size for _, sizes in rings for size in sizes], pairs + between)
    found = solve(problem, SolveOptions(nodes_max=2_500))
    assert found.assignment is not None
    assert asked == [2_500, 1_500, 500]


def test_without_a_first_assignment_the_search_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three times (5, 4, 4, 3, 2, 2) into two blocks of 10; one long life keeps them together.
    monkeypatch.setattr(first_fit, "solve", MagicMock(return_value=None))
    sizes = (1, *(5, 3, 2, 4, 4, 2) * 3)
    lifetimes = ((0, 30), *((10 * (i // 6), 10 * (i // 6) + 9) for i in range(18)))
    problem = Problem(sizes, lifetimes=lifetimes, blocks=(10, 10, 1))
    quick = solve(problem, SolveOptions(rounds_max=0))
    assert quick.status is SolveStatus.UNKNOWN
    found = solve(problem)
    assert found.assignment is not None
    assert list(validate(problem, found.assignment)) == []


def test_a_problem_that_needs_no_search_imports_no_heavy_library() -> None:
    code = (
        "import sys; from planner.problem import Problem; from planner.solvers import solve;"
        "solve(Problem.of_edges([4, 2, 3], [(0, 1), (1, 2)]));"
        "print({'numpy', 'numba', 'ortools', 'networkx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "problem",
    [
        Problem((BYTES_MAX - 1,), conflict_masks=(0,), pins=((0, 1 << 60),)),
        Problem((BYTES_MAX - 1,), conflict_masks=(0,), blocks=(BYTES_MAX - 3, BYTES_MAX)),
    ],
)
def test_what_ends_above_all_that_is_looked_at_is_not_called_impossible(problem: Problem) -> None:
    assert solve(problem).status is SolveStatus.UNKNOWN
    fitted = replace(problem, capacity_bytes=BYTES_MAX)
    assert solve(fitted).status is SolveStatus.INFEASIBLE
