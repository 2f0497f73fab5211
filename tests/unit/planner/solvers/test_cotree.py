from planner.mask_graph import conflict_masks
from planner.problem import Assignment, Bound, Problem
from planner.solvers.cotree import Cotree, Leaf


def cotree(problem: Problem, known: int = 0) -> Cotree:
    return Cotree(problem, conflict_masks(problem), Bound(known), nodes_max=1000)


def test_a_leaf_keeps_the_lowest_and_its_finder() -> None:
    leaf = Leaf(Problem((2,), conflict_masks=(0,)), (0,), Bound(2, (0,)), 0)
    assert not leaf.offer(None, "nobody")
    assert leaf.offer(Assignment((4,)), "poor")
    assert not leaf.offer(Assignment((4,)), "late")
    assert leaf.offer(Assignment((0,)), "good")
    assert (leaf.height_bytes, leaf.solver) == (2, "good")


def test_a_bound_only_rises() -> None:
    leaf = Leaf(Problem((2,), conflict_masks=(0,)), (0,), Bound(2, (0,)), 0)
    leaf.raise_bound(1)
    assert leaf.bound == Bound(2, (0,))
    leaf.raise_bound(3)
    assert leaf.bound == Bound(3)


def test_nothing_is_put_together_before_every_leaf_has_something() -> None:
    # Two five-cycles in a join: nothing reduces them.
    ring = [(i, (i + 1) % 5) for i in range(5)]
    edges = (
        ring + [(a + 5, b + 5) for a, b in ring] + [(a, b) for a in range(5) for b in range(5, 10)]
    )
    problem = Problem.of_edges([2] * 10, edges)
    tree = cotree(problem)
    first, second = tree.leaves
    assert tree.assignment() is None
    first.offer(Assignment((0, 2, 0, 2, 4)), "hand")
    assert tree.assignment() is None
    second.offer(Assignment((0, 2, 0, 2, 6)), "hand")
    assert tree.assignment() == Assignment((0, 2, 0, 2, 4, 6, 8, 6, 8, 12))
    assert tree.bound().lower_bound_bytes == 8
    assert len(tree.bound().witness) == 4
    # The whole is 14 high. At target 13 it is enough that one of them comes down by one.
    assert [(leaf.indices[0], target) for leaf, target in tree.open_leaves(13)] == [(0, 5), (5, 7)]
    assert [target for _, target in tree.open_leaves(0)] == [4, 4]
    # A bound proven without a witness leaves the whole without one.
    first.raise_bound(6)
    assert tree.bound() == Bound(10)


def test_a_known_bound_peels_what_always_fits_below_it() -> None:
    ring = Problem.of_edges([2] * 5, [(i, (i + 1) % 5) for i in range(5)])
    assert [leaf.problem.n for leaf in cotree(ring).leaves] == [5]
    # Below height 8, seven starts for each and at most six forbidden by its two neighbours.
    tree = cotree(ring, known=8)
    (leaf,) = tree.leaves
    assert leaf.problem.n == 0
    leaf.offer(Assignment(()), "hand")
    whole = tree.assignment()
    assert whole is not None
    assert whole.height_bytes(ring) <= 8
