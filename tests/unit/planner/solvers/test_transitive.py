import pytest

from planner.errors import UsageError
from planner.problem import Problem
from planner.solvers.transitive import solve


def cycle(n: int) -> Problem:
    return Problem.of_edges([1] * n, [(i, (i + 1) % n) for i in range(n)])


def test_even_cycles_orient_and_odd_ones_do_not() -> None:
    assert solve(cycle(6)) is not None
    assert solve(cycle(5)) is None


def test_too_many_conflicts_are_left_alone() -> None:
    assert solve(cycle(6), arcs_max=11) is None


@pytest.mark.parametrize("rules", [{"alignments": (2, 2)}, {"pins": ((0, 0),)}, {"blocks": (9,)}])
def test_alignments_pins_and_blocks_are_refused(rules: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UsageError, match="expected no alignments, pins and blocks"):
        solve(Problem((1, 1), conflict_masks=(2, 1), **rules))  # type: ignore[arg-type]
