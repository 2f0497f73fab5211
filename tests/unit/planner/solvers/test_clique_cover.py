"""A cover of cliques: each vertex in one, each edge as far as asked."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from planner.problem import Problem
from planner.solvers.clique_cover import clique_cover
from tests.oracles_solver import problems


@given(problems(with_lifetimes=False, is_plain=True, n_max=9), st.integers(0, 9) | st.none())
def test_cliques_cover_vertices_and_edges(problem: Problem, cliques_max: int | None) -> None:
    assert problem.conflict_masks is not None
    cliques = clique_cover(problem.conflict_masks, cliques_max)
    assert len(set(cliques)) == len(cliques)
    covered = set()
    for clique in cliques:
        assert list(clique) == sorted(set(clique))
        for i, j in combinations(clique, 2):
            assert problem.in_conflict(i, j)
            covered.add((i, j))
        # Maximal: nobody else conflicts with all of it.
        assert not any(
            all(problem.in_conflict(i, j) for j in clique)
            for i in range(problem.n)
            if i not in clique
        )
    assert {i for clique in cliques for i in clique} == set(range(problem.n))
    edges = {(i, j) for i, j in combinations(range(problem.n), 2) if problem.in_conflict(i, j)}
    if cliques_max is None:
        assert covered == edges
    else:
        assert len(cliques) <= max(cliques_max, problem.n)
