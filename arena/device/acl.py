"""The `acl` device: Ascend through pyACL, and the twin through the same code.

    open ── alloc ── load ── launch ── finish ── unload ── free ── close
     │                        │          └ synchronize the stream, copy outputs out
     │                        └ copy inputs in, execute_async
     └ acl.init, set_device, create_context; or nothing at all where the context is borrowed

The only file that imports ``acl``. A borrowed context and its streams belong to the application:
they are used, and never initialised, reset, destroyed or finalised here.

The binding holds the interpreter lock during `execute` and releases it while a stream is
synchronised: hence `execute_async` and `synchronize_stream`. Nothing here has run on hardware yet;
the binding's source, the vendor's documents and the twin are what it was written against.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Final

from arena.device.acl_calls import AclCalls
from arena.device.acl_context import AclContext, EnteredContext
from arena.device.acl_io import InstanceIo
from arena.device.acl_load import load_model
from arena.device.acl_memory import AclMemory
from arena.device.acl_models import LoadedModel, describe_model, located
from arena.device.acl_properties import read_properties
from arena.device.acl_streams import AclLaunch, AclStreams
from arena.device.acl_types import DEVICE_NAME
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
    StreamId,
)
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.model import DEFAULT_RULE, PAGE_BYTES

__all__ = ["AclDevice", "import_acl"]

_DEFAULT_OPTIONS: Final = LoadOptions()


class AclDevice:
    """One Ascend device of this process; a `Device`.

    Parameters
    ----------
    device_id : int
        As ``npu-smi info`` numbers them; of no effect with a borrowed context.
    context : int or None
        A context of the application's to use. None: one of our own.
    streams : sequence of int
        Streams of the application's, in that context; their `StreamId` is their handle.
    timeout_s : float or None
        Longest wait for a stream; None: for ever.
    acl : module or None
        A module with pyACL's functions, such as a twin's; None: ``acl`` itself.
    name : str or None
        The port's `name`; None: what the module says that it is, ``acl`` where it says nothing.

    Raises
    ------
    DeviceError
        ``acl`` cannot be imported; says what to install.
    UsageError
        An argument is out of its range. Caused by the caller.
    """

    def __init__(
        self,
        device_id: int = 0,
        *,
        context: int | None = None,
        streams: Sequence[int] = (),
        timeout_s: float | None = None,
        acl: ModuleType | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 <= device_id < 1 << 31:
            raise UsageError(f"device id is {device_id}, expected 0 or more")
        if streams and context is None:
            raise UsageError("borrowed streams need the borrowed context that they belong to")
        if timeout_s is not None and not 0.001 <= timeout_s <= 2_147_483:
            raise UsageError(f"timeout is {timeout_s} s, expected 0.001 to 2147483, or None")
        module = import_acl() if acl is None else acl
        # A twin under an application of its own must not pass for hardware.
        self._name = str(getattr(module, DEVICE_NAME, "acl") if name is None else name)
        self._calls = AclCalls(module)
        self._context = AclContext(module, self._calls, device_id, context)
        self._borrowed_streams = tuple(streams)
        self._streams = AclStreams(
            self._calls, -1 if timeout_s is None else round(timeout_s * 1000)
        )
        self._memory_calls: AclMemory | None = None
        self._blocks: dict[DeviceRange, int] = {}
        self._models: dict[ModelHandle, LoadedModel] = {}
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """``acl``, or ``twin``."""
        return self._name

    @property
    def page_bytes(self) -> int:
        """Reservations round up to huge pages."""
        return PAGE_BYTES

    @property
    def align_bytes(self) -> int:
        """What compiled models align everything inside their buffers to."""
        return DEFAULT_RULE.align_bytes

    # ------------------------------------------------------------------ open and close

    def open(self) -> None:
        """Acquire the device; idempotent."""
        with self._lock:
            if self._context.handle:
                return
            self._context.open()
            try:
                with self._context.entered():
                    self._memory_calls = AclMemory(self._calls)
            except DeviceError:
                self._context.close()
                raise
            for handle in self._borrowed_streams:
                self._streams.borrow(handle)

    def close(self) -> None:
        """Release what `open` acquired; refuses while anything is out; idempotent."""
        with self._lock:
            if not self._context.handle:
                return
            out = {
                "models": len(self._models),
                "blocks of memory": len(self._blocks),
                "streams": self._streams.n_streams,
                "events": self._streams.n_events,
            }
            if any(out.values()):
                left = ", ".join(f"{count} {what}" for what, count in out.items() if count)
                raise UsageError(f"device {self._name!r} cannot close: {left} are still out")
            self._streams.forget()
            self._memory_calls = None
            self._context.close()

    def _entered(self) -> EnteredContext:
        if not self._context.handle:
            raise UsageError(f"device {self._name!r} is not open")
        return self._context.entered()

    @contextmanager
    def _entered_to_wait(self) -> Iterator[None]:
        """Enter the context to wait for executions: where that fails, they may still run."""
        entered = self._entered()
        try:
            entered.__enter__()
        except DeviceError as error:
            error.unsettled = True
            raise
        with ExitStack() as stack:
            stack.push(entered.__exit__)
            yield

    @property
    def _memory(self) -> AclMemory:
        assert self._memory_calls is not None, "the context is entered first, so it is open"
        return self._memory_calls

    def soc_name(self) -> str:
        """Return the chip's name, such as ``Ascend310P3``; empty where the device does not say."""
        with self._entered():
            return str(self._calls.plain("get_soc_name") or "")

    def properties(self) -> dict[str, object]:
        """Return what the device tells about itself; see `read_properties`."""
        with self._entered():
            return read_properties(self._calls, self._memory)

    def device_count(self) -> int:
        """Return how many devices this process sees."""
        with self._entered():
            return int(self._calls.call("rt.get_device_count", what="counting devices"))

    # ------------------------------------------------------------------ memory

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory now."""
        with self._entered():
            return self._memory.info()

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block of exactly `size_bytes`, from a multiple of `align_bytes` on."""
        if not 0 < size_bytes < 1 << 62:
            raise UsageError(f"allocation of {size_bytes} bytes, expected 1 to 2^62 - 1")
        with self._entered():
            pointer, raw = self._memory.allocate(size_bytes, align_bytes=self.align_bytes)
        block = DeviceRange(pointer, size_bytes)
        self._blocks[block] = raw
        return block

    def free(self, memory: DeviceRange) -> None:
        """Give back what `alloc` returned; refused while a model is loaded into it."""
        with self._entered(), self._lock:
            raw = self._blocks.get(memory)
            if raw is None:
                raise UsageError(f"{memory} was not allocated here, or is free already")
            for model in list(self._models.values()):
                if any(_overlap(memory, part) for part in model.memory):
                    raise UsageError(
                        f"{memory} holds model {model.name!r}, which is still loaded: unload first"
                    )
            self._memory.free(raw)
            del self._blocks[memory]

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte of `memory` to `value`."""
        if not 0 <= value <= 255:
            raise UsageError(f"fill value is {value}, expected 0 to 255")
        with self._entered():
            self._memory.fill(memory.pointer, memory.size_bytes, value)

    # ------------------------------------------------------------------ models

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        """Return (work_bytes, weight_bytes) that a load of `source` needs."""
        what = f"model {source.name!r}: querying sizes"
        with self._entered(), located(source, self._memory) as place:
            if place.path:
                work, weights = self._calls.call("mdl.query_size", place.path, what=what)
            else:
                work, weights = self._calls.call(
                    "mdl.query_size_from_mem", place.pointer, place.size_bytes, what=what
                )
        return work, weights

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = _DEFAULT_OPTIONS,
    ) -> ModelHandle:
        """Load a model into the given memory; None: the system's."""
        given = (("work", work), ("weights", weights))
        for what, memory in given:
            if memory is not None and memory.pointer % self.align_bytes:
                raise UsageError(
                    f"model {source.name!r}: {what} {memory} does not start at a multiple of "
                    f"{self.align_bytes}"
                )
        text = f"model {source.name!r}: loading with " + ", ".join(
            f"{what} {memory or 'of the system'}" for what, memory in given
        )
        with self._entered():
            with located(source, self._memory) as place:
                enter = self._context.enter_for_good
                number = load_model(
                    self._calls, place, work, weights, options, enter=enter, what=text
                )
            try:
                described = describe_model(self._calls, number, source.name)
                io = InstanceIo(self._calls, self._memory, number, *described, source.name)
                if options.host_io:
                    io.reserve_or_destroy()
            except DeviceError:
                self._calls.attempt("mdl.unload", number)
                raise
        parts = tuple(memory for _, memory in given if memory is not None)
        model = ModelHandle(number)
        self._models[model] = LoadedModel(source.name, io, parts)
        return model

    def unload(self, model: ModelHandle) -> None:
        """Unload; the caller's memory stays the caller's."""
        with self._entered():
            state = self._model(model)
            if state.launch is not None and not state.launch.over:
                raise UsageError(
                    f"model {state.name!r} is executing: finish or synchronize before unloading"
                )
            if not state.unloaded:
                self._calls.call("mdl.unload", model, what=f"model {state.name!r}: unloading")
                state.unloaded = True
            state.io.destroy()
            del self._models[model]

    def describe(self, model: ModelHandle) -> ModelDescription:
        """Return inputs and outputs of a loaded model."""
        return self._model(model).io.description

    def io_bytes(self, model: ModelHandle) -> int:
        """Return the device memory that executing `model` with host arguments takes."""
        return self._model(model).io.block_bytes

    def _model(self, model: ModelHandle) -> LoadedModel:
        state = self._models.get(model)
        if state is None:
            raise UsageError(f"model {model} is not loaded on device {self._name!r}")
        return state

    # ------------------------------------------------------------------ executions

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        """Fill inputs, set the gear and start one execution."""
        state = self._model(model)
        self._streams.require(stream)
        if state.launch is not None and state.launch.hung:
            raise DeviceError(
                f"model {state.name!r} cannot run: its last execution did not end; unload it"
            )
        if state.launch is not None and not state.launch.over:
            raise UsageError(f"model {state.name!r} is executing: finish its launch first")
        state.io.check(inputs, outputs, gear)
        what = f"model {state.name!r}: executing"
        with self._entered():
            try:
                state.io.start_launch(inputs, outputs, gear)
                datasets = (state.io.input_dataset, state.io.output_dataset)
                if state.io.needs_waiting(outputs):
                    self._streams.wait(stream)
                    self._calls.call("mdl.execute", model, *datasets, what=what)
                else:
                    self._calls.call("mdl.execute_async", model, *datasets, stream, what=what)
            except BaseException:
                state.io.end_launch()
                raise
            leaves_outputs = any(not isinstance(wanted, DeviceRange) for wanted in outputs)
            launch = AclLaunch(model, stream, state.name, state.io, leaves_outputs)
            state.launch = launch
            self._streams.add(launch)
        return launch

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution and return its outputs."""
        with self._entered_to_wait():
            state = self._model(launch.model)
            if not isinstance(launch, AclLaunch) or launch is not state.launch:
                raise UsageError(f"model {state.name!r}: this launch is over, finished or failed")
            if launch.failure is not None:
                failure, launch.failure = launch.failure, None
                raise failure
            if launch.over:
                raise UsageError(f"model {state.name!r}: this launch is over, finished or failed")
            try:
                self._streams.wait(launch.stream)
            except DeviceError:
                launch.failure = None  # Raised here; others on the stream raise it in theirs.
                raise
            try:
                return state.io.take_outputs()
            finally:
                self._streams.end(launch)

    def synchronize(self, stream: StreamId) -> None:
        """Wait until everything launched on `stream` has ended; raises what failed there."""
        with self._entered_to_wait():
            self._streams.synchronize(stream)

    # ------------------------------------------------------------------ streams and events

    def streams_free(self) -> int:
        """Return how many streams the device can still give."""
        with self._entered():
            return int(self._calls.call("rt.get_stream_available_num", what="free streams"))

    def create_stream(self) -> StreamId:
        """Return a new stream."""
        with self._entered():
            return self._streams.create()

    def destroy_stream(self, stream: StreamId) -> None:
        """Destroy a stream on which nothing runs, or one that failed or hangs."""
        with self._entered():
            self._streams.destroy(stream)

    def record_event(self, stream: StreamId) -> EventId:
        """Return a new event that completes when all earlier work of `stream` has ended."""
        with self._entered():
            return self._streams.record(stream)

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of `stream` wait for `event`."""
        with self._entered():
            self._streams.wait_event(stream, event)

    def destroy_event(self, event: EventId) -> None:
        """Release an event."""
        with self._entered():
            self._streams.destroy_event(event)


def import_acl() -> ModuleType:
    """Return ``acl``.

    Raises
    ------
    DeviceError
        It cannot be imported; says what to install.
    """
    try:
        import acl
    except ImportError as error:
        raise DeviceError(
            f"module acl (pyACL) cannot be imported: {error}; install CANN and source its "
            "set_env.sh, or rehearse with --device twin"
        ) from error
    module: ModuleType = acl
    if not (hasattr(module, "rt") and hasattr(module, "mdl")):
        where = getattr(module, "__file__", "an unknown place")
        raise DeviceError(
            f"module acl at {where} is not pyACL: it has no acl.rt and acl.mdl; put CANN's "
            "python/site-packages before it in PYTHONPATH"
        )
    return module


def _overlap(first: DeviceRange, second: DeviceRange) -> bool:
    return (
        first.pointer < second.pointer + second.size_bytes
        and second.pointer < first.pointer + first.size_bytes
    )
