"""Inside planned memory a network computes the same bits as ONNX Runtime computes on its own.

The other side is the runtime's Python API, a copy of its own of the same version, on the same
optimised graph with one thread: serially in one work memory that all networks share, poisoned
between runs, and in four lanes at once.
"""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from arena.demo_models import DEMO_MODELS
from arena.device.base import DeviceRange, ModelSource
from arena.device.cpu.device import CpuDevice
from planner.units import align_up
from tests.networks import Array, Loaded, compiled, convolutions, demo_arena, inputs_for, read_arena

SEEDS = range(3)
POISON = (0x00, 0xFF, 0x7F)


class Reference:
    """ONNX Runtime's own Python session on the graph of a .arena file."""

    def __init__(self, path: Path) -> None:
        self.model, graph = read_arena(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: list[Array]) -> list[bytes]:
        names = [spec.name for spec in self.model.outputs]
        feed: Mapping[str, Any] = {
            spec.name: value for spec, value in zip(self.model.inputs, inputs, strict=True)
        }
        return [output.tobytes() for output in self.session.run(names, feed)]


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    device.open()
    yield device
    device.close()


def compare_in_one_work_memory(device: CpuDevice, paths: list[Path]) -> int:
    """Load all into one work memory, run them in turn, poison in between; return comparisons."""
    work = device.alloc(max(device.query_size(ModelSource("m", path))[0] for path in paths))
    loaded = [Loaded(device, path, work=work) for path in paths]
    references = [Reference(path) for path in paths]
    count = 0
    for seed, value in zip(SEEDS, POISON, strict=True):
        for net, reference in zip(loaded, references, strict=True):
            device.fill(work, value)
            inputs = inputs_for(net.description.inputs, seed)
            assert net.run(inputs) == reference.run(inputs), net.source.name
            count += 1
    for net in loaded:
        with net:
            pass
    device.free(work)
    return count


def test_networks_made_here_in_one_work_memory(device: CpuDevice, tmp_path: Path) -> None:
    paths = [
        compiled(convolutions(seed, channels=4 + seed, size=16 + 8 * seed), tmp_path, f"net{seed}")
        for seed in range(4)
    ]
    assert compare_in_one_work_memory(device, paths) == 12


def test_demo_models_in_one_work_memory(device: CpuDevice) -> None:
    assert compare_in_one_work_memory(device, [demo_arena(name) for name in DEMO_MODELS]) == 15


@pytest.mark.parametrize("name", list(DEMO_MODELS))
def test_four_lanes_at_once(device: CpuDevice, name: str) -> None:
    """One weight memory, one session, four work memories, four threads."""
    path = demo_arena(name)
    reference = Reference(path)
    with Loaded(device, path) as owner:
        lanes = [Loaded(device, path, weights=owner.weights) for _ in range(4)]
        inputs = [inputs_for(owner.description.inputs, seed) for seed in range(4)]
        wanted = [reference.run(values) for values in inputs]
        wrong: list[int] = []

        def run(k: int) -> None:
            for _ in range(6):
                if lanes[k].run(inputs[k]) != wanted[k]:
                    wrong.append(k)

        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lane in lanes:
            with lane:
                pass
    assert wrong == []


def test_one_thread_that_launches_on_four_lanes(device: CpuDevice) -> None:
    path = demo_arena("ocr-cls")
    reference = Reference(path)
    with Loaded(device, path) as owner:
        lanes = [Loaded(device, path, weights=owner.weights) for _ in range(4)]
        inputs = [inputs_for(owner.description.inputs, seed) for seed in range(4)]
        launches = [
            device.launch(lane.handle, [values[0].data], [None], lane.stream)
            for lane, values in zip(lanes, inputs, strict=True)
        ]
        for launch, values in zip(launches, inputs, strict=True):
            (output,) = device.finish(launch)
            assert [bytes(output or b"")] == reference.run(values)
        for lane in lanes:
            with lane:
                pass


def test_other_weights_compute_something_else(device: CpuDevice, tmp_path: Path) -> None:
    """The comparison can fail: bits of one network are not those of another."""
    first, second = (compiled(convolutions(seed), tmp_path, f"net{seed}") for seed in (1, 2))
    with Loaded(device, first) as net:
        inputs = inputs_for(net.description.inputs)
        assert net.run(inputs) == Reference(first).run(inputs)
        assert net.run(inputs) != Reference(second).run(inputs)


def test_any_aligned_place_computes_the_same(device: CpuDevice, tmp_path: Path) -> None:
    path = compiled(convolutions(), tmp_path)
    work_bytes, weight_bytes = device.query_size(ModelSource("m", path))
    work = device.alloc(align_up(work_bytes, 64) + 4096)
    weights = device.alloc(weight_bytes + 4096)
    results = set()
    for shift in (0, 64, 192, 1024, 4032):
        with Loaded(
            device,
            path,
            work=DeviceRange(work.pointer + shift, work_bytes),
            weights=DeviceRange(weights.pointer + shift, weight_bytes),
        ) as net:
            results.add(tuple(net.run(inputs_for(net.description.inputs))))
    device.free(work)
    device.free(weights)
    assert len(results) == 1
    assert np.isfinite(np.frombuffer(results.pop()[0], np.float32)).all()
