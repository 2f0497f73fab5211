from planner.mask_graph import conflict_masks
from planner.problem import Assignment, Problem
from planner.solvers import first_fit
from planner.solvers.first_fit import Fit, greedy_orders, place

# Buffer 0 conflicts with what is pinned at [3, 4) and [6, 7): gaps [0, 3) and [4, 6) below them.
GAPS = Problem(sizes=(2, 1, 1), conflict_masks=(6, 1, 1), pins=((1, 3), (2, 6)))


def test_first_takes_the_lowest_gap_and_best_the_tightest() -> None:
    assert place(GAPS, range(3), Fit.FIRST) == Assignment((0, 3, 6))
    assert place(GAPS, range(3), Fit.BEST) == Assignment((4, 3, 6))


def test_no_order_may_find_room_in_the_blocks() -> None:
    # 2 and 2 do not share a block of 3, and the smaller one comes last by size.
    blocked = Problem((2, 2), conflict_masks=(2, 1), blocks=(3, 1))
    assert first_fit.solve(blocked, 4) is None


def test_pins_come_first() -> None:
    pinned = Problem((2, 2, 0), conflict_masks=(2, 1, 0), pins=((0, 1), (2, 5)))
    assert place(pinned, range(3)) == Assignment((1, 3, 5))


def test_orders_are_permutations() -> None:
    for problem in (GAPS, Problem((1, 2), lifetimes=((0, 2), (1, 3)))):
        tried = list(greedy_orders(problem, conflict_masks(problem)))
        assert all(sorted(order) == list(range(problem.n)) for order, _ in tried)
        assert {fit for _, fit in tried} == set(Fit)


def test_large_problems_get_at_least_two_orders() -> None:
    n = 400
    problem = Problem.of_edges([1] * n, [(i, i + 1) for i in range(n - 1)])
    found = first_fit.solve(problem, 0, pairs_max=1)
    assert found is not None
    assert found.height_bytes(problem) == 2


def test_blocks_that_end_below_what_is_placed_leave_no_gap() -> None:
    # Buffer 3 conflicts with what fills both blocks; buffer 2, placed there too, is not looked at.
    problem = Problem((2, 2, 2, 2), conflict_masks=(0b1110, 0b1001, 0b0001, 0b0011), blocks=(2, 2))
    assert first_fit.place(problem, [0, 1, 2, 3]) is None
