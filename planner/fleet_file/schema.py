"""The format of a fleet file as msgspec types, and the JSON Schema made from them."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from planner.fleet import COUNT_MAX, CrossStream, Dedupe, IoPlace
from planner.lanes import Assign
from planner.units import BYTES_MAX

__all__ = [
    "FLEET_VERSION",
    "DeviceSection",
    "FleetFile",
    "ModelSection",
    "PipelineSection",
    "PoolSection",
    "ScheduleSection",
    "StepSection",
    "fleet_schema",
]

FLEET_VERSION: Final = 1
_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _pattern(units: str) -> dict[str, Any]:
    return {"pattern": rf"^\s*\d{{1,19}}(\.\d{{1,19}})?\s*({units})\s*$"}


_Size: TypeAlias = (
    Annotated[int, Meta(ge=0, le=BYTES_MAX, description="Bytes.")]
    | Annotated[
        str,
        Meta(
            description="A number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB.",
            examples=["11MiB", "1.5GiB"],
            extra_json_schema=_pattern("([kKmMgGtTpPeE][iI]?)?[bB]|"),
        ),
    ]
)
_Time: TypeAlias = (
    Annotated[int, Meta(ge=0, le=BYTES_MAX, description="Nanoseconds.")]
    | Annotated[
        str,
        Meta(
            description="A number with ns, us, ms, s or min.",
            examples=["12ms"],
            extra_json_schema=_pattern("[nN][sS]|[uUµ][sS]|[mM][sS]|[sS]|[mM][iI][nN]"),
        ),
    ]
)
_Rate: TypeAlias = Annotated[
    str,
    Meta(
        description="A number with fps.",
        examples=["25fps"],
        extra_json_schema=_pattern("[fF][pP][sS]"),
    ),
]
_Name: TypeAlias = Annotated[str, Meta(extra_json_schema={"minLength": 1})]
_Shape: TypeAlias = list[Annotated[int, Meta(ge=1, le=BYTES_MAX)]]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=COUNT_MAX)]


class ModelSection(Struct, forbid_unknown_fields=True):
    """A model: a file to measure, or declared sizes (then no file is needed to plan)."""

    file: Annotated[
        _Name | UnsetType,
        Meta(description="Path relative to the fleet file, or demo:NAME for a demo model."),
    ] = UNSET
    inputs: Annotated[
        dict[str, _Shape | _Size] | UnsetType,
        Meta(
            description="Shapes of the inputs that the file leaves open; of a declared model, the "
            "bytes of each input."
        ),
    ] = UNSET
    outputs: Annotated[
        dict[str, _Size] | UnsetType,
        Meta(description="Bytes of each output of a declared model."),
    ] = UNSET
    gears: Annotated[
        dict[str, list[_Shape]] | UnsetType,
        Meta(
            description="Inputs whose shape is chosen before each execution: one shape for each "
            "gear, as many for every input. For files that are compiled here."
        ),
    ] = UNSET
    work: Annotated[_Size | UnsetType, Meta(description="Declared work memory.")] = UNSET
    weights: Annotated[_Size | UnsetType, Meta(description="Declared weight memory.")] = UNSET


class PoolSection(Struct, forbid_unknown_fields=True):
    """A set of lanes, NAME[0] and up: a step takes one of them."""

    pool: Annotated[_Name, Meta(description="Name of the set, the same wherever it is used.")]
    size: Annotated[_Count, Meta(description="How many lanes it has.")]
    assign: Annotated[
        Assign,
        Meta(
            description="any: the first free lane when it runs; block: each channel keeps one "
            "lane, neighbours in equal blocks."
        ),
    ] = Assign.ANY


_Lane: TypeAlias = _Name | PoolSection


class StepSection(Struct, forbid_unknown_fields=True):
    """A step: executes one model on one lane, zero, one or many times in a frame."""

    model: Annotated[_Name, Meta(description="One of `models`.")]
    after: Annotated[
        list[str], Meta(description="Steps of this pipeline that precede it inside a frame.")
    ] = []
    lane: Annotated[
        _Lane | UnsetType,
        Meta(
            description="Lock and stream that it runs on, {channel} is the channel's index; or a "
            "set of them."
        ),
    ] = UNSET
    locks: Annotated[
        list[_Name],
        Meta(description="Further locks that it holds; {channel} is the channel's index."),
    ] = []
    time: Annotated[_Time | UnsetType, Meta(description="Time of one execution.")] = UNSET
    feeds: Annotated[
        dict[str, Annotated[_Name, Meta(examples=["detect.boxes"])]],
        Meta(
            description="Inputs that are outputs of preceding steps, STEP.OUTPUT, passed on in "
            "device memory."
        ),
    ] = {}
    state: Annotated[
        dict[str, _Name],
        Meta(
            description="Inputs that are outputs of this step in the frame before; zeros at first."
        ),
    ] = {}


class PipelineSection(Struct, forbid_unknown_fields=True):
    """A pipeline: a small DAG of steps that runs once per frame of each of its channels."""

    steps: Annotated[
        dict[str, StepSection],
        Meta(description="Its steps, by name.", extra_json_schema={"minProperties": 1}),
    ]
    channels: Annotated[_Count, Meta(description="Independent copies: cameras, sessions.")] = 1
    frames_in_flight: Annotated[
        _Count, Meta(description="Frames of one channel that may be in progress at once.")
    ] = 1
    rate: Annotated[
        _Rate | UnsetType,
        Meta(description="Frames that each channel is to hold; none: no rate is wanted."),
    ] = UNSET
    lane: Annotated[
        _Lane | UnsetType,
        Meta(description="Lane of its steps that name none; default: the pipeline's name."),
    ] = UNSET


class DeviceSection(Struct, forbid_unknown_fields=True):
    """What the fleet may take of its device."""

    memory: Annotated[_Size | UnsetType, Meta(description="Usable memory; none: no limit.")] = UNSET
    reserve: Annotated[
        _Size | dict[str, _Size] | UnsetType,
        Meta(description="Memory that others take: one size, or named sizes."),
    ] = UNSET
    dedupe: Annotated[
        Dedupe,
        Meta(
            description="Who shares a weight buffer: instances of byte-identical files, also of "
            "files with byte-identical weights, or none."
        ),
    ] = Dedupe.FILE
    streams: Annotated[
        Annotated[int, Meta(ge=0, le=COUNT_MAX)] | UnsetType,
        Meta(description="Streams that the device offers; none: not checked."),
    ] = UNSET
    cross_stream: Annotated[
        CrossStream,
        Meta(description="How order between lanes is kept: the host waits, or device events do."),
    ] = CrossStream.HOST
    io: Annotated[
        IoPlace,
        Meta(
            description="Where inputs and outputs lie that come from the host: in memory of their "
            "own, or planned with the work memory."
        ),
    ] = IoPlace.OUTSIDE


class ScheduleSection(Struct, forbid_unknown_fields=True):
    """What planning may choose about the order."""

    fit: Annotated[
        _Size | UnsetType,
        Meta(
            description="Work and weights together are to be at most this: planning adds order and "
            "exclusions until they are; none: it adds nothing."
        ),
    ] = UNSET


_FILE_OR_SIZES: Final = {
    "oneOf": [
        {
            "required": ["file"],
            "properties": {
                "work": False,
                "weights": False,
                "outputs": False,
                "inputs": {"additionalProperties": {"type": "array"}},
            },
        },
        {
            "required": ["work", "weights"],
            "properties": {
                "file": False,
                "gears": False,
                "inputs": {"additionalProperties": {"type": ["integer", "string"]}},
            },
        },
    ]
}


class FleetFile(Struct, forbid_unknown_fields=True):
    """A fleet: models, the pipelines that execute them, and the device that holds them."""

    version: Annotated[Literal[1], Meta(description="Version of this format.")]
    models: Annotated[
        dict[str, Annotated[ModelSection, Meta(extra_json_schema=_FILE_OR_SIZES)]],
        Meta(description="The models, by name."),
    ]
    pipelines: Annotated[
        dict[str, PipelineSection],
        Meta(description="The pipelines, by name.", extra_json_schema={"minProperties": 1}),
    ]
    name: Annotated[
        _Name | UnsetType, Meta(description="Name of the fleet; default: the file's name.")
    ] = UNSET
    device: Annotated[DeviceSection, Meta(description="The device.")] = msgspec.field(
        default_factory=DeviceSection
    )
    schedule: Annotated[ScheduleSection, Meta(description="The order.")] = msgspec.field(
        default_factory=ScheduleSection
    )


def fleet_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the fleet file.

    It accepts every mapping that `decode_fleet` accepts. What it cannot say (cycles, names that
    must exist, whole numbers of bytes) only decoding finds.

    References
    ----------
    .. [1] JSON Schema draft 2020-12, core and validation.
    """
    schema = msgspec.json.schema(FleetFile)
    definitions = schema["$defs"]
    fleet = definitions.pop("FleetFile")
    return {"$schema": _SCHEMA_DIALECT, **fleet, "title": "npu-arena fleet", "$defs": definitions}
