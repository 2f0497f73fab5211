"""Host arrays in and out: what a caller passes as an input, and what it gets back as an output.

Anything with the buffer protocol is an input (numpy arrays, bytes, memoryviews) and so is a
`DeviceRange`. Outputs are numpy arrays where the caller's process has imported numpy, else
memoryviews of the same type and shape: running frames needs the standard library alone.
"""

import sys
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final, TypeAlias

from arena.device.base import Argument, DeviceRange, ModelDescription
from planner.errors import UsageError
from planner.model import TensorSpec

__all__ = ["ELEMENT_TYPES", "HostArray", "as_arguments", "as_array", "name_outputs"]

HostArray: TypeAlias = Any
"""A numpy array or a memoryview: the two cannot be told apart without importing numpy."""

_FORMATS: Final = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}
ELEMENT_TYPES: Final = frozenset(_FORMATS)
"""numpy's names of the types that host arrays can have; others pass as bytes."""
_SAME: Final = {"l": "q", "L": "Q"}
"""numpy names 64-bit integers by the C type long, which has 8 bytes wherever devices are."""


def as_arguments(
    values: Mapping[str, object] | object, description: ModelDescription, where: str
) -> list[Argument]:
    """Return the inputs of one execution in the device's order.

    Parameters
    ----------
    values : mapping of str to input, or one input
        By input name; a bare input serves a model with exactly one.
    description : ModelDescription
    where : str
        Who executes, for messages.

    Raises
    ------
    UsageError
        A name, a byte size, a type or a shape differs from the model's. Caused by the caller.
    """
    visible = [spec for spec in description.inputs if spec.name not in description.hidden]
    if not isinstance(values, Mapping):
        if len(visible) != 1:
            wanted = ", ".join(repr(spec.name) for spec in visible)
            raise UsageError(f"{where}: found one bare input, expected a mapping with {wanted}")
        values = {visible[0].name: values}
    names = [spec.name for spec in visible]
    for name in values:
        if name not in names:
            raise UsageError(f"{where}: unknown input {name!r}, expected {', '.join(names)}")
    for name in names:
        if name not in values:
            raise UsageError(f"{where}: input {name!r} is missing")
    return [_as_argument(values[spec.name], spec, where) for spec in visible]


def _as_argument(value: object, spec: TensorSpec, where: str) -> Argument:
    place = f"{where}: input {spec.name!r}"
    if isinstance(value, DeviceRange):
        _check_size(value.size_bytes, spec, place)
        return value
    try:
        view: Any = memoryview(value)  # type: ignore[arg-type]  # anything may come; it says no
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{place}: {type(value).__name__} is no buffer; pass a numpy array, bytes or a "
            f"DeviceRange ({error})"
        ) from None
    if not view.c_contiguous:
        raise UsageError(f"{place}: not C-contiguous; pass numpy.ascontiguousarray of it")
    wanted = _FORMATS.get(spec.dtype)
    found = _SAME.get(view.format, view.format)
    if view.ndim != 1 or found != "B":
        if wanted is not None and found != wanted:
            raise UsageError(f"{place}: found type {_type_name(found)}, expected {spec.dtype}")
        fixed = bool(spec.shape) and min(spec.shape) >= 0
        if fixed and tuple(view.shape) != spec.shape:
            raise UsageError(
                f"{place}: found shape {list(view.shape)}, expected {list(spec.shape)}"
            )
    _check_size(view.nbytes, spec, place)
    flat: memoryview = view.cast("B") if view.nbytes else memoryview(b"")
    return flat


def _check_size(size_bytes: int, spec: TensorSpec, place: str) -> None:
    if spec.size_bytes and size_bytes != spec.size_bytes:
        raise UsageError(f"{place}: found {size_bytes} bytes, expected {spec.size_bytes}")


def _type_name(code: str) -> str:
    return next((name for name, known in _FORMATS.items() if known == code), repr(code))


def as_array(data: bytearray, spec: TensorSpec) -> HostArray:
    """Return the bytes of one output as an array of the output's type and shape."""
    shape: tuple[int, ...] = spec.shape
    code = _FORMATS.get(spec.dtype, "B")
    if len(data) % _width(code):
        code, shape = "B", (len(data),)  # a size that its type does not divide: bytes
    elif prod(shape) * _width(code) != len(data):
        shape = (len(data) // _width(code),)  # undetermined axes: flat
    if numpy := sys.modules.get("numpy"):
        return numpy.frombuffer(data, "uint8" if code == "B" else spec.dtype).reshape(shape)
    view: Any = memoryview(data)
    if code == "e" or not data:
        return view  # memoryview knows no half floats; nothing has no shape
    return view.cast(code, shape)


def _width(code: str) -> int:
    return {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "e": 2, "i": 4, "I": 4, "f": 4}.get(code, 8)


def name_outputs(
    outputs: Sequence[bytearray | None], description: ModelDescription
) -> dict[str, HostArray]:
    """Return output name -> array; outputs that stayed on the device are left out."""
    return {
        spec.name: as_array(data, spec)
        for data, spec in zip(outputs, description.outputs, strict=True)
        if data is not None
    }
