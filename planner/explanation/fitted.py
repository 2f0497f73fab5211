"""The way out in which planning itself chooses what runs in turn, within what the memory allows."""

from typing import Final

from planner.fit import FitOptions, fit_fleet
from planner.pipeline import PlanOptions
from planner.plan import Plan
from planner.units import align_up

__all__ = ["EFFORT", "budget_within", "fitted", "is_as_fit"]

EFFORT: Final = FitOptions(exact_jobs_max=24, trials_max=40)
"""The heights of `arena plan --fit`; constraint programming where it takes a second or so.

Constraints that are not needed are dropped in fewer trials: that changes no makespan.
"""


def is_as_fit(executions: int) -> bool:
    """Return whether `EFFORT` searches as `arena plan --fit` does; else that may be faster."""
    return not EFFORT.exact_jobs_max < executions <= FitOptions().exact_jobs_max


def budget_within(plan: Plan) -> int | None:
    """Return what work and weights may take together so that a plan fits its memory, bytes.

    None: no order helps, since the largest region with all weights is too much, or streams are
    missing and not bytes.
    """
    if not plan.short_bytes:
        return None
    page = plan.page_bytes
    beside = plan.needed_bytes - align_up(plan.height_bytes, page)
    room = (plan.fleet.device.memory_bytes or 0) - beside
    height = room // page * page
    return None if height < max(plan.work_reserved) else height + plan.weight_bytes


def fitted(plan: Plan, budget_bytes: int) -> Plan:
    """Return the plan of the same fleet within a budget, with order and locks added."""
    options = PlanOptions(plan.rule, plan.page_bytes, plan.added)
    return fit_fleet(plan.fleet, dict(plan.sizes), options, budget_bytes, fit=EFFORT)
