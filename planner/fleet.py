"""A fleet as frozen values: models, pipelines, steps, lanes, locks and the device they share.

Everything that can be said about a fleet without looking at a file is checked at birth, with the
place (`pipelines.camera.steps.read.after[0]`), what was found and what was expected. Reading YAML
or JSON belongs to `fleet_file`; the order that follows from a fleet belongs to `schedule`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Final

from planner.errors import SpecError, UsageError, did_you_mean, refuse_duplicates
from planner.handover import Feed, Handovers
from planner.lanes import Assign, LanePool
from planner.model import InstanceId, ModelId, ModelSize
from planner.units import BYTES_MAX, RATE_MAX, shown

__all__ = [
    "CHANNEL_PLACEHOLDER",
    "COUNT_MAX",
    "EXECUTIONS_MAX",
    "CrossStream",
    "Dedupe",
    "DeviceSpec",
    "FleetSpec",
    "IoPlace",
    "ModelSpec",
    "PipelineSpec",
    "ScheduleSpec",
    "StepSpec",
    "channel_name",
    "filled",
    "instance_id",
]

CHANNEL_PLACEHOLDER: Final = "{channel}"
COUNT_MAX: Final = 100_000
"""Most channels, frames in flight, steps or executions of a fleet: a limit on everything."""
EXECUTIONS_MAX: Final = 20 * COUNT_MAX
"""Most channels x (frames in flight + 1) x steps of a fleet, a step once for each of its lanes."""


def instance_id(model: str, lane: str) -> InstanceId:
    """Return the name of the instance that serves `model` on `lane`."""
    return InstanceId(f"{model}@{lane}")


def channel_name(pipeline: str, channel: int) -> str:
    """Return the name of a channel, such as ``camera[0]``."""
    return f"{pipeline}[{channel}]"


def filled(template: str, channel: int) -> str:
    """Return the lane or lock that a name of the fleet means in a channel (counted from 0).

    Examples
    --------
    >>> filled("cam-{channel}", 7)
    'cam-7'
    """
    return template.replace(CHANNEL_PLACEHOLDER, str(channel))


def _check_name(name: str, path: str, forbidden: str = "") -> None:
    if not name or not name.isprintable() or name != name.strip():
        raise SpecError(f"name {shown(name)}: expected printable text without blank ends", path)
    found = [char for char in forbidden if char in name]
    if found:
        raise SpecError(
            f"name {shown(name)} has {found[0]!r}, which addresses parts of a fleet", path
        )


def _check_template(name: str, path: str) -> None:
    """Check a lane or lock name, in which only ``{channel}`` is a placeholder."""
    _check_name(name, path, forbidden="@")
    rest = name.replace(CHANNEL_PLACEHOLDER, "")
    if "{" in rest or "}" in rest:
        raise SpecError(f"name {name!r}: the only placeholder is {CHANNEL_PLACEHOLDER}", path)


def _check_shape(shape: Sequence[int], path: str) -> None:
    for index, axis in enumerate(shape):
        if not 1 <= axis <= BYTES_MAX:
            raise SpecError(f"found {shown(axis)}, expected an axis >= 1", f"{path}[{index}]")


def _check_pool(pool: LanePool, path: str) -> None:
    _check_name(pool.name, f"{path}.pool", forbidden="@{}")
    if not 1 <= pool.size <= COUNT_MAX:
        raise SpecError(f"found {shown(pool.size)}, expected 1 to {COUNT_MAX}", f"{path}.size")


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = did_you_mean(name, known)
    return f"unknown {kind} {shown(name)}, expected one of {_listing(known)}{near}"


def _listing(names: Sequence[str], most: int = 8) -> str:
    text = ", ".join(repr(name) for name in names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text or "none"


class Dedupe(StrEnum):
    """Which instances may read one weight buffer."""

    FILE = "file"
    """Instances whose model files are byte-identical: the vendor promises it for one model."""
    WEIGHTS = "weights"
    """Also across files whose whole weight partitions are byte-identical. Opt-in."""
    OFF = "off"
    """Every instance has weights of its own."""


class CrossStream(StrEnum):
    """How an order edge between two lanes is enforced while models run asynchronously."""

    HOST = "host"
    """The host waits: the regime that the vendor documents."""
    EVENTS = "events"
    """A recorded event and a stream wait: equivalent, but not documented by the vendor. Opt-in."""


class IoPlace(StrEnum):
    """Where inputs and outputs lie that come from the host and go to it."""

    OUTSIDE = "outside"
    """In memory of their own, one block for each instance: the device's, or the application's."""
    ARENA = "arena"
    """In the work reservation, one block for each instance, shared as its work memory is."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a fleet: a file to measure, or declared sizes.

    Attributes
    ----------
    id : ModelId
    file : str
        Path as written (relative to the fleet file) or ``demo:NAME``; empty for a declared model.
    work_bytes, weight_bytes : int or None
        Declared sizes; both are given for a declared model. Declared models own distinct weights.
    inputs : tuple of (name, shape)
        Shapes of inputs that the file leaves open; every axis >= 1.
    input_bytes, output_bytes : tuple of (name, bytes)
        Inputs and outputs of a declared model, each >= 1 byte; empty where it does not tell.
    gears : tuple of (name, shapes)
        Inputs whose shape is chosen before each execution: one shape for each gear, as many for
        every input. Of files that are compiled here; others have theirs inside.
    """

    id: ModelId
    file: str = ""
    work_bytes: int | None = None
    weight_bytes: int | None = None
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    input_bytes: tuple[tuple[str, int], ...] = ()
    output_bytes: tuple[tuple[str, int], ...] = ()
    gears: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = ()

    def __post_init__(self) -> None:
        path = f"models.{self.id}"
        _check_name(self.id, path, forbidden="@")
        declared = self.work_bytes is not None or self.weight_bytes is not None
        if bool(self.file) == declared:
            found = "both" if declared else "neither"
            raise SpecError(
                f"found {found}, expected `file` or declared `work` and `weights`", path
            )
        for key, value in (("work", self.work_bytes), ("weights", self.weight_bytes)):
            if declared and value is None:
                raise SpecError(
                    f"`{key}` is missing; a declared model gives `work` and `weights`", path
                )
            if value is not None and not 0 <= value <= BYTES_MAX:
                raise SpecError(f"found {shown(value)}, expected 0 to 2^62 bytes", f"{path}.{key}")
        if self.file:
            _check_name(self.file, f"{path}.file")
        elif self.inputs:
            raise SpecError(
                "a declared model has no shapes to fix, give the bytes of each input",
                f"{path}.inputs",
            )
        elif self.gears:
            raise SpecError("a declared model has no gears", f"{path}.gears")
        self._check_tensors(path)
        refuse_duplicates([name for name, _ in self.inputs], f"{path}.inputs")
        for name, shape in self.inputs:
            _check_name(name, f"{path}.inputs")
            _check_shape(shape, f"{path}.inputs.{name}")
        self._check_gears(f"{path}.gears")

    def _check_gears(self, path: str) -> None:
        refuse_duplicates([name for name, _ in (*self.gears, *self.inputs)], path)
        for name, shapes in self.gears:
            here = f"{path}.{name}"
            _check_name(name, path)
            if not 2 <= len(shapes) <= COUNT_MAX or len(shapes) != len(self.gears[0][1]):
                raise SpecError(
                    f"found {len(shapes)} shapes, expected one for each gear: two or more, as many "
                    "for every input",
                    here,
                )
            for index, shape in enumerate(shapes):
                _check_shape(shape, f"{here}[{index}]")
                if len(shape) != len(shapes[0]):
                    raise SpecError(
                        f"found {len(shape)} axes, expected {len(shapes[0])} as in the first gear",
                        f"{here}[{index}]",
                    )
        gears = list(zip(*(shapes for _, shapes in self.gears), strict=True))
        if len(set(gears)) < len(gears):
            raise SpecError("two gears have the same shapes", path)

    def gear_shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        """Return input name -> shape of each gear; empty without gears."""
        names = [name for name, _ in self.gears]
        columns = zip(*(shapes for _, shapes in self.gears), strict=True)
        return tuple(dict(zip(names, shapes, strict=True)) for shapes in columns)

    def _check_tensors(self, path: str) -> None:
        for key, tensors in (("inputs", self.input_bytes), ("outputs", self.output_bytes)):
            if tensors and self.file:
                raise SpecError("a file tells its own sizes", f"{path}.{key}")
            refuse_duplicates([name for name, _ in tensors], f"{path}.{key}")
            for name, size in tensors:
                _check_name(name, f"{path}.{key}")
                if not 1 <= size <= BYTES_MAX:
                    raise SpecError(
                        f"found {shown(size)}, expected 1 to 2^62 bytes", f"{path}.{key}.{name}"
                    )


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a pipeline: executes one model on one lane, zero, one or many times in its frame.

    Attributes
    ----------
    id : str
    model : ModelId
    lane : str or LanePool
        Lane name, in which ``{channel}`` stands for the channel's index; or a set of lanes.
    after : tuple of str
        Steps of the same pipeline that precede this one inside a frame.
    locks : tuple of str
        Further locks held while executing; the lane is a lock anyway. ``{channel}`` as in `lane`.
    time_ns : int or None
        Time of one execution, nanoseconds, where known.
    feeds : tuple of Feed
        Inputs that are outputs of preceding steps of the same frame, passed on without a copy.
    state : tuple of (input, output)
        Inputs that are this step's own outputs of the channel's frame before; zeros in the first.
    """

    id: str
    model: ModelId
    lane: str | LanePool
    after: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    time_ns: int | None = None
    feeds: tuple[Feed, ...] = ()
    state: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        path = f"steps.{self.id}"
        _check_name(self.id, path, forbidden=".[]")
        if isinstance(self.lane, LanePool):
            _check_pool(self.lane, f"{path}.lane")
        else:
            _check_template(self.lane, f"{path}.lane")
        for index, lock in enumerate(self.locks):
            _check_template(lock, f"{path}.locks[{index}]")
        refuse_duplicates(self.locks, f"{path}.locks")
        refuse_duplicates(self.after, f"{path}.after")
        if self.time_ns is not None and not 0 <= self.time_ns <= BYTES_MAX:
            raise SpecError(f"found {shown(self.time_ns)}, expected 0 to 2^62 ns", f"{path}.time")

    @property
    def lane_name(self) -> str:
        """The lane, or the pool, as the fleet names it."""
        return self.lane.name if isinstance(self.lane, LanePool) else self.lane

    def lanes_of(self, channel: int) -> tuple[str, ...]:
        """Return the lanes that the step may take in `channel` (counted from 0): one or a pool."""
        if isinstance(self.lane, LanePool):
            return self.lane.lanes_of(channel)
        return (filled(self.lane, channel),)

    def locks_on(self, lane: str, channel: int) -> frozenset[str]:
        """Return all locks that the step holds in `channel` while it runs on `lane`."""
        return frozenset((lane, *(filled(name, channel) for name in self.locks)))

    def lane_of(self, channel: int) -> str:
        """Return the lane's name in `channel` (counted from 0), of a step that takes one lane.

        Raises
        ------
        UsageError
            It may take any lane of a pool: ask `lanes_of`. Caused by the caller.
        """
        lanes = self.lanes_of(channel)
        if len(lanes) > 1:
            raise UsageError(f"step {self.id!r} has no one lane: it takes one of {_listing(lanes)}")
        return lanes[0]

    @property
    def varies(self) -> bool:
        """Whether its lanes or locks differ between channels."""
        if isinstance(self.lane, LanePool):
            blocks, names = self.lane.assign is Assign.BLOCK, self.locks
        else:
            blocks, names = False, (self.lane, *self.locks)
        return blocks or any(CHANNEL_PLACEHOLDER in name for name in names)


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A small DAG of steps that runs once per frame, in `channels` independent copies.

    Attributes
    ----------
    id : str
    steps : tuple of StepSpec
        At least one. Declaration order means nothing.
    channels : int
        Independent copies (cameras, sessions), >= 1.
    frames_in_flight : int
        Frames of one channel that may be in progress at once, >= 1: frame t + d starts when t
        ended.
    rate_millihertz : int or None
        Frames that each channel is to hold, in 1,000 seconds, >= 1; None: no rate is wanted.
        Nothing is planned by it: it is compared with what a schedule can hold.
    """

    id: str
    steps: tuple[StepSpec, ...]
    channels: int = 1
    frames_in_flight: int = 1
    rate_millihertz: int | None = None

    def __post_init__(self) -> None:
        path = f"pipelines.{self.id}"
        _check_name(self.id, path, forbidden=".[]")
        for key, count in (
            ("channels", self.channels),
            ("frames_in_flight", self.frames_in_flight),
        ):
            if not 1 <= count <= COUNT_MAX:
                raise SpecError(f"found {shown(count)}, expected 1 to {COUNT_MAX}", f"{path}.{key}")
        if self.rate_millihertz is not None and not 1 <= self.rate_millihertz <= RATE_MAX:
            raise SpecError(
                f"found {shown(self.rate_millihertz)}, expected 1 to {RATE_MAX} frames in 1,000 s",
                f"{path}.rate",
            )
        if not self.steps:
            raise SpecError("found no steps, expected at least one", f"{path}.steps")
        ids = [step.id for step in self.steps]
        refuse_duplicates(ids, f"{path}.steps")
        known = set(ids)
        for step in self.steps:
            for index, name in enumerate(step.after):
                if name not in known:
                    raise SpecError(
                        _unknown("step", name, ids), f"{path}.steps.{step.id}.after[{index}]"
                    )
        try:
            TopologicalSorter({step.id: step.after for step in self.steps}).prepare()
        except CycleError as error:
            cycle = " after ".join(reversed(error.args[1]))
            raise SpecError(f"`after` has a cycle: {cycle}", f"{path}.steps") from None
        if self.hands_on:
            Handovers(
                after={step.id: step.after for step in self.steps},
                feeds={step.id: step.feeds for step in self.steps},
                states={step.id: step.state for step in self.steps},
            ).check(f"{path}.steps", frames_in_flight=self.frames_in_flight)
        # Blocks divide the channels, which only the pipeline knows.
        object.__setattr__(self, "steps", tuple(map(self._bound, self.steps)))

    def _bound(self, step: StepSpec) -> StepSpec:
        pool = step.lane
        if isinstance(pool, LanePool) and pool.channels != self.channels:
            return replace(step, lane=replace(pool, channels=self.channels))
        return step

    @property
    def hands_on(self) -> bool:
        """Whether some step feeds another one or carries a state."""
        return any(step.feeds or step.state for step in self.steps)

    def step(self, step_id: str) -> StepSpec:
        """Return a step by its id."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise SpecError(
            _unknown("step", step_id, [step.id for step in self.steps]),
            f"pipelines.{self.id}.steps",
        )


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What the fleet may take of its device.

    Attributes
    ----------
    memory_bytes : int or None
        Usable memory of the device; None: no limit.
    reserve : tuple of (name, bytes)
        Memory that others take: named reserves, in order.
    dedupe : Dedupe
    streams_max : int or None
        Streams that the device offers; None: not checked.
    cross_stream : CrossStream
    io : IoPlace
        `arena` only with `CrossStream.HOST`: with events, results are copied out while followers
        run.
    """

    memory_bytes: int | None = None
    reserve: tuple[tuple[str, int], ...] = ()
    dedupe: Dedupe = Dedupe.FILE
    streams_max: int | None = None
    cross_stream: CrossStream = CrossStream.HOST
    io: IoPlace = IoPlace.OUTSIDE

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and not 0 <= self.memory_bytes <= BYTES_MAX:
            raise SpecError(
                f"found {shown(self.memory_bytes)}, expected 0 to 2^62 bytes", "device.memory"
            )
        if self.streams_max is not None and not 0 <= self.streams_max <= COUNT_MAX:
            raise SpecError(
                f"found {shown(self.streams_max)}, expected 0 to {COUNT_MAX}", "device.streams"
            )
        if self.io is IoPlace.ARENA and self.cross_stream is CrossStream.EVENTS:
            raise SpecError(
                "found arena with cross_stream: events, which copies results out while followers "
                "run; expected outside, or cross_stream: host",
                "device.io",
            )
        refuse_duplicates([name for name, _ in self.reserve], "device.reserve")
        for name, size in self.reserve:
            _check_name(name, f"device.reserve.{name}")
            if not 0 <= size <= BYTES_MAX:
                raise SpecError(
                    f"found {shown(size)}, expected 0 to 2^62 bytes", f"device.reserve.{name}"
                )

    def plans_io(self, size: ModelSize) -> bool:
        """Whether inputs and outputs of a model's instances have a block in the work reservation.

        Not where their sizes are known only when the model runs, or where it wants a choice.
        """
        return self.io is IoPlace.ARENA and bool(size.io_offsets)

    @property
    def reserve_bytes(self) -> int:
        """Sum of the named reserves, bytes."""
        return sum(size for _, size in self.reserve)


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What planning may choose about the order.

    Attributes
    ----------
    fit_bytes : int or None
        Work and weight reservation together are to be at most this: planning adds order and
        exclusions until they are. None: nothing is added.
    """

    fit_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.fit_bytes is not None and not 0 <= self.fit_bytes <= BYTES_MAX:
            raise SpecError(
                f"found {shown(self.fit_bytes)}, expected 0 to 2^62 bytes", "schedule.fit"
            )


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Models, the pipelines that execute them, and the device that holds them.

    Examples
    --------
    >>> spec = FleetSpec(
    ...     name="one",
    ...     models=(ModelSpec(ModelId("m"), work_bytes=10, weight_bytes=0),),
    ...     pipelines=(
    ...         PipelineSpec("p", (StepSpec("s", ModelId("m"), "lane-{channel}"),), channels=2),
    ...     ),
    ... )
    >>> list(spec.instances())
    ['m@lane-0', 'm@lane-1']
    """

    name: str
    models: tuple[ModelSpec, ...]
    pipelines: tuple[PipelineSpec, ...]
    device: DeviceSpec = DeviceSpec()
    schedule: ScheduleSpec = ScheduleSpec()

    def __post_init__(self) -> None:
        _check_name(self.name, "name")
        refuse_duplicates([model.id for model in self.models], "models")
        refuse_duplicates([pipeline.id for pipeline in self.pipelines], "pipelines")
        if not self.pipelines:
            raise SpecError("found no pipelines, expected at least one", "pipelines")
        known = {model.id for model in self.models}
        for pipeline in self.pipelines:
            for step in pipeline.steps:
                if step.model not in known:
                    raise SpecError(
                        _unknown("model", step.model, [model.id for model in self.models]),
                        f"pipelines.{pipeline.id}.steps.{step.id}.model",
                    )
        executions = sum(
            p.channels * (p.frames_in_flight + 1) * sum(map(_choices, p.steps))
            for p in self.pipelines
        )
        if executions > EXECUTIONS_MAX:
            raise SpecError(
                f"channels x (frames in flight + 1) x steps is {executions}, "
                f"expected at most {EXECUTIONS_MAX}",
                "pipelines",
            )
        _check_pools(self.pipelines)

    def model(self, model_id: str) -> ModelSpec:
        """Return a model by its id."""
        for model in self.models:
            if model.id == model_id:
                return model
        raise SpecError(_unknown("model", model_id, [model.id for model in self.models]), "models")

    def pipeline(self, pipeline_id: str) -> PipelineSpec:
        """Return a pipeline by its id."""
        for pipeline in self.pipelines:
            if pipeline.id == pipeline_id:
                return pipeline
        raise SpecError(
            _unknown("pipeline", pipeline_id, [pipeline.id for pipeline in self.pipelines]),
            "pipelines",
        )

    def channel_steps(self) -> Iterator[tuple[PipelineSpec, int, StepSpec]]:
        """Yield every step of every channel: pipelines and steps as declared, channels upward."""
        for pipeline in self.pipelines:
            for channel in range(pipeline.channels):
                for step in pipeline.steps:
                    yield pipeline, channel, step

    def instances(self) -> dict[InstanceId, tuple[ModelId, str]]:
        """Return instance id -> (model, lane), in order of first use."""
        return {
            instance_id(step.model, lane): (step.model, lane)
            for _, channel, step in self.channel_steps()
            for lane in step.lanes_of(channel)
        }

    def unused_models(self) -> tuple[ModelId, ...]:
        """Return the models that no step uses, as declared."""
        used = {step.model for pipeline in self.pipelines for step in pipeline.steps}
        return tuple(model.id for model in self.models if model.id not in used)


def _choices(step: StepSpec) -> int:
    """Return how many lanes one execution of a step may take."""
    pool = step.lane
    return pool.size if isinstance(pool, LanePool) and pool.assign is Assign.ANY else 1


def _check_pools(pipelines: Sequence[PipelineSpec]) -> None:
    """Check that a pool has one size, and that nothing else has its name or that of a lane of it.

    Lanes, locks and pools are one namespace. A lane that is written out and a lane of a pool would
    be one lane by accident only, and so would a lock.
    """
    pools: dict[str, LanePool] = {}
    for pipeline in pipelines:
        for step in pipeline.steps:
            if isinstance(step.lane, LanePool):
                first = pools.setdefault(step.lane.name, step.lane)
                if first.size != step.lane.size:
                    raise SpecError(
                        f"found {step.lane.size}, but pool {first.name!r} has size {first.size} "
                        "elsewhere",
                        f"pipelines.{pipeline.id}.steps.{step.id}.lane.size",
                    )
    if not pools:
        return
    lanes = sum(pool.size for pool in pools.values())
    if lanes > COUNT_MAX:
        raise SpecError(f"pools have {lanes} lanes, expected at most {COUNT_MAX}", "pipelines")
    owners = {lane: pool.name for pool in pools.values() for lane in pool.lanes}
    for name in pools:
        if name in owners:
            raise SpecError(
                f"pool {name!r} has the name of a lane of pool {owners[name]!r}", "pipelines"
            )
    owners |= {name: name for name in pools}
    for pipeline in pipelines:
        for step in pipeline.steps:
            _check_beside_pools(pipeline, step, owners)


def _check_beside_pools(pipeline: PipelineSpec, step: StepSpec, owners: Mapping[str, str]) -> None:
    """Check a step's lane and locks against the names of pools and of their lanes."""
    names = [(f"locks[{index}]", lock) for index, lock in enumerate(step.locks)]
    if not isinstance(step.lane, LanePool):
        names.insert(0, ("lane", step.lane))
    for key, template in names:
        channels = range(pipeline.channels if CHANNEL_PLACEHOLDER in template else 1)
        for channel in channels:
            name = filled(template, channel)
            if name in owners:
                raise SpecError(
                    f"{name!r} belongs to pool {owners[name]!r}: give the {key[:4]} another name",
                    f"pipelines.{pipeline.id}.steps.{step.id}.{key}",
                )
