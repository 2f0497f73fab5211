"""What is handed on survives all poison until its last reader; a plan that drops it is noticed."""

from dataclasses import replace
from pathlib import Path

import pytest

from arena.device import open_device
from arena.device.base import DeviceRange
from arena.kept import kept_stages, poison_around
from arena.plan_files import OpenedPlan
from arena.session import load_opened, plan_and_load
from arena.verify import Verdict, verify
from planner.fit import fit_fleet
from planner.fleet import FleetSpec, IoPlace, ModelSpec, PipelineSpec, StepSpec
from planner.handover import Feed
from planner.judge import judge
from planner.model import InstanceId, ModelId
from planner.plan import AddedKind, AddedOrder
from tests.fleets import declared_sizes
from tests.handing import BUILDERS, cpu_fleet, twin_fleet


@pytest.mark.parametrize("frames_in_flight", [1, 2])
@pytest.mark.parametrize("io", IoPlace)
@pytest.mark.parametrize("device", BUILDERS)
def test_tensors_survive_until_their_last_reader_with_poison_in_between(
    device: str, io: IoPlace, frames_in_flight: int, tmp_path: Path
) -> None:
    spec = BUILDERS[device](tmp_path, frames_in_flight, io)
    verdict = Verdict()
    with plan_and_load(spec, device=device, base=tmp_path) as fleet:
        for stage in kept_stages(fleet):
            stage(verdict.count)
    assert (verdict.checks, verdict.failures) == (4 * (4 + 1 + 1), [])


def test_steps_are_called_in_the_order_that_planning_added() -> None:
    works = {"count": 65_536, "find": 65_536, "read": 4096}
    models = tuple(
        ModelSpec(
            ModelId(name),
            work_bytes=work - 32,
            weight_bytes=0,
            input_bytes=(("x", 480),),
            output_bytes=(("y", 480),),
        )
        for name, work in works.items()
    )
    steps = (
        StepSpec("count", ModelId("count"), "x", time_ns=5),
        StepSpec("find", ModelId("find"), "y", time_ns=2),
        StepSpec(
            "read", ModelId("read"), "y", ("find",), time_ns=5, feeds=(Feed("x", "find", "y"),)
        ),
    )
    fleet = FleetSpec("street", models, (PipelineSpec("camera", steps),))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=65_536 + 4096 + 512)
    find, count = InstanceId("find@y"), InstanceId("count@x")
    assert plan.added == (AddedOrder(find, count, AddedKind.ORDER),)
    verdict = Verdict()
    with load_opened(OpenedPlan(plan, Path()), device="twin") as loaded:
        for stage in kept_stages(loaded):
            stage(verdict.count)
    assert (verdict.checks, verdict.failures) == (4 * 3, [])


def test_a_plan_that_drops_what_it_hands_on_is_noticed(tmp_path: Path) -> None:
    spec = cpu_fleet(tmp_path)
    with plan_and_load(spec, device="cpu", base=tmp_path) as fleet:
        plan = fleet.plan
    # The boxes of `detect` lie where `read`, which reads them first, works.
    offset = next(row.work_offset for row in plan.instances if row.id == "second@vision")
    assert offset is not None
    first, *others = plan.buffers
    wrong = replace(plan, buffers=(replace(first, offset=offset), *others))
    assert judge(wrong)
    verdict = Verdict()
    with load_opened(OpenedPlan(wrong, tmp_path), device="cpu") as fleet:
        for stage in kept_stages(fleet):
            stage(verdict.count)
    assert verdict.mismatches > 0
    assert any("camera[0].track in frame" in failure for failure in verdict.failures)


@pytest.mark.parametrize("device", BUILDERS)
def test_planned_inputs_and_outputs_are_verified(device: str, tmp_path: Path) -> None:
    spec = BUILDERS[device](tmp_path, io=IoPlace.ARENA)
    with plan_and_load(spec, device=device, base=tmp_path) as fleet:
        plan = fleet.plan
    found = verify(OpenedPlan(plan, tmp_path), device=device)
    # Whether tiny networks meet in the control's memory is up to the scheduler.
    assert (found.mismatches, found.failures) == (0, [])


def test_verify_counts_what_is_kept(tmp_path: Path) -> None:
    with plan_and_load(twin_fleet(tmp_path), device="twin") as fleet:
        plan = fleet.plan
    plain = replace(
        plan.fleet,
        pipelines=tuple(
            replace(
                pipeline,
                steps=tuple(replace(step, feeds=(), state=()) for step in pipeline.steps),
            )
            for pipeline in plan.fleet.pipelines
        ),
    )
    with plan_and_load(plain, device="twin") as fleet:
        without = fleet.plan
    found = verify(OpenedPlan(plan, tmp_path), device="twin")
    assert found.is_safe, found.failures
    assert found.checks >= verify(OpenedPlan(without, tmp_path), device="twin").checks + 24


def test_poison_spares_what_is_kept() -> None:
    device = open_device("cpu")
    block = device.alloc(4096)
    try:
        kept = [DeviceRange(block.pointer + start, 512) for start in (1024, 0, 3584)]
        poison_around(device, block, kept, 0xAB)
        import ctypes

        data = ctypes.string_at(block.pointer, 4096)
    finally:
        device.free(block)
        device.close()
    assert data == bytes(512) + b"\xab" * 512 + bytes(512) + b"\xab" * 2048 + bytes(512)
