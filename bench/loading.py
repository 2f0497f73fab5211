"""Loading a plan against the device's own calls, and planning from a cold start: ratios in one run.

python -m bench.loading
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from arena.device import open_device
from arena.device.base import DeviceRange, ModelSource
from arena.formats.om_writer import OmSpec, write_om
from arena.loader import load_plan
from arena.planning import plan_spec
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, TensorSpec
from planner.plan import Plan
from planner.units import MiB, align_up

MODELS = 20
ROUNDS = 15


def write_fleet(folder: Path) -> FleetSpec:
    """Write 20 models of 1 to 4 MiB and return a fleet that runs them on two lanes."""
    models = []
    for index in range(MODELS):
        spec = OmSpec(
            name=f"m{index}",
            work_bytes=(1 + index % 4) * MiB,
            weight_bytes=(1 + index % 3) * MiB,
            seed=index,
            inputs=(TensorSpec("x", "uint8", (64,), 64),),
            outputs=(TensorSpec("y", "uint8", (64,), 64),),
        )
        write_om(folder / f"m{index}.om", spec)
        models.append(ModelSpec(ModelId(f"m{index}"), file=f"m{index}.om"))
    steps = tuple(StepSpec(f"s{i}", m.id, f"lane-{i % 2}") for i, m in enumerate(models))
    return FleetSpec("twenty", tuple(models), (PipelineSpec("p", steps),))


def load_plainly(plan: Plan, folder: Path) -> float:
    """Return the seconds of the device's own calls: two blocks, sizes, loads, descriptions."""
    device = open_device("twin")
    started = time.perf_counter()
    work = device.alloc(align_up(plan.height_bytes, plan.page_bytes))
    weights = device.alloc(align_up(plan.weight_bytes, plan.page_bytes))
    device.fill(work, 0)
    handles = []
    for row in plan.instances:
        source = ModelSource(row.model, path=folder / f"{row.model}.om")
        device.query_size(source)
        handle = device.load(
            source,
            work=DeviceRange(work.pointer + (row.work_offset or 0), row.work_bytes),
            weights=DeviceRange(weights.pointer + (row.weight_offset or 0), row.weight_bytes),
        )
        device.describe(handle)
        handles.append(handle)
    seconds = time.perf_counter() - started
    for handle in handles:
        device.unload(handle)
    device.free(work)
    device.free(weights)
    device.close()
    return seconds


def load_ours(plan: Plan, folder: Path) -> float:
    """Return the seconds of `load_plan`."""
    device = open_device("twin")
    sources = {
        row.model: ModelSource(row.model, path=folder / f"{row.model}.om") for row in plan.instances
    }
    started = time.perf_counter()
    loaded = load_plan(plan, device, sources)
    seconds = time.perf_counter() - started
    loaded.unload()
    device.close()
    return seconds


def best(*calls: Callable[[], float]) -> list[float]:
    """Return the smallest of each call's figures, taken in turns."""
    figures = [[call() for call in calls] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*figures, strict=True)]


def cold(*words: str) -> float:
    """Return the seconds of one fresh interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print both ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet = write_fleet(folder)
        plan = plan_spec(fleet, folder).plan
        ours, plain = best(lambda: load_ours(plan, folder), lambda: load_plainly(plan, folder))
        print(f"load {MODELS} models: {ours * 1e3:.1f} ms, {ours / plain:.3f} of the calls alone")
        lines = ["version: 1", "models:"]
        lines += [f"  m{i}: {{file: m{i}.om}}" for i in range(MODELS)]
        lines += ["pipelines:", "  p:", "    steps:"]
        lines += [f"      s{i}: {{model: m{i}, lane: lane-{i % 2}}}" for i in range(MODELS)]
        (folder / "fleet.yaml").write_text("\n".join(lines) + "\n")
        planned, imports = best(
            lambda: cold("-m", "arena", "plan", str(folder / "fleet.yaml"), "--json"),
            lambda: cold("-c", "import numpy, networkx"),
        )
        print(
            f"plan {MODELS} models from a cold start: {planned * 1e3:.0f} ms, "
            f"{planned / imports:.2f} of importing numpy and networkx"
        )


if __name__ == "__main__":
    main()
