"""Cycle ratios against all cycles of small graphs."""

from fractions import Fraction

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cycles import RatioEdge, cycle_ratio
from planner.errors import UsageError


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[RatioEdge]]:
    n = draw(st.integers(1, 5))
    nodes = st.integers(0, n - 1)
    edge = st.builds(RatioEdge, nodes, nodes, st.integers(0, 9), st.integers(0, 3))
    return n, draw(st.lists(edge, max_size=10))


def all_cycles(n: int, edges: list[RatioEdge]) -> list[list[RatioEdge]]:
    """Every cycle, each choice among parallel edges: nodes in the middle keep them apart."""
    graph: nx.DiGraph[object] = nx.DiGraph()
    graph.add_nodes_from(range(n))
    for number, edge in enumerate(edges):
        graph.add_edge(edge.first, f"edge {number}")
        graph.add_edge(f"edge {number}", edge.second)
    return [
        [edges[int(str(node).split()[1])] for node in cycle if isinstance(node, str)]
        for cycle in nx.simple_cycles(graph)
    ]


@settings(max_examples=400)
@given(graphs())
def test_a_cycle_ratio_is_the_greatest_of_all_cycles(graph: tuple[int, list[RatioEdge]]) -> None:
    n, edges = graph
    found = [(sum(e.time for e in c), sum(e.frames for e in c)) for c in all_cycles(n, edges)]
    if any(time > 0 and frames == 0 for time, frames in found):
        with pytest.raises(UsageError, match="wait for one another inside one frame"):
            cycle_ratio(n, edges)
        return
    ratios = [Fraction(time, frames) for time, frames in found if frames]
    assert cycle_ratio(n, edges) == max(ratios, default=Fraction(0))
