"""Fits of fleets whose steps hand tensors on: within the budget, and judged."""

from dataclasses import replace

import pytest

from planner.fit import fit_fleet
from planner.fleet import IoPlace
from planner.fleet_file import parse_fleet
from planner.judge import judge
from planner.makespan import makespan_of
from planner.model import InstanceId
from planner.pipeline import PlanOptions, plan_fleet, schedule_of
from planner.plan import AddedKind, AddedOrder
from tests.fleets import declared_sizes
from tests.plans_io import HANDING_YAML

SHARED_YAML = """
version: 1
name: shared
models:
  a: {work: 1MiB, weights: 0, outputs: {y: 4MiB}}
  b: {work: 1MiB, weights: 0, inputs: {x: 4MiB}}
  c: {work: 4MiB, weights: 0}
pipelines:
  p:
    steps:
      a: {model: a, time: 5ms}
      b: {model: b, after: [a], time: 5ms, feeds: {x: a.y}}
      c: {model: c, after: [b], time: 20ms}
  q: {steps: {e: {model: c, time: 10ms}}}
  r: {steps: {f: {model: c, time: 10ms}}}
"""

FLEET = parse_fleet(HANDING_YAML)
SIZES = declared_sizes(FLEET)
FREE = plan_fleet(FLEET, SIZES)
HANDED = sum(FREE.rule.reserved_bytes(buffer.size_bytes) for buffer in FREE.buffers)
LARGEST = max(FREE.rule.reserved_bytes(row.work_bytes) for row in FREE.instances)
LEAST = FREE.weight_bytes + LARGEST + HANDED
"""Everything in turns, and what is handed on beside it."""


@pytest.mark.parametrize("tenths", range(11))
def test_a_fit_stays_within_its_budget(tenths: int) -> None:
    budget = LEAST + (FREE.total_bytes - LEAST) * tenths // 10
    assert FREE.total_bytes > LEAST
    plan = fit_fleet(FLEET, SIZES, budget_bytes=budget)
    assert plan.total_bytes <= budget
    assert judge(plan) == ()
    assert bool(plan.added) == (budget < FREE.total_bytes)


CHAINS_YAML = """
version: 1
name: chains
models:
  a: {work: 8MiB, weights: 0, outputs: {y: 4MiB}}
  b: {work: 6MiB, weights: 0, inputs: {y: 4MiB}, outputs: {z: 4MiB}}
  c: {work: 4MiB, weights: 0, inputs: {z: 4MiB}}
pipelines:
  p:
    channels: 3
    lane: x-{channel}
    steps:
      one: {model: a, time: 5ms}
      two: {model: b, lane: "y-{channel}", time: 5ms, after: [one], feeds: {y: one.y}}
      three: {model: c, time: 5ms, after: [two], feeds: {z: two.z}}
"""


@pytest.mark.parametrize("text", [HANDING_YAML, SHARED_YAML, CHAINS_YAML])
def test_a_misfit_is_as_fast_as_the_fit_of_its_own_size(text: str) -> None:
    fleet = parse_fleet(text)
    sizes = declared_sizes(fleet)
    misfit = fit_fleet(fleet, sizes, budget_bytes=1)
    fit = fit_fleet(fleet, sizes, budget_bytes=misfit.total_bytes)
    assert not misfit.fits
    assert fit.fits
    assert misfit.price is not None
    assert fit.price is not None
    assert misfit.price.makespan <= fit.price.makespan
    assert misfit.total_bytes <= fit.total_bytes, "nothing lower is found later"


def test_blocks_of_instances_are_part_of_the_budget() -> None:
    fleet = replace(FLEET, device=replace(FLEET.device, io=IoPlace.ARENA))
    free = plan_fleet(fleet, SIZES)
    budgets = [free.total_bytes * percent // 100 for percent in (98, 90, 80)]
    plans = [fit_fleet(fleet, SIZES, budget_bytes=budget) for budget in budgets]
    for plan, budget in zip(plans, budgets, strict=True):
        assert plan.total_bytes <= budget
        assert plan.added
        assert judge(plan) == ()


@pytest.mark.parametrize("spare_bytes", [0, 1024, 2 * 1024 * 1024])
def test_a_fit_lets_tensors_share_where_that_is_faster(spare_bytes: int) -> None:
    """`y` is over before `c` and lies in its bytes: one lock is enough, and costs no time."""
    fleet = parse_fleet(SHARED_YAML)
    sizes = declared_sizes(fleet)
    lock = AddedOrder(InstanceId("c@q"), InstanceId("c@r"), AddedKind.EXCLUSIVE)
    known = plan_fleet(fleet, sizes, PlanOptions(added=(lock,)))
    length = makespan_of(schedule_of(fleet, known.added)).length
    plan = fit_fleet(fleet, sizes, budget_bytes=known.total_bytes + spare_bytes)
    assert plan.fits
    assert plan.price is not None
    assert plan.price.lower_bound <= plan.price.makespan <= length
    assert plan.added == (lock,)


def test_where_even_turns_do_not_fit_the_plan_says_so() -> None:
    plan = fit_fleet(FLEET, SIZES, budget_bytes=FREE.weight_bytes + 512)
    assert not plan.fits
    assert judge(plan) == ()
