from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from planner.orientation import orient_transitively
from planner.problem import Problem


def cycle(n: int) -> Problem:
    return Problem.of_edges([1] * n, [(i, (i + 1) % n) for i in range(n)])


def test_an_orientation_gives_every_conflict_one_direction() -> None:
    problem = cycle(6)
    assert problem.conflict_masks is not None
    above = orient_transitively(problem.conflict_masks)
    assert above is not None
    below = [sum(1 << j for j in range(6) if above[j] >> i & 1) for i in range(6)]
    assert [a | b for a, b in zip(above, below, strict=True)] == list(problem.conflict_masks)
    assert not any(a & b for a, b in zip(above, below, strict=True))


def is_transitive(arcs: set[tuple[int, int]]) -> bool:
    return all((i, z) in arcs for i, j in arcs for k, z in arcs if j == k)


@given(
    st.sets(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda edge: edge[0] < edge[1]),
        max_size=10,
    )
)
def test_it_is_transitive_and_missing_only_where_none_exists(edges: set[tuple[int, int]]) -> None:
    problem = Problem.of_edges([1] * 6, edges)
    assert problem.conflict_masks is not None
    above = orient_transitively(problem.conflict_masks)
    if above is None:
        both_ways = [((i, j), (j, i)) for i, j in edges]
        assert not any(is_transitive(set(arcs)) for arcs in product(*both_ways))
    else:
        arcs = {(i, j) for i in range(6) for j in range(6) if above[i] >> j & 1}
        assert {(min(arc), max(arc)) for arc in arcs} == edges
        assert len(arcs) == len(edges)
        assert is_transitive(arcs)
