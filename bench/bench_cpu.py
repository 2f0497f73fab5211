"""Compare the CPU device with ONNX Runtime's own Python API, as ratios, by one command.

    python bench/bench_cpu.py [--rounds N]

Executions run in turn in one process; loads are the first of a process each, since memory that is
new to a process costs both sides most. Everything runs on a thread that is not the main one, as
lanes do, and the fastest of all rounds counts. Goals: execution at most 1.05 times the same graph
with the same threads on the OCR models; a load, hashing apart, at most 1.2 times CreateSession of
the same bytes; a further instance at most 64 KiB outside the plan; work at most 1.001 times its
lower bound.
"""

import argparse
import gc
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from arena.demo_models import DEMO_MODELS, resolve_demo
from arena.device.base import ModelSource
from arena.device.cpu.compile import compiled_demo
from arena.device.cpu.device import CpuDevice
from arena.device.cpu.runtime import runtime
from arena.device.cpu.shapes import fix_shapes
from arena.formats.arena_file import read_header
from arena.formats.source import open_source

FURTHER = 20
"""Instances whose cost is averaged."""
SECONDS = 2.0
"""Of executions of ours, at least, per model."""


def fastest(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """Return the fastest time of each call, in seconds; in every round each runs once."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


def private_bytes() -> int:
    """Return the private memory of this process that was written to."""
    gc.collect()
    with Path("/proc/self/smaps_rollup").open() as lines:
        return sum(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty")
        )


def same_graph_options() -> ort.SessionOptions:
    """Return the options under which the runtime runs our graph as we do."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def session(graph: bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Return a session on the CPU."""
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def default_session(name: str) -> ort.InferenceSession:
    """Return the runtime's default (its best optimisation), with one thread and fixed shapes."""
    model = onnx.load(resolve_demo(name))
    fix_shapes(model, DEMO_MODELS[name].shapes)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return session(model.SerializeToString(), options)


def first_load(name: str, side: str) -> float:
    """Return the seconds of the first load of a demo model in a new process, hashing apart."""
    command = [sys.executable, __file__, "--first-load", name, side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_first_load(name: str, side: str) -> None:
    """Print the seconds of one load, ours or the runtime's, in this process."""
    device = CpuDevice()
    device.open()
    source = ModelSource(name, compiled_demo(name))
    other = compiled_demo("vad" if name != "vad" else "ocr-cls")
    device.unload(device.load(ModelSource("other", other), work=None, weights=None))
    with open_source(source.path) as file:
        _, start = read_header(file)
        graph = bytes(file.view(start, file.size_bytes))
    if side == "load":
        work, weights = (device.alloc(size) for size in device.query_size(source))
        (hashing,) = fastest(5, lambda: hashlib.sha256(graph).hexdigest())
        (load,) = fastest(1, lambda: device.load(source, work=work, weights=weights))
        print(load - hashing)
        return
    api, environment = runtime().api, runtime().environment

    def create() -> None:
        options = runtime().session_options(0)
        api["AddSessionConfigEntry"](options, b"session.disable_prepacking", b"1")
        api.create("CreateSessionFromArray", environment, graph, len(graph), options)

    print(*fastest(1, create))


def measure(device: CpuDevice, name: str, rounds: int) -> dict[str, float]:
    """Return the figures of one demo model."""
    path = compiled_demo(name)
    with open_source(path) as file:
        model, start = read_header(file)
        graph = bytes(file.view(start, file.size_bytes))
    random = np.random.default_rng(0)
    inputs = [
        random.uniform(-1, 1, spec.shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else random.integers(0, 256, spec.shape).astype(spec.dtype)
        for spec in model.inputs
    ]
    feed: Any = {spec.name: value for spec, value in zip(model.inputs, inputs, strict=True)}
    names = [spec.name for spec in model.outputs]
    source = ModelSource(name, path)
    work, weights = device.alloc(max(model.work_bytes, 1)), device.alloc(model.weight_bytes)
    device.fill(work, 1)
    device.fill(weights, 1)

    load = min(first_load(name, "load") for _ in range(max(rounds // 10, 3)))
    create = min(first_load(name, "create") for _ in range(max(rounds // 10, 3)))
    handle = device.load(source, work=work, weights=weights)
    stream = device.create_stream()

    def execute() -> list[bytes]:
        wanted = [None] * len(names)
        launch = device.launch(handle, [value.data for value in inputs], wanted, stream)
        return [bytes(output or b"") for output in device.finish(launch)]

    same, best = session(graph, same_graph_options()), default_session(name)
    assert execute() == [output.tobytes() for output in same.run(names, feed)], name
    (once,) = fastest(3, execute)
    ours, theirs, default = fastest(
        max(rounds, int(SECONDS / once)),  # short executions need more rounds to meet a quiet one
        execute,
        lambda: same.run(names, feed),
        lambda: best.run(names, feed),
    )

    before = private_bytes()
    further = [device.load(source, work=work, weights=weights) for _ in range(FURTHER)]
    further_bytes = (private_bytes() - before) / FURTHER
    for each in (*further, handle):
        device.unload(each)
    device.destroy_stream(stream)
    device.free(work)
    device.free(weights)
    return {
        "execute ms": ours * 1e3,
        "/ same graph": ours / theirs,
        "/ defaults": ours / default,
        "load ms": load * 1e3,
        "/ create": load / create,
        "further KiB": further_bytes / 1024,
        "work / bound": model.work_bytes / max(model.lower_bound_bytes, 1),
    }


def main() -> None:
    """Print one row per demo model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--first-load", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.first_load:
        time_first_load(*arguments.first_load)
        return
    rounds = arguments.rounds
    device = CpuDevice()
    device.open()
    for name in DEMO_MODELS:
        figures = measure(device, name, rounds)
        if name == next(iter(DEMO_MODELS)):
            print(" " * 10 + "".join(f"{title:>14}" for title in figures))
        print(f"{name:10}" + "".join(f"{value:14.3f}" for value in figures.values()))
    device.close()


if __name__ == "__main__":
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
