"""What one try of one solver found. Nothing else belongs here: solvers share only this."""

from dataclasses import dataclass
from typing import Self

from planner.problem import Assignment, SolveStatus

__all__ = ["Attempt"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of a search for an assignment that fits a capacity.

    Attributes
    ----------
    status : SolveStatus
        `FEASIBLE`: `assignment` fits. `INFEASIBLE`: the search space is exhausted, none fits.
        `UNKNOWN`: a limit ended the search. An attempt never says `OPTIMAL`: it does not know the
        bound.
    assignment : Assignment or None
        Given iff the status is `FEASIBLE`.
    nodes : int
        Search nodes visited, >= 0: what the limit counts.

    Examples
    --------
    >>> Attempt.fits(Assignment((0, 512)), nodes=2).status.value
    'feasible'
    """

    status: SolveStatus
    assignment: Assignment | None = None
    nodes: int = 0

    def __post_init__(self) -> None:
        assert self.status is not SolveStatus.OPTIMAL
        assert (self.assignment is not None) == (self.status is SolveStatus.FEASIBLE)
        assert self.nodes >= 0

    @classmethod
    def fits(cls, assignment: Assignment, *, nodes: int) -> Self:
        """Return the attempt that found `assignment`."""
        return cls(SolveStatus.FEASIBLE, assignment, nodes)

    @classmethod
    def exhausted(cls, *, nodes: int) -> Self:
        """Return the attempt that proved that nothing fits."""
        return cls(SolveStatus.INFEASIBLE, None, nodes)

    @classmethod
    def gave_up(cls, *, nodes: int) -> Self:
        """Return the attempt that a limit ended."""
        return cls(SolveStatus.UNKNOWN, None, nodes)
