"""What the planner knows of one model: its sizes, its buffers, and what a region reserves."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, NewType

from planner.errors import SpecError
from planner.units import BYTES_MAX, KiB, MiB, align_up

__all__ = [
    "DEFAULT_RULE",
    "IO_RULE",
    "PAGE_BYTES",
    "Buffer",
    "BufferKind",
    "InstanceId",
    "ModelId",
    "ModelSize",
    "RegionRule",
    "TensorSpec",
    "declared_tensors",
    "page_rounded",
]

ModelId = NewType("ModelId", str)
InstanceId = NewType("InstanceId", str)
"""``model@lane``: one loaded model."""

PAGE_BYTES: Final = 2 * MiB
"""Reservations round up to huge pages of 2 MiB (vendor: aclrtMalloc, HUGE_FIRST above 1 MiB)."""


SMALL_PAGE_BYTES: Final = 4 * KiB
SMALL_ALLOCATION_MAX: Final = 1 * MiB
"""Allocations up to this size come from pages of 4 KiB (vendor: aclrtMalloc, HUGE_FIRST)."""


def page_rounded(size_bytes: int) -> int:
    """Return what one allocation of `size_bytes` (>= 0) takes from the device, in its pages.

    Examples
    --------
    >>> page_rounded(0), page_rounded(5000), page_rounded(3 * MiB)
    (0, 8192, 4194304)
    """
    small = size_bytes <= SMALL_ALLOCATION_MAX
    return align_up(size_bytes, SMALL_PAGE_BYTES if small else PAGE_BYTES)


class BufferKind(StrEnum):
    """What a buffer holds: scratch of one instance, or the weights of one file content."""

    WORK = "work"
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class RegionRule:
    """How many bytes a region of a given length reserves inside an arena, and where it may start.

    Attributes
    ----------
    align_bytes : int
        Every region starts at a multiple of this. The vendor asks for 64; compiled models align
        everything inside their buffers to 512, which a 512-aligned start preserves.
    granule_bytes, tail_bytes : int
        A region of `length` bytes takes ALIGN_UP(length, granule) + tail, rounded up to `align`.

    References
    ----------
    .. [1] CANN documentation, aclrtMalloc: sub-dividing a block needs ALIGN_UP(len, 32) + 32 bytes
           a
       segment, segments 64-byte aligned.

    Examples
    --------
    >>> RegionRule().reserved_bytes(90_624), RegionRule().reserved_bytes(0)
    (91136, 0)
    """

    align_bytes: int = 512
    granule_bytes: int = 32
    tail_bytes: int = 32

    def __post_init__(self) -> None:
        if self.align_bytes < 1 or self.granule_bytes < 1 or self.tail_bytes < 0:
            raise SpecError(f"region rule {self}: expected align and granule >= 1, tail >= 0")

    def reserved_bytes(self, length_bytes: int) -> int:
        """Return the bytes that a region of `length_bytes` takes (>= 0); none if empty."""
        if length_bytes == 0:
            return 0
        return align_up(
            align_up(length_bytes, self.granule_bytes) + self.tail_bytes, self.align_bytes
        )


DEFAULT_RULE: Final = RegionRule()
IO_RULE: Final = RegionRule(align_bytes=64)
"""Inputs and outputs of one instance share a block; each starts at a multiple of 64 bytes and takes
ALIGN_UP(size, 32) + 32 (CANN documentation, aclrtMalloc)."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes
    ----------
    name : str
    dtype : str
        numpy's name of the element type (``float32``, ``int8``, ``float16``, ``bool``); ``bytes``
        where the file does not tell.
    shape : tuple of int
        Axes as the model declares them; -1 where undetermined; empty for a scalar or unknown.
    size_bytes : int
        Bytes of the buffer that an execution needs; 0 where undetermined.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


def declared_tensors(sizes: Iterable[tuple[str, int]]) -> tuple[TensorSpec, ...]:
    """Return the tensors of a declared model, of which only (name, bytes) are known.

    Examples
    --------
    >>> declared_tensors([("x", 64)])
    (TensorSpec(name='x', dtype='uint8', shape=(64,), size_bytes=64),)
    """
    return tuple(TensorSpec(name, "uint8", (size,), size) for name, size in sizes)


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Sizes and identity of one model, from its file, from a device, or declared.

    Attributes
    ----------
    work_bytes, weight_bytes : int
        What load receives, as the vendor's size query computes them. Zero is legal.
    file_digest, weights_digest : str
        SHA-256 (hex) of the whole file and of its weight partition; empty where there is no file.
    system_managed : bool
        The device takes its memory for this model itself (dynamic shapes): outside the arena.
    stream_count : int
        Streams that one loaded instance takes from the device.
    inputs, outputs : tuple of TensorSpec
        Empty where the file does not tell.
    io_bytes : int
        Device memory that the inputs and outputs of one instance take; 0 where they stay on the
        host.
    gears : str
        Not empty: the model wants a choice of batch, size or dims before each execution; says
        which.
    gear_choices : tuple of tuple of int
        All that can be chosen (a batch, height and width, or the axes that differ); sizes are those
        of the largest. Empty where `gears` wants something that is not known or not supported.
    """

    work_bytes: int
    weight_bytes: int
    file_digest: str = ""
    weights_digest: str = ""
    system_managed: bool = False
    stream_count: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    io_bytes: int = 0
    gears: str = ""
    gear_choices: tuple[tuple[int, ...], ...] = ()

    @property
    def io_offsets(self) -> tuple[int, ...]:
        """Where inputs, then outputs, start in a block that holds them all; last its size, bytes.

        Empty where some size is unknown, and where the model wants a choice (`gears`): such models
        have inputs that the device fills itself, in memory of its own.

        Examples
        --------
        >>> tensor = TensorSpec("x", "uint8", (100,), 100)
        >>> ModelSize(0, 0, inputs=(tensor,), outputs=(tensor,)).io_offsets
        (0, 192, 384)
        """
        tensors = (*self.inputs, *self.outputs)
        if not tensors or self.gears or not all(tensor.size_bytes for tensor in tensors):
            return ()
        sizes = (IO_RULE.reserved_bytes(tensor.size_bytes) for tensor in tensors)
        return tuple(accumulate(sizes, initial=0))

    def __post_init__(self) -> None:
        for name, value in (("work_bytes", self.work_bytes), ("weight_bytes", self.weight_bytes)):
            if not 0 <= value <= BYTES_MAX:
                raise SpecError(f"{name} is {value}, expected 0 to 2^62")


@dataclass(frozen=True, slots=True)
class Buffer:
    """One block placed at one offset: the work of an instance or the weights of one content.

    Attributes
    ----------
    id : str
        Instance id (work) or content key (weights); unique within its kind.
    kind : BufferKind
    size_bytes : int
        Bytes that load receives (>= 0), before the region rule.
    """

    id: str
    kind: BufferKind
    size_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.size_bytes <= BYTES_MAX:
            raise SpecError(
                f"buffer {self.id!r}: size_bytes is {self.size_bytes}, expected 0 to 2^62"
            )
