"""Composition roots: a plan file or a fleet becomes a loaded, guarded fleet.

    plan_and_load("fleet.yaml")     read ── measure ── plan ── judge ── load ── guard
    plan_and_load("plan.json")      read ── judge ── compare digests ──────┘
    attach(plan, context=...)       the same on a device that belongs to the application

Planning rooms are imported only when something must be planned: with a plan file this needs the
standard library and `acl` alone.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from arena.device import open_device
from arena.device.adaptors import RaceCheck
from arena.device.base import Device, LoadOptions, StreamId
from arena.errors import DeviceError
from arena.files import read_bytes
from arena.fleet import Fleet
from arena.guard import Guard
from arena.loader import load_plan
from arena.measuring import Meter
from arena.memory import failure_of
from arena.plan_files import (
    OpenedPlan,
    compare_digests,
    is_plan_file,
    open_plan,
    refuse_violations,
)
from arena.running import Runner
from arena.sources import Readers, is_for_cpu, source_for
from planner.errors import PlanError, UsageError
from planner.fleet import FleetSpec, ModelSpec
from planner.measured import FleetReport
from planner.plan import Plan
from planner.units import format_bytes

__all__ = [
    "Fleet",
    "FleetReport",
    "attach",
    "default_device",
    "load_opened",
    "open_plan_or_fleet",
    "plan_and_load",
    "refuse_misfit",
]


def plan_and_load(
    fleet: FleetSpec | Plan | str | Path,
    *,
    device: str | Device | None = None,
    base: str | Path = ".",
    readers: Readers | None = None,
    options: LoadOptions | None = None,
    race_check: bool = False,
) -> Fleet:
    """Plan a fleet unless it is a plan already, load it, and return it guarded.

    Parameters
    ----------
    fleet : FleetSpec, Plan, or path of a fleet or plan file
    device : str, Device or None
        ``cpu``, ``twin``, ``acl``, an open device that stays the caller's, or None: what the models
        are for.
    base : path
        Folder that model files are relative to; of a file, its own folder.
    readers : mapping of model id to callable
        Models whose bytes the caller supplies: encrypted or generated ones.
    options : LoadOptions
        How models are loaded.
    race_check : bool
        Refuse an execution that nothing orders after one that shares its memory, with both names.
        Always on for the twin.

    Raises
    ------
    ArenaError
        Its class and message say who is at fault: the spec, the plan file, the device, the caller.

    Examples
    --------
    >>> from planner.fleet import ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> model = ModelSpec(ModelId("m"), work_bytes=4096, weight_bytes=512)
    >>> spec = FleetSpec("one", (model,), (PipelineSpec("p", (StepSpec("s", model.id, "l"),)),))
    >>> with plan_and_load(spec, device="twin") as fleet:
    ...     outputs = fleet.run("p.s", bytes(64))
    >>> list(outputs)
    ['y']
    """
    opened = _opened(fleet, Path(base), readers)
    return load_opened(
        opened, device=device, readers=readers, options=options, race_check=race_check
    )


def load_opened(
    opened: OpenedPlan,
    *,
    device: str | Device | None = None,
    readers: Readers | None = None,
    options: LoadOptions | None = None,
    race_check: bool = False,
) -> Fleet:
    """Load a plan that was judged and compared with its files; see `plan_and_load`."""
    with ExitStack() as stack:
        if device is None or isinstance(device, str):
            device = open_device(device or default_device(opened.plan.fleet))
            stack.callback(device.close)
        device.open()
        fleet = _start(
            opened, device, stack, readers=readers, options=options, race_check=race_check
        )
        fleet.closing = stack.pop_all()
        return fleet


def attach(
    plan: Plan | FleetSpec | str | Path,
    *,
    context: int,
    streams: Mapping[str, int],
    acl: ModuleType | None = None,
    base: str | Path = ".",
    readers: Readers | None = None,
    options: LoadOptions | None = None,
    race_check: bool = False,
) -> Fleet:
    """Load a plan inside an application that owns acl.init, the context, streams and datasets.

    Nothing of the application's is initialised, reset or freed. The application executes in slots:
    ``with fleet.frame("camera[0]") as frame, frame.slot("detect") as slot``; `frame.run` works too
    and reserves device memory for host arguments when it is first used.

    Parameters
    ----------
    plan : Plan, FleetSpec, or path of a plan or fleet file
    context : int
        The application's, as `acl.rt.create_context` or `acl.rt.get_context` returned it.
    streams : mapping of lane to int
        One stream of that context for each lane of the plan; no two lanes share one.
    acl : module or None
        A module with pyACL's functions, such as a twin's; None: ``acl`` itself.
    base, readers, options, race_check
        As in `plan_and_load`; by default models are loaded without datasets. The race check sees
        `frame.run` and `frame.submit`; what the application executes in slots it does not.

    Raises
    ------
    UsageError
        A lane has no stream, or shares one. Caused by the caller.
    ArenaError
        As `plan_and_load`.
    """
    from arena.device.acl import AclDevice

    opened = _opened(plan, Path(base), readers)
    lanes = sorted({instance.lane for instance in opened.plan.instances})
    missing = [lane for lane in lanes if lane not in streams]
    if missing or len(set(streams.values())) < len(streams):
        raise UsageError(
            f"streams for lanes {', '.join(map(repr, streams)) or 'none'}: expected one stream of "
            f"its own for each of {', '.join(map(repr, lanes))}"
        )
    with ExitStack() as stack:
        device = AclDevice(context=context, streams=tuple(streams.values()), acl=acl)
        stack.callback(device.close)
        device.open()
        fleet = _start(
            opened,
            device,
            stack,
            readers=readers,
            options=options or LoadOptions(host_io=False),
            streams={lane: StreamId(stream) for lane, stream in streams.items()},
            race_check=race_check,
        )
        fleet.closing = stack.pop_all()
        return fleet


def default_device(fleet: FleetSpec) -> str:
    """Return the device that a fleet's models are for.

    ONNX and demo models run on ``cpu``; .om files on ``acl`` if that can be imported, else on
    ``twin``; declared models can only be rehearsed, on ``twin``, where everything can be.

    Raises
    ------
    UsageError
        The fleet mixes models of different devices. Caused by the caller.
    """
    unused = set(fleet.unused_models())
    kinds = {_kind(model) for model in fleet.models if model.id not in unused}
    if kinds == {"cpu"}:
        return "cpu"
    if "cpu" in kinds:
        raise UsageError(
            "the fleet mixes ONNX or compiled models with .om or declared models; no device runs "
            "both: make two fleets, or rehearse it on device 'twin'"
        )
    return "acl" if kinds == {"om"} and _has_pyacl() else "twin"


def _has_pyacl() -> bool:
    from arena.device.acl import import_acl

    try:
        import_acl()
    except DeviceError:
        return False
    return True


def _kind(model: ModelSpec) -> str:
    if not model.file:
        return "declared"
    return "cpu" if is_for_cpu(model) else "om"


def _opened(
    fleet: FleetSpec | Plan | str | Path, base: Path, readers: Readers | None
) -> OpenedPlan:
    """Return a judged plan, planning first where there is none."""
    if isinstance(fleet, Plan):
        refuse_violations(fleet, "the plan")
        opened = OpenedPlan(fleet, base)
    elif isinstance(fleet, FleetSpec):
        planned = _planning(f"fleet {fleet.name!r}").plan_spec(fleet, base, readers=readers)
        return OpenedPlan(planned.plan, base, planned.warnings)
    else:
        return open_plan_or_fleet(Path(fleet), readers=readers)
    compare_digests(opened, readers)
    return opened


def open_plan_or_fleet(
    path: Path,
    *,
    memory_bytes: int | None = None,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] | None = None,
    compare_files: bool = True,
) -> OpenedPlan:
    """Return the judged plan of a plan file, or of a fleet file planned now.

    A plan file's model files are compared with its digests, unless `compare_files` is false: who
    only reports on a plan needs no models.
    """
    if not is_plan_file(read_bytes(path)):
        plan_file = _planning(str(path)).plan_file
        planned = plan_file(path, memory_bytes=memory_bytes, readers=readers, progress=progress)
        return OpenedPlan(planned.plan, planned.base, planned.warnings)
    opened = open_plan(path)
    if memory_bytes is not None:
        raise UsageError(
            f"{path} is a plan: its limit is part of it; plan the fleet again with another one"
        )
    if compare_files:
        compare_digests(opened, readers, str(path))
    return opened


def _planning(what: str) -> Any:
    """Return the room that plans; a board, where its packages are missing, loads plan files."""
    try:
        return importlib.import_module("arena.planning")
    except ImportError as error:
        raise UsageError(
            f"{what} must be planned first, and planning cannot be imported here ({error}): plan "
            "it where npu-arena is installed with its dependencies, and load the plan file here"
        ) from error


def _start(
    opened: OpenedPlan,
    device: Device,
    stack: ExitStack,
    *,
    readers: Readers | None,
    options: LoadOptions | None,
    streams: Mapping[str, StreamId] | None = None,
    race_check: bool = False,
) -> Fleet:
    """Load an opened plan on an open device; `stack` undoes it."""
    plan = opened.plan
    _refuse_other_formats(plan.fleet, device.name)
    if (race_check or device.name == "twin") and not _is_checked(device):
        device = RaceCheck(device)
    meter = Meter(plan, device)
    refuse_misfit(plan, device)
    sources = {
        model: source_for(device.name, plan.fleet.model(model), opened.base, readers)
        for model, _ in plan.sizes
    }
    loaded = load_plan(
        plan,
        device,
        sources,
        options=options,
        on_reserved=meter.after_reserve,
        on_loaded=meter.after_load,
    )
    stack.callback(loaded.unload)
    lanes = dict.fromkeys(instance.lane for instance in plan.instances)
    own: dict[str, StreamId] = {}
    for lane in lanes:
        if streams is None:
            own[lane] = device.create_stream()
            stack.callback(_destroy_stream, device, own[lane])
    meter.when_ready()
    runner = Runner(
        plan, device, loaded, streams or own, Guard(plan.fleet, plan.added), meter.after_first_run
    )
    stack.callback(runner.close)
    return Fleet(plan, runner, meter)


def _refuse_other_formats(fleet: FleetSpec, device: str) -> None:
    """Refuse models that a device cannot run, before it stumbles over their bytes."""
    unused = set(fleet.unused_models())
    for model in fleet.models:
        kind = _kind(model)
        if device == "twin" or model.id in unused or (kind == "cpu") == (device == "cpu"):
            continue
        what = {"cpu": "ONNX", "om": "an .om file", "declared": "declared sizes alone"}[kind]
        wanted = {"cpu": "cpu, or rehearse on twin", "om": "twin or acl", "declared": "twin"}[kind]
        raise UsageError(
            f"model {model.id!r} is {what}, which device {device!r} does not run: use {wanted}"
        )


def _destroy_stream(device: Device, stream: StreamId) -> None:
    if error := failure_of(device.destroy_stream, stream):
        raise error


def _is_checked(device: Device) -> bool:
    """Return whether a race check is among the adaptors of a device."""
    layer: Device | None = device
    while layer is not None:
        if isinstance(layer, RaceCheck):
            return True
        layer = getattr(layer, "inner", None)
    return False


def refuse_misfit(plan: Plan, device: Device) -> None:
    """Refuse a plan that does not fit its own limit, or the memory that is free now."""
    if plan.short_bytes:
        raise PlanError(
            f"the plan of fleet {plan.fleet.name!r} does not fit: it needs {plan.needed_bytes} "
            f"bytes, {plan.short_bytes} more than the limit"
        )
    if plan.over_budget_bytes:
        raise PlanError(
            f"the plan of fleet {plan.fleet.name!r} does not fit: it takes {plan.total_bytes} "
            f"bytes, {plan.over_budget_bytes} more than its schedule is to fit"
        )
    if not plan.fits:
        raise PlanError(
            f"the plan of fleet {plan.fleet.name!r} does not fit: it takes {plan.stream_count} "
            f"streams of {plan.fleet.device.streams_max}"
        )
    free = device.memory_info().free_bytes
    needed = plan.planned_bytes + plan.outside_bytes
    streams = device.streams_free()
    if streams is not None and plan.stream_count > streams:
        raise DeviceError(
            f"device {device.name!r} has {streams} streams free, the plan's instances and lanes "
            f"take {plan.stream_count}: load fewer models, or put them on fewer lanes"
        )
    if needed > free:
        raise DeviceError(
            f"device {device.name!r} has {format_bytes(free)} ({free} bytes) free, the plan needs "
            f"{format_bytes(needed)} ({needed} bytes): {needed - free} bytes short; end what else "
            "uses the device, or plan with --memory to see what fits"
        )
