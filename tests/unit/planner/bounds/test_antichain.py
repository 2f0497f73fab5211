import sys

import pytest

from planner.bounds import antichain
from planner.bounds.antichain import heaviest_antichain
from planner.errors import SpecError
from planner.problem import Bound
from planner.units import BYTES_MAX


def test_without_edges_everything_is_live_at_once_and_no_flow_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ortools.graph.python", None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert heaviest_antichain([], []) == Bound(0)
    assert heaviest_antichain([3, 0, 4], []) == Bound(7, (0, 2))


def test_a_chain_is_as_heavy_as_its_heaviest_node() -> None:
    assert heaviest_antichain([1, 5, 2], [(0, 1), (1, 2)]) == Bound(5, (1,))
    assert heaviest_antichain([1, 5, 2], [(2, 1), (1, 0), (2, 0), (2, 0)]) == Bound(5, (1,))
    assert heaviest_antichain([0, 0], [(0, 1)]) == Bound(0)


def test_two_streams_with_one_synchronisation() -> None:
    # 0 -> 1 -> 2 and 3 -> 4 -> 5, and 1 before 5: 2 beside 5, never 0 or 1 beside 5.
    edges = [(0, 1), (1, 2), (3, 4), (4, 5), (1, 5)]
    assert heaviest_antichain([9, 1, 2, 3, 1, 9], edges) == Bound(12, (0, 3))
    assert heaviest_antichain([9, 1, 4, 3, 1, 9], edges) == Bound(13, (2, 5))


@pytest.mark.parametrize("granule", [1, 1 << 9])
def test_sums_up_to_the_largest_size_are_exact(granule: int) -> None:
    quarter = BYTES_MAX // 4
    sizes = [quarter - granule, quarter, quarter + granule, quarter]
    assert heaviest_antichain(sizes, [(0, 2), (1, 3)]) == Bound(2 * quarter + granule, (1, 2))


def test_without_ortools_small_orders_are_exact_and_large_ones_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ortools.graph.python", None)
    edges = [(0, 2), (0, 3), (1, 3)]
    assert heaviest_antichain([2, 4, 3, 1], edges) == Bound(7, (1, 2))
    monkeypatch.setattr(antichain, "NODES_MAX_WITHOUT_ORTOOLS", 3)
    assert heaviest_antichain([2, 4, 3, 1], edges) is None


@pytest.mark.parametrize(
    ("sizes", "edges", "message"),
    [
        ([-1], [], "sizes: expected every size >= 0 and a sum of at most 2\\^62 bytes"),
        ([BYTES_MAX, 1], [], "sizes: expected every size >= 0 and a sum of at most 2\\^62 bytes"),
        ([1, 1], [(0, 2)], "edges: expected nodes 0 to 1, found 0 to 2"),
        ([1, 1], [(-1, 0)], "edges: expected nodes 0 to 1, found -1 to 0"),
        ([], [(0, 1)], "edges: expected nodes 0 to -1, found 0 to 1"),
        ([1, 1], [(1, 1)], "edges: node 1 lies on or behind a cycle, expected a DAG"),
        ([1] * 4, [(0, 3), (3, 1), (1, 2), (2, 3)], "edges: node 1 lies on or behind a cycle"),
    ],
)
def test_wrong_input_is_refused(
    sizes: list[int], edges: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        heaviest_antichain(sizes, edges)
