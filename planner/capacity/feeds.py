"""What it takes in memory that steps hand tensors on: the plan beside one without feeds."""

from dataclasses import replace

from planner.capacity.variants import plan_variant
from planner.plan import Plan

__all__ = ["feeds_bytes"]


def feeds_bytes(plan: Plan) -> int:
    """Return how much more device memory a plan needs than the same fleet without its feeds.

    Page-rounded, as `Plan.needed_bytes`; negative where feeds save memory, 0 without feeds. The
    order stays, and so do states: nothing else can hold them.

    Notes
    -----
    Every instance keeps a place for each of its inputs and outputs, handed on or not. So feeds save
    copies, and memory only where the caller would keep tensors on the device by other means.
    """
    fleet = plan.fleet
    if not any(step.feeds for pipeline in fleet.pipelines for step in pipeline.steps):
        return 0
    pipelines = tuple(
        replace(item, steps=tuple(replace(step, feeds=()) for step in item.steps))
        for item in fleet.pipelines
    )
    without = plan_variant(plan, replace(fleet, pipelines=pipelines))
    return plan.needed_bytes - without.needed_bytes
