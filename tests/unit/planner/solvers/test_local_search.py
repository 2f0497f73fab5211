"""Annealing stops when told, when low enough, and where it cannot help."""

from itertools import count

import pytest

from planner.problem import Assignment, Problem
from planner.solvers import local_search
from planner.solvers.local_search import improve
from planner.validator import validate
from tests.plain_kernels import uncompiled

RING = Problem.of_edges([2] * 7, [(i, (i + 1) % 7) for i in range(7)])
STACKED = Assignment(tuple(range(0, 14, 2)))


def test_it_stops_at_the_target() -> None:
    found = improve(RING, STACKED, 9, 1000)
    assert 6 <= found.height_bytes(RING) <= 9
    assert improve(RING, found, 14, 1000) is found


def test_it_stops_when_told_and_returns_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    assert improve(RING, STACKED, 5, 1000, should_stop=lambda: True).height_bytes(RING) <= 14
    monkeypatch.setattr(local_search, "_WORK_PER_CALL", 1)
    calls = count()
    found = improve(RING, STACKED, 5, 1000, should_stop=lambda: next(calls) > 20)
    assert list(validate(RING, found)) == []
    assert next(calls) == 22


def test_without_iterations_nothing_happens() -> None:
    assert improve(RING, STACKED, 0, 0) is STACKED


def test_too_many_buffers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_search, "BUFFERS_MAX", 6)
    assert improve(RING, STACKED, 0, 1000) is STACKED


def test_a_single_movable_buffer_is_left_alone() -> None:
    alone = Problem((4, 4), conflict_masks=(2, 1), pins=((0, 9),))
    assert improve(alone, Assignment((9, 4)), 0, 10).offsets == (9, 4)


def test_pins_are_no_height_to_get_below() -> None:
    pinned = Problem.of_edges([2, 2, 2, 1], [(0, 1), (1, 2), (0, 2)])
    pinned = Problem(pinned.sizes, conflict_masks=pinned.conflict_masks, pins=((3, 20),))
    calls = count()
    found = improve(
        pinned, Assignment((0, 4, 22, 20)), 0, 10**9, should_stop=lambda: next(calls) > 9
    )
    assert found.height_bytes(pinned) == 21
    assert next(calls) <= 9, "it should have stopped by itself at the pin"


def test_orders_that_the_blocks_do_not_hold_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two blocks of 10: 5 + 3 + 2 and 4 + 4 + 2 fill them; by size 5 + 4 leave no room for the last.
    problem = Problem(
        (5, 3, 2, 4, 4, 2), conflict_masks=tuple(63 & ~(1 << i) for i in range(6)), blocks=(10, 10)
    )
    start = Assignment((0, 5, 8, 10, 14, 18))
    monkeypatch.setattr(local_search, "MOVES_PER_RUN", 4)
    with uncompiled():
        found = improve(problem, start, 0, 60)
    assert list(validate(problem, found)) == []
    assert found.height_bytes(problem) == 20
