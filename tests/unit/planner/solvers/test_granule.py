from planner.problem import Assignment, Bound, Problem
from planner.solvers.granule import bound_in_bytes, divide, multiply


def test_pins_and_blocks_count_into_the_granule() -> None:
    problem = Problem(
        (8, 16), lifetimes=((0, 1), (0, 1)), pins=((0, 4),), blocks=(32, 64), capacity_bytes=70
    )
    small, granule = divide(problem)
    assert granule == 4
    assert small.sizes == (2, 4)
    assert (small.pins, small.blocks, small.capacity_bytes) == (((0, 1),), (8, 16), 17)


def test_an_alignment_coarser_than_the_sizes_stays() -> None:
    small, granule = divide(Problem((4, 6), lifetimes=((0, 1), (0, 1)), alignments=(4, 2)))
    assert (small.sizes, small.alignments, granule) == ((2, 3), (2, 1), 2)


def test_what_has_no_common_unit_is_left_as_it_is() -> None:
    problem = Problem((2, 3), lifetimes=((0, 1), (0, 1)))
    assert divide(problem) == (problem, 1)
    empty = Problem((0, 0), lifetimes=((0, 1), (0, 1)))
    assert divide(empty) == (empty, 1)


def test_answers_come_back_in_bytes() -> None:
    assert multiply(Assignment((0, 2)), 512) == Assignment((0, 1024))
    assert bound_in_bytes(Bound(3, (1,)), 512) == Bound(1536, (1,))
