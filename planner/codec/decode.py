"""Mapping -> Plan by hand, every value checked at its place; then what follows from it is compared.

Nothing but DecodeError leaves here, whatever the value: types first, ranges next, then what
`planner.fleet` and `planner.model` check at birth. A plan decoded here has sound parts, not a sound
whole: that is `planner.judge`'s to say.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from planner.codec.buffers import (
    decode_buffers,
    decode_feeds,
    decode_state,
    decode_witness,
)
from planner.codec.canonical import Json, parse
from planner.codec.mapping import PLAN_FORMAT, PLAN_VERSION, plan_to_mapping
from planner.codec.place import Place, shown
from planner.errors import DecodeError, SpecError, did_you_mean
from planner.fleet import (
    COUNT_MAX,
    CrossStream,
    Dedupe,
    DeviceSpec,
    FleetSpec,
    IoPlace,
    ModelSpec,
    PipelineSpec,
    ScheduleSpec,
    StepSpec,
)
from planner.lanes import Assign, LanePool
from planner.model import InstanceId, ModelId, ModelSize, RegionRule, TensorSpec
from planner.plan import AddedKind, AddedOrder, Instance, Plan, SchedulePrice
from planner.problem import SolveStatus
from planner.units import MakespanUnit, parse_rate

__all__ = ["CONTRADICTIONS_MAX", "claims_plan", "decode_plan", "examine_plan"]

CONTRADICTIONS_MAX: Final = 100
"""Most contradictions that `examine_plan` lists."""
_DIGEST: Final = re.compile(r"(?:[0-9a-f]{64})?")
_FLEET_VERSION: Final = 1


def claims_plan(data: bytes) -> bool:
    """Return whether the bytes are a JSON object that claims to be a plan, sound or not.

    Examples
    --------
    >>> claims_plan(b'{"format": "npu-arena plan"}'), claims_plan(b"[]"), claims_plan(b"{")
    (True, False, False)
    """
    try:
        value, _ = parse(data)
    except DecodeError:
        return False
    return isinstance(value, dict) and value.get("format") == PLAN_FORMAT


def decode_plan(data: bytes | Mapping[str, Any]) -> Plan:
    """Return the plan of a plan file, or of the mapping that one holds.

    Parameters
    ----------
    data : bytes or mapping
        The whole file, laid out in any way; or its value.

    Raises
    ------
    DecodeError
        No plan, a plan of another version, an altered one, or one that contradicts itself; with
        the place. Nothing else, whatever the value.
    """
    plan, contradictions = examine_plan(data)
    if contradictions:
        raise contradictions[0]
    return plan


def examine_plan(data: bytes | Mapping[str, Any]) -> tuple[Plan, tuple[DecodeError, ...]]:
    """Return the plan of a plan file and all that the file says of it wrongly.

    As `decode_plan`, for those who list what is wrong instead of stopping at the first: a stale
    digest, a total that is no sum, a step's lock that its pipeline does not give. At most
    `CONTRADICTIONS_MAX` are listed, in the file's order.

    Raises
    ------
    DecodeError
        The value has not the form of a plan.
    """
    value, twice = parse(data) if isinstance(data, bytes) else (data, [])
    top = Place(dict(value) if isinstance(value, Mapping) else value, "")
    if not isinstance(top.value, dict):
        raise top.wrong("an object: this is no plan")
    claim = top.at("format", top.value.get("format"))
    if claim.value != PLAN_FORMAT:
        raise claim.wrong(f"{PLAN_FORMAT!r}: this is no plan")
    version = top.at("version", top.value.get("version"))
    if version.integer() != PLAN_VERSION:
        raise version.wrong(f"{PLAN_VERSION}: another release wrote this plan")
    if twice:
        raise DecodeError(f"the key {twice[0]!r} is given twice in one object")
    plan = _plan(top)
    found = islice(_contradictions(top.value, plan_to_mapping(plan), ""), CONTRADICTIONS_MAX)
    return plan, tuple(found)


def _plan(top: Place) -> Plan:
    part = top.some_members(
        "rule",
        "page_bytes",
        "status",
        "height_bytes",
        "lower_bound_bytes",
        "witness",
        "weight_bytes",
        "outside_bytes",
        "private_bytes",
        "instances",
        "steps",
        "added",
        "models",
        "fleet",
    )
    rule = part["rule"].members("align_bytes", "granule_bytes", "tail_bytes")
    fleet = _fleet(part["fleet"])
    sizes = dict(_size(row) for row in part["models"].items())
    # Before they are derived: a file of one line may ask for a million.
    n_steps = sum(
        len(step.lanes_of(0)) * pipeline.channels
        for pipeline in fleet.pipelines
        for step in pipeline.steps
    )
    if len(part["steps"].items()) != n_steps:
        raise part["steps"].wrong(
            f"a list of {n_steps}: one row for each step of each channel and each of its lanes"
        )
    return Plan(
        fleet=fleet,
        sizes=tuple(sizes.items()),
        rule=RegionRule(
            align_bytes=rule["align_bytes"].integer(1),
            granule_bytes=rule["granule_bytes"].integer(1),
            tail_bytes=rule["tail_bytes"].integer(),
        ),
        page_bytes=part["page_bytes"].integer(1),
        instances=tuple(_instance(row, sizes) for row in part["instances"].items()),
        added=tuple(_added(row) for row in part["added"].items()),
        height_bytes=part["height_bytes"].integer(),
        weight_bytes=part["weight_bytes"].integer(),
        lower_bound_bytes=part["lower_bound_bytes"].integer(),
        witness=tuple(InstanceId(item.text()) for item in part["witness"].items()),
        status=part["status"].one_of(SolveStatus),
        private_bytes=part["private_bytes"].integer(),
        outside_bytes=part["outside_bytes"].integer(),
        price=_price(part["price"]) if "price" in part else None,
        buffers=decode_buffers(part),
        witness_buffers=decode_witness(part),
    )


def _instance(row: Place, sizes: Mapping[ModelId, ModelSize]) -> Instance:
    part = row.some_members(
        "instance",
        "model",
        "lane",
        "device",
        "process",
        "work_offset",
        "work_bytes",
        "weight_offset",
        "weight_bytes",
        "weights_key",
    )
    model = ModelId(part["model"].text())
    if model not in sizes:
        raise part["model"].wrong(f"one of the rows of `models`{did_you_mean(model, sizes)}")
    return Instance(
        id=InstanceId(part["instance"].text()),
        model=model,
        lane=part["lane"].text(),
        work_bytes=part["work_bytes"].integer(),
        weight_bytes=part["weight_bytes"].integer(),
        work_offset=_offset(part["work_offset"]),
        weight_offset=_offset(part["weight_offset"]),
        weights_key=part["weights_key"].text(),
        device=part["device"].integer(high=COUNT_MAX),
        process=part["process"].integer(high=COUNT_MAX),
    )


def _offset(place: Place) -> int | None:
    return None if place.value is None else place.integer()


def _added(row: Place) -> AddedOrder:
    part = row.members("first", "second", "kind")
    return AddedOrder(
        InstanceId(part["first"].text()),
        InstanceId(part["second"].text()),
        part["kind"].one_of(AddedKind),
    )


def _price(place: Place) -> SchedulePrice:
    part = place.members("unit", "makespan", "before", "lower_bound", "serial")
    return SchedulePrice(
        unit=part["unit"].one_of(MakespanUnit),
        makespan=part["makespan"].integer(),
        before=part["before"].integer(),
        lower_bound=part["lower_bound"].integer(),
        serial=part["serial"].integer(),
    )


def _size(row: Place) -> tuple[ModelId, ModelSize]:
    part = row.members(
        "model",
        "file",
        "work_bytes",
        "weight_bytes",
        "file_digest",
        "weights_digest",
        "system_managed",
        "streams",
        "inputs",
        "outputs",
        "io_bytes",
        "gears",
        "gear_choices",
    )
    return ModelId(part["model"].text()), ModelSize(
        work_bytes=part["work_bytes"].integer(),
        weight_bytes=part["weight_bytes"].integer(),
        file_digest=_digest(part["file_digest"]),
        weights_digest=_digest(part["weights_digest"]),
        system_managed=part["system_managed"].flag(),
        stream_count=part["streams"].integer(high=COUNT_MAX),
        inputs=tuple(_tensor(tensor) for tensor in part["inputs"].items()),
        outputs=tuple(_tensor(tensor) for tensor in part["outputs"].items()),
        io_bytes=part["io_bytes"].integer(),
        gears=part["gears"].text(),
        gear_choices=tuple(
            tuple(axis.integer(1) for axis in choice.items())
            for choice in part["gear_choices"].items()
        ),
    )


def _digest(place: Place) -> str:
    text = place.text()
    if not _DIGEST.fullmatch(text):
        raise place.wrong("64 lower-case hexadecimal digits, or nothing")
    return text


def _tensor(row: Place) -> TensorSpec:
    part = row.members("name", "dtype", "shape", "size_bytes")
    return TensorSpec(
        name=part["name"].text(),
        dtype=part["dtype"].text(),
        shape=tuple(axis.integer(-1) for axis in part["shape"].items()),
        size_bytes=part["size_bytes"].integer(),
    )


def _fleet(place: Place) -> FleetSpec:
    keys = ("version", "name", "models", "pipelines", "device")
    part = place.members(*keys, optional=("schedule",))
    part["version"].integer(_FLEET_VERSION, _FLEET_VERSION)
    try:
        return FleetSpec(
            name=part["name"].text(),
            models=tuple(_model(*entry) for entry in part["models"].entries()),
            pipelines=tuple(_pipeline(*entry) for entry in part["pipelines"].entries()),
            device=_device(part["device"]),
            schedule=_schedule(part["schedule"]) if "schedule" in part else ScheduleSpec(),
        )
    except SpecError as error:
        raise DecodeError(error.message, f"fleet.{error.path}") from None


def _model(model_id: str, place: Place) -> ModelSpec:
    part = place.members(optional=("file", "inputs", "outputs", "gears", "work", "weights"))
    inputs = part["inputs"].entries() if "inputs" in part else []
    outputs = part["outputs"].entries() if "outputs" in part else []
    if "file" not in part:
        sizes = tuple((name, size.integer(1)) for name, size in inputs)
        inputs = []
    else:
        sizes = ()
    gears = part["gears"].entries() if "gears" in part else []
    return ModelSpec(
        id=ModelId(model_id),
        file=part["file"].text() if "file" in part else "",
        work_bytes=_optional(part, "work"),
        weight_bytes=_optional(part, "weights"),
        inputs=tuple((name, _shape(shape)) for name, shape in inputs),
        input_bytes=sizes,
        output_bytes=tuple((name, size.integer(1)) for name, size in outputs),
        gears=tuple((name, tuple(map(_shape, shapes.items()))) for name, shapes in gears),
    )


def _shape(place: Place) -> tuple[int, ...]:
    return tuple(axis.integer(1) for axis in place.items())


def _optional(part: dict[str, Place], key: str) -> int | None:
    return part[key].integer() if key in part else None


def _pipeline(pipeline_id: str, place: Place) -> PipelineSpec:
    part = place.members("channels", "frames_in_flight", "steps", optional=("rate",))
    try:
        steps = tuple(_step(*entry) for entry in part["steps"].entries())
    except SpecError as error:  # a step does not know its pipeline
        raise SpecError(error.message, f"pipelines.{pipeline_id}.{error.path}") from None
    return PipelineSpec(
        id=pipeline_id,
        steps=steps,
        channels=part["channels"].integer(1, COUNT_MAX),
        frames_in_flight=part["frames_in_flight"].integer(1, COUNT_MAX),
        rate_millihertz=_rate(part["rate"]) if "rate" in part else None,
    )


def _rate(place: Place) -> int:
    try:
        return parse_rate(place.text())
    except SpecError as error:
        raise DecodeError(error.message, place.path) from None


def _step(step_id: str, place: Place) -> StepSpec:
    part = place.members("model", "after", "lane", "locks", optional=("time", "feeds", "state"))
    return StepSpec(
        id=step_id,
        model=ModelId(part["model"].text()),
        lane=_lane(part["lane"]),
        after=tuple(item.text() for item in part["after"].items()),
        locks=tuple(item.text() for item in part["locks"].items()),
        time_ns=_optional(part, "time"),
        feeds=decode_feeds(part),
        state=decode_state(part),
    )


def _lane(place: Place) -> str | LanePool:
    if not isinstance(place.value, Mapping):
        return place.text()
    part = place.members("pool", "size", "assign")
    size = part["size"].integer(1, COUNT_MAX)
    return LanePool(part["pool"].text(), size, part["assign"].one_of(Assign))


def _device(place: Place) -> DeviceSpec:
    part = place.members("reserve", "dedupe", "cross_stream", optional=("memory", "streams", "io"))
    return DeviceSpec(
        memory_bytes=_optional(part, "memory"),
        reserve=tuple((name, size.integer()) for name, size in part["reserve"].entries()),
        dedupe=part["dedupe"].one_of(Dedupe),
        streams_max=_optional(part, "streams"),
        cross_stream=part["cross_stream"].one_of(CrossStream),
        io=part["io"].one_of(IoPlace) if "io" in part else IoPlace.OUTSIDE,
    )


def _schedule(place: Place) -> ScheduleSpec:
    return ScheduleSpec(fit_bytes=place.members("fit")["fit"].integer())


def _contradictions(found: Json, expected: Json, path: str) -> Iterator[DecodeError]:
    """Yield where a file departs from what its own plan makes of it."""
    if type(found) is not type(expected):
        yield _contradiction(found, expected, path)
    elif isinstance(expected, dict):
        for key in dict.fromkeys((*expected, *found)):
            place = f"{path}.{key}" if path else key
            if key not in found:
                yield DecodeError("is missing", place)
            elif key not in expected:
                yield DecodeError("unknown key", place)
            else:
                yield from _contradictions(found[key], expected[key], place)
    elif isinstance(expected, list):
        if len(found) != len(expected):
            yield _contradiction(found, expected, path)
        for index, (item, value) in enumerate(zip(found, expected, strict=False)):
            yield from _contradictions(item, value, f"{path}[{index}]")
    elif found != expected:
        yield _contradiction(found, expected, path)


def _contradiction(found: Json, expected: Json, path: str) -> DecodeError:
    why = "the plan was altered" if path == "digest" else "as the rest of the plan has it"
    return DecodeError(f"found {shown(found)}, expected {shown(expected)}: {why}", path)
