"""A device that passes every call on: what adaptors are made of."""

from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from arena.device.base import (
    Argument,
    Device,
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

__all__ = ["Adaptor", "used_or_close"]

P = ParamSpec("P")
R = TypeVar("R")
_DEFAULT_OPTIONS: Final = LoadOptions()


class Adaptor:
    """Passes every call on to the wrapped device; a subclass changes what it wants to.

    Parameters
    ----------
    inner : Device
    """

    def __init__(self, inner: Device) -> None:
        self.inner = inner

    def around(self, name: str, call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Make one call of the wrapped device; `name` is the port's method."""
        del name
        return call(*arguments, **named)

    @property
    def name(self) -> str:
        """The wrapped device's."""
        return self.inner.name

    @property
    def page_bytes(self) -> int:
        """The wrapped device's."""
        return self.inner.page_bytes

    @property
    def align_bytes(self) -> int:
        """The wrapped device's."""
        return self.inner.align_bytes

    def open(self) -> None:
        """Acquire the device."""
        self.around("open", self.inner.open)

    def close(self) -> None:
        """Release what `open` acquired."""
        self.around("close", self.inner.close)

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory now."""
        return self.around("memory_info", self.inner.memory_info)

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block."""
        return self.around("alloc", self.inner.alloc, size_bytes)

    def free(self, memory: DeviceRange) -> None:
        """Give back a block."""
        self.around("free", self.inner.free, memory)

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte of `memory`."""
        self.around("fill", self.inner.fill, memory, value)

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        """Return (work_bytes, weight_bytes) of a model."""
        return self.around("query_size", self.inner.query_size, source)

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = _DEFAULT_OPTIONS,
    ) -> ModelHandle:
        """Load a model."""
        return self.around(
            "load", self.inner.load, source, work=work, weights=weights, options=options
        )

    def unload(self, model: ModelHandle) -> None:
        """Unload a model."""
        self.around("unload", self.inner.unload, model)

    def describe(self, model: ModelHandle) -> ModelDescription:
        """Return inputs and outputs of a loaded model."""
        return self.around("describe", self.inner.describe, model)

    def io_bytes(self, model: ModelHandle) -> int:
        """Return the device memory of a model's host arguments."""
        return self.around("io_bytes", self.inner.io_bytes, model)

    def streams_free(self) -> int | None:
        """Return how many streams the device can still give."""
        return self.around("streams_free", self.inner.streams_free)

    def create_stream(self) -> StreamId:
        """Return a new stream."""
        return self.around("create_stream", self.inner.create_stream)

    def destroy_stream(self, stream: StreamId) -> None:
        """Destroy a stream."""
        self.around("destroy_stream", self.inner.destroy_stream, stream)

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        """Start one execution."""
        return self.around("launch", self.inner.launch, model, inputs, outputs, stream, gear=gear)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution."""
        return self.around("finish", self.inner.finish, launch)

    def synchronize(self, stream: StreamId) -> None:
        """Wait for a stream."""
        self.around("synchronize", self.inner.synchronize, stream)

    def record_event(self, stream: StreamId) -> EventId:
        """Return a new event, recorded in a stream."""
        return self.around("record_event", self.inner.record_event, stream)

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of a stream wait for an event."""
        self.around("wait_event", self.inner.wait_event, stream, event)

    def destroy_event(self, event: EventId) -> None:
        """Release an event."""
        self.around("destroy_event", self.inner.destroy_event, event)


def used_or_close(device: Device) -> int:
    """Return the used bytes of a device that was just opened; close it where it cannot say."""
    try:
        return device.memory_info().used_bytes
    except DeviceError:
        device.close()
        raise
