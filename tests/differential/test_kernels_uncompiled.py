"""Compiled and uncompiled kernels walk the same search, digit for digit."""

import random
from collections.abc import Callable

import pytest

from planner.problem import Assignment, Problem
from planner.solvers import branch_graph, branch_intervals, local_search
from planner.solvers.grid import Grid
from tests.plain_kernels import uncompiled

pytest.importorskip("numba", reason="needs numba, an optional part")


def random_problem(seed: int, n: int, *, is_rough: bool) -> Problem:
    """Lives and sizes at random; rough: also alignments, pins and blocks."""
    draw = random.Random(seed)
    lowers = [draw.randrange(20) for _ in range(n)]
    return Problem(
        sizes=tuple(draw.randrange(12) for _ in range(n)),
        lifetimes=tuple((a, a + draw.randrange(9)) for a in lowers),
        alignments=tuple(draw.choice([1, 2, 3, 4]) for _ in range(n)) if is_rough else (),
        pins=((0, 12), (n - 1, 24)) if is_rough else (),
        blocks=(20, 30, 60) if is_rough else (),
    )


def both(run: Callable[[], object]) -> tuple[object, object]:
    compiled = run()
    with uncompiled():
        return compiled, run()


@pytest.mark.parametrize("is_rough", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_branch_and_bound(seed: int, is_rough: bool) -> None:
    problem = random_problem(seed, 30, is_rough=is_rough)
    height = branch_intervals.board_of(Grid(problem)).tallest
    for capacity in (height - 1, height, height + 2, 2 * height):
        compiled, plain = both(lambda c=capacity: branch_intervals.fit(problem, c, 400))  # type: ignore[misc]
        assert compiled == plain
        compiled, plain = both(lambda c=capacity: branch_graph.fit(problem, c, 400, seed=seed))  # type: ignore[misc]
        assert compiled == plain


@pytest.mark.parametrize("is_rough", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_annealing(seed: int, is_rough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short runs, so that all ways to begin anew are taken.
    monkeypatch.setattr(local_search, "MOVES_PER_RUN", 20)
    problem = random_problem(seed, 30, is_rough=is_rough)
    start = branch_graph.fit(problem, 110, 10_000).assignment
    if start is None:
        pytest.fail("the problem was meant to be easy at this height")
    trace: list[list[Assignment]] = [[], []]

    def run() -> Assignment:
        trace.append([])
        return local_search.improve(problem, start, 0, 200, seed=seed, on_best=trace[-1].append)

    compiled, plain = both(run)
    assert compiled == plain
    assert trace[-1] == trace[-2]
