"""The state of one process that uses a twin: devices, contexts, and everything behind a handle."""

import ctypes
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final, TypeVar

from arena.device.acl_codes import AclCode
from arena.device.acl_types import RunMode
from arena.device.twin.binding import CallFailed, ErrorText
from arena.device.twin.config import TwinConfig
from arena.device.twin.execution import Execution, run_execution
from arena.device.twin.gears import input_bytes, output_bytes
from arena.device.twin.images import ImageCache, ModelImage
from arena.device.twin.memory import Block, DeviceMemory, is_device_pointer
from arena.device.twin.streams import Event, Stream

__all__ = [
    "Context",
    "DataBuffer",
    "Dataset",
    "LoadedModel",
    "Process",
    "TwinDevice",
    "installed",
]

T = TypeVar("T")
_FIRST_HANDLE: Final = 0x7000_0000_0000
_HANDLE_STEP: Final = 0x40


class TwinDevice:
    """One device of the process.

    Attributes
    ----------
    memory : DeviceMemory
    n_streams : int
        Streams taken now, those of contexts and loaded models included.
    n_executions, n_damaged : int
        Executions that ended, and how many of them found their work buffer overwritten.
    """

    def __init__(self, config: TwinConfig, number: int) -> None:
        self.number = number
        self.memory = DeviceMemory(config, number)
        self.n_streams = 0
        self.n_executions = 0
        self.n_damaged = 0
        self.primary: Context | None = None
        self.n_set = 0
        self._streams_max = config.streams_max
        self._lock = threading.Lock()

    def take_streams(self, count: int) -> None:
        """Count streams as taken, or fail: 207008."""
        with self._lock:
            if self.n_streams + count > self._streams_max:
                raise CallFailed(
                    AclCode.RT_NO_STREAM_RESOURCE,
                    f"{count} streams wanted, {self._streams_max - self.n_streams} of "
                    f"{self._streams_max} are free on device {self.number}",
                )
            self.n_streams += count

    def give_streams(self, count: int) -> None:
        """Count streams as given back."""
        with self._lock:
            self.n_streams -= count

    def count_execution(self, *, intact: bool) -> None:
        """Count an execution that ended."""
        with self._lock:
            self.n_executions += 1
            self.n_damaged += not intact


@dataclass(eq=False, slots=True)
class Context:
    """A context: what models and streams belong to."""

    handle: int
    device: TwinDevice
    default_stream: Stream


@dataclass(eq=False, slots=True)
class DataBuffer:
    """An ``aclDataBuffer``: device memory described, not owned."""

    pointer: int
    size_bytes: int


@dataclass(eq=False, slots=True)
class Dataset:
    """An ``aclmdlDataset``.

    Attributes
    ----------
    dims : dict of int to tuple of int
        Shapes that the caller set for inputs of undetermined shape, by index.
    gear : tuple of int
        What the caller chose of a model's gears; empty before.
    """

    buffers: list[DataBuffer] = field(default_factory=list)
    dims: dict[int, tuple[int, ...]] = field(default_factory=dict)
    gear: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class LoadedModel:
    """One loaded model: where its work and weights lie, and what the device took for it.

    Attributes
    ----------
    gear : tuple of int
        What was chosen last, for whichever dataset; empty before.
    """

    number: int
    image: ModelImage
    context: Context
    work: tuple[int, int]
    weights: tuple[int, int]
    owned: Sequence[Block]
    gear: tuple[int, ...] = ()

    def execution(
        self, gear: tuple[int, ...], inputs: Sequence[DataBuffer], outputs: Sequence[DataBuffer]
    ) -> Execution:
        """Return the execution of this model on the given buffers.

        Inputs that the run time fills are not read: their content is the device's business. At a
        gear buffers may be larger than what is read and written.
        """
        om = self.image.om
        read = input_bytes(om, gear) if gear else [buffer.size_bytes for buffer in inputs]
        written = output_bytes(om, gear) if gear else [buffer.size_bytes for buffer in outputs]
        return Execution(
            self.image.identity + repr(gear).encode(),
            self.work,
            self.weights,
            [
                (buffer.pointer, min(size, buffer.size_bytes))
                for buffer, size, spec in zip(inputs, read, om.inputs, strict=True)
                if spec.name not in om.hidden_inputs
            ],
            [
                (buffer.pointer, min(size, buffer.size_bytes))
                for buffer, size in zip(outputs, written, strict=True)
            ],
        )


class Process:
    """Everything that AscendCL keeps for one process.

    Attributes
    ----------
    config : TwinConfig
    devices : tuple of TwinDevice
    errors : ErrorText
    initialised : bool
    contexts, streams, events, models, datasets, buffers, tensors : dict
        What is alive, by handle; models by model id.
    n_loads : int
        Loads so far: the last model id.
    """

    def __init__(self, config: TwinConfig) -> None:
        self.config = config
        self.devices = tuple(TwinDevice(config, number) for number in range(config.n_devices))
        self.errors = ErrorText()
        self.images = ImageCache()
        self.initialised = False
        self.contexts: dict[int, Context] = {}
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Event] = {}
        self.models: dict[int, LoadedModel] = {}
        self.datasets: dict[int, Dataset] = {}
        self.buffers: dict[int, DataBuffer] = {}
        self.tensors: dict[int, tuple[int, ...]] = {}
        self.n_loads = 0
        self.lock = threading.RLock()
        self._handles = itertools.count(_FIRST_HANDLE, _HANDLE_STEP)
        self._local = threading.local()

    # ------------------------------------------------------------------ handles

    def new_handle(self) -> int:
        """Return a number that no pointer and no other handle of this process equals."""
        return next(self._handles)

    def keep(self, table: dict[int, T], thing: T) -> int:
        """Put `thing` into a table under a new handle, and return the handle."""
        handle = self.new_handle()
        table[handle] = thing
        return handle

    @staticmethod
    def get(table: dict[int, T], handle: int, code: AclCode, what: str) -> T:
        """Return what is alive under a handle, or fail with `code`."""
        try:
            return table[handle]
        except KeyError:
            raise CallFailed(code, f"{handle:#x} is no live {what}") from None

    @staticmethod
    def drop(table: dict[int, T], handle: int, code: AclCode, what: str) -> T:
        """Remove and return what is alive under a handle, or fail with `code`."""
        try:
            return table.pop(handle)
        except KeyError:
            raise CallFailed(code, f"{handle:#x} is no live {what}") from None

    # ------------------------------------------------------------------ devices and contexts

    def device(self, number: int) -> TwinDevice:
        """Return a device by its number, or fail: 107001."""
        if not 0 <= number < len(self.devices):
            raise CallFailed(
                AclCode.RT_INVALID_DEVICEID,
                f"device {number}; this process sees {len(self.devices)}",
            )
        return self.devices[number]

    def require_initialised(self, code: AclCode) -> None:
        """Fail with `code` before ``acl.init`` and after ``acl.finalize``."""
        if not self.initialised:
            raise CallFailed(code, "acl.init has not been called")

    def open_context(self, device: TwinDevice) -> Context:
        """Create a context on a device and return it."""
        device.take_streams(1)
        handle = self.new_handle()
        context = Context(handle, device, Stream(handle, f"twin-stream-{handle:x}"))
        self.contexts[handle] = context
        return context

    def close_context(self, context: Context) -> None:
        """Destroy a context with its streams; threads that had it current have none."""
        del self.contexts[context.handle]
        for handle, stream in list(self.streams.items()):
            if stream.context == context.handle:
                del self.streams[handle]
                stream.destroy(force=True)
                context.device.give_streams(1)
        context.default_stream.destroy(force=True)
        context.device.give_streams(1)

    def set_current(self, context: Context) -> None:
        """Make a context this thread's."""
        self._local.context = context.handle

    def current(self) -> Context:
        """Return this thread's context, or fail: 107002."""
        context = self.contexts.get(getattr(self._local, "context", 0))
        if context is None:
            raise CallFailed(AclCode.RT_CONTEXT_NULL, "this thread has no current context")
        return context

    @property
    def reuse_zero_copy(self) -> bool:
        """The thread's option ``ge.exec.reuseZeroCopyMemory``, which config loads leave set."""
        return bool(getattr(self._local, "reuse_zero_copy", False))

    @reuse_zero_copy.setter
    def reuse_zero_copy(self, value: bool) -> None:
        self._local.reuse_zero_copy = value

    # ------------------------------------------------------------------ streams and models

    def stream(self, handle: int) -> Stream:
        """Return a stream of the current context (0: its default stream), or fail."""
        context = self.current()
        if handle == 0:
            return context.default_stream
        stream = self.get(self.streams, handle, AclCode.RT_PARAM_INVALID, "stream")
        if stream.context != context.handle:
            raise CallFailed(
                AclCode.RT_STREAM_CONTEXT, f"stream {handle:#x} belongs to another context"
            )
        return stream

    def model(self, number: int) -> LoadedModel:
        """Return a model of the current context, or fail: 145003, 107004."""
        context = self.current()
        model = self.get(self.models, number, AclCode.GE_EXEC_MODEL_ID_INVALID, "model")
        if model.context is not context:
            raise CallFailed(
                AclCode.RT_MODEL_CONTEXT, f"model {number} was loaded in another context"
            )
        return model

    def model_at(self, pointer: int, size_bytes: int) -> memoryview:
        """Return a model's bytes in the memory of the side that the application runs on."""
        if size_bytes == 0:
            raise CallFailed(AclCode.INVALID_PARAM, "model size is 0")
        on_board = self.config.run_mode is RunMode.DEVICE
        if on_board:
            memory = self.current().device.memory
            code = AclCode.GE_PARAM_INVALID
            return memory.require(pointer, size_bytes, code, "model in device memory").view
        if pointer == 0 or is_device_pointer(pointer):
            raise CallFailed(AclCode.INVALID_PARAM, f"model at {pointer:#x} is no host memory")
        return memoryview((ctypes.c_char * size_bytes).from_address(pointer)).cast("B")

    def run(self, model: LoadedModel, execution: Execution, pause: Callable[[float], None]) -> None:
        """Run one execution of a model and count it."""
        device = model.context.device
        intact = run_execution(
            execution,
            device.memory,
            slices=self.config.slices,
            duration_s=self.config.step_ns_of(model.image.om.name) * 1e-9,
            pause=pause,
        )
        device.count_execution(intact=intact)


@contextmanager
def installed(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Let ``import acl`` find the given modules; every earlier ``acl`` entry comes back after."""

    def owned() -> list[str]:
        return [name for name in sys.modules if name == "acl" or name.startswith("acl.")]

    before = {name: sys.modules.pop(name) for name in owned()}
    sys.modules.update({module.__name__: module for module in modules})
    try:
        yield
    finally:
        for name in owned():
            del sys.modules[name]
        sys.modules.update(before)
