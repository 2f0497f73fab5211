"""The demo fleet: real networks read, hear and recognise in shared memory, and all is measured.

    fetch ── compile ── plan ─┬─ child process: a plain session per pipeline, channel and model
                              └─ load ── the application ── measure ── compare

Both run the same application (examples/street_reader) over the same frames. Its own memory does not
count: before it is measured it has run once on a stand-in that answers with ones. What happens
before and after the networks is an application's business and lies in `examples`, which the wheel
carries along (docs/decisions/0002-demo.md).
"""

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from arena.demo_models import DEMO_MODELS, resolve_demo, resolve_settings
from arena.device import open_device
from arena.errors import DeviceError
from arena.exercise import exercise
from arena.files import DEMO_PREFIX
from arena.footprint import private_process_bytes, return_freed_memory
from arena.session import load_opened, open_plan_or_fleet
from arena.stand_ins import HollowFleet, PlainFleet
from planner.plan import Plan

__all__ = ["DemoReport", "examples_folder", "fetch_demo_models", "measure_sessions", "run_demo"]

FRAMES: Final = 6
"""Of each camera: every scene twice."""
COMPARED_FRAMES: Final = 2
"""Frames whose outputs are compared bit for bit with those of each model alone."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo fleet saw, and what it took.

    Attributes
    ----------
    plan : Plan
    corner : street_reader.app.Corner
        What was read, heard and recognised.
    measured_process_bytes : int
        Private memory that loading and running the fleet added to this process.
    sessions_process_bytes : int
        The same of plain sessions, one per pipeline, channel and model, in a process of their own.
    mismatches : int
        Outputs that differ from those of the same input alone in the same planned memory.
    """

    plan: Plan
    corner: Any
    measured_process_bytes: int
    sessions_process_bytes: int
    mismatches: int

    @property
    def ratio(self) -> float:
        """Our private memory as a part of that of plain sessions."""
        return self.measured_process_bytes / self.sessions_process_bytes

    @property
    def texts_read(self) -> list[str]:
        """Every text that was read, frame by frame."""
        return [text for reading in self.corner.readings for text in reading.read]

    @property
    def frames_right(self) -> int:
        """Frames in which exactly what was shown was read."""
        return sum(
            sorted(reading.read) == sorted(reading.shown) for reading in self.corner.readings
        )

    def text(self) -> Iterator[str]:
        """Yield the report as lines of at most 80 columns."""
        from planner.units import format_bytes

        plan = self.plan
        yield "cameras"
        for reading in self.corner.readings:
            read = ", ".join(reading.read) or "-"
            yield f"  camera {reading.camera}, frame {reading.frame}: {read}"
        yield f"  {self.frames_right} of {len(self.corner.readings)} frames read as drawn"
        yield "microphone"
        for name, is_speech in self.corner.heard.items():
            yield f"  {name}: {'speech' if is_speech else 'no speech'}"
        yield "files"
        for name, found in self.corner.file_types.items():
            yield f"  {name} recognised as {found}"
        yield f"outputs that differ from those of each model alone: {self.mismatches}"
        yield "memory"
        for label, size in (
            ("private instances, planned", plan.private_total_bytes),
            ("shared arena, planned", plan.planned_bytes),
            ("plain sessions, measured", self.sessions_process_bytes),
            ("shared arena, measured", self.measured_process_bytes),
        ):
            yield f"  {label:<28}{format_bytes(size):>12}{size:>14}"
        yield (
            f"  measured: {self.ratio:.0%} of plain sessions; planned: "
            f"{plan.planned_bytes / plan.private_total_bytes:.0%} of private instances"
        )
        yield (
            f"  work memory {plan.height_bytes}, lower bound {plan.lower_bound_bytes}: "
            f"{plan.status.value} for this order"
        )
        yield "models"
        for name, model in DEMO_MODELS.items():
            yield f"  {name}: {model.task}"
            yield f"    from {model.wheel.package} {model.wheel.version}, {model.wheel.licence}"


def fetch_demo_models(progress: Callable[[str], Progress]) -> None:
    """Bring every demo model into the cache, and compile it there.

    Parameters
    ----------
    progress : callable
        Called with a label for each model; what it returns is called with (done, all) bytes.

    Raises
    ------
    FetchError
        One can be had neither from the cache nor from the network; says how to bring it by hand.
    DeviceError
        ONNX Runtime, or a library of the demo, is missing: nothing was fetched.
    """
    from arena.device.cpu.compile import compiled_demo

    _street_reader()
    for name, model in DEMO_MODELS.items():
        advance = progress(name)
        compiled_demo(name, progress=advance)
        if model.settings:
            resolve_settings(name, advance)


def run_demo(frames: int = FRAMES, progress: Progress = lambda _done, _all: None) -> DemoReport:
    """Plan, load and run the demo fleet, and measure it beside plain sessions.

    Parameters
    ----------
    frames : int
        Of each camera.
    progress : callable
        Called with (camera frames done, camera frames in all).

    Raises
    ------
    DeviceError
        The CPU device, or a library of the demo, is missing; or the device failed.
    """
    opened = open_plan_or_fleet(examples_folder() / "demo.yaml")
    app = _street_reader()
    apart = _in_a_process_of_its_own(opened.plan, frames)
    total = frames * opened.plan.fleet.pipeline("camera").channels
    done = iter(range(1, total + 1))
    meaning = _meaning(app)
    device = open_device("cpu")
    try:
        before = _private_bytes_before(app, opened.plan, frames)
        with load_opened(opened, device=device) as fleet:
            corner = app.run(fleet, meaning, frames, lambda: progress(next(done), total))
            added = private_process_bytes() - before
            compared = exercise(fleet, COMPARED_FRAMES, threads=len(opened.plan.instances))
    finally:
        device.close()
    return DemoReport(opened.plan, corner, added, apart, compared.mismatches)


def measure_sessions(plan: Plan, frames: int) -> int:
    """Return the private memory that plain sessions add to this process, running the same frames.

    Each pipeline, channel and model has a session of its own, with the runtime's defaults.
    """
    app = _street_reader()
    meaning = _meaning(app)
    files = {
        model: resolve_demo(plan.fleet.model(model).file.removeprefix(DEMO_PREFIX))
        for model, _ in plan.sizes
    }
    import onnxruntime  # noqa: F401 - its libraries are there before, as they are on our side

    before = _private_bytes_before(app, plan, frames)
    fleet = PlainFleet(plan, files)
    app.run(fleet, meaning, frames)
    added = private_process_bytes() - before
    assert fleet.n_sessions >= len(files), "they are alive while they are measured"
    return added


def _private_bytes_before(app: ModuleType, plan: Plan, frames: int) -> int:
    """Let the application take what it takes by itself, and return the private memory then."""
    return_freed_memory()
    app.run(HollowFleet(plan), _meaning(app), frames)
    return private_process_bytes()


def _in_a_process_of_its_own(plan: Plan, frames: int) -> int:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure_sessions, plan, frames).result()
        except BrokenProcessPool as error:
            raise DeviceError(f"the process of plain sessions ended: {error}") from error


def _meaning(app: ModuleType) -> object:
    return app.Meaning(
        alphabet=app.text.read_alphabet(resolve_demo("ocr-rec")),
        file_types=app.content.read_labels(resolve_settings("file-type")),
    )


def examples_folder() -> Path:
    """Return the examples: inside the package where it is installed, beside it in a checkout."""
    here = Path(__file__).resolve().parent
    inside = here / "examples"
    return inside if inside.is_dir() else here.parent / "examples"


def _street_reader() -> ModuleType:
    """Return the application, imported from the folder of examples."""
    name = "npu_arena_street_reader"
    if name not in sys.modules:
        package = examples_folder() / "street_reader"
        spec = importlib.util.spec_from_file_location(
            name, package / "__init__.py", submodule_search_locations=[str(package)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    try:
        return importlib.import_module(f"{name}.app")
    except ImportError as error:
        raise DeviceError(
            f"the demo cannot run: {error}; install its extra: pip install 'npu-arena[demo]'"
        ) from error
