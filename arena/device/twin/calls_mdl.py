"""``acl.mdl``: queries, loads, datasets and executions."""

import operator
import time
from collections.abc import Sequence
from typing import Any, Final

from arena.device.acl_codes import AclCode
from arena.device.acl_types import GEARS_INPUT, MallocPolicy
from arena.device.twin.binding import CallFailed, acl_call
from arena.device.twin.gears import choices_of, input_bytes, input_shapes, output_bytes
from arena.device.twin.load_config import LoadConfig, load_by_config
from arena.device.twin.loading import Memory, load_model, query_model, unload_model
from arena.device.twin.process import DataBuffer, Dataset, LoadedModel, Process
from arena.device.twin.streams import Stream, give_way
from arena.formats.om_tensors import GearsKind
from planner.model import TensorSpec

__all__ = ["ModelCalls"]

_SIZE_SLACK_BYTES: Final = 64
"""Executions accept buffers down to this much smaller than declared [1 in loading.py]."""
_PADDING_BYTES: Final = 32


class ModelCalls:
    """The functions of ``acl.mdl`` over one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._configs: dict[int, LoadConfig] = {}

    # ------------------------------------------------------------------ queries and loads

    @acl_call("s", failed=(0, 0))
    def query_size(self, path: str) -> tuple[int, int]:
        """Return work and weight bytes of a file."""
        sizes = query_model(self._process, path)
        return sizes.work_bytes, sizes.weight_bytes

    @acl_call("kk", failed=(0, 0))
    def query_size_from_mem(self, pointer: int, size: int) -> tuple[int, int]:
        """Return work and weight bytes of a model in host memory."""
        sizes = query_model(self._process, self._process.model_at(pointer, size))
        return sizes.work_bytes, sizes.weight_bytes

    @acl_call("s", failed=(0,))
    def load_from_file(self, path: str) -> int:
        """Load a file into memory of the system."""
        return load_model(self._process, path, Memory()).number

    @acl_call("kk", failed=(0,))
    def load_from_mem(self, pointer: int, size: int) -> int:
        """Load a model from host memory into memory of the system."""
        return load_model(self._process, self._process.model_at(pointer, size), Memory()).number

    @acl_call("skkkk", failed=(0,))
    def load_from_file_with_mem(
        self, path: str, work: int, work_size: int, weights: int, weight_size: int
    ) -> int:
        """Load a file into memory of the caller."""
        memory = Memory(work, work_size, weights, weight_size)
        return load_model(self._process, path, memory).number

    @acl_call("kkkkkk", failed=(0,))
    def load_from_mem_with_mem(
        self, pointer: int, size: int, work: int, work_size: int, weights: int, weight_size: int
    ) -> int:
        """Load a model from host memory into memory of the caller."""
        memory = Memory(work, work_size, weights, weight_size)
        return load_model(self._process, self._process.model_at(pointer, size), memory).number

    @acl_call("I")
    def unload(self, number: int) -> None:
        """Unload a model."""
        unload_model(self._process, number)

    # ------------------------------------------------------------------ loads by a config handle

    @acl_call(bare=True, failed=(0,))
    def create_config_handle(self) -> int:
        """Create an empty load configuration."""
        return self._process.keep(self._configs, LoadConfig())

    def _config(self, handle: int) -> LoadConfig:
        return self._process.get(self._configs, handle, AclCode.INVALID_PARAM, "load configuration")

    @acl_call("kiO")
    def set_config_opt(self, handle: int, attribute: int, value: Any) -> None:
        """Set one attribute of a load configuration."""
        LoadConfig.check_type(attribute, value)
        self._config(handle).set(attribute, value)

    @acl_call("k", failed=(0,))
    def load_with_config(self, handle: int) -> int:
        """Load as a configuration says; sets this thread's zero-copy option and leaves it so."""
        return load_by_config(self._process, self._config(handle)).number

    @acl_call("k")
    def destroy_config_handle(self, handle: int) -> None:
        """Forget a load configuration."""
        self._process.drop(self._configs, handle, AclCode.INVALID_PARAM, "load configuration")

    # ------------------------------------------------------------------ datasets

    @acl_call(bare=True, failed=(0,))
    def create_dataset(self) -> int:
        """Create an empty dataset."""
        return self._process.keep(self._process.datasets, Dataset())

    @acl_call("k")
    def destroy_dataset(self, dataset: int) -> None:
        """Forget a dataset; its buffers stay."""
        self._process.drop(self._process.datasets, dataset, AclCode.INVALID_PARAM, "dataset")

    def _dataset(self, handle: int) -> Dataset:
        return self._process.get(self._process.datasets, handle, AclCode.INVALID_PARAM, "dataset")

    def _buffer(self, handle: int) -> DataBuffer:
        return self._process.get(
            self._process.buffers, handle, AclCode.INVALID_PARAM, "data buffer"
        )

    @acl_call("kk", echo=True)
    def add_dataset_buffer(self, dataset: int, buffer: int) -> None:
        """Append a data buffer to a dataset."""
        self._dataset(dataset).buffers.append(self._buffer(buffer))

    @acl_call("k", bare=True, failed=(0,))
    def get_dataset_num_buffers(self, dataset: int) -> int:
        """Return the number of buffers of a dataset."""
        return len(self._dataset(dataset).buffers)

    @acl_call("kk", bare=True, failed=(0,))
    def get_dataset_buffer(self, dataset: int, index: int) -> int:
        """Return a data buffer of a dataset; 0 if there is none."""
        buffers = self._dataset(dataset).buffers
        wanted = buffers[index] if index < len(buffers) else None
        return next((handle for handle, kept in self._process.buffers.items() if kept is wanted), 0)

    # ------------------------------------------------------------------ choices before execution

    @acl_call("kkk", echo=True)
    def set_dataset_tensor_desc(self, dataset: int, tensor: int, index: int) -> None:
        """Say the shape of one input or output of undetermined shape."""
        dims = self._process.get(
            self._process.tensors, tensor, AclCode.INVALID_PARAM, "tensor description"
        )
        target = self._dataset(dataset)
        if index >= len(target.buffers):
            raise CallFailed(AclCode.INVALID_PARAM, f"index {index} of {len(target.buffers)}")
        target.dims[index] = dims

    @acl_call("IkkK")
    def set_dynamic_batch_size(self, number: int, dataset: int, index: int, batch: int) -> None:
        """Choose the batch size of the next executions."""
        self._choose(number, dataset, index, GearsKind.BATCH, (batch,))

    @acl_call("IkkKK")
    def set_dynamic_hw_size(
        self, number: int, dataset: int, index: int, height: int, width: int
    ) -> None:
        """Choose the image size of the next executions."""
        self._choose(number, dataset, index, GearsKind.HW, (height, width))

    @acl_call("IkkO")
    def set_input_dynamic_dims(self, number: int, dataset: int, index: int, dims: Any) -> None:
        """Choose the axes of all inputs, one after another, of the next executions."""
        om = self._process.model(number).image.om
        try:
            axes = tuple(operator.index(axis) for axis in dims["dims"])
            given = operator.index(dims["dimCount"])
        except (TypeError, KeyError, IndexError):
            raise CallFailed(AclCode.INVALID_PARAM, f"{dims!r} are no dims") from None
        choices = choices_of(om, GearsKind.DIMS)
        rows = {sum(input_shapes(om, choice), ()): choice for choice in choices}
        self._choose(number, dataset, index, GearsKind.DIMS, rows.get(axes[:given], axes))

    def _choose(
        self, number: int, dataset: int, index: int, kind: GearsKind, choice: tuple[int, ...]
    ) -> None:
        model = self._process.model(number)
        om = model.image.om
        choices = choices_of(om, kind)
        if choice not in choices:
            raise CallFailed(
                AclCode.GE_DYNAMIC_BATCH_SIZE_INVALID, f"{choice} is none of the gears {choices}"
            )
        if index >= len(om.inputs) or om.inputs[index].name != GEARS_INPUT:
            raise CallFailed(AclCode.INVALID_PARAM, f"input {index} is not {GEARS_INPUT}")
        target = self._dataset(dataset)
        if index >= len(target.buffers) or target.buffers[index].pointer == 0:
            raise CallFailed(AclCode.INVALID_PARAM, f"input {index} has no memory to write to")
        target.gear = model.gear = choice

    # ------------------------------------------------------------------ executions

    @acl_call("Ikk")
    def execute(self, number: int, inputs: int, outputs: int) -> None:
        """Execute a model and wait for it, in this thread."""
        model, given, taken = self._prepare(number, inputs, outputs)
        for index, buffer in enumerate(taken):
            if buffer.pointer == 0:
                self._supply_output(model, index, buffer, given)
        execution = model.execution(self._dataset(inputs).gear, given, taken)
        self._process.run(model, execution, _pause)

    @acl_call("Ikkk")
    def execute_async(self, number: int, inputs: int, outputs: int, stream: int) -> None:
        """Execute a model in a stream's order; buffers are read from the datasets now."""
        target = self._process.stream(stream)
        model, given, taken = self._prepare(number, inputs, outputs)
        if any(buffer.pointer == 0 for buffer in taken):
            raise CallFailed(AclCode.GE_PARAM_INVALID, "an output has no memory")
        execution = model.execution(self._dataset(inputs).gear, given, taken)

        def run(running: Stream) -> None:
            self._process.run(model, execution, running.pause)

        target.submit(run)

    def _prepare(
        self, number: int, inputs: int, outputs: int
    ) -> tuple[LoadedModel, list[DataBuffer], list[DataBuffer]]:
        """Return model and buffers after every check that the graph engine makes at the call."""
        model = self._process.model(number)
        om = model.image.om
        given, taken = self._dataset(inputs), self._dataset(outputs)
        if om.gears is not None and not given.gear:
            raise CallFailed(
                AclCode.GE_DYNAMIC_BATCH_SIZE_INVALID, f"no gear was chosen ({om.gears})"
            )
        for what, buffers, specs, at_gear in (
            ("input", given.buffers, om.inputs, input_bytes),
            ("output", taken.buffers, om.outputs, output_bytes),
        ):
            if len(buffers) != len(specs):
                raise CallFailed(
                    AclCode.GE_PARAM_INVALID,
                    f"{len(buffers)} {what} buffers, the model has {len(specs)}",
                )
            exact = at_gear(om, given.gear) if om.gears else [spec.size_bytes for spec in specs]
            # With gears a device looks at no size and reads beyond: the twin has no slack there.
            slack = 0 if om.gears else _SIZE_SLACK_BYTES
            for index, (buffer, needed) in enumerate(zip(buffers, exact, strict=True)):
                if buffer.pointer and buffer.size_bytes < needed - slack:
                    raise CallFailed(
                        AclCode.GE_PARAM_INVALID,
                        f"{what} {index} has {buffer.size_bytes} bytes, needs {needed}",
                    )
        for index, (buffer, spec) in enumerate(zip(given.buffers, om.inputs, strict=True)):
            if buffer.pointer == 0 and spec.size_bytes:
                raise CallFailed(AclCode.GE_PARAM_INVALID, f"input {index} has no memory")
            if om.gears is None:
                _check_dims(index, spec, given.dims.get(index))
        return model, given.buffers, taken.buffers

    def _supply_output(
        self, model: LoadedModel, index: int, buffer: DataBuffer, inputs: Sequence[DataBuffer]
    ) -> None:
        """Give an output without memory some of the device's, which the caller has to free."""
        size = model.image.om.outputs[index].size_bytes or sum(i.size_bytes for i in inputs)
        if size:
            block = model.context.device.memory.allocate(
                size, MallocPolicy.HUGE_FIRST, tail_bytes=_PADDING_BYTES
            )
            buffer.pointer, buffer.size_bytes = block.pointer, size


def _pause(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)
    else:
        give_way()


def _check_dims(index: int, spec: TensorSpec, dims: tuple[int, ...] | None) -> None:
    """Fail unless an input of undetermined shape has got one that fits."""
    if -1 not in spec.shape:
        return
    fits = dims is not None and len(dims) == len(spec.shape)
    if not fits or any(
        wanted not in (-1, found) or found < 0
        for wanted, found in zip(spec.shape, dims or (), strict=True)
    ):
        raise CallFailed(
            AclCode.INVALID_PARAM,
            f"input {index} has shape {dims}, out of the model's range {spec.shape}",
        )
