"""What a caller asks of the portfolio, and what it answers. Values only."""

from dataclasses import dataclass

from planner.problem import Assignment, Bound, SolveStatus

__all__ = ["Solution", "SolveOptions"]


@dataclass(frozen=True, slots=True)
class SolveOptions:
    """How hard to try. Limits are counted, so the same options give the same plan everywhere.

    Attributes
    ----------
    nodes_max : int
        Search nodes and moves of local search, together, in the first round: of up to 256 buffers
        on a timeline. More buffers allow more in proportion; on any other conflict graph a node
        counts half of its buffers times, as its cost grows. The default keeps planning a fleet of
        50 instances within 50 ms, of 1,000 within 2 s.
    clique_nodes_max : int
        Search nodes for the bound of each kernel.
    rounds_max : int
        How often the limit doubles: the search may take 2^(rounds_max - 1) times `nodes_max`. 0:
        closed forms and greedy alone.
    seed : int
        Of everything random.
    target_bytes : int or None
        A height that is low enough to stop at; None: stop at the bound alone.
    seconds : float or None
        Wall-clock time that the caller allows, for solvers that count time alone (CP-SAT); None
        leaves them out. The caller's `should_stop` is what ends the whole.
    workers : int
        Threads of such a solver.
    anytime : bool
        Whether KeyboardInterrupt ends the search with the best so far. False: it is passed on, as
        where this is one of many searches.
    """

    nodes_max: int = 170_000
    clique_nodes_max: int = 400_000
    rounds_max: int = 1
    seed: int = 0
    target_bytes: int | None = None
    seconds: float | None = None
    workers: int = 1
    anytime: bool = True


@dataclass(frozen=True, slots=True)
class Solution:
    """The best that was found, with what is proven of it.

    Attributes
    ----------
    assignment : Assignment or None
        None where nothing fits the capacity, the pins and the blocks, or nothing was found.
    bound : Bound
        No valid assignment is lower.
    status : SolveStatus
        `OPTIMAL`: the height equals the bound. `FEASIBLE`: it is above. `INFEASIBLE`: proven that
        nothing fits. `UNKNOWN`: nothing found that fits, nothing proven.
    solver : str
        Who found the assignment; empty without one.
    """

    assignment: Assignment | None
    bound: Bound
    status: SolveStatus
    solver: str = ""
