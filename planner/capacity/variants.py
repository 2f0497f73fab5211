"""Variants of a planned fleet, planned by the same rules."""

from collections.abc import Sequence

from planner.errors import SpecError
from planner.fleet import FleetSpec
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan
from planner.schedule import order_between

__all__ = ["plan_variant"]


def plan_variant(plan: Plan, fleet: FleetSpec, further: Sequence[AddedOrder] = ()) -> Plan:
    """Return the plan of `fleet`, a variant of the fleet of `plan` with the same models.

    Constraints that planning added stay where both of their instances do, and an order where some
    channel still uses both; `further` ones are added.
    """
    known = fleet.instances()
    left = (item for item in plan.added if item.first in known and item.second in known)
    kept = (item for item in left if _can_hold(fleet, item))
    return plan_fleet(
        fleet, dict(plan.sizes), PlanOptions(plan.rule, plan.page_bytes, (*kept, *further))
    )


def _can_hold(fleet: FleetSpec, item: AddedOrder) -> bool:
    """Return whether a constraint between two instances of a fleet still means something."""
    if item.kind is AddedKind.EXCLUSIVE:
        return True
    try:
        order_between(fleet, item.first, item.second)
    except SpecError:  # both instances are left, in different channels
        return False
    return True
