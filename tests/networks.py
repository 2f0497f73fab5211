"""Small ONNX models made here, the demo models, and the CPU device around them.

A test that needs the network skips, and says so, where it is away; everything made here needs none.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from arena.demo_models import resolve_demo
from arena.device.base import DeviceRange, ModelHandle, ModelSource
from arena.device.cpu.compile import compile_model, compiled_demo
from arena.device.cpu.device import CpuDevice
from arena.errors import FetchError
from arena.formats.arena_file import read_header
from arena.formats.arena_header import CompiledModel
from arena.formats.source import open_source
from planner.model import TensorSpec

Array = np.ndarray[Any, Any]
FLOAT = TensorProto.FLOAT


def network(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Mapping[str, Sequence[int | str | None]],
    weights: Mapping[str, Array] | None = None,
    types: Mapping[str, int] | None = None,
) -> ModelProto:
    """Return a checked model; tensors are float32 unless `types` says otherwise."""

    def values(shapes: Mapping[str, Any]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, (types or {}).get(name, FLOAT), shape)
            for name, shape in shapes.items()
        ]

    graph = helper.make_graph(
        list(nodes),
        "graph",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def convolutions(seed: int = 0, *, channels: int = 8, size: int = 24) -> ModelProto:
    """Return a small image network with a skip: several activations alive at once, and scratch."""
    random = np.random.default_rng(seed)

    def kernel(after: int, before: int) -> Array:
        return random.normal(0, 0.3, (after, before, 3, 3)).astype(np.float32)

    node = helper.make_node
    return network(
        [
            node("Conv", ["x", "k1"], ["a"], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["a"], ["b"]),
            node("Conv", ["b", "k2"], ["c"], pads=[1, 1, 1, 1]),
            node("Tanh", ["c"], ["d"]),
            node("Add", ["b", "d"], ["e"]),
            node("Conv", ["e", "k3"], ["f"], pads=[1, 1, 1, 1]),
            node("Softmax", ["f"], ["y"], axis=1),
        ],
        {"x": [1, 3, size, size]},
        {"y": [1, channels, size, size]},
        {
            "k1": kernel(channels, 3),
            "k2": kernel(channels, channels),
            "k3": kernel(channels, channels),
        },
    )


def byte_images(seed: int) -> ModelProto:
    """Return a small network from an image of bytes to one of the same size."""
    random = np.random.default_rng(seed)
    node = helper.make_node
    return network(
        [
            node("Cast", ["x"], ["f"], to=FLOAT),
            node("Mul", ["f", "unit"], ["a"]),
            node("Conv", ["a", "k1"], ["b"], pads=[1, 1, 1, 1]),
            node("Tanh", ["b"], ["c"]),
            node("Conv", ["c", "k2"], ["d"], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["d"], ["e"]),
            node("Mul", ["e", "byte"], ["g"]),
            node("Cast", ["g"], ["y"], to=TensorProto.UINT8),
        ],
        {"x": [1, 3, 24, 24]},
        {"y": [1, 3, 24, 24]},
        {
            "k1": random.normal(0, 0.5, (8, 3, 3, 3)).astype(np.float32),
            "k2": random.normal(0, 0.5, (3, 8, 3, 3)).astype(np.float32),
            "unit": np.array(1 / 16, np.float32),
            "byte": np.array(255, np.float32),
        },
        {"x": TensorProto.UINT8, "y": TensorProto.UINT8},
    )


def saved(model: ModelProto, folder: Path, name: str = "model") -> Path:
    """Write a model into `folder` and return its path."""
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def compiled(model: ModelProto, folder: Path, name: str = "model", **shapes: Any) -> Path:
    """Return the .arena file of a model, compiled in `folder`."""
    path = folder / f"{name}.arena"
    compile_model(saved(model, folder, name), path, shapes)
    return path


def read_arena(path: Path) -> tuple[CompiledModel, bytes]:
    """Return header and payload of a .arena file."""
    with open_source(path) as source:
        model, start = read_header(source)
        return model, bytes(source.view(start, source.size_bytes))


def demo_onnx(name: str) -> Path:
    """Return a demo model, or skip where it cannot be fetched."""
    path, reason = _fetched(name)
    if path is None:
        pytest.skip(f"needs a demo model: {reason}")
    return path


@cache
def _fetched(name: str) -> tuple[Path | None, str]:
    try:
        return resolve_demo(name), ""
    except FetchError as error:  # asked once: without a network each try takes its time
        return None, str(error)


def demo_arena(name: str) -> Path:
    """Return a compiled demo model from the cache, or skip where it cannot be fetched."""
    demo_onnx(name)
    return compiled_demo(name)


OPEN_BATCH = ({"x": (2, 16)}, {"x": (1, 16)}, {"x": (5, 16)})
"""Gears of `open_batch`."""


def open_batch() -> ModelProto:
    """Return a network of any batch, with weights and something after them."""
    weights = np.random.default_rng(0).uniform(-1, 1, (16, 32)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    return network(nodes, {"x": ["n", 16]}, {"y": ["n", 32]}, {"w": weights})


def inputs_for(specs: Sequence[TensorSpec], seed: int = 0) -> list[Array]:
    """Return seeded values for every input."""
    random = np.random.default_rng(seed)
    return [
        random.uniform(-1, 1, spec.shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else random.integers(0, 2, spec.shape).astype(spec.dtype)
        for spec in specs
    ]


@contextmanager
def open_device(memory_bytes: int | None = None) -> Iterator[CpuDevice]:
    """Yield an open device; when all went well, nothing may be out at the end."""
    device = CpuDevice(memory_bytes)
    device.open()
    yield device
    device.close()


class Loaded:
    """One model loaded into blocks of its own, with a stream; for `with`."""

    def __init__(
        self,
        device: CpuDevice,
        path: Path,
        *,
        work: DeviceRange | None = None,
        weights: DeviceRange | None = None,
    ) -> None:
        self.device = device
        self.source = ModelSource(path.stem, path)
        work_bytes, weight_bytes = device.query_size(self.source)
        self._blocks = []
        if work is None and work_bytes:
            work = device.alloc(work_bytes)
            self._blocks.append(work)
        if weights is None:
            weights = device.alloc(weight_bytes)
            self._blocks.append(weights)
        self.work, self.weights = work, weights
        self.handle: ModelHandle = device.load(self.source, work=work, weights=weights)
        self.description = device.describe(self.handle)
        self.stream = device.create_stream()

    def __enter__(self) -> "Loaded":
        return self

    def __exit__(self, *_: object) -> None:
        self.device.destroy_stream(self.stream)
        self.device.unload(self.handle)
        for block in self._blocks:
            self.device.free(block)

    def run(self, inputs: Sequence[Array]) -> list[bytes]:
        """Execute once and return the outputs' bytes."""
        launch = self.device.launch(
            self.handle,
            [array.data for array in inputs],
            [None] * len(self.description.outputs),
            self.stream,
        )
        return [bytes(output or b"") for output in self.device.finish(launch)]
