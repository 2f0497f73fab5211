"""What a fit added, deleted from its plan, offsets kept: the judge and the race check find it."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from arena.device import open_device
from arena.device.adaptors import Race, RaceCheck
from arena.plan_files import OpenedPlan
from arena.session import load_opened
from planner.fit import fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.judge import judge
from planner.model import ModelId
from planner.plan import AddedKind, Plan
from tests.fleets import declared_sizes


def fitted_plan(channels: int) -> Plan:
    """Two steps that nothing orders, in the room of one: of one channel, or of several."""
    models = tuple(
        ModelSpec(ModelId(name), work_bytes=16_384 - 32, weight_bytes=4096) for name in "ab"
    )
    steps = (StepSpec("one", ModelId("a"), "x"), StepSpec("two", ModelId("b"), "y"))
    fleet = FleetSpec("two", models, (PipelineSpec("p", steps, channels=channels),))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=16_384 + 2 * 4608)
    assert plan.fits
    assert judge(plan) == ()
    return plan


def races_of(plan: Plan) -> list[Race]:
    device = open_device("twin")
    races: list[Race] = []
    with load_opened(OpenedPlan(plan, Path()), device=RaceCheck(device, races)) as fleet:
        for _ in range(3):
            with fleet.frame("p[0]") as frame:
                first, second = (
                    threading.Thread(target=frame.run, args=(step, bytes(64)))
                    for step in ("one", "two")
                )
                first.start()
                if plan.added:  # an order edge wants its steps called in order
                    first.join()
                second.start()
                first.join()
                second.join()
    device.close()
    return races


@pytest.mark.parametrize(("channels", "kind"), [(1, AddedKind.ORDER), (2, AddedKind.EXCLUSIVE)])
def test_both_name_the_two_that_share(channels: int, kind: AddedKind) -> None:
    plan = fitted_plan(channels)
    assert [item.kind for item in plan.added] == [kind]
    assert races_of(plan) == []
    broken = replace(plan, added=())
    found = [str(violation) for violation in judge(broken)]
    assert any("a@x" in text and "b@y" in text for text in found)
    assert any("a@x" in str(race) and "b@y" in str(race) for race in races_of(broken))
