"""The lowest legal place, asked of a plain and of a crowded space."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given

from planner.problem import Problem
from planner.solvers.grid import Grid
from tests.oracles_solver import problems
from tests.plain_kernels import PLAIN, uncompiled


def lifts(problem: Problem, capacity: int) -> list[list[int]]:
    """For each movable buffer the lowest place not below 0, 1, 2, ...; empty: no space at all."""
    grid = Grid(problem)
    space = grid.space(capacity)
    if space is None:
        return []
    lift = PLAIN["space"].lift
    return [[lift(space, v, o) for o in range(capacity + 2)] for v in range(len(grid.movable))]


def test_alignment_fence_and_wall_each_move_a_buffer_up() -> None:
    problem = Problem(
        sizes=(2, 2, 1),
        conflict_masks=(2, 1, 0),
        alignments=(2, 1, 1),
        pins=((1, 3),),
        blocks=(3, 9),
    )
    with uncompiled():
        # Buffer 0: [0, 2) is free, [2, 4) meets the pin and the wall, so does [4, 6) the pin.
        assert lifts(problem, 12)[0] == [0, 6, 6, 6, 6, 6, 6, 8, 8, 10, 10, 13, 13, 13]
        assert lifts(problem, 12)[1] == [*range(12), 13, 13]


@pytest.mark.parametrize("capacity", [0, 5])
def test_a_space_without_room_is_none(capacity: int) -> None:
    too_large = Problem((6, 1), conflict_masks=(0, 0))
    assert Grid(too_large).space(capacity) is None


@given(problems())
def test_places_are_legal_and_none_below_is(problem: Problem) -> None:
    grid = Grid(problem)
    pins, walls = dict(problem.pins), list(accumulate(problem.blocks))
    capacity = grid.granules(40)
    with uncompiled():
        found = lifts(problem, capacity)
    for i, row in zip(grid.movable, found, strict=False):
        size = problem.sizes[i] // grid.granule_bytes
        for offset in range(capacity + 1):
            low = offset * grid.granule_bytes
            end = low + problem.sizes[i]
            legal = (
                end <= capacity * grid.granule_bytes
                and low % problem.alignment(i) == 0
                and not any(low < wall < end for wall in walls)
                and not any(
                    max(low, at) < min(end, at + problem.sizes[j])
                    for j, at in pins.items()
                    if problem.in_conflict(i, j)
                )
            )
            assert (row[offset] == offset) == legal, (i, offset)
        assert size > 0
        assert all(a <= b for a, b in pairwise(row))
        assert row[-1] == capacity + 1
