"""Loaded graphs: what they take and give, and one execution on given pointers.

A session is what the runtime makes of a payload; a network adds names and types in a fixed order.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from arena.device.cpu.binding import DTYPE_CODES, Api
from arena.device.cpu.placement import HeapPlacement, Placement
from arena.errors import DeviceError
from arena.formats.arena_header import ELEMENT_BYTES
from planner.model import TensorSpec

if TYPE_CHECKING:
    from arena.device.cpu.runtime import Runtime

__all__ = ["Network", "Session"]

_POINTER_BYTES: Final = ctypes.sizeof(ctypes.c_void_p)
_DTYPES: Final = {code: dtype for dtype, code in DTYPE_CODES.items()}


class Session:
    """A loaded graph: its weights lie in the caller's memory, small objects on the heap.

    Attributes
    ----------
    owner : Runtime
    handle : int
        The runtime's session; several threads may run it at once.
    """

    def __init__(self, owner: "Runtime", handle: int, heap: HeapPlacement) -> None:
        self.owner = owner
        self.handle = handle
        self._heap = heap

    def close(self) -> None:
        """Release the graph."""
        self.owner.api["ReleaseSession"](self.handle)
        self._heap.release()

    def tensors(self, kind: str) -> tuple[TensorSpec, ...]:
        """Return the session's tensors of one kind, ``Input`` or ``Output``; -1 for open axes.

        Raises
        ------
        DeviceError
            One is no tensor, or of an element type that has no plain bytes.
        """
        api = self.owner.api
        return tuple(
            self._tensor(kind, i) for i in range(api.count(f"SessionGet{kind}Count", self.handle))
        )

    def _tensor(self, kind: str, index: int) -> TensorSpec:
        api = self.owner.api
        allocator = api.create("GetAllocatorWithDefaultOptions")
        text = api.create(f"SessionGet{kind}Name", self.handle, index, allocator)
        name = ctypes.string_at(text).decode("utf-8", "replace")
        api["AllocatorFree"](allocator, text)
        info = api.create(f"SessionGet{kind}TypeInfo", self.handle, index)
        try:
            tensor = api.create("CastTypeInfoToTensorInfo", info)
            if not tensor:
                raise DeviceError(
                    f"{kind.lower()} {name!r} is no tensor (a sequence, map or optional): only "
                    "tensors have a place in planned memory; remove it from the model"
                )
            return _tensor_spec(api, name, tensor)
        finally:
            api["ReleaseTypeInfo"](info)


class Network:
    """A session with the names and types of its tensors: ready to run on given pointers.

    Attributes
    ----------
    session : Session
    inputs, outputs : tuple of TensorSpec
        Fully determined: every axis >= 0. In the order in which pointers are passed.
    """

    def __init__(
        self, session: Session, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self.session = session
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._input_names = _names(inputs)
        self._output_names = _names(outputs)
        self._types = [_tensor_arguments(spec) for spec in (*inputs, *outputs)]
        self._outputs_at = len(inputs) * _POINTER_BYTES

    def run(self, placement: Placement, pointers: Sequence[int]) -> None:
        """Execute once, on the calling thread.

        Parameters
        ----------
        placement : Placement
            Answers every allocation.
        pointers : sequence of int
            Inputs, then outputs; each as large as its tensor. Outputs are written in place.

        Raises
        ------
        DeviceError
            The runtime refuses; what was allocated is still the placement's.
        """
        self._execute(placement, pointers, lambda _values: None)

    def output_specs(self, placement: Placement, pointers: Sequence[int]) -> list[TensorSpec]:
        """Execute once on input `pointers` alone and return the outputs as they came out."""
        api = self.session.owner.api
        specs = []

        def read(values: Any) -> None:
            for name, value in zip(self._output_names, values[len(self.inputs) :], strict=True):
                info = api.create("GetTensorTypeAndShape", value)
                try:
                    specs.append(_tensor_spec(api, name.decode(), info))
                finally:
                    api["ReleaseTensorTypeAndShapeInfo"](info)

        self._execute(placement, pointers, read)
        return specs

    def _execute(
        self, placement: Placement, pointers: Sequence[int], read: Callable[[Any], None]
    ) -> None:
        owner = self.session.owner
        create, release = owner.api["CreateTensorWithDataAsOrtValue"], owner.api["ReleaseValue"]
        values = (ctypes.c_void_p * len(self._types))()
        before = owner.answer_from(placement)
        try:
            for k, pointer in enumerate(pointers):
                size, dims, rank, code = self._types[k]
                at = ctypes.byref(values, k * _POINTER_BYTES)
                create(owner.memory_info, pointer, size, dims, rank, code, at)
            owner.api["Run"](
                self.session.handle,
                None,
                self._input_names,
                values,
                len(self._input_names),
                self._output_names,
                len(self._output_names),
                ctypes.byref(values, self._outputs_at),
            )
            read(values)
        finally:
            for value in values:
                if value:
                    release(value)
            owner.answer_from(before)


def _tensor_spec(api: Api, name: str, info: int) -> TensorSpec:
    """Return what the runtime's type-and-shape object says of a tensor.

    Raises
    ------
    DeviceError
        The element type has no plain bytes.
    """
    code = ctypes.c_int()
    api["GetTensorElementType"](info, ctypes.byref(code))
    rank = api.count("GetDimensionsCount", info)
    dims = (ctypes.c_int64 * rank)()
    api["GetDimensions"](info, dims, rank)
    if code.value not in _DTYPES:
        raise DeviceError(
            f"tensor {name!r} has element type {code.value}, expected one of "
            f"{', '.join(DTYPE_CODES)}"
        )
    dtype, shape = _DTYPES[code.value], tuple(max(int(axis), -1) for axis in dims)
    size = 0 if -1 in shape else math.prod(shape) * ELEMENT_BYTES[dtype]
    return TensorSpec(name, dtype, shape, size)


def _names(specs: Sequence[TensorSpec]) -> Any:
    return (ctypes.c_char_p * len(specs))(*(spec.name.encode() for spec in specs))


def _tensor_arguments(spec: TensorSpec) -> tuple[int, Any, int, int]:
    dims = (ctypes.c_int64 * len(spec.shape))(*spec.shape)
    return spec.size_bytes, dims, len(spec.shape), DTYPE_CODES[spec.dtype]
