"""Seeded fleets that need a fit, and plans that fit them."""

import random
from dataclasses import replace

from planner.fit import fit_fleet
from planner.fleet import DeviceSpec, FleetSpec, IoPlace, ModelSpec, PipelineSpec, StepSpec
from planner.handover import Feed
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes

__all__ = ["fitted", "step_times", "timed_fleet", "total_between", "with_tensors"]


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


def with_tensors(fleet: FleetSpec, seed: int, feeds_max: int = 99) -> FleetSpec:
    """Return the fleet with feeds, states and blocks of inputs and outputs in the arena."""
    rng = random.Random(seed)
    large, small = 512 * rng.randrange(1, 9) - 32, 480
    tensors = (("x", large), ("h", small)), (("y", large), ("k", small))
    models = tuple(
        replace(m, input_bytes=tensors[0], output_bytes=tensors[1]) for m in fleet.models
    )
    handed = 0

    def handing(step: StepSpec, frames_in_flight: int) -> StepSpec:
        nonlocal handed
        feeds: tuple[Feed, ...] = ()
        if step.after and handed < feeds_max and rng.random() < 0.7:
            feeds = (Feed("x", rng.choice(step.after), "y"),)
            handed += 1
        has_state = frames_in_flight == 1 and rng.random() < 0.1
        return replace(step, feeds=feeds, state=(("h", "k"),) if has_state else ())

    pipelines = tuple(
        replace(p, steps=tuple(handing(step, p.frames_in_flight) for step in p.steps))
        for p in fleet.pipelines
    )
    device = DeviceSpec(io=IoPlace.ARENA if rng.random() < 0.3 else IoPlace.OUTSIDE)
    return replace(fleet, models=models, pipelines=pipelines, device=device)


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
