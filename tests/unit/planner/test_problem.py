from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.problem import Assignment, Bound, Problem, SolveStatus, mask_indices
from planner.units import BYTES_MAX

SIZES = (4, 2, 1)
TIMES = ((0, 2), (1, 3), (2, 4))


def graph(*masks: int, n: int = 3) -> Problem:
    return Problem((1,) * n, conflict_masks=masks)


def timed(**more: object) -> Problem:
    return Problem(SIZES, lifetimes=TIMES, **more)  # type: ignore[arg-type] # hostile on purpose


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Problem((1, -1), conflict_masks=(0, 0)),
            r"sizes: expected every size >= 0 and a sum of at most 2\^62 bytes",
        ),
        (lambda: Problem((BYTES_MAX, 1), conflict_masks=(0, 0)), "sizes: expected every size"),
        (lambda: Problem(SIZES), "expected exactly one of conflict_masks and lifetimes"),
        (
            lambda: Problem(SIZES, conflict_masks=(0, 0, 0), lifetimes=TIMES),
            "expected exactly one of conflict_masks and lifetimes",
        ),
        (lambda: graph(0, 0), "conflict_masks: found 2, expected 3"),
        (lambda: graph(0, 0b1000, 0), r"conflict_masks\[1\] names buffers beyond 3"),
        (lambda: graph(0, 0, -1), r"conflict_masks\[2\] names buffers beyond 3"),
        (lambda: graph(0, 0b10, 0), "buffer 1 conflicts with itself"),
        (lambda: graph(0b10, 0, 0), "buffers 0 and 1 conflict in one direction only"),
        (lambda: Problem(SIZES, lifetimes=TIMES[:2]), "lifetimes: found 2, expected 3"),
        (
            lambda: Problem(SIZES, lifetimes=((0, 2), (3, 1), (0, 0))),
            r"lifetimes\[1\]: found \[3, 1\), expected lower <= upper",
        ),
        (lambda: timed(alignments=(1, 1)), "alignments: expected none or 3, each >= 1"),
        (lambda: timed(alignments=(1, 0, 1)), "alignments: expected none or 3, each >= 1"),
        (lambda: timed(pins=((0, 0), (0, 4))), "pins: a buffer is pinned twice"),
        (lambda: timed(pins=((3, 0),)), r"pin \(3, 0\): expected a buffer index and an offset"),
        (lambda: timed(pins=((-1, 0),)), r"pin \(-1, 0\): expected a buffer index and an offset"),
        (lambda: timed(pins=((0, -1),)), r"pin \(0, -1\): expected a buffer index and an offset"),
        (
            lambda: timed(pins=((1, 6),), alignments=(1, 4, 1)),
            r"pin \(1, 6\): not a multiple of 4",
        ),
        (lambda: timed(blocks=(8, -1)), r"blocks \(8, -1\): expected sizes >= 0"),
        (lambda: timed(capacity_bytes=-1), "capacity_bytes is -1, expected >= 0"),
        (
            lambda: Problem.of_edges([1, 1], [(0, 2)]),
            r"edge \(0, 2\): expected two different indices below 2",
        ),
        (lambda: Problem.of_edges([1, 1], [(-1, 0)]), r"edge \(-1, 0\): expected two different"),
        (lambda: Problem.of_edges([1, 1], [(1, 1)]), r"edge \(1, 1\): expected two different"),
    ],
)
def test_hostile_problems_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        make()


@given(st.integers(257, 600), st.data())
def test_one_missing_direction_is_found_in_large_problems(n: int, data: st.DataObject) -> None:
    i, j = data.draw(
        st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] != p[1])
    )
    masks = [((1 << n) - 1) & ~(1 << k) for k in range(n)]
    Problem((0,) * n, conflict_masks=tuple(masks))
    masks[i] &= ~(1 << j)
    with pytest.raises(SpecError, match=r"buffers \d+ and \d+ conflict in one direction") as caught:
        Problem((0,) * n, conflict_masks=tuple(masks))
    assert {str(i), str(j)} <= set(str(caught.value).split())


def test_a_full_problem_is_legal_and_keeps_its_values() -> None:
    problem = timed(alignments=(4, 1, 2), pins=((0, 8),), blocks=(16, 0), capacity_bytes=0)
    assert problem.n == 3
    assert [problem.alignment(i) for i in range(3)] == [4, 1, 2]
    assert timed().alignment(2) == 1
    assert Problem((), conflict_masks=()).n == 0


def test_lifetimes_are_half_open() -> None:
    problem = timed()
    assert problem.in_conflict(0, 1)
    assert problem.in_conflict(1, 2)
    assert not problem.in_conflict(0, 2)
    assert not problem.in_conflict(1, 1)
    assert not Problem((1, 1), lifetimes=((0, 3), (1, 1))).in_conflict(0, 1)


def test_edges_become_masks_both_ways() -> None:
    problem = Problem.of_edges(iter(SIZES), iter([(0, 1), (2, 1), (1, 0)]), capacity_bytes=9)
    assert problem.conflict_masks == (0b010, 0b101, 0b010)
    assert problem.capacity_bytes == 9
    assert problem.in_conflict(1, 2)
    assert not problem.in_conflict(0, 2)
    assert not problem.in_conflict(1, 1)


def test_height_is_the_highest_end_of_what_has_bytes() -> None:
    problem = Problem((4, 0, 2), conflict_masks=(0, 0, 0))
    assert Assignment((0, 100, 3)).height_bytes(problem) == 5
    assert Assignment.of_mapping({2: 3, 0: 0, 1: 0}, 3) == Assignment((0, 0, 3))
    assert Assignment(()).height_bytes(Problem((), conflict_masks=())) == 0


def test_values_of_the_vocabulary() -> None:
    assert Bound(0).witness == ()
    assert [status.value for status in SolveStatus] == [
        "optimal",
        "feasible",
        "infeasible",
        "unknown",
    ]
    assert list(mask_indices(0b1001)) == [0, 3]
