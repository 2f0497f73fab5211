"""Seeded fleets that need a fit, and plans that fit them."""

import random

from planner.fit import fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan

__all__ = ["declared_sizes", "fitted", "step_times", "timed_fleet", "total_between"]


def declared_sizes(fleet: FleetSpec) -> dict[ModelId, ModelSize]:
    return {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in fleet.models}


def step_times(fleet: FleetSpec) -> dict[tuple[str, str], int]:
    return {(p.id, s.id): s.time_ns or 0 for p in fleet.pipelines for s in p.steps}


def timed_fleet(seed: int, executions_max: int = 12, models: int = 5) -> FleetSpec:
    """Return a fleet of declared models with a time for every step, of few executions."""
    rng = random.Random(seed)
    specs = tuple(
        ModelSpec(ModelId(f"m{i}"), work_bytes=512 * rng.randrange(1, 9) - 32, weight_bytes=2048)
        for i in range(models)
    )
    pipelines: list[PipelineSpec] = []
    left = executions_max
    while left > 0:
        channels = rng.choice([1, 1, 2])
        count = max(1, min(rng.randrange(1, 6), left // channels))
        channels = min(channels, left)
        steps = tuple(
            StepSpec(
                id=f"s{i}",
                model=rng.choice(specs).id,
                lane=rng.choice(["x", "y", "z", "own-{channel}"]),
                after=tuple(f"s{j}" for j in range(i) if rng.random() < 0.3),
                locks=("g",) if rng.random() < 0.1 else (),
                time_ns=rng.randrange(0, 9) if rng.random() < 0.1 else rng.randrange(1, 9),
            )
            for i in range(count)
        )
        pipelines.append(PipelineSpec(f"p{len(pipelines)}", steps, channels, rng.choice([1, 1, 2])))
        left -= count * channels
    return FleetSpec(f"timed-{seed}", specs, tuple(pipelines))


def total_between(plan: Plan, numerator: int, denominator: int) -> int:
    """Return a budget between everything in turns (0) and the plan as it is (1)."""
    least = max(plan.rule.reserved_bytes(row.work_bytes) for row in plan.instances)
    room = plan.height_bytes - least
    return plan.weight_bytes + least + room * numerator // denominator


def fitted(seed: int, numerator: int = 1, denominator: int = 2, executions_max: int = 12) -> Plan:
    """Return a plan of a seeded fleet in a part of the memory that it would take."""
    fleet = timed_fleet(seed, executions_max)
    sizes = declared_sizes(fleet)
    budget = total_between(plan_fleet(fleet, sizes), numerator, denominator)
    return fit_fleet(fleet, sizes, budget_bytes=budget)
