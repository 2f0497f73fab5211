"""What sharing rests on, without threads and without luck: a run inside another run's allocation.

The second network executes from inside one chosen allocation of the first. In work memory of its
own nothing changes; in the same work memory the first network's result is wrong.
"""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from arena.device.base import DeviceRange, ModelSource
from arena.device.cpu.device import CpuDevice
from arena.device.cpu.placement import PlannedPlacement
from tests.networks import Loaded, compiled, convolutions, demo_arena, inputs_for


class Interleaved(PlannedPlacement):
    """A plan that lets something happen inside its k-th allocation."""

    __slots__ = ("at", "count", "happen")

    def __init__(self, net: Loaded, at: int, happen: Callable[[], object]) -> None:
        instance = net.device._models.instances[net.handle]
        plan = instance.model.allocations
        assert instance.work is not None
        super().__init__(instance.work.pointer, plan.sizes, plan.offsets)
        self.answers_pointer = 0  # machine code would let nothing happen
        self.at, self.happen, self.count = at, happen, 0

    def place(self, size_bytes: int) -> int:
        if self.count == self.at:
            self.happen()
        self.count += 1
        return super().place(size_bytes)


def execute(net: Loaded, at: int = -1, happen: Callable[[], object] = int) -> list[bytes]:
    """Execute on this thread, with something else inside allocation `at`."""
    inputs = inputs_for(net.description.inputs)
    outputs = [np.zeros(spec.shape, spec.dtype) for spec in net.description.outputs]
    placement = Interleaved(net, at, happen)
    pointers = [array.ctypes.data for array in (*inputs, *outputs)]
    net.device._models.instances[net.handle].ways[()].network.run(placement, pointers)
    assert placement.finish() == ""
    return [array.tobytes() for array in outputs]


def n_allocations(net: Loaded) -> int:
    return len(net.device._models.instances[net.handle].model.allocations.sizes)


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    device.open()
    yield device
    device.close()


def check_pair(device: CpuDevice, first_path: Path, second_path: Path, moments: int) -> int:
    """Interleave at several allocations, apart and together; count how often together was wrong."""
    sizes = [device.query_size(ModelSource("m", path))[0] for path in (first_path, second_path)]
    shared = device.alloc(max(sizes))
    wrong = 0
    with (
        Loaded(device, first_path, work=shared) as first,
        Loaded(device, second_path) as apart,
        Loaded(device, second_path, work=shared, weights=apart.weights) as together,
    ):
        alone = execute(first)
        other_alone = execute(apart)
        total = n_allocations(first)
        for at in sorted({total * k // moments for k in range(moments)}):
            others: list[list[bytes]] = []
            assert execute(first, at, lambda: others.append(execute(apart))) == alone  # noqa: B023
            assert others == [other_alone]
            wrong += execute(first, at, lambda: execute(together)) != alone
            assert execute(first) == alone  # nothing of it stays
    device.free(shared)
    return wrong


def test_small_networks(device: CpuDevice, tmp_path: Path) -> None:
    first = compiled(convolutions(1, size=32), tmp_path, "first")
    second = compiled(convolutions(2, size=32), tmp_path, "second")
    assert check_pair(device, first, second, moments=20) >= 3


@pytest.mark.parametrize(
    ("first", "second"), [("ocr-cls", "ocr-rec"), ("ocr-cls", "ocr-det"), ("file-type", "ocr-cls")]
)
def test_demo_models(device: CpuDevice, first: str, second: str) -> None:
    assert check_pair(device, demo_arena(first), demo_arena(second), moments=6) >= 3


def test_harm_to_the_weights_is_visible(device: CpuDevice, tmp_path: Path) -> None:
    """Weights are used in place: what is changed there changes the result of every sharer."""
    path = compiled(convolutions(channels=64), tmp_path)
    _, weight_bytes = device.query_size(ModelSource("m", path))
    block = device.alloc(weight_bytes)
    with Loaded(device, path, weights=block) as net, Loaded(device, path, weights=block) as sharer:
        before = execute(net)
        middle = DeviceRange(block.pointer + weight_bytes // 2, 4096)
        saved = ctypes.string_at(middle.pointer, middle.size_bytes)
        libc = ctypes.CDLL(None)
        start = block.pointer // 4096 * 4096
        size = weight_bytes + 4096
        libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(size), 3)
        ctypes.memmove(middle.pointer, saved[::-1], len(saved))
        harmed = [execute(net), execute(sharer)]
        ctypes.memmove(middle.pointer, saved, len(saved))
        assert harmed[0] == harmed[1] != before
        assert execute(net) == execute(sharer) == before
    device.free(block)
