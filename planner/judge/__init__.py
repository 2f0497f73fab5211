"""Judges a plan from the definition alone: order and conflicts once more, by other code.

Nothing here knows how plans are made: no solver, schedule, conflict relation, bound or validator is
imported. A plan decoded from a file and a plan fresh from the planner are judged alike.
"""

from planner.judge.rules import VIOLATIONS_MAX, judge
from planner.judge.violation import Rule, Violation

__all__ = ["VIOLATIONS_MAX", "Rule", "Violation", "judge"]
