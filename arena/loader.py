"""A plan becomes loaded models at its pointers, or everything is undone and the error says why.

    compare sizes ── reserve work, weights ── load largest first ── ... ── unload ── free

All loads happen before the first execution: a load rewrites the weights of its sharers with the
same bytes, which is not documented as safe beside a running execution (docs/loading.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from arena.device.base import (
    Argument,
    Device,
    DeviceRange,
    LoadOptions,
    ModelDescription,
    ModelHandle,
    ModelSource,
    Placed,
)
from arena.errors import DeviceError, LoadError
from arena.memory import Arena, failure_of, reserve
from planner.errors import PlanError
from planner.handover import BufferUse, ChannelBuffer
from planner.model import DEFAULT_RULE, InstanceId, ModelId
from planner.plan import Instance, Plan

__all__ = ["LoadedFleet", "LoadedInstance", "load_plan"]


@dataclass(frozen=True, slots=True)
class LoadedInstance:
    """One instance on the device.

    Attributes
    ----------
    instance : Instance
    handle : ModelHandle
    description : ModelDescription
    input_places, output_places : tuple of DeviceRange
        Planned memory of its visible inputs and its outputs; empty where that is not planned.
    """

    instance: Instance
    handle: ModelHandle
    description: ModelDescription
    input_places: tuple[DeviceRange, ...] = ()
    output_places: tuple[DeviceRange, ...] = ()

    def placed_inputs(self, inputs: Sequence[Argument]) -> list[Argument]:
        """Return inputs with their planned places, where they come from the host and have one."""
        if not self.input_places:
            return list(inputs)
        return [
            one if isinstance(one, DeviceRange | Placed) else Placed(place, one)
            for one, place in zip(inputs, self.input_places, strict=True)
        ]

    def placed_outputs(self, outputs: Sequence[Argument | None]) -> list[Argument | None]:
        """Return outputs with their planned places, where they go to the host and have one."""
        if not self.output_places:
            return list(outputs)
        return [
            one if isinstance(one, DeviceRange | Placed) else Placed(place, one)
            for one, place in zip(outputs, self.output_places, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class LoadedFleet:
    """Every instance of a plan on one device, and the arena that holds them.

    Attributes
    ----------
    instances : mapping of InstanceId to LoadedInstance
        In the order in which they were loaded.
    """

    device: Device
    arena: Arena
    instances: Mapping[InstanceId, LoadedInstance]

    def unload(self) -> None:
        """Unload every instance, the last one first, then free the arena.

        Goes on where a call fails, so that as little as possible stays behind.

        Raises
        ------
        DeviceError
            Names what could not be given back.
        """
        failures = _undo(self.device, self.arena, list(self.instances.values()))
        if failures:
            raise DeviceError("unloading left something behind: " + "; ".join(failures))


def load_plan(
    plan: Plan,
    device: Device,
    sources: Mapping[ModelId, ModelSource],
    *,
    options: LoadOptions | None = None,
    on_reserved: Callable[[], None] | None = None,
    on_loaded: Callable[[LoadedInstance], None] | None = None,
) -> LoadedFleet:
    """Load every instance of `plan` on `device`, at its planned pointers.

    Parameters
    ----------
    plan : Plan
        Already judged; its model files already compared with their digests.
    device : Device
        Open.
    sources : mapping of ModelId to ModelSource
        Every used model.
    options : LoadOptions
        For all loads.
    on_reserved, on_loaded : callable
        Called after the reservation and after each load, for progress and measurements.

    Returns
    -------
    LoadedFleet

    Raises
    ------
    PlanError
        The device's rules or a model's sizes differ from the plan. Nothing was loaded.
    LoadError
        A reservation or a load failed: says which instance, which pointers, which code and what was
        undone. Nothing stays behind unless the message says so.
    """
    _compare_rules(plan, device)
    _compare_sizes(plan, device, sources)
    try:
        arena = reserve(plan, device)
    except DeviceError as error:
        raise LoadError(f"{error}; nothing was loaded", call=error.call, code=error.code) from error
    loaded: dict[InstanceId, LoadedInstance] = {}
    blocks = {row.step: row for row in plan.buffers if row.use is BufferUse.INSTANCE}
    try:
        if on_reserved is not None:
            on_reserved()
        for instance in sorted(
            plan.instances, key=lambda row: (-row.weight_bytes, -row.work_bytes, row.id)
        ):
            source, block = sources[instance.model], blocks.get(instance.id)
            item = _load(plan, instance, device, arena, source, options, block)
            loaded[instance.id] = item
            if on_loaded is not None:
                on_loaded(item)
    except DeviceError as error:
        undone = f"{len(loaded)} of {len(plan.instances)} instances were loaded and "
        failures = _undo(device, arena, list(loaded.values()))
        left = f"not all could be undone: {'; '.join(failures)}" if failures else "have been undone"
        raise LoadError(f"{error}; {undone}{left}", call=error.call, code=error.code) from error
    except BaseException as error:
        for failure in _undo(device, arena, list(loaded.values())):
            error.add_note(failure)
        raise
    return LoadedFleet(device, arena, loaded)


def _compare_rules(plan: Plan, device: Device) -> None:
    if plan.rule.align_bytes % device.align_bytes:
        raise PlanError(
            f"regions of the plan start at multiples of {plan.rule.align_bytes} bytes, device "
            f"{device.name!r} wants {device.align_bytes}: plan again for this device"
        )
    if (
        plan.rule.tail_bytes < DEFAULT_RULE.tail_bytes
        or plan.rule.granule_bytes % DEFAULT_RULE.granule_bytes
    ):
        raise PlanError(
            f"the plan was made with {plan.rule}, which reserves less than the vendor's rule "
            f"{DEFAULT_RULE}: plan again"
        )
    if plan.page_bytes != device.page_bytes:
        raise PlanError(
            f"the plan rounds reservations to pages of {plan.page_bytes} bytes, device "
            f"{device.name!r} has pages of {device.page_bytes}: plan again for this device"
        )


def _compare_sizes(plan: Plan, device: Device, sources: Mapping[ModelId, ModelSource]) -> None:
    for model, size in plan.sizes:
        work_bytes, weight_bytes = device.query_size(sources[model])
        if (work_bytes, weight_bytes) != (size.work_bytes, size.weight_bytes):
            raise PlanError(
                f"model {model!r}: device {device.name!r} wants {work_bytes} bytes of work and "
                f"{weight_bytes} of weights, the plan has {size.work_bytes} and "
                f"{size.weight_bytes}: plan again with this file"
            )


def _load(
    plan: Plan,
    instance: Instance,
    device: Device,
    arena: Arena,
    source: ModelSource,
    options: LoadOptions | None,
    block: ChannelBuffer | None,
) -> LoadedInstance:
    work, weights = arena.work_of(instance), arena.weights_of(instance)
    options = options or LoadOptions()
    if plan.fleet.device.plans_io(plan.size_of(instance.model)):
        options = replace(options, host_io=False)
    try:
        handle = device.load(source, work=work, weights=weights, options=options)
        try:
            description = device.describe(handle)
            return LoadedInstance(
                instance,
                handle,
                description,
                *_io_places(plan, arena, instance, description, block),
            )
        except BaseException:
            if left := failure_of(device.unload, handle):
                raise DeviceError(f"and the model stays loaded: {left}") from None
            raise
    except DeviceError as error:
        raise DeviceError(
            f"instance {instance.id!r}: load failed with {error.code} at work {_place(work)}, "
            f"weights {_place(weights)}: {error}",
            call=error.call,
            code=error.code,
        ) from error


def _io_places(
    plan: Plan,
    arena: Arena,
    instance: Instance,
    description: ModelDescription,
    row: ChannelBuffer | None,
) -> tuple[tuple[DeviceRange, ...], tuple[DeviceRange, ...]]:
    """Return where the plan puts inputs and outputs of an instance, if it has a block for them."""
    size = plan.size_of(instance.model)
    if row is None:
        return (), ()
    found = tuple(spec.size_bytes for spec in (*description.visible_inputs, *description.outputs))
    wanted = tuple(spec.size_bytes for spec in (*size.inputs, *size.outputs))
    if found != wanted:
        raise PlanError(
            f"instance {instance.id!r}: inputs and outputs have {list(found)} bytes, the plan has "
            f"{list(wanted)}: plan again with this file"
        )
    memory = arena.buffer(row)
    places = tuple(
        DeviceRange(memory.pointer + offset, size_bytes)
        for offset, size_bytes in zip(size.io_offsets, wanted, strict=False)
    )
    n_inputs = len(description.visible_inputs)
    return places[:n_inputs], places[n_inputs:]


def _place(memory: DeviceRange | None) -> str:
    return "system-managed" if memory is None else str(memory)


def _undo(device: Device, arena: Arena, loaded: list[LoadedInstance]) -> list[str]:
    """Unload and free all there is, last first; return what failed.

    Reservations under a model that stays loaded are not freed: the device could still use them.
    """
    failures = []
    for item in reversed(loaded):
        if error := failure_of(device.unload, item.handle):
            failures.append(f"instance {item.instance.id!r} stays loaded: {error}")
    if failures:
        return [*failures, "so the reservations stay as well"]
    for memory in (arena.weights, arena.work):
        if memory is not None and (error := failure_of(device.free, memory)):
            failures.append(f"reservation {memory} stays: {error}")
    return failures
