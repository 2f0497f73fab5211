import pytest

from planner.errors import UsageError
from planner.problem import Assignment, Problem
from planner.solvers.by_group import stack_groups


def test_groups_stack_above_the_highest_pin() -> None:
    problem = Problem((4, 2, 3), conflict_masks=(4, 4, 3), pins=((1, 8),))
    assert stack_groups(problem, [0, 0, 1]) == Assignment((10, 8, 14))


def test_a_group_lies_in_one_block_and_on_every_alignment_of_its_members() -> None:
    problem = Problem((3, 2, 3), conflict_masks=(4, 4, 3), alignments=(2, 3, 1), blocks=(4, 12))
    assert stack_groups(problem, [0, 0, 1]) == Assignment((0, 0, 4))
    assert stack_groups(problem, [1, 1, 0]) == Assignment((0, 0, 4))
    coarse = Problem((3, 2, 3), conflict_masks=(4, 4, 3), alignments=(2, 3, 1))
    assert stack_groups(coarse, [1, 1, 0]) == Assignment((0, 0, 3))
    above = Problem((3, 2, 3), conflict_masks=(4, 4, 3), alignments=(4, 3, 1), pins=((2, 2),))
    assert stack_groups(above, [1, 1, 0]) == Assignment((12, 12, 2))


def test_blocks_too_small_for_whole_groups_give_nothing() -> None:
    problem = Problem((3, 3), conflict_masks=(2, 1), blocks=(3, 2))
    assert stack_groups(problem, [0, 1]) is None


def test_empty_buffers_lie_at_zero() -> None:
    problem = Problem((3, 0, 1), conflict_masks=(6, 1, 1))
    assert stack_groups(problem, [0, 1, 1]) == Assignment((0, 0, 3))


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_group_with_a_conflict_is_the_callers_fault(with_masks: bool) -> None:
    if with_masks:
        problem = Problem.of_edges(sizes=[1, 1, 1], edges=[(0, 2)])
    else:
        problem = Problem((1, 1, 1), lifetimes=((0, 2), (2, 3), (1, 2)))
    with pytest.raises(UsageError, match="buffers 0 and 2 of group 7 conflict"):
        stack_groups(problem, [7, 7, 7])


def test_a_wrong_length_is_the_callers_fault() -> None:
    with pytest.raises(UsageError, match="groups: found 1, expected 2, one a buffer"):
        stack_groups(Problem((1, 1), conflict_masks=(0, 0)), [0])
