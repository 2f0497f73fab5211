import pytest

from planner.problem import Assignment, SolveStatus
from planner.solvers.attempt import Attempt


def test_an_attempt_holds_an_assignment_exactly_when_it_is_feasible() -> None:
    assert Attempt.fits(Assignment((0,)), nodes=3).assignment == Assignment((0,))
    assert Attempt.exhausted(nodes=4) == Attempt(SolveStatus.INFEASIBLE, None, 4)
    assert Attempt.gave_up(nodes=5) == Attempt(SolveStatus.UNKNOWN, None, 5)


@pytest.mark.parametrize(
    ("status", "assignment"),
    [
        (SolveStatus.FEASIBLE, None),
        (SolveStatus.INFEASIBLE, Assignment((0,))),
        (SolveStatus.OPTIMAL, Assignment((0,))),
    ],
)
def test_contradictions_are_our_own_mistakes(
    status: SolveStatus, assignment: Assignment | None
) -> None:
    with pytest.raises(AssertionError):
        Attempt(status, assignment)
