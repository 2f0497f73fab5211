"""Loads on the CPU device succeed or leave nothing; a thousand of them leave nothing either."""

import gc
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arena.device.base import DeviceRange, ModelSource
from arena.device.cpu import loading
from arena.device.cpu.device import CpuDevice
from arena.device.cpu.memory import HostMemory
from arena.device.cpu.runtime import Runtime
from arena.errors import DeviceError
from planner.units import KiB, MiB
from tests.networks import Loaded, compiled, convolutions, demo_arena, inputs_for, open_device

STEPS: list[tuple[Any, str]] = [
    (HostMemory, "alloc"),
    (HostMemory, "require"),
    (loading, "read_header"),
    (loading, "_read_payload"),
    (loading, "protect"),
    (loading, "Network"),
    (Runtime, "open_session"),
]


class FailAt:
    """Makes the n-th call of any step raise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_call: int) -> None:
        self.calls = 0
        self.failed = ""
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self.wrap(name, getattr(owner, name), fail_call))

    def wrap(self, name: str, step: Callable[..., Any], fail_call: int) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls += 1
            if self.calls == fail_call:
                self.failed = name
                raise DeviceError(f"{name} fails by order")
            return step(*arguments, **keywords)

        return call


def private_bytes() -> int:
    """Return what this process has written to and shares with nobody."""
    gc.collect()
    with Path("/proc/self/smaps_rollup").open() as lines:
        return sum(int(line.split()[1]) * KiB for line in lines if line.startswith("Private_Dirty"))


@pytest.mark.parametrize("own_memory", [True, False])
def test_a_load_that_fails_anywhere_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_memory: bool
) -> None:
    path = compiled(convolutions(), tmp_path)
    source = ModelSource("m", path)
    steps = set()
    with open_device() as device, Loaded(device, path) as net:
        inputs = inputs_for(net.description.inputs)
        wanted = net.run(inputs)
        work, weights = (device.alloc(size) for size in device.query_size(source))
        given: dict[str, DeviceRange | None] = {"work": None, "weights": None}
        if not own_memory:
            given = {"work": work, "weights": weights}
        before = device.memory_info()
        for fail_call in itertools.count(1):
            with monkeypatch.context() as patch:
                fault = FailAt(patch, fail_call)
                try:
                    handle = device.load(source, **given)  # type: ignore[arg-type]
                except DeviceError as error:
                    assert f"{fault.failed} fails by order" in str(error)  # noqa: PT017 - a loop
                    steps.add(fault.failed)
                else:
                    break
            assert device.memory_info() == before
            assert len(device._models.instances) == len(device._models.residents) == 1
            device.fill(weights, fail_call % 256)  # nothing stayed read-only
            assert net.run(inputs) == wanted
        device.unload(handle)
        assert device.memory_info() == before
        device.free(work)
        device.free(weights)
    assert steps == {name for _, name in STEPS} - {"require" if own_memory else "alloc"}


def test_a_thousand_loads_and_unloads_leave_nothing(tmp_path: Path) -> None:
    path = compiled(convolutions(), tmp_path)
    source = ModelSource("m", path)
    with open_device() as device:
        work, weights = (device.alloc(size) for size in device.query_size(source))
        before = device.memory_info()

        def cycle(times: int) -> None:
            for _ in range(times):
                device.unload(device.load(source, work=work, weights=weights))

        cycle(500)  # the runtime's and the C library's own caches fill
        private = private_bytes()
        cycle(500)
        assert private_bytes() - private < 1 * MiB
        assert device.memory_info() == before
        device.free(work)
        device.free(weights)


def test_a_further_instance_costs_next_to_nothing_outside_the_plan() -> None:
    path = demo_arena("ocr-det")
    with open_device() as device:
        further = 20
        with Loaded(device, path) as net:
            source = ModelSource("m", path)
            inputs = inputs_for(net.description.inputs)
            assert net.work is not None
            device.fill(net.work, 1)
            net.run(inputs)
            before = private_bytes()
            handles = [
                device.load(source, work=net.work, weights=net.weights) for _ in range(further)
            ]
            cost = (private_bytes() - before) / further
            for handle in handles:
                device.unload(handle)
        assert cost <= 64 * KiB


def test_a_device_that_is_full_says_so_and_stays_usable(tmp_path: Path) -> None:
    path = compiled(convolutions(), tmp_path)
    source = ModelSource("m", path)
    device = CpuDevice(4 * MiB)
    device.open()
    handle = device.load(source, work=None, weights=None)
    with pytest.raises(DeviceError, match=r"0 of 4194304 bytes \(0 B\) are free"):
        device.load(source, work=None, weights=None)
    device.unload(handle)
    device.unload(device.load(source, work=None, weights=None))
    device.close()
