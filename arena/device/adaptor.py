"""A device that hands every call to the device that it wraps: what adaptors build on."""

from collections.abc import Sequence
from typing import Final

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

__all__ = ["DIRECT", "Adaptor"]

DIRECT: Final = LoadOptions()
"""How a model is loaded unless the caller says otherwise."""


class Adaptor:
    """One device around another; subclasses override what they check, limit or break.

    Parameters
    ----------
    inner : Device
    """

    def __init__(self, inner: Device) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The name of what is wrapped."""
        return self.inner.name

    @property
    def page_bytes(self) -> int:
        """Reservations round up to this, bytes."""
        return self.inner.page_bytes

    @property
    def align_bytes(self) -> int:
        """Work and weight pointers must be multiples of this."""
        return self.inner.align_bytes

    def open(self) -> None:
        """Acquire the device."""
        self.inner.open()

    def close(self) -> None:
        """Release the device."""
        self.inner.close()

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory now."""
        return self.inner.memory_info()

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block of `size_bytes`."""
        return self.inner.alloc(size_bytes)

    def free(self, memory: DeviceRange) -> None:
        """Give back what `alloc` returned."""
        self.inner.free(memory)

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte of `memory` to `value` (0 to 255)."""
        self.inner.fill(memory, value)

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        """Return (work_bytes, weight_bytes) that a load of `source` needs."""
        return self.inner.query_size(source)

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = DIRECT,
    ) -> ModelHandle:
        """Load a model into the given memory."""
        return self.inner.load(source, work=work, weights=weights, options=options)

    def unload(self, model: ModelHandle) -> None:
        """Unload a model."""
        self.inner.unload(model)

    def describe(self, model: ModelHandle) -> ModelDescription:
        """Return inputs and outputs of a loaded model."""
        return self.inner.describe(model)

    def io_bytes(self, model: ModelHandle) -> int:
        """Return the device memory that executing `model` with host arguments takes."""
        return self.inner.io_bytes(model)

    def create_stream(self) -> StreamId:
        """Return a new stream."""
        return self.inner.create_stream()

    def destroy_stream(self, stream: StreamId) -> None:
        """Destroy a stream on which nothing runs."""
        self.inner.destroy_stream(stream)

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
    ) -> Launch:
        """Fill inputs and start one execution."""
        return self.inner.launch(model, inputs, outputs, stream)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution and return the outputs that were asked for."""
        return self.inner.finish(launch)

    def synchronize(self, stream: StreamId) -> None:
        """Wait until everything launched on `stream` has ended."""
        self.inner.synchronize(stream)

    def record_event(self, stream: StreamId) -> EventId:
        """Return a new event that completes when all earlier work of `stream` has ended."""
        return self.inner.record_event(stream)

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of `stream` wait for `event`."""
        self.inner.wait_event(stream, event)

    def destroy_event(self, event: EventId) -> None:
        """Release an event."""
        self.inner.destroy_event(event)
