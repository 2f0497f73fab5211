"""Laws of the searching solvers, compiled and uncompiled, against every order of a few buffers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.solvers import branch_graph, branch_intervals, local_search
from planner.solvers.ladder import Ladder
from planner.validator import validate
from tests.oracles_solver import least_height, problems
from tests.plain_kernels import uncompiled
from tests.second_opinion import lowest

Kernels = Callable[[], AbstractContextManager[None]]

both_kernels = pytest.mark.parametrize("kernels", [nullcontext, uncompiled])


def stacked(problem: Problem) -> Assignment | None:
    """Some valid assignment, found by a search at a height that is ample; None: impossible."""
    ample = sum(problem.sizes) + sum(max(1, problem.alignment(i)) for i in range(problem.n)) + 99
    return branch_graph.fit(problem, ample, 100_000).assignment


@both_kernels
@given(problem=problems(), slack=st.integers(-2, 2))
def test_branch_and_bound_decides_as_exhaustion_does(
    kernels: Kernels, problem: Problem, slack: int
) -> None:
    optimum = least_height(problem)
    capacity = max(0, (20 if optimum is None else optimum) + slack)
    with kernels():
        fits = [branch_graph.fit(problem, capacity, 100_000, seed=abs(slack))]
        if problem.lifetimes is not None:
            fits.append(branch_intervals.fit(problem, capacity, 100_000))
    for attempt in fits:
        if optimum is None or optimum > capacity:
            assert attempt.status is SolveStatus.INFEASIBLE
        else:
            assert attempt.assignment is not None
            assert list(validate(problem, attempt.assignment)) == []
            assert attempt.assignment.height_bytes(problem) <= capacity


@both_kernels
@given(problem=problems(n_max=12), seed=st.integers(0, 1 << 60))
@settings(max_examples=50)
def test_annealing_never_makes_worse(kernels: Kernels, problem: Problem, seed: int) -> None:
    before = stacked(problem)
    if before is None:
        return
    found: list[Assignment] = []
    with kernels():
        after = local_search.improve(problem, before, 0, 60, seed=seed, on_best=found.append)
    for assignment in (after, *found):
        assert list(validate(problem, assignment)) == []
    heights = [one.height_bytes(problem) for one in (before, *found)]
    assert heights == sorted(set(heights), reverse=True)
    assert after == (found[-1] if found else before)


@both_kernels
@given(problem=problems())
@settings(max_examples=60)
def test_a_ladder_ends_at_the_optimum(kernels: Kernels, problem: Problem) -> None:
    optimum = least_height(problem)
    if optimum is None:
        return
    ladder = Ladder(problem, stacked(problem), Bound(0))
    with kernels():
        for _ in range(6):
            ladder.go_round()
    assert ladder.assignment is not None
    assert list(validate(problem, ladder.assignment)) == []
    assert ladder.assignment.height_bytes(problem) == optimum
    assert ladder.bound.lower_bound_bytes <= optimum


@given(problems(n_max=6))
@settings(max_examples=40)
def test_cp_sat_agrees_with_exhaustion(problem: Problem) -> None:
    pytest.importorskip("ortools", reason="needs OR-tools, an optional part")
    optimum = least_height(problem)
    before = stacked(problem)
    if optimum is None or before is None:
        assert optimum is None
        assert before is None
        return
    attempt = lowest(problem, before)
    if before.height_bytes(problem) == optimum:
        assert attempt.status is SolveStatus.INFEASIBLE
    else:
        assert attempt.assignment is not None
        assert list(validate(problem, attempt.assignment)) == []
        assert attempt.assignment.height_bytes(problem) == optimum
