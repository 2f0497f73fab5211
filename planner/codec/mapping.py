"""Plan -> mapping: what a plan is, and what follows from it."""

from typing import Any, Final

from planner.codec.buffers import plan_buffers, step_handovers
from planner.codec.canonical import digest_of
from planner.codec.steps import PlannedStep, planned_steps
from planner.fleet import (
    DeviceSpec,
    FleetSpec,
    IoPlace,
    ModelSpec,
    PipelineSpec,
    ScheduleSpec,
    StepSpec,
)
from planner.lanes import LanePool
from planner.model import ModelId, ModelSize, RegionRule, TensorSpec
from planner.plan import Instance, Plan, SchedulePrice
from planner.units import align_up, format_rate

__all__ = [
    "PLAN_FORMAT",
    "PLAN_VERSION",
    "fleet_digest",
    "fleet_to_mapping",
    "plan_digest",
    "plan_to_mapping",
]

PLAN_FORMAT: Final = "npu-arena plan"
PLAN_VERSION: Final = 1
_FLEET_VERSION: Final = 1

_Mapping = dict[str, Any]


def fleet_to_mapping(fleet: FleetSpec) -> _Mapping:
    """Return a fleet as the mapping that a fleet file holds, normalised.

    Sizes are bytes, times nanoseconds, rates text; every default is written out and every step has
    its lane; what is not there at all (no limit, no time, no rate, no inputs) is left out. Members
    are in the order of declaration.

    Examples
    --------
    >>> from planner.fleet import PipelineSpec
    >>> model = ModelSpec(ModelId("m"), work_bytes=10, weight_bytes=0)
    >>> fleet = FleetSpec("one", (model,), (PipelineSpec("p", (StepSpec("s", model.id, "p"),)),))
    >>> fleet_to_mapping(fleet)["models"], fleet_to_mapping(fleet)["device"]["dedupe"]
    ({'m': {'work': 10, 'weights': 0}}, 'file')
    """
    return {
        "version": _FLEET_VERSION,
        "name": fleet.name,
        "models": {str(model.id): _model(model) for model in fleet.models},
        "pipelines": {pipeline.id: _pipeline(pipeline) for pipeline in fleet.pipelines},
        "device": _device(fleet.device),
        **_schedule(fleet.schedule),
    }


def fleet_digest(fleet: FleetSpec) -> str:
    """Return the SHA-256 of the canonical form of a fleet's mapping, hexadecimal."""
    return digest_of(fleet_to_mapping(fleet))


def plan_digest(plan: Plan) -> str:
    """Return the digest that a plan's file carries, hexadecimal.

    It is the SHA-256 of the canonical form of the file's mapping without the key ``digest``.
    """
    return digest_of(_undigested(plan))


def plan_to_mapping(plan: Plan) -> _Mapping:
    """Return a plan as the mapping that a plan file holds, its digest included."""
    mapping = _undigested(plan)
    head = {key: mapping.pop(key) for key in ("format", "version")}
    return {**head, "digest": digest_of({**head, **mapping}), **mapping}


def _undigested(plan: Plan) -> _Mapping:
    device = plan.fleet.device
    files = {model.id: model.file for model in plan.fleet.models}
    return {
        "format": PLAN_FORMAT,
        "version": PLAN_VERSION,
        "fleet_digest": fleet_digest(plan.fleet),
        "fits": plan.fits,
        "status": plan.status.value,
        "height_bytes": plan.height_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "witness": list(plan.witness),
        "weight_bytes": plan.weight_bytes,
        "total_bytes": plan.total_bytes,
        "planned_bytes": plan.planned_bytes,
        "outside_bytes": plan.outside_bytes,
        "reserve_bytes": device.reserve_bytes,
        "needed_bytes": plan.needed_bytes,
        "limit_bytes": device.memory_bytes,
        "short_bytes": plan.short_bytes,
        "private_bytes": plan.private_bytes,
        "streams": plan.stream_count,
        "streams_max": device.streams_max,
        "page_bytes": plan.page_bytes,
        "rule": {
            "align_bytes": plan.rule.align_bytes,
            "granule_bytes": plan.rule.granule_bytes,
            "tail_bytes": plan.rule.tail_bytes,
        },
        "reservations": {
            "work": _reservation(plan.height_bytes, plan.page_bytes),
            "weights": _reservation(plan.weight_bytes, plan.page_bytes),
        },
        "instances": [_instance(instance, plan.rule) for instance in plan.instances],
        **plan_buffers(plan),
        "steps": [_planned_step(step) for step in planned_steps(plan)],
        "added": [
            {"first": added.first, "second": added.second, "kind": added.kind.value}
            for added in plan.added
        ],
        **({} if plan.price is None else {"price": _price(plan.price)}),
        "models": [_size(model, size, files.get(model, "")) for model, size in plan.sizes],
        "fleet": fleet_to_mapping(plan.fleet),
    }


def _price(price: SchedulePrice) -> _Mapping:
    return {
        "unit": price.unit.value,
        "makespan": price.makespan,
        "before": price.before,
        "lower_bound": price.lower_bound,
        "serial": price.serial,
    }


def _reservation(size_bytes: int, page_bytes: int) -> _Mapping:
    return {"bytes": size_bytes, "planned_bytes": align_up(size_bytes, page_bytes)}


def _instance(instance: Instance, rule: RegionRule) -> _Mapping:
    in_arena = instance.work_offset is not None, instance.weight_offset is not None
    return {
        "instance": instance.id,
        "model": instance.model,
        "lane": instance.lane,
        "device": instance.device,
        "process": instance.process,
        "work_offset": instance.work_offset,
        "work_bytes": instance.work_bytes,
        "work_reserved_bytes": rule.reserved_bytes(instance.work_bytes) if in_arena[0] else 0,
        "weight_offset": instance.weight_offset,
        "weight_bytes": instance.weight_bytes,
        "weight_reserved_bytes": rule.reserved_bytes(instance.weight_bytes) if in_arena[1] else 0,
        "weights_key": instance.weights_key,
    }


def _planned_step(step: PlannedStep) -> _Mapping:
    return {
        "step": step.name,
        "channel": step.channel,
        "frames_in_flight": step.frames_in_flight,
        "instance": step.instance,
        "lane": step.lane,
        "locks": list(step.locks),
        "after": [f"{step.channel}.{name}" for name in step.after],
    }


def _size(model: ModelId, size: ModelSize, file: str) -> _Mapping:
    return {
        "model": model,
        "file": file,
        "work_bytes": size.work_bytes,
        "weight_bytes": size.weight_bytes,
        "file_digest": size.file_digest,
        "weights_digest": size.weights_digest,
        "system_managed": size.system_managed,
        "streams": size.stream_count,
        "inputs": [_tensor(tensor) for tensor in size.inputs],
        "outputs": [_tensor(tensor) for tensor in size.outputs],
        "io_bytes": size.io_bytes,
        "gears": size.gears,
        "gear_choices": [list(choice) for choice in size.gear_choices],
    }


def _tensor(tensor: TensorSpec) -> _Mapping:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "size_bytes": tensor.size_bytes,
    }


def _model(model: ModelSpec) -> _Mapping:
    if model.file:
        inputs = {name: list(shape) for name, shape in model.inputs}
        gears = {name: [list(shape) for shape in shapes] for name, shapes in model.gears}
        members = {"inputs": inputs, "gears": gears}
        return {"file": model.file, **{key: value for key, value in members.items() if value}}
    tensors = {"inputs": dict(model.input_bytes), "outputs": dict(model.output_bytes)}
    told = {key: sizes for key, sizes in tensors.items() if sizes}
    return {"work": model.work_bytes, "weights": model.weight_bytes, **told}


def _pipeline(pipeline: PipelineSpec) -> _Mapping:
    mapping: _Mapping = {
        "channels": pipeline.channels,
        "frames_in_flight": pipeline.frames_in_flight,
        "steps": {step.id: _step(step) for step in pipeline.steps},
    }
    rate = pipeline.rate_millihertz
    return mapping if rate is None else {**mapping, "rate": format_rate(rate)}


def _lane(lane: str | LanePool) -> str | _Mapping:
    if isinstance(lane, str):
        return lane
    return {"pool": lane.name, "size": lane.size, "assign": lane.assign.value}


def _step(step: StepSpec) -> _Mapping:
    mapping: _Mapping = {
        "model": step.model,
        "after": list(step.after),
        "lane": _lane(step.lane),
        "locks": list(step.locks),
    }
    if step.time_ns is not None:
        mapping["time"] = step.time_ns
    return mapping | step_handovers(step)


def _device(device: DeviceSpec) -> _Mapping:
    mapping: _Mapping = {
        "memory": device.memory_bytes,
        "reserve": dict(device.reserve),
        "dedupe": device.dedupe.value,
        "streams": device.streams_max,
        "cross_stream": device.cross_stream.value,
        "io": device.io.value if device.io is IoPlace.ARENA else None,
    }
    return {key: value for key, value in mapping.items() if value is not None}


def _schedule(schedule: ScheduleSpec) -> _Mapping:
    return {} if schedule.fit_bytes is None else {"schedule": {"fit": schedule.fit_bytes}}
