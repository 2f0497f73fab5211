"""The sweep places as first fit by the book does, whatever the chunks and the limits."""

import random
from itertools import count

import pytest
from hypothesis import given

from planner.problem import Problem
from planner.solvers import first_fit, portfolio, solve, sweep
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


@given(problems(with_lifetimes=True, n_max=12))
def test_it_is_valid_and_compiled_as_uncompiled(problem: Problem) -> None:
    found = sweep.solve(problem, 0)
    with uncompiled():
        assert sweep.solve(problem, 0) == found
    if found is not None:
        assert list(validate(problem, found)) == []


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = timeline(120)
    by_size = sorted(range(120), key=lambda i: (-problem.sizes[i], i))
    plain = first_fit.place(problem, by_size)
    assert plain is not None
    with uncompiled():
        monkeypatch.setattr(PLAIN["line"], "_CHUNK", 4)
        chunked = sweep.solve(problem, plain.height_bytes(problem))
    # The first order is enough: it is the order by size.
    assert chunked == plain


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
