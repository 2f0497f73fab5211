"""Composition roots: a plan file or a fleet becomes a loaded, guarded fleet.

    plan_and_load("fleet.yaml")     read ── measure ── plan ── judge ── load ── guard
    plan_and_load("plan.json")      read ── judge ── compare digests ──────┘
    attach(plan, context=...)       the same on a device that belongs to the application

Planning rooms are imported only when something must be planned: with a plan file this needs the
standard library and `acl` alone.
"""

import hashlib
import importlib
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from arena.device import open_device
from arena.device.adaptors import RaceCheck
from arena.device.base import Device, LoadOptions, StreamId
from arena.errors import DeviceError
from arena.files import read_bytes, rebase_path, write_atomically
from arena.formats import read_model_facts
from arena.gears import GearChoice
from arena.guard import Guard
from arena.loader import load_plan
from arena.measuring import Meter
from arena.memory import failure_of
from arena.running import Frame, Runner
from arena.sources import Readers, is_for_cpu, model_source, source_for
from arena.tensors import HostArray
from planner.codec import PLAN_FORMAT, claims_plan, decode_plan, encode_plan, examine_plan
from planner.errors import ArenaError, DecodeError, PlanError, UsageError
from planner.fleet import Dedupe, FleetSpec, ModelSpec
from planner.judge import judge
from planner.measured import FleetReport
from planner.plan import Plan
from planner.units import format_bytes

if TYPE_CHECKING:
    from arena.metrics import Metrics
    from arena.trace import Trace

__all__ = [
    "Fleet",
    "FleetReport",
    "OpenedPlan",
    "attach",
    "compare_digests",
    "default_device",
    "judge_file",
    "load_opened",
    "open_plan",
    "open_plan_or_fleet",
    "plan_and_load",
    "refuse_misfit",
    "refuse_violations",
    "write_plan",
]

_HEAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A judged plan, and the folder that its model files are relative to."""

    plan: Plan
    base: Path
    warnings: tuple[str, ...] = ()


def open_plan(path: Path) -> OpenedPlan:
    """Read a plan file, judge it, and refuse it with every reason if it is not valid.

    Raises
    ------
    DecodeError
        The file is no plan, or damaged.
    PlanError
        The judge found violations; the message names them.
    """
    try:
        plan = decode_plan(read_bytes(path))
    except DecodeError as error:
        raise DecodeError(f"{path}: the plan file is changed or cut off: {error}") from error
    refuse_violations(plan, str(path))
    return OpenedPlan(plan, path.parent)


def judge_file(path: Path) -> list[str]:
    """Return everything that is wrong with a plan file, as text; empty: it is valid.

    Raises
    ------
    DecodeError
        The file is not a JSON object that claims to be a plan.
    """
    data = read_bytes(path)
    if not claims_plan(data):
        cut = ", or one that is cut off" if _is_plan_file(data) else ""
        raise DecodeError(f"{path}: is no plan file{cut}")
    try:
        plan, contradictions = examine_plan(data)
    except DecodeError as error:
        return [str(error)]
    return [str(found) for found in (*contradictions, *judge(plan))]


def write_plan(plan: Plan, path: Path, *, base: Path) -> None:
    """Write a plan file; model files, relative to `base`, become relative to the plan file."""
    models = tuple(
        replace(model, file=rebase_path(model.file, old=base, new=path.parent))
        for model in plan.fleet.models
    )
    moved = replace(plan, fleet=replace(plan.fleet, models=models))
    write_atomically(path, encode_plan(moved))


class Fleet:
    """A loaded fleet: frames run its steps in the order and under the locks of its plan.

    Made by `plan_and_load`; a context manager. Methods may be called from any thread.

    Attributes
    ----------
    plan : Plan
    runner : Runner
        What executes; `runner.loaded` has every instance with its handle.
    closing : ExitStack
        What `close` undoes.
    """

    def __init__(self, plan: Plan, runner: Runner, meter: Meter) -> None:
        self.plan = plan
        self.runner = runner
        self.closing = ExitStack()
        self._closing_lock = threading.Lock()
        self._meter = meter
        self._metrics: Metrics | None = None

    @property
    def device(self) -> Device:
        """The device that the fleet is loaded on."""
        return self.runner.device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def frame(self, channel: str, *, timeout_s: float | None = 60.0) -> Frame:
        """Wait for a place in `channel` and return its next frame, a context manager.

        Parameters
        ----------
        channel : str
            ``camera[0]``; of a pipeline with one channel, its name alone will do.
        timeout_s : float or None
            Longest of each wait in this frame, seconds; None: without limit.

        Raises
        ------
        GuardTimeoutError
            No place became free in time; says what held it.
        GuardError
            Unknown channel, or this thread must not wait here.
        """
        return self.runner.open_frame(self._channel(channel), timeout_s)

    def run(
        self,
        address: str,
        inputs: object = None,
        *,
        gear: GearChoice = None,
        timeout_s: float | None = 60.0,
    ) -> dict[str, HostArray]:
        """Run one step in a frame of its own: ``fleet.run("camera[0].detect", x)``."""
        channel, dot, step = address.partition("].")
        if not dot:
            channel, dot, step = address.partition(".")
        else:
            channel += "]"
        if not step:
            raise UsageError(f"found {address!r}, expected channel and step: 'camera[0].detect'")
        with self.frame(channel, timeout_s=timeout_s) as frame:
            return frame.run(step, inputs, gear=gear)

    def reset_states(self, channel: str) -> None:
        """Let the next frame of `channel` start from zeros, as the first did; between its frames.

        For states that steps carry from frame to frame (`state` in the fleet file): another video,
        another speaker.
        """
        self.runner.reset_states(self._channel(channel))

    def report(self) -> FleetReport:
        """Return what was measured so far beside what was planned."""
        return self._meter.report()

    def trace(self) -> "Trace":
        """Record what runs from now on; `Trace.write` gives a file that Perfetto opens.

        Examples
        --------
        >>> import tempfile
        >>> from planner.fleet import ModelSpec, PipelineSpec, StepSpec
        >>> from planner.model import ModelId
        >>> model = ModelSpec(ModelId("m"), work_bytes=4096, weight_bytes=512)
        >>> spec = FleetSpec("one", (model,), (PipelineSpec("p", (StepSpec("s", model.id, "l"),)),))
        >>> with plan_and_load(spec, device="twin") as fleet, tempfile.TemporaryDirectory() as to:
        ...     trace = fleet.trace()
        ...     outputs = fleet.run("p.s", bytes(64))
        ...     trace.write(f"{to}/trace.json")
        """
        from arena.trace import Trace

        trace = Trace(self.plan, self.device.name)
        self.runner.watch(trace.watch)
        return trace

    def metrics(self, *, port: int | None = None) -> "Metrics":
        """Count what runs from the first call on, for Prometheus.

        Parameters
        ----------
        port : int or None
            Serve them there on the loopback address until the fleet is closed, 0: on any free
            port; None: do not serve. `Metrics.serve` does it later.

        Raises
        ------
        UsageError
            prometheus-client is missing, or the port cannot be had. Caused by the caller.
        """
        from arena.metrics import Metrics

        with self._closing_lock:
            if self._metrics is None:
                self._metrics = Metrics(self.plan, self.device)
                self.closing.callback(self._metrics.close)
                self.runner.watch(self._metrics.tally.watch)
        if port is not None:
            self._metrics.serve(port)
        return self._metrics

    def close(self) -> None:
        """Withdraw what waits, wait for what runs, unload, free, release the device; idempotent."""
        self.runner.close()  # Refused inside a slot, or interrupted: then nothing is given back.
        with self._closing_lock:
            try:
                self.closing.close()
            except ArenaError as last:
                first: BaseException = last
                while isinstance(first.__context__, ArenaError):
                    first = first.__context__
                if first is not last:
                    first.add_note(str(last))
                raise first from None  # What failed first is the cause of the rest.

    def _channel(self, name: str) -> str:
        if "[" not in name:
            for pipeline in self.plan.fleet.pipelines:
                if pipeline.id == name and pipeline.channels == 1:
                    return f"{name}[0]"
        return name


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
    if not _is_plan_file(read_bytes(path)):
        plan_file = _planning(str(path)).plan_file
        planned = plan_file(path, memory_bytes=memory_bytes, readers=readers, progress=progress)
        return OpenedPlan(planned.plan, planned.base, planned.warnings)
    opened = open_plan(path)
    if memory_bytes is not None:
        raise UsageError(
            f"{path} is a plan: its limit is part of it; plan the fleet again with another one"
        )
    if compare_files:
        compare_digests(opened, readers)
    return opened


def _is_plan_file(data: bytes) -> bool:
    """Return whether a file is a plan, intact or cut off: its format stands at the beginning."""
    return claims_plan(data) or f'"{PLAN_FORMAT}"'.encode() in data[:_HEAD_BYTES]


def _planning(what: str) -> Any:
    """Return the room that plans; a board, where its packages are missing, loads plan files."""
    try:
        return importlib.import_module("arena.planning")
    except ImportError as error:
        raise UsageError(
            f"{what} must be planned first, and planning cannot be imported here ({error}): plan "
            "it where npu-arena is installed with its dependencies, and load the plan file here"
        ) from error


def refuse_violations(plan: Plan, where: str) -> None:
    """Raise `PlanError` with what the judge found, if it found anything; `where` begins it."""
    violations = judge(plan)
    if violations:
        listed = "; ".join(str(violation) for violation in violations[:5])
        raise PlanError(f"{where}: {len(violations)} violations: {listed}")


def compare_digests(opened: OpenedPlan, readers: Readers | None) -> None:
    """Refuse a plan whose model files are not the files that it was made of.

    Where equal weights of different files share a buffer (`dedupe: weights`), the weight bytes are
    compared as well. Each file is read once.
    """
    by_weights = opened.plan.fleet.device.dedupe is Dedupe.WEIGHTS
    known: dict[Path, tuple[str, str]] = {}
    for model, size in opened.plan.sizes:
        spec = opened.plan.fleet.model(model)
        if not spec.file:
            continue
        source = model_source(spec, opened.base, readers)
        if source.path is None:
            assert source.read is not None
            found = _digests(source.read(), weights=by_weights)
        else:
            if source.path not in known:
                known[source.path] = _digests(source.path, weights=by_weights)
            found = known[source.path]
        wanted = (size.file_digest, size.weights_digest if by_weights else "")
        if found != wanted:
            what = "digest" if found[0] != wanted[0] else "weights with digest"
            mine, plans = next((a, b) for a, b in zip(found, wanted, strict=True) if a != b)
            raise PlanError(
                f"model {model!r}: {source.name} has {what} {mine[:16] or 'none'}..., the plan was "
                f"made of {plans[:16] or 'none'}...: plan again, or bring back the file"
            )


def _digests(content: Path | bytes, *, weights: bool) -> tuple[str, str]:
    """Return the digests of a model file and of its weights, the latter empty unless asked for."""
    if weights:
        facts = read_model_facts(content)
        return facts.file_sha256, facts.weights_sha256
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), ""
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), ""


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
