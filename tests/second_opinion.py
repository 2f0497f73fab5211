"""CP-SAT asked until nothing is lower: a witness that shares no search with ours."""

from planner.problem import Assignment, Problem
from planner.solvers.attempt import Attempt
from planner.solvers.cpsat import SecondOpinion


def lowest(problem: Problem, incumbent: Assignment) -> Attempt:
    """Return the lowest assignment, or what the first run says when none is below `incumbent`."""
    best: Attempt | None = None
    while True:
        below = incumbent.height_bytes(problem)
        opinion = SecondOpinion(problem, incumbent, below_bytes=below, seconds=60, workers=1)
        opinion.wait(60)
        assert opinion.attempt is not None
        if opinion.attempt.assignment is None:
            return opinion.attempt if best is None else best
        best, incumbent = opinion.attempt, opinion.attempt.assignment
