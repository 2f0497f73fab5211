"""A mapping in the fleet file's format -> FleetSpec, or the place of the first fault."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from planner.errors import SpecError
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.fleet_file.schema import (
    FLEET_VERSION,
    DeviceSection,
    FleetFile,
    ModelSection,
    PipelineSection,
    PoolSection,
    StepSection,
)
from planner.fleet_file.text import parse_text
from planner.handover import Feed
from planner.lanes import LanePool
from planner.model import ModelId
from planner.units import parse_bytes, parse_duration, parse_rate, shown

__all__ = ["decode_fleet", "parse_fleet"]


def parse_fleet(text: str | bytes, *, name: str = "fleet") -> FleetSpec:
    """Return the fleet that YAML or JSON text describes.

    Parameters
    ----------
    text : str or bytes
        The whole file; bytes are UTF-8.
    name : str
        Name of the fleet where the file gives none, such as the file's stem.

    Raises
    ------
    SpecError
        The text is no fleet; the message has the place. Nothing else, whatever the text.

    Examples
    --------
    >>> fleet = parse_fleet('''
    ... version: 1
    ... models: {reader: {work: 11MiB, weights: 3MiB}}
    ... pipelines: {camera: {channels: 2, steps: {read: {model: reader, lane: "cam-{channel}"}}}}
    ... ''')
    >>> list(fleet.instances())
    ['reader@cam-0', 'reader@cam-1']
    """
    data = parse_text(text)
    if not isinstance(data, dict):
        from planner.fleet_file.faults import shown

        raise SpecError(f"found {shown(data)}, expected a mapping: version, models, pipelines")
    return decode_fleet(data, name=name)


def decode_fleet(data: Mapping[str, Any], *, name: str = "fleet") -> FleetSpec:
    """Return the fleet that a mapping in the fleet file's format describes.

    Parameters
    ----------
    data : mapping
        As JSON would hold it: mappings with text keys, lists, text, integers.
    name : str
        Name of the fleet where the mapping gives none.

    Raises
    ------
    SpecError
        The mapping is no fleet; the message has the place, what was found and what was expected.
    """
    version = data.get("version", FLEET_VERSION)
    if isinstance(version, int) and version > FLEET_VERSION:
        raise SpecError(
            f"found {version}, expected {FLEET_VERSION}: the file needs a newer release", "version"
        )
    try:
        file = msgspec.convert(dict(data), FleetFile)
    except (msgspec.ValidationError, UnicodeError) as error:  # the latter: half a surrogate pair
        from planner.fleet_file.faults import find_fault  # only a failing run pays for it

        raise find_fault(data, FleetFile) or SpecError(str(error)) from None
    try:
        return FleetSpec(
            name=name if file.name is UNSET else file.name,
            models=tuple(_model(model_id, model) for model_id, model in file.models.items()),
            pipelines=tuple(_pipeline(*item) for item in file.pipelines.items()),
            device=_device(file.device),
            schedule=ScheduleSpec(_size(file.schedule.fit, "schedule.fit")),
        )
    except SpecError as error:
        raise _as_written(error, file) from None


def _as_written(error: SpecError, file: FleetFile) -> SpecError:
    """Return an error with the place that its user wrote: a lane may be its pipeline's."""
    match error.path.split("."):
        case ["pipelines", pipeline_id, "steps", step_id, "lane", *rest] if (
            (pipeline := file.pipelines.get(pipeline_id)) is not None
            and (step := pipeline.steps.get(step_id)) is not None
            and step.lane is UNSET
        ):
            place = f"pipelines.{pipeline_id}"
            if pipeline.lane is not UNSET:
                return SpecError(error.message, ".".join([place, "lane", *rest]))
            way_out = "a pipeline's name is its lane: give it a `lane` of its own"
            return SpecError(f"{error.message}; {way_out}", place)
    return error


def _size(size: int | str | UnsetType, path: str) -> int | None:
    return None if size is UNSET else parse_bytes(size, path)


def _model(model_id: str, model: ModelSection) -> ModelSpec:
    path = f"models.{model_id}"
    inputs = {} if model.inputs is UNSET else model.inputs
    outputs = {} if model.outputs is UNSET else model.outputs
    gears = {} if model.gears is UNSET else model.gears
    if model.file is not UNSET:
        for name, value in inputs.items():
            if not isinstance(value, list):
                raise SpecError(
                    f"found {shown(value)}, expected a shape, a list of whole numbers: a file "
                    "tells its own sizes",
                    f"{path}.inputs.{name}",
                )
    return ModelSpec(
        id=ModelId(model_id),
        file="" if model.file is UNSET else model.file,
        work_bytes=_size(model.work, f"{path}.work"),
        weight_bytes=_size(model.weights, f"{path}.weights"),
        inputs=tuple((name, tuple(v)) for name, v in inputs.items() if isinstance(v, list)),
        input_bytes=tuple(
            (name, parse_bytes(v, f"{path}.inputs.{name}"))
            for name, v in inputs.items()
            if not isinstance(v, list)
        ),
        output_bytes=tuple(
            (name, parse_bytes(v, f"{path}.outputs.{name}")) for name, v in outputs.items()
        ),
        gears=tuple((name, tuple(map(tuple, shapes))) for name, shapes in gears.items()),
    )


def _pipeline(pipeline_id: str, pipeline: PipelineSection) -> PipelineSpec:
    lane = pipeline_id if pipeline.lane is UNSET else _lane(pipeline.lane)
    try:
        steps = tuple(_step(*item, lane) for item in pipeline.steps.items())
    except SpecError as error:  # a step does not know its pipeline
        raise SpecError(error.message, f"pipelines.{pipeline_id}.{error.path}") from None
    rate = pipeline.rate
    return PipelineSpec(
        pipeline_id,
        steps,
        pipeline.channels,
        pipeline.frames_in_flight,
        None if rate is UNSET else parse_rate(rate, f"pipelines.{pipeline_id}.rate"),
    )


def _lane(lane: str | PoolSection) -> str | LanePool:
    return lane if isinstance(lane, str) else LanePool(lane.pool, lane.size, lane.assign)


def _step(step_id: str, step: StepSection, lane: str | LanePool) -> StepSpec:
    return StepSpec(
        id=step_id,
        model=ModelId(step.model),
        lane=lane if step.lane is UNSET else _lane(step.lane),
        after=tuple(step.after),
        locks=tuple(step.locks),
        time_ns=None if step.time is UNSET else parse_duration(step.time, f"steps.{step_id}.time"),
        feeds=tuple(_feed(step_id, *item) for item in step.feeds.items()),
        state=tuple(step.state.items()),
    )


def _feed(step_id: str, name: str, source: str) -> Feed:
    producer, dot, output = source.partition(".")
    if not dot or not output:
        raise SpecError(
            f"found {source!r}, expected a step and its output such as detect.boxes",
            f"steps.{step_id}.feeds.{name}",
        )
    return Feed(name, producer, output)


def _device(device: DeviceSection) -> DeviceSpec:
    if device.reserve is UNSET:
        reserve: tuple[tuple[str, int], ...] = ()
    elif isinstance(device.reserve, dict):
        reserve = tuple(
            (name, parse_bytes(size, f"device.reserve.{name}"))
            for name, size in device.reserve.items()
        )
    else:
        reserve = (("reserve", parse_bytes(device.reserve, "device.reserve")),)
    return DeviceSpec(
        memory_bytes=_size(device.memory, "device.memory"),
        reserve=reserve,
        dedupe=device.dedupe,
        streams_max=None if device.streams is UNSET else device.streams,
        cross_stream=device.cross_stream,
        io=device.io,
    )
