import pytest

from planner.bounds import heaviest_clique, largest_live_load, lower_bound
from planner.bounds.clique import CliqueSearch
from planner.errors import UsageError
from planner.mask_graph import conflict_masks
from planner.problem import Bound, Problem


def cycle(sizes: list[int]) -> Problem:
    n = len(sizes)
    return Problem.of_edges(sizes, [(i, (i + 1) % n) for i in range(n)])


def test_the_bound_of_nothing_is_zero_without_witness() -> None:
    assert lower_bound(Problem((), conflict_masks=())) == Bound(0, ())
    assert lower_bound(Problem((0,), conflict_masks=(0,))) == Bound(0, ())
    assert lower_bound(Problem((), lifetimes=())) == Bound(0, ())


def test_a_buffer_never_live_still_needs_its_size() -> None:
    problem = Problem((3, 5), lifetimes=((0, 2), (1, 1)))
    assert largest_live_load(problem) == Bound(5, (1,))


def test_live_load_needs_lifetimes() -> None:
    with pytest.raises(UsageError, match="found conflict_masks, expected lifetimes"):
        largest_live_load(Problem((1,), conflict_masks=(0,)))


def test_a_pin_above_every_clique_is_the_bound() -> None:
    edge = Problem.of_edges(sizes=[4, 2], edges=[(0, 1)])
    pinned = Problem(edge.sizes, conflict_masks=edge.conflict_masks, pins=((1, 10), (0, 0)))
    assert lower_bound(pinned) == Bound(12, (1,))


def test_an_odd_cycle_needs_search_and_gets_its_heaviest_edge() -> None:
    assert heaviest_clique(cycle([3, 1, 4, 1, 5, 9, 2])) == Bound(14, (4, 5))


def test_a_clique_is_returned_even_without_search_nodes() -> None:
    problem = cycle([3, 1, 4, 1, 5])
    masks = conflict_masks(problem)
    search = CliqueSearch(masks, problem.sizes, nodes_max=0)
    assert search.heaviest_within(0b11111) == 0b10001  # the greedy start finds it: 3 and 5


def test_a_known_clique_is_kept_where_it_is_the_heavier() -> None:
    # Greedy cliques always go on to the heaviest candidate: 5 then 4, never 5 with both threes.
    problem = Problem.of_edges(
        sizes=[5, 4, 3, 3, 1, 1],
        edges=[(0, 1), (0, 2), (0, 3), (2, 3), (1, 4), (2, 5), (3, 4), (4, 5)],
    )
    search = CliqueSearch(conflict_masks(problem), problem.sizes, nodes_max=0)
    assert search.heaviest_within(0b111111) in (0b001101, 0b000011)
    assert search.heaviest_within(0b111111, known=0b001101) == 0b001101


def test_nothing_is_searched_that_cannot_be_heavier_than_enough() -> None:
    problem = cycle([3, 1, 4, 1, 5, 9, 2])
    search = CliqueSearch(conflict_masks(problem), problem.sizes, nodes_max=1000)
    search.heaviest_within(0b1111111, enough=100)
    assert search.nodes_left == 1000
