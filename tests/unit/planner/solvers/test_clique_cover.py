"""A cover of cliques: each vertex in one, each edge as far as asked; and all maximal cliques."""

from itertools import combinations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from planner.problem import Problem
from planner.solvers.clique_cover import clique_cover, maximal_cliques
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


@given(problems(with_lifetimes=False, is_plain=True, n_max=9))
def test_maximal_cliques_are_all_of_them(problem: Problem) -> None:
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(problem.n))
    pairs = combinations(range(problem.n), 2)
    graph.add_edges_from((i, j) for i, j in pairs if problem.in_conflict(i, j))
    wanted = sorted(tuple(sorted(clique)) for clique in nx.find_cliques(graph))
    masks = problem.conflict_masks
    assert masks is not None
    found = maximal_cliques(masks, most=1000)
    assert found is not None
    assert sorted(found) == wanted
    assert maximal_cliques(masks, most=len(wanted)) is not None
    assert not wanted or maximal_cliques(masks, most=len(wanted) - 1) is None


def test_a_search_for_cliques_without_end_is_given_up() -> None:
    apart = 30  # pairs of vertices that are joined with all but each other: 2^30 cliques
    whole = (1 << 2 * apart) - 1
    masks = [whole & ~(3 << (v // 2 * 2)) for v in range(2 * apart)]
    assert maximal_cliques(masks, most=100) is None
