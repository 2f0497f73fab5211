"""Up to six executions: a fit is as fast as the best of all sets of exclusions, at every height."""

from itertools import count

import pytest

from planner.fit import fit_fleet
from planner.fleet import FleetSpec
from planner.pipeline import plan_fleet
from tests.fitted import step_times, timed_fleet
from tests.fleets import declared_sizes
from tests.oracles_fit import frontier

INSTANCES_MAX = 5
"""Of more instances there are more sets of exclusions than are worth trying."""


def fleet_to_try(seed: int) -> FleetSpec:
    every = (timed_fleet(seed + 60 * k, executions_max=3 + seed % 4, models=4) for k in count())
    return next(fleet for fleet in every if len(fleet.instances()) <= INSTANCES_MAX)


@pytest.mark.parametrize("seed", range(60))
def test_no_choice_of_exclusions_is_faster(seed: int) -> None:
    fleet = fleet_to_try(seed)
    sizes = declared_sizes(fleet)
    free = plan_fleet(fleet, sizes)
    reserved = [free.rule.reserved_bytes(row.work_bytes) for row in free.instances]
    points = frontier(fleet, reserved, step_times(fleet))
    for height, least in points:
        for room in (0, 512):
            best = min(length for other, length in points if other <= height + room)
            plan = fit_fleet(fleet, sizes, budget_bytes=free.weight_bytes + height + room)
            assert plan.fits
            assert plan.price is not None
            assert (plan.price.makespan, plan.price.lower_bound) == (best, best)
        assert best <= least
    below = fit_fleet(fleet, sizes, budget_bytes=free.weight_bytes + points[0][0] - 1)
    assert not below.fits
    assert below.height_bytes == points[0][0]
