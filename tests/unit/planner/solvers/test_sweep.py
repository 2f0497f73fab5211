"""The sweep places as first fit by the book does, whatever the chunks and the limits."""

import random
from itertools import count

import pytest
from hypothesis import given

from planner.errors import UsageError
from planner.problem import Assignment, Problem
from planner.solvers import first_fit, portfolio, solve, sweep
from planner.solvers.grid import Grid
from planner.solvers.solution import SolveOptions
from planner.validator import validate
from tests.oracles_solver import problems
from tests.plain_kernels import PLAIN, uncompiled


def timeline(n: int, seed: int = 0) -> Problem:
    draw = random.Random(seed)
    lowers = [draw.randrange(n) for _ in range(n)]
    return Problem(
        sizes=tuple(draw.randint(1, 50) for _ in range(n)),
        lifetimes=tuple((a, a + draw.randint(0, 9)) for a in lowers),
    )


def best_of_the_same_orders(problem: Problem) -> Assignment | None:
    """What `sweep.solve` computes, by the plain first fit that looks at every pair."""
    grid = Grid(problem)
    found = [
        first_fit.place(problem, [grid.movable[k] for k in order])
        for order in sweep.orders(grid.sizes, *grid.lives)
    ]
    possible = [assignment for assignment in found if assignment is not None]
    return min(possible, key=lambda a: a.height_bytes(problem), default=None)


@given(problems(n_max=30, size_max=40, with_lifetimes=True))
def test_it_is_first_fit_in_the_same_orders_compiled_or_not(problem: Problem) -> None:
    found = sweep.solve(problem, 0)
    with uncompiled():
        assert sweep.solve(problem, 0) == found
    expected = best_of_the_same_orders(problem)
    if found is None:
        # Pins that contradict one another or the blocks are not looked at by `first_fit`.
        assert expected is None or list(validate(problem, expected)) != []
        return
    assert expected is not None
    assert list(validate(problem, found)) == []
    assert found.height_bytes(problem) == expected.height_bytes(problem)


@pytest.mark.parametrize("buckets_min", [2, 64])
@pytest.mark.parametrize("copies", [2.5, 1e9])
@pytest.mark.parametrize("chunk", [4, 512])
def test_however_time_and_space_are_cut_the_answer_is_the_same(
    buckets_min: int, copies: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few buckets merge, with many copies the long-lived gather; else chunks of the whole line.
    draw = random.Random(0)
    lowers = [draw.randrange(400) for _ in range(150)]
    problem = Problem(
        sizes=tuple(draw.randint(1, 50) for _ in range(150)),
        lifetimes=tuple((a, a + draw.choice([0, 1, 10, 200])) for a in lowers),
        alignments=tuple(draw.choice([1, 2, 8]) for _ in range(150)),
    )
    expected = best_of_the_same_orders(problem)
    monkeypatch.setattr(sweep, "_BUCKETS_MIN", buckets_min)
    monkeypatch.setattr(sweep, "_COPIES_MAX", copies)
    monkeypatch.setattr(sweep, "_SORTED_MAX", copies)
    with uncompiled():
        monkeypatch.setattr(PLAIN["line"], "_CHUNK", chunk)
        found = sweep.solve(problem, 0)
    assert found is not None
    assert expected is not None
    assert found.height_bytes(problem) == expected.height_bytes(problem)
    assert list(validate(problem, found)) == []


@given(problems(n_max=12, is_plain=True, with_lifetimes=True).filter(lambda problem: problem.n > 0))
def test_the_first_order_takes_what_lives_in_the_tightest_time(problem: Problem) -> None:
    grid = Grid(problem)
    lowers, uppers = (values.tolist() for values in grid.lives)
    sizes: list[int] = grid.sizes.tolist()

    def peak(v: int) -> int:
        times = range(lowers[v], max(uppers[v], lowers[v] + 1))
        alive = (
            sum(sizes[u] for u in range(len(sizes)) if lowers[u] <= time < uppers[u])
            for time in times
        )
        return max(alive)

    order = next(sweep.orders(grid.sizes, *grid.lives)).tolist()
    assert sorted(order) == list(range(len(sizes)))
    keys = [(-peak(v), lowers[v] - uppers[v], -sizes[v], uppers[v], v) for v in order]
    assert keys == sorted(keys)


def test_the_first_order_at_the_bound_ends_the_sweep() -> None:
    problem = Problem((512, 1024, 512), lifetimes=((0, 2), (1, 3), (2, 4)))
    heard: list[Assignment] = []
    found = sweep.solve(problem, 1536, on_best=heard.append)
    assert heard == [found]


def test_a_budget_of_steps_leaves_one_order_at_least() -> None:
    problem = timeline(30)
    some, more = sweep.solve(problem, 0, steps_max=0), sweep.solve(problem, 0)
    assert some is not None
    assert more is not None
    assert some.height_bytes(problem) >= more.height_bytes(problem)


@pytest.mark.parametrize("sizes", [(), (3,), (0, 4, 1)])
def test_buffers_never_live_lie_at_the_bottom(sizes: tuple[int, ...]) -> None:
    problem = Problem(sizes, lifetimes=((1, 1),) * len(sizes))
    assert sweep.solve(problem, 0) == Assignment((0,) * len(sizes))


def test_conflict_masks_are_refused() -> None:
    with pytest.raises(UsageError, match="found conflict_masks, expected lifetimes"):
        sweep.solve(Problem((1,), conflict_masks=(0,)), 0)


def test_it_stops_when_told_with_what_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_BUFFERS_PER_CALL", 10)
    problem = timeline(30)
    assert sweep.solve(problem, 0, should_stop=lambda: True) is None
    calls = count()
    found = sweep.solve(problem, 0, should_stop=lambda: next(calls) > 3)
    assert found is not None
    assert list(validate(problem, found)) == []


def test_what_fits_no_block_is_not_placed() -> None:
    assert sweep.solve(Problem((3, 3), lifetimes=((0, 2), (1, 3)), blocks=(4, 2)), 0) is None
    assert sweep.solve(Problem((5, 1), lifetimes=((0, 2), (1, 3)), blocks=(4, 4)), 0) is None


def test_long_timelines_are_swept_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "_SWEEP_FROM", 10)
    problem = timeline(200, seed=3)
    whole = solve(problem)
    assert whole.solver != "sweep", "it was meant to need more than a sweep"
    monkeypatch.setattr(portfolio, "_KERNELS_TO", 20)
    swept = solve(problem, SolveOptions(rounds_max=0))
    searched = solve(problem)
    for found in (whole, swept, searched):
        assert found.assignment is not None
        assert list(validate(problem, found.assignment)) == []
        assert found.bound.lower_bound_bytes == whole.bound.lower_bound_bytes
    assert swept.solver == "sweep"
