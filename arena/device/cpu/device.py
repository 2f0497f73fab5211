"""The CPU device: compiled networks executed by ONNX Runtime, at the pointers of a plan.

        caller's work memory                 caller's weight memory
    +---------------------------+        +-----------------------------+
    | activations and scratch,  |        | payload of the .arena file, |
    | each at its offset        |        | used in place, read-only    |
    +---------------------------+        +-----------------------------+
         one per instance                  one session of the runtime,
                                           shared by its instances

Inputs and outputs lie outside, as on an accelerator: host buffers are copied (inputs) or made
(outputs) for each launch, device ranges are used where they are.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from arena.device.base import (
    Argument,
    DeviceRange,
    EventId,
    Launch,
    LoadOptions,
    MemoryInfo,
    ModelDescription,
    ModelHandle,
    ModelSource,
    Placed,
    StreamId,
)
from arena.device.cpu.arguments import EMPTY_POINTER, input_pointer, output_pointer
from arena.device.cpu.loading import Instance, LoadedModels, Way, opened, this_machine
from arena.device.cpu.memory import HostMemory
from arena.device.cpu.runtime import runtime, shielded
from arena.device.cpu.streams import Launcher, Stream, Task
from arena.errors import DeviceError
from arena.formats.arena_file import read_header
from arena.formats.arena_header import ALIGN_BYTES
from planner.errors import UsageError
from planner.model import PAGE_BYTES, TensorSpec

__all__ = ["CpuDevice"]

K = TypeVar("K", bound=int)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Lane:
    """One stream, its last execution, and the failed ones that nobody has been told of."""

    stream: Stream
    last: Task | None = None
    failed: list[Task] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Execution:
    """One launch; what it reads and writes stays alive until it is over."""

    model: ModelHandle
    stream: StreamId
    task: Task
    outputs: tuple[bytearray | None, ...]


class CpuDevice:
    """Host memory and ONNX Runtime behind the device port.

    Parameters
    ----------
    memory_bytes : int or None
        What the device has; None: the machine's physical memory.

    Notes
    -----
    A stream is a thread of its own. Weights are shared, and read-only page by page, while a model
    that lies in them is loaded; writing there, or freeing what a model uses, is refused. Load
    options have no meaning here.
    """

    name = "cpu"
    page_bytes = PAGE_BYTES
    align_bytes = ALIGN_BYTES

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._memory = HostMemory(memory_bytes)
        self._models = LoadedModels(self._memory)
        self._ids = itertools.count(1)
        self._is_open = False
        self._launcher = Launcher()
        self._lanes: dict[StreamId, _Lane] = {}
        self._events: dict[EventId, Task] = {}

    def open(self) -> None:
        """Load the runtime; idempotent.

        Raises
        ------
        DeviceError
            It is not installed, or too old.
        """
        runtime()
        self._is_open = True

    def close(self) -> None:
        """End all streams; refuses while models or memory are out; idempotent."""
        loaded = [instance.name for instance in self._models.instances.values()]
        if loaded or self._memory.blocks:
            raise UsageError(
                f"close of device 'cpu' with {len(loaded)} models loaded ({', '.join(loaded)}) and "
                f"{len(self._memory.blocks)} blocks of memory out: unload and free them first"
            )
        while self._lanes:
            self._lanes.popitem()[1].stream.close()
        self._events.clear()
        self._is_open = False

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory; what is out counts in pages of 2 MiB."""
        return self._memory.info()

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block of zeros."""
        self._require_open("alloc")
        return self._memory.alloc(size_bytes)

    def free(self, memory: DeviceRange) -> None:
        """Give back what `alloc` returned; refused while a loaded model lies in it."""
        self._models.free(memory)

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte to `value`; refused where weights are in use."""
        if not 0 <= value <= 255:
            raise UsageError(f"fill with {value}: expected 0 to 255")
        self._memory.require(memory, "fill")
        self._models.require_no_weights(memory, "fill")
        ctypes.memset(memory.pointer, value, memory.size_bytes)

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        """Return work and weight bytes out of the file's header; nothing is loaded."""
        with opened(source) as file:
            model, _ = read_header(file)
        return model.work_bytes, model.weight_bytes

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = LoadOptions(),  # noqa: B008 - a frozen value
    ) -> ModelHandle:
        """Load a compiled network into the given memory, or into memory of the device's own.

        The payload is read straight into `weights`, its digest compared, and its pages made
        read-only. Where the same payload lies at the same pointer already, nothing is read and the
        session is shared.

        Raises
        ------
        DeviceError
            The file was compiled for another runtime or machine; memory is misaligned, too small or
            in use by other weights; the file is altered; the runtime refuses it. Nothing changed,
            but what was read into `weights`.
        FormatError
            The file is no compiled network.
        UsageError
            The memory is not this device's.
        """
        del options
        self._require_open("load")
        return shielded(lambda: self._models.load(source, work, weights), undo=self.unload)

    def unload(self, model: ModelHandle) -> None:
        """Unload; the last instance of a session takes the session with it."""
        instance = self._instance(model)
        if _is_busy(instance.last):
            raise UsageError(f"unload of model {instance.name!r} while it executes")
        self._models.unload(model, instance)

    def describe(self, model: ModelHandle) -> ModelDescription:
        """Return inputs and outputs, in the order in which `launch` takes them."""
        return self._instance(model).description

    def io_bytes(self, model: ModelHandle) -> int:
        """Return 0: inputs and outputs stay where the caller has them, in host memory."""
        self._instance(model)
        return 0

    def streams_free(self) -> int | None:
        """Return None: a stream is a thread."""
        return None

    def create_stream(self) -> StreamId:
        """Return a new stream, a thread of its own."""
        self._require_open("create_stream")
        stream = StreamId(next(self._ids))
        self._lanes[stream] = _Lane(Stream(f"npu-arena stream {stream}"))
        return stream

    def destroy_stream(self, stream: StreamId) -> None:
        """End a stream on which nothing runs."""
        lane = self._lane(stream)
        if _is_busy(lane.last):
            raise UsageError(f"destroy of stream {stream} while it executes: synchronize it first")
        del self._lanes[stream]
        lane.stream.close()

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        """Start one execution on the stream's thread; see the port.

        Raises
        ------
        UsageError
            An argument is not what the model was compiled for: names the tensor, and both types and
            shapes.
        """
        instance = self._instance(model)
        lane = self._lane(stream)
        if _is_busy(instance.last):
            raise UsageError(
                f"launch of model {instance.name!r} while it executes: finish it first"
            )
        try:
            compiled = instance.description.at(gear)
        except UsageError as error:
            raise UsageError(f"model {instance.name!r}: {error}") from None
        way = instance.ways[gear]
        for what, found, specs in (
            ("inputs", inputs, compiled.inputs),
            ("outputs", outputs, compiled.outputs),
        ):
            if len(found) != len(specs):
                raise UsageError(
                    f"model {instance.name!r}: {len(found)} {what}, expected {len(specs)}: "
                    f"{', '.join(spec.name for spec in specs)}"
                )
        made = tuple(
            bytearray(spec.size_bytes) if _wants_bytes(given) else None
            for given, spec in zip(outputs, compiled.outputs, strict=True)
        )
        used = [self._input(instance, *pair) for pair in zip(compiled.inputs, inputs, strict=True)]
        used += [
            self._output(instance, spec, own if given is None else given)
            for spec, given, own in zip(compiled.outputs, outputs, made, strict=True)
        ]
        copies = [
            self._copy_out(instance, spec, given, own)
            for spec, given, own in zip(compiled.outputs, outputs, made, strict=True)
            if isinstance(given, Placed)
        ]

        def work() -> None:
            try:
                _execute(instance, way, [pointer for pointer, _ in used])
                for copy in copies:
                    copy()
            except Exception:
                lane.failed.append(task)
                raise
            finally:
                used.clear()  # host buffers are the caller's again
                copies.clear()

        task = instance.last = lane.last = Task(work)
        self._launcher.launch(lane.stream, task)
        return _Execution(model, stream, task, made)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution; raises what failed in it."""
        if not isinstance(launch, _Execution):
            raise UsageError(f"finish of {launch!r}: not a launch of device 'cpu'")
        lane = self._lanes.get(launch.stream)
        if lane is not None:  # a destroyed stream has ended all it had
            self._launcher.finish(lane.stream, launch.task)
        if launch.task.error is not None:
            if lane is not None and launch.task in lane.failed:
                lane.failed.remove(launch.task)
            raise launch.task.error
        return launch.outputs

    def synchronize(self, stream: StreamId) -> None:
        """Wait for everything launched on `stream`; raises the first failure not yet raised."""
        lane = self._lane(stream)
        self._launcher.start_pending()
        lane.stream.synchronize()
        failed, lane.failed = lane.failed, []
        for task in failed:
            assert task.error is not None, "only failed tasks are kept"
            raise task.error

    def record_event(self, stream: StreamId) -> EventId:
        """Return an event that completes when all earlier work of `stream` has ended."""
        self._launcher.start_pending()
        lane, event = self._lane(stream), EventId(next(self._ids))
        self._events[event] = Task(lambda: None)
        lane.stream.submit(self._events[event])
        return event

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of `stream` wait for `event`."""
        self._launcher.start_pending()
        self._lane(stream).stream.submit(Task(_known(self._events, event, "event").wait))

    def destroy_event(self, event: EventId) -> None:
        """Release an event; who waits for it already goes on waiting."""
        _known(self._events, event, "event")
        del self._events[event]

    def _require_open(self, call: str) -> None:
        if not self._is_open:
            raise UsageError(f"{call} on device 'cpu', which is closed: call open first")

    def _instance(self, model: ModelHandle) -> Instance:
        return _known(self._models.instances, model, "model")

    def _lane(self, stream: StreamId) -> _Lane:
        return _known(self._lanes, stream, "stream")

    def _input(
        self, instance: Instance, spec: TensorSpec, argument: Argument
    ) -> tuple[int, object]:
        where = f"model {instance.name!r}, input {spec.name!r}"
        if isinstance(argument, Placed):
            return self._placed_input(where, spec, argument)
        if isinstance(argument, DeviceRange):
            return self._range_pointer(where, spec, argument)
        return input_pointer(where, spec, argument)

    def _placed_input(self, where: str, spec: TensorSpec, argument: Placed) -> tuple[int, object]:
        """Copy a host input to its place."""
        if argument.data is None:
            raise UsageError(f"{where}: found a place without data")
        source, kept = input_pointer(where, spec, argument.data)
        self._models.require_no_weights(argument.memory, where)
        pointer, _ = self._range_pointer(where, spec, argument.memory)
        ctypes.memmove(pointer, source, spec.size_bytes)
        del kept  # until here the source was alive
        return pointer, None

    def _copy_out(
        self, instance: Instance, spec: TensorSpec, argument: Placed, own: bytearray | None
    ) -> Callable[[], object]:
        """Return what copies an output from its place to the host."""
        where = f"model {instance.name!r}, output {spec.name!r}"
        target = own if argument.data is None else argument.data
        assert target is not None, "launch made a buffer where none was given"
        pointer, kept = output_pointer(where, spec, target)
        source = argument.memory.pointer
        return lambda: (ctypes.memmove(pointer, source, spec.size_bytes), kept)

    def _output(
        self, instance: Instance, spec: TensorSpec, argument: Argument | None
    ) -> tuple[int, object]:
        where = f"model {instance.name!r}, output {spec.name!r}"
        assert argument is not None, "launch made a buffer where none was given"
        if isinstance(argument, Placed):
            argument = argument.memory
        if isinstance(argument, DeviceRange):
            self._models.require_no_weights(argument, where)
            return self._range_pointer(where, spec, argument)
        return output_pointer(where, spec, argument)

    def _range_pointer(
        self, where: str, spec: TensorSpec, memory: DeviceRange
    ) -> tuple[int, object]:
        if memory.size_bytes != spec.size_bytes:
            raise UsageError(
                f"{where}: {memory} has {memory.size_bytes} bytes, expected {spec.size_bytes} "
                f"({spec.dtype} {list(spec.shape)})"
            )
        if not memory.size_bytes:
            return EMPTY_POINTER, None
        self._memory.require(memory, where)
        return memory.pointer, None


def _wants_bytes(output: Argument | None) -> bool:
    """Return whether `finish` is to return an output as bytes of its own."""
    return output is None or (isinstance(output, Placed) and output.data is None)


def _is_busy(task: Task | None) -> bool:
    return task is not None and not task.is_over


def _known(table: dict[K, T], key: K, what: str) -> T:
    try:
        return table[key]
    except KeyError:
        raise UsageError(f"device 'cpu' has no {what} {key}: it never had, or it is gone") from None


def _execute(instance: Instance, way: Way, pointers: Sequence[int]) -> None:
    """Run once; an error says whose execution it was, and where it left its plan if it did."""
    try:
        try:
            way.network.run(way.placement, pointers)
        finally:
            departure = way.placement.finish()
    except DeviceError as error:
        raise DeviceError(
            f"model {instance.name!r}: {error}", call=error.call, code=error.code
        ) from None
    if departure:
        raise DeviceError(
            f"model {instance.name!r} left its plan: {departure}; it was compiled for "
            f"{instance.model.compiled_for}, this is {this_machine()}: its outputs are void, "
            "compile it again here (arena compile)",
            call="Run",
        )
