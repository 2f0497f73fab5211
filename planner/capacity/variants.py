"""Variants of a planned fleet, planned by the same rules."""

from collections.abc import Sequence

from planner.fleet import FleetSpec
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedOrder, Plan

__all__ = ["plan_variant"]


def plan_variant(plan: Plan, fleet: FleetSpec, further: Sequence[AddedOrder] = ()) -> Plan:
    """Return the plan of `fleet`, a variant of the fleet of `plan` with the same models.

    Constraints that planning added stay where both of their instances do; `further` ones are added.
    """
    known = fleet.instances()
    kept = (item for item in plan.added if item.first in known and item.second in known)
    return plan_fleet(
        fleet, dict(plan.sizes), PlanOptions(plan.rule, plan.page_bytes, (*kept, *further))
    )
