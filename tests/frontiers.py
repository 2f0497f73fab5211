"""A small fleet whose frontier is known, by looking at every plan that there is."""

from collections.abc import Callable
from functools import cache
from itertools import combinations

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.frontier import Frontier, frontier, point_of
from planner.model import ModelId
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan
from planner.units import KiB
from tests.fleets import declared_sizes

__all__ = ["all_plans", "exact", "four_lanes", "frontier_of"]


def four_lanes(
    *, timed: bool = True, rates: tuple[int | None, int | None] = (None, None)
) -> FleetSpec:
    """Two cameras, a door and a gate: four lanes with one step each."""
    works = {"detect": 64 * KiB, "look": 40 * KiB, "scan": 24 * KiB}
    times = {"detect": 7_000_000, "look": 5_000_000, "scan": 3_000_000} if timed else {}

    def pipeline(name: str, model: str, lane: str, channels: int, rate: int | None) -> PipelineSpec:
        step = StepSpec(model, ModelId(model), lane, time_ns=times.get(model))
        return PipelineSpec(name, (step,), channels, rate_millihertz=rate)

    return FleetSpec(
        "street",
        tuple(ModelSpec(ModelId(m), work_bytes=w, weight_bytes=512) for m, w in works.items()),
        (
            pipeline("camera", "detect", "cam-{channel}", 2, rates[0]),
            pipeline("door", "look", "door", 1, rates[1]),
            pipeline("gate", "scan", "gate", 1, None),
        ),
    )


@cache
def all_plans(spec: FleetSpec) -> tuple[Plan, ...]:
    """A plan for every set of exclusions between instances on different lanes."""
    rows = list(spec.instances().items())
    pairs = [(a, b) for (a, (_, x)), (b, (_, y)) in combinations(rows, 2) if x != y]
    plans = []
    for mask in range(1 << len(pairs)):
        added = tuple(
            AddedOrder(*pair, AddedKind.EXCLUSIVE) for k, pair in enumerate(pairs) if mask >> k & 1
        )
        plans.append(plan_fleet(spec, declared_sizes(spec), PlanOptions(added=added)))
    return tuple(plans)


def exact(spec: FleetSpec) -> Callable[[int], Plan]:
    """Return the fastest plan within a budget, by looking at all of them."""
    points = [point_of(plan, {}) for plan in all_plans(spec)]

    def within(budget_bytes: int) -> Plan:
        fitting = [p for p in points if p.plan.total_bytes <= budget_bytes]
        return min(fitting, key=lambda p: (p.makespan, p.plan.total_bytes)).plan

    return within


def frontier_of(spec: FleetSpec, plans_max: int = 200) -> Frontier:
    """Return the frontier that exact plans give."""
    return frontier(all_plans(spec)[0], exact(spec), plans_max=plans_max)
