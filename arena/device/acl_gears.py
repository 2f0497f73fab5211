"""Gears of the `acl` device: what a model can be set to, and setting it before an execution.

    set_dynamic_batch_size(model, inputs, index, 8)            every open axis is the batch
    set_dynamic_hw_size(model, inputs, index, 224, 224)        an input's open axes: height, width
    set_input_dynamic_dims(model, inputs, index, {...})        all axes of all inputs, one by one

`index` is that of the hidden input, whose buffer the call fills: it wants memory first. The choice
stays with the dataset and the model until the next one.

References
----------
.. [1] CANN documentation, acl.mdl.set_dynamic_batch_size, set_dynamic_hw_size,
   set_input_dynamic_dims, get_input_dynamic_dims ("all input tensors' axes, one after another"),
   get_cur_output_dims.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, TypeAlias

from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import AclCode
from arena.device.acl_types import GEARS_INPUT
from arena.device.base import Gear, ModelDescription
from arena.formats.om_tensors import GearsKind
from planner.model import TensorSpec

__all__ = ["GearSet", "learn_gears", "read_gears", "set_gear"]

_Shape: TypeAlias = tuple[int, ...]
_RESERVED_INDEX: Final = -1
"""The index of calls that ask for all inputs together."""


@dataclass(frozen=True, slots=True)
class GearSet:
    """What a model can be set to.

    Attributes
    ----------
    kind : GearsKind
    index : int
        Of the hidden input.
    choices : tuple of tuple of int
        A batch, height and width, or the open axes of all inputs in order.
    """

    kind: GearsKind
    index: int
    choices: tuple[tuple[int, ...], ...]


def read_gears(
    calls: AclCalls, desc: int, inputs: Sequence[TensorSpec], what: str
) -> GearSet | None:
    """Return what a described model can be set to; None: it wants no choice.

    Raises
    ------
    DeviceError
        It wants one, and the device does not say of what.
    """
    names = [spec.name for spec in inputs]
    if GEARS_INPUT not in names:
        return None
    index = names.index(GEARS_INPUT)
    batches = calls.attempt("mdl.get_dynamic_batch", desc)[1].get("batch", ())
    if batches:
        return GearSet(GearsKind.BATCH, index, tuple((int(batch),) for batch in batches))
    sizes = calls.attempt("mdl.get_dynamic_hw", desc, _RESERVED_INDEX)[1].get("hw", ())
    if sizes:
        return GearSet(GearsKind.HW, index, tuple(tuple(map(int, size)) for size in sizes))
    count = calls.call("mdl.get_input_dynamic_gear_count", desc, _RESERVED_INDEX, what=what)
    rows = calls.call("mdl.get_input_dynamic_dims", desc, _RESERVED_INDEX, count, what=what)
    axes = [axis for spec in inputs if spec.name != GEARS_INPUT for axis in spec.shape]
    choices = (
        tuple(int(n) for n, axis in zip(row["dims"], axes, strict=True) if axis == -1)
        for row in rows
    )
    return GearSet(GearsKind.DIMS, index, tuple(choices))


def learn_gears(
    calls: AclCalls,
    model: int,
    dataset: int,
    gears: GearSet,
    description: ModelDescription,
    what: str,
) -> tuple[Gear, ...]:
    """Return all gears with their tensors: the model is set to each, and asked for its outputs.

    Sizes that the device gives are those of the largest gear; others are in proportion. Where the
    device does not tell an output's shape at a gear, it is taken as the largest.
    """
    inputs, outputs = description.visible_inputs, description.outputs
    shapes_in = [gears.kind.filled(choice, inputs) for choice in gears.choices]
    shapes_out = []
    desc = calls.create("mdl.create_desc", what=what)
    try:
        calls.call("mdl.get_desc", desc, model, what=what)
        for choice, shapes in zip(gears.choices, shapes_in, strict=True):
            set_gear(calls, model, dataset, gears, choice, shapes, what)
            shapes_out.append([_now(calls, desc, k, spec) for k, spec in enumerate(outputs)])
    finally:
        calls.attempt("mdl.destroy_desc", desc)
    return tuple(
        Gear(choice, _at(inputs, shapes_in, number), _at(outputs, shapes_out, number))
        for number, choice in enumerate(gears.choices)
    )


def set_gear(
    calls: AclCalls,
    model: int,
    dataset: int,
    gears: GearSet,
    choice: tuple[int, ...],
    shapes: Iterable[_Shape],
    what: str,
) -> None:
    """Set a model to a gear, in which its inputs have these shapes, for a dataset's executions."""
    target = (model, dataset, gears.index)
    what = f"{what}: gear {'x'.join(map(str, choice))}"
    if gears.kind is GearsKind.BATCH:
        calls.call("mdl.set_dynamic_batch_size", *target, *choice, what=what)
    elif gears.kind is GearsKind.HW:
        calls.call("mdl.set_dynamic_hw_size", *target, *choice, what=what)
    else:
        axes = [axis for shape in shapes for axis in shape]
        dims = {"name": "", "dimCount": len(axes), "dims": axes}
        calls.call("mdl.set_input_dynamic_dims", *target, dims, what=what)


def _now(calls: AclCalls, desc: int, index: int, spec: TensorSpec) -> _Shape:
    """Return an output's shape at the gear that the model is set to."""
    code, found = calls.attempt("mdl.get_cur_output_dims", desc, index)
    return tuple(found["dims"]) if code == AclCode.SUCCESS else spec.shape


def _at(
    specs: Sequence[TensorSpec], shapes: Sequence[Sequence[_Shape]], number: int
) -> tuple[TensorSpec, ...]:
    """Return tensors as they are at one gear, given their shapes at all of them."""
    found = []
    for position, spec in enumerate(specs):
        elements = [prod(row[position]) for row in shapes]
        size = spec.size_bytes * elements[number] // max(*elements, 1)
        found.append(replace(spec, shape=shapes[number][position], size_bytes=size))
    return tuple(found)
