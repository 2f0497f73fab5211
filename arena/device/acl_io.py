"""Datasets of one loaded model: where its inputs and outputs are during an execution.

Data buffers and datasets are made once. Host arguments go through one block of device memory per
instance, each tensor in its own place; device arguments go into the dataset as they are. Tensors
whose size is known only when the model runs get memory for one launch.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from arena.device.acl_calls import AclCalls
from arena.device.acl_gears import GearSet, learn_gears, set_gear
from arena.device.acl_memory import AclMemory, flat_view
from arena.device.acl_types import DATA_TYPES, TensorFormat
from arena.device.base import (
    IO_RULE,
    Argument,
    DeviceRange,
    ModelDescription,
    Placed,
    io_block_bytes,
)
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.model import TensorSpec

__all__ = ["InstanceIo"]

_UNDEFINED_TYPE = -1
_TYPE_NUMBERS = {name: number for number, name in DATA_TYPES.items()}


class _Slot:
    """One tensor of a dataset: its buffer handle, its own place, and what the buffer holds now."""

    __slots__ = ("buffer", "offset", "placed", "spec")

    def __init__(self, spec: TensorSpec, buffer: int, offset: int) -> None:
        self.spec = spec
        self.buffer = buffer
        self.offset = offset
        self.placed = (0, 0)


class InstanceIo:
    """Inputs and outputs of one loaded model.

    Parameters
    ----------
    calls : AclCalls
    memory : AclMemory
    model : int
        As the device numbers it.
    description : ModelDescription
        Without gears; they are asked for here.
    gears : GearSet or None
    name : str
        Of the model, for messages.

    Attributes
    ----------
    description : ModelDescription
    block_bytes : int
        Device memory that host arguments take.
    input_dataset, output_dataset : int
        Handles.
    """

    def __init__(
        self,
        calls: AclCalls,
        memory: AclMemory,
        model: int,
        description: ModelDescription,
        gears: GearSet | None,
        name: str,
    ) -> None:
        self._calls = calls
        self._memory = memory
        self._model = model
        self._gears = gears
        self._name = name
        self.description = description
        self._block = 0
        self._launch_blocks: list[int] = []
        self._wanted: list[Argument | None] = []
        self._outputs_now: tuple[TensorSpec, ...] = ()
        self._slots: list[_Slot] = []
        self.block_bytes = io_block_bytes(description.inputs, description.outputs)
        self.input_dataset = 0
        self.output_dataset = 0
        try:
            self.input_dataset = self._create_dataset(description.inputs)
            self.output_dataset = self._create_dataset(description.outputs)
            if description.hidden:
                self.reserve()
            if gears is not None:
                self._learn(gears)
        except DeviceError:
            self.destroy()
            raise

    @property
    def _inputs(self) -> list[_Slot]:
        return self._slots[: len(self.description.inputs)]

    @property
    def _outputs(self) -> list[_Slot]:
        return self._slots[len(self.description.inputs) :]

    def _create_dataset(self, specs: Sequence[TensorSpec]) -> int:
        what = f"model {self._name!r}: creating a dataset"
        dataset = self._calls.create("mdl.create_dataset", what=what)
        try:
            for spec in specs:
                buffer = self._calls.create("create_data_buffer", 0, 0, what=what)
                last = self._slots[-1] if self._slots else None
                offset = last.offset + IO_RULE.reserved_bytes(last.spec.size_bytes) if last else 0
                self._slots.append(_Slot(spec, buffer, offset))
                self._calls.call("mdl.add_dataset_buffer", dataset, buffer, what=what)
        except DeviceError:
            self._calls.attempt("mdl.destroy_dataset", dataset)
            raise
        return dataset

    def _learn(self, gears: GearSet) -> None:
        """Ask the device for the tensors at each gear; setting one wants its input's memory."""
        slot = self._inputs[gears.index]
        self._point(slot, self._own_place(slot, slot.spec.size_bytes))
        found = learn_gears(
            self._calls,
            self._model,
            self.input_dataset,
            gears,
            self.description,
            f"model {self._name!r}",
        )
        self.description = replace(self.description, gears=found)

    def reserve(self) -> None:
        """Reserve and clear the block of host arguments, if there is none yet."""
        if self._block or self.block_bytes == 0:
            return
        pointer, _ = self._memory.allocate(self.block_bytes, align_bytes=IO_RULE.align_bytes)
        self._block = pointer
        self._memory.fill(pointer, self.block_bytes, 0)  # once, as the vendor advises

    def reserve_or_destroy(self) -> None:
        """Reserve the block of host arguments, or give everything back."""
        try:
            self.reserve()
        except DeviceError:
            self.destroy()
            raise

    def destroy(self) -> None:
        """Give everything back; what cannot be given back stays known, so that one may try again.

        Raises
        ------
        DeviceError
            Memory could not be freed.
        """
        self.end_launch()
        for dataset in (self.input_dataset, self.output_dataset):
            if dataset:
                self._calls.attempt("mdl.destroy_dataset", dataset)
        self.input_dataset = self.output_dataset = 0
        for slot in self._slots:
            self._calls.attempt("destroy_data_buffer", slot.buffer)
        self._slots = []
        if self._block:
            self._memory.free(self._block)
            self._block = 0

    def check(
        self,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        gear: tuple[int, ...],
    ) -> None:
        """Raise UsageError unless the gear, and number and sizes of arguments fit the model."""
        try:
            now = self.description.at(gear)
        except UsageError as error:
            raise UsageError(f"model {self._name!r}: {error}") from None
        for what, given, specs in (
            ("input", inputs, now.visible_inputs),
            ("output", outputs, now.outputs),
        ):
            if len(given) != len(specs):
                names = ", ".join(repr(spec.name) for spec in specs)
                raise UsageError(
                    f"model {self._name!r}: found {len(given)} {what}s, expected {len(specs)} "
                    f"({names})"
                )
            for argument, spec in zip(given, specs, strict=True):
                self._check_argument(what, argument, spec)

    def _check_argument(self, what: str, argument: Argument | None, spec: TensorSpec) -> None:
        place = f"model {self._name!r}, {what} {spec.name!r}"
        if isinstance(argument, Placed):
            if argument.memory.size_bytes != spec.size_bytes:
                raise UsageError(
                    f"{place}: found {argument.memory.size_bytes} bytes of device memory for a "
                    f"host argument, expected {spec.size_bytes}"
                )
            if argument.data is None and what == "input":
                raise UsageError(f"{place}: found a place without data")
            argument = argument.data
        if argument is None:
            return
        if isinstance(argument, DeviceRange):
            if argument.size_bytes < spec.size_bytes:
                raise UsageError(
                    f"{place}: found {argument.size_bytes} bytes of device memory, expected at "
                    f"least {spec.size_bytes}"
                )
            return
        view = flat_view(argument)
        if spec.size_bytes and view.nbytes != spec.size_bytes:
            raise UsageError(f"{place}: found {view.nbytes} bytes, expected {spec.size_bytes}")
        if what == "output" and view.readonly:
            raise UsageError(f"{place}: the buffer is read-only, expected a writable one")

    def needs_waiting(self, outputs: Sequence[Argument | None]) -> bool:
        """Return whether the device must choose the memory of an output while it executes.

        Only the synchronous call does that: it allocates for buffers without memory (CANN graph
        engine, model.cpp).
        """
        return any(
            argument is None and spec.size_bytes == 0
            for argument, spec in zip(outputs, self.description.outputs, strict=True)
        )

    def start_launch(
        self,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        gear: tuple[int, ...],
    ) -> None:
        """Copy host inputs, point the datasets to this launch's memory, set its gear.

        `check` comes before.
        """
        now = self.description.at(gear)
        given = iter(inputs)
        for index, slot in enumerate(self._inputs):
            if slot.spec.name in self.description.hidden:
                self._point(slot, self._own_place(slot, slot.spec.size_bytes))
                continue
            argument = next(given)
            if isinstance(argument, DeviceRange):
                self._point(slot, (argument.pointer, argument.size_bytes))
            elif isinstance(argument, Placed):
                assert argument.data is not None, "checked: a placed input has data"
                self._point(slot, (argument.memory.pointer, argument.memory.size_bytes))
                self._memory.copy_in(argument.memory.pointer, argument.data)
            else:
                place = self._own_place(slot, memoryview(argument).nbytes)
                self._point(slot, place)
                self._memory.copy_in(place[0], argument)
            if -1 in slot.spec.shape and self._gears is None:
                self._say_shape(index, slot.spec, argument)
        for slot, wanted in zip(self._outputs, outputs, strict=True):
            if isinstance(wanted, DeviceRange | Placed):
                memory = wanted.memory if isinstance(wanted, Placed) else wanted
                self._point(slot, (memory.pointer, memory.size_bytes))
            else:
                known = slot.spec.size_bytes if wanted is None else memoryview(wanted).nbytes
                self._point(slot, self._own_place(slot, known) if known else (0, 0))
        self._wanted = list(outputs)
        self._outputs_now = now.outputs
        if self._gears is not None:
            shapes = [spec.shape for spec in now.inputs]
            target = (self._calls, self._model, self.input_dataset, self._gears)
            set_gear(*target, gear, shapes, f"model {self._name!r}")

    def _own_place(self, slot: _Slot, size_bytes: int) -> tuple[int, int]:
        """Return memory for a host argument: the slot's own, or some for this launch."""
        if slot.spec.size_bytes:
            self.reserve()
            return self._block + slot.offset, slot.spec.size_bytes
        reserved = max(IO_RULE.reserved_bytes(size_bytes), IO_RULE.align_bytes)
        pointer, _ = self._memory.allocate(reserved, align_bytes=IO_RULE.align_bytes)
        self._launch_blocks.append(pointer)
        return pointer, size_bytes

    def _point(self, slot: _Slot, place: tuple[int, int]) -> None:
        if slot.placed != place:
            what = f"model {self._name!r}: tensor {slot.spec.name!r} at {place[0]:#x}"
            self._calls.call("update_data_buffer", slot.buffer, *place, what=what)
            slot.placed = place

    def _say_shape(self, index: int, spec: TensorSpec, argument: Argument) -> None:
        """Tell the device the shape of an input that the model leaves open."""
        dims = list(_shape_of(argument, spec, self._name))
        what = f"model {self._name!r}: input {spec.name!r} of shape {dims}"
        number = _TYPE_NUMBERS.get(spec.dtype, _UNDEFINED_TYPE)
        desc = self._calls.create(
            "create_tensor_desc", number, dims, int(TensorFormat.ND), what=what
        )
        try:
            self._calls.call(
                "mdl.set_dataset_tensor_desc", self.input_dataset, desc, index, what=what
            )
        finally:
            self._calls.plain("destroy_tensor_desc", desc)

    def take_outputs(self) -> tuple[bytearray | None, ...]:
        """Copy host outputs to the host after an execution ended; bytes where None was asked."""
        results: list[bytearray | None] = []
        entries = zip(self._outputs, self._wanted, self._outputs_now, strict=True)
        for slot, wanted, spec in entries:
            result = None
            if isinstance(wanted, Placed):
                wanted = wanted.data
            if wanted is None:
                pointer, size_bytes = slot.placed
                if pointer == 0:
                    pointer, size_bytes = self._adopt_output(slot)
                if spec.size_bytes:
                    size_bytes = spec.size_bytes  # at its gear: its place is that of the largest
                result = bytearray(size_bytes)
                self._memory.copy_out(result, pointer)
            elif not isinstance(wanted, DeviceRange):
                assert not isinstance(wanted, bytes), "checked: outputs are writable"
                self._memory.copy_out(wanted, slot.placed[0])
            results.append(result)
        return tuple(results)

    def _adopt_output(self, slot: _Slot) -> tuple[int, int]:
        """Return the memory that the device chose for an output; it is ours to free."""
        pointer = self._calls.plain("get_data_buffer_addr", slot.buffer)
        size_bytes = self._calls.plain("get_data_buffer_size_v2", slot.buffer)
        slot.placed = (pointer, size_bytes)
        if pointer:
            self._launch_blocks.append(pointer)
        return pointer, size_bytes

    def end_launch(self) -> None:
        """Free what was allocated for one launch, by us or by the device."""
        for slot in self._outputs:
            if slot.placed == (0, 0):
                self._adopt_output(slot)
        while self._launch_blocks:
            self._memory.free(self._launch_blocks[-1])
            self._launch_blocks.pop()
        self._wanted = []


def _shape_of(argument: Argument, spec: TensorSpec, name: str) -> tuple[int, ...]:
    """Return the shape of an argument whose spec leaves axes open."""
    place = f"model {name!r}, input {spec.name!r}"
    wanted = f"the model's shape is {list(spec.shape)}"
    if isinstance(argument, Placed):
        assert argument.data is not None, "checked: a placed input has data"
        argument = argument.data
    if isinstance(argument, DeviceRange):
        n_elements = argument.size_bytes // _element_bytes(spec)
    else:
        view = memoryview(argument)
        if view.ndim == len(spec.shape) and (view.ndim > 1 or view.format not in ("B", "c")):
            shape = tuple(view.shape or ())
            if any(axis not in (-1, n) for axis, n in zip(spec.shape, shape, strict=True)):
                raise UsageError(f"{place}: found shape {list(shape)}, {wanted}")
            return shape
        n_elements = view.nbytes // _element_bytes(spec)
    if spec.shape.count(-1) > 1:
        raise UsageError(f"{place}: {wanted}: pass an array of its shape, not bytes")
    rest = prod(axis for axis in spec.shape if axis != -1)
    if rest == 0 or n_elements % rest:
        raise UsageError(f"{place}: found {n_elements} elements, {wanted}")
    return tuple(n_elements // rest if axis == -1 else axis for axis in spec.shape)


def _element_bytes(spec: TensorSpec) -> int:
    widths = {"bool": 1, "bytes": 1, "bfloat16": 2, "complex64": 8, "complex128": 16}
    digits = "".join(filter(str.isdecimal, spec.dtype))
    return widths.get(spec.dtype) or (int(digits) // 8 if digits else 1)
