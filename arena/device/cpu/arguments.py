"""Host buffers of an execution: checked against the model, then a pointer for the runtime.

A buffer with a type (a memoryview of a numpy array) is checked for type and shape; plain bytes for
their number. Messages name the model, the tensor, what was found and what was expected.
"""

import ctypes
from typing import Final

from arena.device.base import HostBuffer
from arena.formats.arena_header import ALIGN_BYTES
from planner.errors import UsageError
from planner.model import TensorSpec

__all__ = ["EMPTY_POINTER", "input_pointer", "output_pointer"]

EMPTY_POINTER: Final = ALIGN_BYTES
"""Pointer of a tensor without bytes: never followed, but 0 would mean none."""

_NAMES: Final = {"e": "float16", "f": "float32", "d": "float64", "?": "bool"}
_SIGNED: Final = "bhilqn"
_UNSIGNED: Final = "BHILQN"
_RAW: Final = ("B", "b", "c")


def input_pointer(where: str, spec: TensorSpec, buffer: HostBuffer) -> tuple[int, object]:
    """Return a pointer to a copy of `buffer`, and what must stay alive while it is used.

    Immutable bytes are not copied.

    Raises
    ------
    UsageError
        `buffer` is not what `spec` wants, or not in C order; `where` opens the message.
    """
    view = memoryview(buffer)
    _check(where, spec, view)
    data = buffer if isinstance(buffer, bytes) else view.tobytes()
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or EMPTY_POINTER, data


def output_pointer(where: str, spec: TensorSpec, buffer: HostBuffer) -> tuple[int, object]:
    """Return a pointer to `buffer` itself, and what must stay alive while it is written.

    Raises
    ------
    UsageError
        `buffer` is not what `spec` wants, is read-only, or not in C order.
    """
    view = memoryview(buffer)
    _check(where, spec, view)
    if view.readonly:
        raise UsageError(f"{where}: found read-only memory, expected a writable buffer")
    if not view.nbytes:
        return EMPTY_POINTER, view
    exported = ctypes.c_char.from_buffer(view.cast("B"))
    return ctypes.addressof(exported), exported


def _check(where: str, spec: TensorSpec, view: memoryview) -> None:
    if not (view.ndim == 1 and view.format in _RAW):
        dtype = _dtype(view)
        if (dtype, view.shape) != (spec.dtype, spec.shape):
            raise UsageError(
                f"{where}: found {dtype} {list(view.shape or ())}, compiled for {spec.dtype} "
                f"{list(spec.shape)}"
            )
    if view.nbytes != spec.size_bytes:
        raise UsageError(
            f"{where}: found {view.nbytes} bytes, expected {spec.size_bytes} "
            f"({spec.dtype} {list(spec.shape)})"
        )
    if not view.c_contiguous:
        raise UsageError(f"{where}: expected elements in C order; pass a contiguous copy")


def _dtype(view: memoryview) -> str:
    code = view.format.lstrip("@=<")
    if code in _NAMES:
        return _NAMES[code]
    if len(code) == 1 and code in _SIGNED:
        return f"int{8 * view.itemsize}"
    if len(code) == 1 and code in _UNSIGNED:
        return f"uint{8 * view.itemsize}"
    return f"elements of format {view.format!r}"
