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
from planner.model import IO_RULE, TensorSpec

__all__ = [
    "IO_RULE",
    "Argument",
    "Device",
    "DeviceRange",
    "EventId",
    "Gear",
    "HostBuffer",
    "Launch",
    "LoadBy",
    "LoadOptions",
    "MemoryInfo",
    "ModelDescription",
    "ModelHandle",
    "ModelSource",
    "Placed",
    "StreamId",
    "io_block_bytes",
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


@dataclass(frozen=True, slots=True)
class Placed:
    """A host argument, and the device memory that it goes through.

    Attributes
    ----------
    memory : DeviceRange
        Exactly as large as the tensor. An input is copied there before the execution; an output is
        written there by it, and stays.
    data : HostBuffer or None
        Of an input, its bytes. Of an output, what `finish` fills; None: `finish` returns the bytes.
    """

    memory: DeviceRange
    data: HostBuffer | None = None


Argument: TypeAlias = HostBuffer | DeviceRange | Placed


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
    reuse_zero_copy : bool
        Where the device manages the work memory itself, it leaves out the tail that input and
        output buffers replace; only with `LoadBy.CONFIG`.
    host_io : bool
        Reserve device memory for host arguments at load, so that no launch can run out of it.
        False where the application brings its own: then the first launch that needs it reserves.
        Devices whose arguments stay on the host ignore it.
    """

    by: LoadBy = LoadBy.DIRECT
    priority: int | None = None
    reuse_zero_copy: bool = False
    host_io: bool = True

    def __post_init__(self) -> None:
        if self.priority is not None and not 0 <= self.priority <= 7:
            raise UsageError(f"load priority is {self.priority}, expected 0 (highest) to 7")
        if self.by is LoadBy.CONFIG:
            return
        for name, is_set in (
            ("priority", self.priority is not None),
            ("reuse_zero_copy", self.reuse_zero_copy),
        ):
            if is_set:
                raise UsageError(f"load option {name} needs LoadBy.CONFIG: direct loads have none")


@dataclass(frozen=True, slots=True)
class Gear:
    """One of the shapes that a model was compiled for; each launch chooses one.

    Attributes
    ----------
    choice : tuple of int
        What is chosen: a batch, height and width, or the axes that differ between gears, in order.
    inputs, outputs : tuple of TensorSpec
        The visible inputs, and the outputs, as an execution in this gear has them.
    """

    choice: tuple[int, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __str__(self) -> str:
        return "x".join(map(str, self.choice))


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """Inputs and outputs of a loaded model, in the device's order, with exact buffer sizes.

    Attributes
    ----------
    inputs, outputs : tuple of TensorSpec
        `size_bytes` 0: the size is known only when the model runs. Of gears, the largest size; -1
        for axes that the gear decides.
    hidden : tuple of str
        Names of inputs that the device supplies itself (gears, dynamic preprocessing).
    gears : tuple of Gear
        Empty: there is nothing to choose.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    hidden: tuple[str, ...] = ()
    gears: tuple[Gear, ...] = ()

    @property
    def visible_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that a launch takes, in order."""
        return tuple(spec for spec in self.inputs if spec.name not in self.hidden)

    def at(self, choice: tuple[int, ...]) -> "ModelDescription":
        """Return inputs and outputs as a launch in one gear takes and gives them.

        Parameters
        ----------
        choice : tuple of int
            That of one of `gears`; empty where there are none.

        Raises
        ------
        UsageError
            There is no such gear, or one has to be chosen. Caused by the caller.
        """
        if not self.gears and not choice:
            return self
        for gear in self.gears:
            if gear.choice == choice:
                return ModelDescription(gear.inputs, gear.outputs)
        known = ", ".join(map(str, self.gears))
        wanted = f"expected one of {known}" if known else "the model has none"
        found = "x".join(map(str, choice)) or "none"
        raise UsageError(f"gear {found}: {wanted}")


def io_block_bytes(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> int:
    """Return the device memory that host arguments of one instance take, bytes in one block.

    Tensors whose size is known only when the model runs take theirs then, and are not counted.

    Examples
    --------
    >>> image = TensorSpec("x", "float32", (3, 100), 1200)
    >>> io_block_bytes([image], [image])
    2560
    """
    return sum(IO_RULE.reserved_bytes(spec.size_bytes) for spec in (*inputs, *outputs))


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

        It starts at a multiple of `align_bytes` and is not initialised. Nothing is added behind it:
        regions inside bring their own tail (`planner.model.RegionRule`, `IO_RULE`). A device that
        cannot give it says in its error how much is free.
        """
        ...

    def free(self, memory: DeviceRange) -> None:
        """Give back what `alloc` returned; refused while a model is loaded into it."""
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
        """Load a model into the given memory; None: the device manages that part itself.

        Memory must be as large as `query_size` says; a model without work or weights needs none.
        Weights are written by each load, with the same bytes for sharers: load before executing.
        """
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

    def streams_free(self) -> int | None:
        """Return how many streams the device can still give; None: as many as there is memory."""
        ...

    def create_stream(self) -> StreamId:
        """Return a new stream: launches on one stream run in order, on several side by side."""
        ...

    def destroy_stream(self, stream: StreamId) -> None:
        """Destroy a stream on which nothing runs, or one that failed or did not answer in time."""
        ...

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        """Fill inputs and start one execution; host inputs may be reused once this returns.

        Parameters
        ----------
        inputs : sequence of Argument
            Those of `ModelDescription.visible_inputs`, in order. Inputs of undetermined shape are
            memoryviews of their shape, or flat where a single axis is open.
        outputs : sequence of Argument or None
            None: `finish` returns the bytes; a writable host buffer: `finish` fills it; a
            DeviceRange: the device writes there; Placed: it writes there, and `finish` returns or
            fills as well. Host outputs must not change before `finish`.
        gear : tuple of int
            Choice of one of `ModelDescription.gears`; empty where the model has none.

        Notes
        -----
        Byte sizes are checked against `describe`, at the gear. One model has at most one execution
        under way: the next launch comes after `finish` (or `synchronize`, where all outputs are
        DeviceRanges). Where outputs of undetermined size are asked for as None, the call may return
        only when the execution has ended.
        """
        ...

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution; return an entry per output: its bytes if asked for as None."""
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
