"""Offset assignment as a portfolio: one idea a file, and no solver knows another.

Each solver takes a `Problem` and plain limits and returns a value; what they share is `attempt` and
`starts`. Files, clocks and threads do not belong here: a wall clock comes in as a `should_stop`
callback.
"""

from planner.solvers.portfolio import Report, solve
from planner.solvers.solution import Solution, SolveOptions

__all__ = ["Report", "Solution", "SolveOptions", "solve"]
