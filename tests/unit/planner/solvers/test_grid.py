"""Granules lose no solution, and what leaves no choice is not on the grid."""

import numpy as np
import pytest
from hypothesis import given

from planner.problem import Assignment, Problem
from planner.solvers.grid import Grid, starts
from tests.oracles_solver import problems

PLAIN = Problem((1024, 512, 0, 2048), conflict_masks=(2, 1, 0, 0))


@pytest.mark.parametrize(
    ("alignments", "granule"),
    [
        ((), 512),
        ((1, 2, 7, 512), 512),  # alignments of empty buffers do not matter, divisors neither
        ((1024, 4096, 1, 1), 512),  # multiples are kept as alignments of the grid
        ((768, 1, 1, 1), 256),  # neither: the common divisor
        ((768, 1024, 1, 96), 32),
    ],
)
def test_the_granule_divides_what_can_force_a_place(
    alignments: tuple[int, ...], granule: int
) -> None:
    problem = Problem(PLAIN.sizes, conflict_masks=PLAIN.conflict_masks, alignments=alignments)
    assert Grid(problem).granule_bytes == granule


def test_pins_and_walls_are_on_the_grid() -> None:
    pinned = Problem((8, 4), conflict_masks=(2, 1), pins=((0, 6),), blocks=(15, 15))
    grid = Grid(pinned)
    assert (grid.granule_bytes, grid.movable) == (1, (1,))
    assert grid.granules(100) == 30
    assert grid.assignment([0]) == Assignment((6, 0))
    assert grid.pins_clash is False
    assert grid.space(13) is None, "the pin ends at 14"


def test_nothing_to_place_has_a_granule_all_the_same() -> None:
    grid = Grid(Problem((0,), conflict_masks=(0,)))
    assert (grid.granule_bytes, grid.movable, grid.assignment(())) == (1, (), Assignment((0,)))


@pytest.mark.parametrize(
    ("pins", "blocks", "clash"),
    [
        (((0, 0), (1, 2)), (), True),
        (((0, 0), (1, 4)), (), False),
        (((0, 0), (2, 0)), (), False),  # no conflict
        (((0, 2),), (4, 8), True),  # across a wall
        (((0, 4),), (4, 8), False),
    ],
)
def test_pins_clash_where_they_overlap_or_straddle(
    pins: tuple[tuple[int, int], ...], blocks: tuple[int, ...], clash: bool
) -> None:
    problem = Problem((4, 4, 4), conflict_masks=(2, 1, 0), pins=pins, blocks=blocks)
    assert Grid(problem).pins_clash is clash


@given(problems())
def test_rows_are_the_conflicts(problem: Problem) -> None:
    grid = Grid(problem)
    start, neighbours = grid.neighbours()
    pairs = 0
    for k, i in enumerate(grid.movable):
        expected = [j for j, other in enumerate(grid.movable) if problem.in_conflict(i, other)]
        assert neighbours[start[k] : start[k + 1]].tolist() == expected
        pairs += len(expected)
    assert grid.n_conflicts == pairs // 2
    order = list(range(len(grid.movable)))[::-1]
    for mask, k in zip(grid.masks(order), order, strict=True):
        row = grid.conflict_row(k)[order] if order else np.zeros(0, np.bool_)
        assert mask == sum(1 << int(bit) for bit in np.flatnonzero(row))


def test_places_round_down_to_the_grid() -> None:
    grid = Grid(PLAIN)
    assert grid.offsets(Assignment((512, 100, 0, 0))).tolist() == [1, 0, 0]


def test_rows_of_different_length_begin_one_after_another() -> None:
    assert starts([[1, 2], [], [3]]).tolist() == [0, 2, 2, 3]
