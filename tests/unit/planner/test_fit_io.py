"""Fits of fleets whose steps hand tensors on: within the budget, and judged."""

from dataclasses import replace

import pytest

from planner.fit import fit_fleet
from planner.fleet import IoPlace
from planner.fleet_file import parse_fleet
from planner.judge import judge
from planner.pipeline import plan_fleet
from tests.plans_io import HANDING_YAML
from tests.strategies_io import sizes_of

FLEET = parse_fleet(HANDING_YAML)
SIZES = sizes_of(FLEET)
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


def test_blocks_of_instances_are_part_of_the_budget() -> None:
    fleet = replace(FLEET, device=replace(FLEET.device, io=IoPlace.ARENA))
    free = plan_fleet(fleet, SIZES)
    budgets = [free.total_bytes * percent // 100 for percent in (98, 90, 80)]
    plans = [fit_fleet(fleet, SIZES, budget_bytes=budget) for budget in budgets]
    for plan, budget in zip(plans, budgets, strict=True):
        assert plan.total_bytes <= budget
        assert plan.added
        assert judge(plan) == ()


def test_where_even_turns_do_not_fit_the_plan_says_so() -> None:
    plan = fit_fleet(FLEET, SIZES, budget_bytes=FREE.weight_bytes + 512)
    assert not plan.fits
    assert judge(plan) == ()
