"""What loading compares before it loads, and blocks that a device hands out askew."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arena.device import open_device
from arena.device.adaptors import Adaptor, TrackingDevice
from arena.device.base import (
    Device,
    DeviceRange,
    ModelDescription,
    ModelHandle,
    ModelSource,
)
from arena.errors import DeviceError, LoadError
from arena.loader import LoadedInstance, load_plan
from arena.planning import plan_file
from planner.errors import PlanError
from planner.model import ModelId
from planner.plan import Plan
from tests.fleets import write_fleet


@pytest.fixture
def device() -> Iterator[Device]:
    device = open_device("twin")
    yield device
    device.close()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_file(write_fleet(tmp_path / "street")).plan


@pytest.fixture
def sources(plan: Plan, tmp_path: Path) -> dict[ModelId, ModelSource]:
    return {
        model.id: ModelSource(model.id, path=tmp_path / "street" / model.file)
        for model in plan.fleet.models
    }


Sources = dict[ModelId, ModelSource]


def test_callbacks_follow_the_loading(device: Device, plan: Plan, sources: Sources) -> None:
    seen: list[str] = []

    def note(item: LoadedInstance) -> None:
        seen.append(item.instance.id)

    loaded = load_plan(
        plan, device, sources, on_reserved=lambda: seen.append("reserved"), on_loaded=note
    )
    assert seen == ["reserved", "tracker@tracking", "reader@vision", "detector@vision"]
    assert list(loaded.instances) == seen[1:]
    loaded.unload()


def test_another_file_than_planned_is_refused(device: Device, plan: Plan, sources: Sources) -> None:
    swapped = {**sources, ModelId("reader"): sources[ModelId("detector")]}
    with pytest.raises(PlanError, match=r"model 'reader': device 'twin' wants 299520 bytes"):
        load_plan(plan, device, swapped)
    assert device.memory_info().used_bytes == 0


class Coarse(Adaptor):
    """A device with rules of its own."""

    align = 512
    page = 2 << 20
    askew = 0

    @property
    def align_bytes(self) -> int:
        return self.align

    @property
    def page_bytes(self) -> int:
        return self.page

    def alloc(self, size_bytes: int) -> DeviceRange:
        block = super().alloc(size_bytes + self.askew)
        return DeviceRange(block.pointer + self.askew, size_bytes) if self.askew else block

    def free(self, memory: DeviceRange) -> None:
        start = memory.pointer - self.askew
        super().free(DeviceRange(start, memory.size_bytes + self.askew))


def test_rules_of_another_device_are_refused(device: Device, plan: Plan, sources: Sources) -> None:
    coarse = Coarse(device)
    coarse.align = 4096
    with pytest.raises(PlanError, match="multiples of 512 bytes, device 'twin' wants 4096"):
        load_plan(plan, coarse, sources)
    coarse.align = 512
    coarse.page = 4096
    with pytest.raises(PlanError, match="pages of 2097152 bytes, device 'twin' has pages of 4096"):
        load_plan(plan, coarse, sources)


def test_a_block_that_is_not_aligned_is_given_back(
    device: Device, plan: Plan, sources: Sources
) -> None:
    coarse = Coarse(device)
    coarse.askew = 64
    with pytest.raises(DeviceError, match="expected a multiple of 512"):
        load_plan(plan, coarse, sources)
    assert device.memory_info().used_bytes == 0


def test_a_fleet_without_memory_reserves_none(device: Device, plan: Plan) -> None:
    empty = replace(plan, instances=(), sizes=(), height_bytes=0, weight_bytes=0)
    loaded = load_plan(empty, device, {})
    assert (loaded.arena.work, loaded.arena.weights) == (None, None)
    loaded.unload()


def test_reservations_that_cannot_be_freed_are_named(
    device: Device, plan: Plan, sources: Sources
) -> None:
    class Sticky(Adaptor):
        stuck = True

        def free(self, memory: DeviceRange) -> None:
            if self.stuck:
                raise DeviceError("free: no")
            super().free(memory)

    sticky = Sticky(device)
    loaded = load_plan(plan, sticky, sources)
    with pytest.raises(DeviceError, match=r"reservation \[0x.*stays: free: no"):
        loaded.unload()
    sticky.stuck = False
    for block in (loaded.arena.work, loaded.arena.weights):
        assert block is not None
        sticky.free(block)


def test_a_rule_that_reserves_less_than_the_vendors_is_refused(
    device: Device, plan: Plan, sources: Sources
) -> None:
    tight = replace(plan, rule=replace(plan.rule, tail_bytes=0))
    with pytest.raises(PlanError, match="reserves less than the vendor's rule"):
        load_plan(tight, device, sources)


def test_a_model_that_stays_loaded_after_a_failed_description_is_named(
    device: Device, plan: Plan, sources: Sources
) -> None:
    class Mute(Adaptor):
        stuck = True

        def describe(self, model: ModelHandle) -> ModelDescription:
            raise DeviceError("describe: no")

        def unload(self, model: ModelHandle) -> None:
            if self.stuck:
                self.kept = model
                raise DeviceError("unload: no")
            super().unload(model)

    tracking = TrackingDevice(device)
    mute = Mute(tracking)
    with pytest.raises(LoadError, match=r"stays loaded: unload: no.*reservation \[0x.* stays"):
        load_plan(plan, mute, sources)
    mute.stuck = False
    mute.unload(mute.kept)
    for block in tracking.outstanding_memory:
        device.free(block)
