"""The device port: what planning, loading and guarding ask of any device.

    query_size ── alloc ── load(work, weights) ── launch / finish ── unload ── free

Every device that passes tests/conformance is exchangeable; adaptors (limits, faults, race check)
wrap one device and are one themselves. Pointers are plain integers, absolute device addresses; 0 is
none. A device may be used from several threads at once; calls on one model are serialised by the
caller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NewType, Protocol, TypeAlias

from planner.errors import UsageError
from planner.model import TensorSpec

__all__ = [
    "Argument",
    "Device",
    "DeviceRange",
    "EventId",
    "HostBuffer",
    "Launch",
    "LoadBy",
    "LoadOptions",
    "MemoryInfo",
    "ModelDescription",
    "ModelHandle",
    "ModelSource",
    "StreamId",
]

ModelHandle = NewType("ModelHandle", int)
StreamId = NewType("StreamId", int)
EventId = NewType("EventId", int)


@dataclass(frozen=True, slots=True)
class DeviceRange:
    """Device memory [pointer, pointer + size_bytes)."""

    pointer: int
    size_bytes: int

    def __post_init__(self) -> None:
        if not 0 < self.pointer < 1 << 64 or not 0 <= self.size_bytes < 1 << 62:
            raise UsageError(
                f"device range at {self.pointer:#x} of {self.size_bytes} bytes: "
                "expected a pointer of 1 to 2^64 - 1 and a size of 0 to 2^62"
            )

    def __str__(self) -> str:
        return f"[{self.pointer:#x}, {self.pointer + self.size_bytes:#x})"


HostBuffer: TypeAlias = bytes | bytearray | memoryview
"""C-contiguous host memory; numpy arrays pass as memoryviews of themselves."""

Argument: TypeAlias = HostBuffer | DeviceRange


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """What the device reports of its memory, bytes."""

    free_bytes: int
    total_bytes: int

    @property
    def used_bytes(self) -> int:
        """Total minus free, bytes: everything that anyone took."""
        return self.total_bytes - self.free_bytes


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the bytes of a model come from: a file, or a callable (encrypted or generated models).

    Attributes
    ----------
    name : str
        For messages.
    path : Path or None
    read : callable or None
        Returns the bytes of the model; called once per load. Exactly one of `path` and `read` is
        given.
    """

    name: str
    path: Path | None = None
    read: Callable[[], bytes] | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.read is None):
            raise UsageError(f"model source {self.name!r}: expected exactly one of path and read")


class LoadBy(StrEnum):
    """Which family of vendor calls loads a model."""

    DIRECT = "direct"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded.

    Attributes
    ----------
    by : LoadBy
    priority : int or None
        0 (highest) to 7; only with `LoadBy.CONFIG`.
    """

    by: LoadBy = LoadBy.DIRECT
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.priority is None:
            return
        if not 0 <= self.priority <= 7:
            raise UsageError(f"load priority is {self.priority}, expected 0 (highest) to 7")
        if self.by is not LoadBy.CONFIG:
            raise UsageError("a load priority needs LoadBy.CONFIG: direct loads cannot carry one")


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Inputs and outputs of a loaded model, in the device's order, with exact buffer sizes.

    Attributes
    ----------
    hidden : tuple of str
        Names of inputs that the device supplies itself (gears, dynamic preprocessing).
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    hidden: tuple[str, ...] = ()


class Launch(Protocol):
    """An execution under way, as `Device.launch` returned it."""

    @property
    def model(self) -> ModelHandle:
        """The model that executes."""
        ...

    @property
    def stream(self) -> StreamId:
        """The stream that it was launched on."""
        ...


class Device(Protocol):
    """One device of one process.

    Every method raises `DeviceError` where the device refuses or fails, with the vendor's code and
    its name; `UsageError` where the caller broke the contract (ranges, double free, unknown
    handle). A device that failed stays usable for `unload`, `free` and `close`.
    """

    @property
    def name(self) -> str:
        """``acl``, ``twin`` or ``cpu``; adaptors keep the name of what they wrap."""
        ...

    @property
    def page_bytes(self) -> int:
        """Reservations round up to this, bytes."""
        ...

    @property
    def align_bytes(self) -> int:
        """Work and weight pointers must be multiples of this."""
        ...

    def open(self) -> None:
        """Acquire the device; idempotent."""
        ...

    def close(self) -> None:
        """Release what `open` acquired; refuses while models or memory are out; idempotent."""
        ...

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory now."""
        ...

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block of `size_bytes` (> 0); the range has exactly that size.

        A device that cannot give it says in its error how much is free.
        """
        ...

    def free(self, memory: DeviceRange) -> None:
        """Give back what `alloc` returned."""
        ...

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte of `memory` to `value` (0 to 255)."""
        ...

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        """Return (work_bytes, weight_bytes) that a load of `source` needs, without loading."""
        ...

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = LoadOptions(),
    ) -> ModelHandle:
        """Load a model into the given memory; None: the device manages that part itself."""
        ...

    def unload(self, model: ModelHandle) -> None:
        """Unload; the caller's memory stays the caller's."""
        ...

    def describe(self, model: ModelHandle) -> ModelDescription:
        """Return inputs and outputs of a loaded model."""
        ...

    def io_bytes(self, model: ModelHandle) -> int:
        """Return the device memory that executing `model` with host arguments takes."""
        ...

    def create_stream(self) -> StreamId:
        """Return a new stream: launches on one stream run in order, on several side by side."""
        ...

    def destroy_stream(self, stream: StreamId) -> None:
        """Destroy a stream on which nothing runs."""
        ...

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
    ) -> Launch:
        """Fill inputs and start one execution; host buffers may be reused once this returns.

        `outputs[i]` None: `finish` returns the bytes. Byte sizes are checked against `describe`.
        """
        ...

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution and return the outputs that were asked for as None, in order."""
        ...

    def synchronize(self, stream: StreamId) -> None:
        """Wait until everything launched on `stream` has ended; raises what failed there."""
        ...

    def record_event(self, stream: StreamId) -> EventId:
        """Return a new event that completes when all earlier work of `stream` has ended."""
        ...

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of `stream` wait for `event`, without blocking the host."""
        ...

    def destroy_event(self, event: EventId) -> None:
        """Release an event."""
        ...
