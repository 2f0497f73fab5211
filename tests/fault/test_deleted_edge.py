"""An order edge deleted from a plan, offsets kept: the judge and the race check both find it."""

import threading
from dataclasses import replace
from pathlib import Path

from arena.device import open_device
from arena.device.adaptors import Race, RaceCheck
from arena.plan_files import OpenedPlan
from arena.session import load_opened
from planner.judge import judge
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes, small_fleet


def plan_with_a_deleted_edge() -> Plan:
    """Return a plan in which `first` and `beside` share bytes and nothing orders them any more."""
    fleet = small_fleet()
    sizes = declared_sizes(fleet)
    plan = plan_fleet(fleet, sizes)
    assert judge(plan) == ()
    offsets = {row.model: row.work_offset for row in plan.instances}
    big, side = offsets[ModelId("big")], offsets[ModelId("side")]
    assert big is not None
    assert side is not None
    assert side < big + 65_536  # they share, by order alone
    (pipeline,) = plan.fleet.pipelines
    steps = tuple(
        replace(step, after=()) if step.id == "beside" else step for step in pipeline.steps
    )
    broken = replace(plan.fleet, pipelines=(replace(pipeline, steps=steps),))
    return replace(plan, fleet=broken)


def test_the_judge_names_both_instances() -> None:
    found = [str(violation) for violation in judge(plan_with_a_deleted_edge())]
    assert any("big@main" in text and "side@other" in text for text in found)


def test_the_race_check_names_both_executions() -> None:
    device = open_device("twin")
    races: list[Race] = []
    opened = OpenedPlan(plan_with_a_deleted_edge(), Path())
    with load_opened(opened, device=RaceCheck(device, races)) as fleet:
        for _ in range(3):
            with fleet.frame("p") as frame:
                threads = [
                    threading.Thread(target=frame.run, args=(step, bytes(64)))
                    for step in ("first", "beside")
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
    device.close()
    assert any("big@main" in str(race) and "side@other" in str(race) for race in races)
