"""The bound of each room against all subsets, and of both against each other."""

from hypothesis import given
from hypothesis import strategies as st

from planner.bounds import heaviest_clique, largest_live_load
from planner.problem import Bound, Problem
from tests.oracles_solver import heaviest_clique_weight, problems


def check_witness(problem: Problem, bound: Bound) -> None:
    assert sum(problem.sizes[i] for i in bound.witness) == bound.lower_bound_bytes
    assert list(bound.witness) == sorted(bound.witness)
    for i in bound.witness:
        assert all(i == j or problem.in_conflict(i, j) for j in bound.witness)


@given(problems(n_max=8, is_plain=True))
def test_the_heaviest_clique_is_that_of_all_subsets(problem: Problem) -> None:
    bound = heaviest_clique(problem)
    assert bound.lower_bound_bytes == heaviest_clique_weight(problem)
    check_witness(problem, bound)


@given(problems(n_max=12, is_plain=True, with_lifetimes=True))
def test_the_live_load_is_the_heaviest_clique(problem: Problem) -> None:
    load = largest_live_load(problem)
    assert load.lower_bound_bytes == heaviest_clique(problem).lower_bound_bytes
    check_witness(problem, load)


@given(problems(n_max=20, is_plain=True), st.integers(0, 50))
def test_a_limit_on_the_search_leaves_a_valid_bound(problem: Problem, nodes_max: int) -> None:
    bound = heaviest_clique(problem, nodes_max)
    check_witness(problem, bound)
    assert bound.lower_bound_bytes <= heaviest_clique(problem).lower_bound_bytes
