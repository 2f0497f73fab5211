"""What an .om file to be written holds: `OmSpec` for a model, `SeededBytes` for its weights."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from arena.formats.om_dtypes import numbers_of
from arena.formats.om_file import MemorySegment
from arena.formats.om_layout import VERSION_NEW
from arena.formats.om_tensors import Gears, GearsKind
from planner.errors import UsageError
from planner.model import TensorSpec
from planner.units import BYTES_MAX

__all__ = ["Content", "OmSpec", "SeededBytes"]

_BLOCK_BYTES: Final = 1 << 20
_SPARSE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class SeededBytes:
    """Contents made from a seed: equal seeds and sizes give equal bytes, others differ.

    Attributes
    ----------
    size_bytes : int
    seed : int
    sparse : bool
        Only the first 4096 bytes come from the seed; the rest is a hole, read as zeros.
    """

    size_bytes: int
    seed: int = 0
    sparse: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes that are not a hole, at most a mebibyte at a time.

        One random block, numbered anew each time: as fast as memory, and no two chunks are equal.
        """
        left = min(self.size_bytes, _SPARSE_BYTES) if self.sparse else self.size_bytes
        block = random.Random(self.seed).randbytes(min(_BLOCK_BYTES, max(left, 8)))
        number = 0
        while left > 0:
            chunk = (struct.pack("<Q", number) + block[8:] if number else block)[:left]
            yield chunk
            left -= len(chunk)
            number += 1


Content: TypeAlias = bytes | SeededBytes
"""What a partition holds."""


@dataclass(frozen=True, slots=True)
class OmSpec:
    """A model to write; fields are named as in `OmFile`. Sizes are bytes.

    Attributes
    ----------
    work_bytes, weight_bytes : int
        Of a static model; a dynamic one has no work size.
    submodel_weight_bytes : tuple of int
        Not empty: a dynamic file of a root model without weights and these models.
    unknown_shapes : bool
        True: dynamic, even with a single model.
    seed : int
        Of the weights; sub-models take the following seeds.
    sparse : bool
        The weights are a hole after their first 4096 bytes.
    wide : bool or None
        The table; None: wide above 2 GiB of contents.
    inputs, outputs : tuple of TensorSpec
        The old header has no MODEL_INOUT_INFO: output names without a colon then read back with
        ``:0``, and output sizes that disagree with type and shape round up to 32.
    gears : Gears or None
        Add the input `GEARS_INPUT` to `inputs` where the device should see it.
    """

    work_bytes: int = 0
    weight_bytes: int = 0
    submodel_weight_bytes: tuple[int, ...] = ()
    unknown_shapes: bool = False
    seed: int = 0
    sparse: bool = False
    version: int = VERSION_NEW
    wide: bool | None = None
    name: str = "model"
    soc: str = ""
    arch: str = ""
    compiler: str = ""
    stream_count: int = 1
    event_count: int = 0
    label_count: int = 0
    zero_copy_bytes: int = 0
    p2p_bytes: int = 0
    session_scope_bytes: int = 0
    variable_bytes: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    gears: Gears | None = None
    segments: tuple[MemorySegment, ...] = ()

    def __post_init__(self) -> None:
        for size in (self.work_bytes, self.weight_bytes, *self.submodel_weight_bytes):
            if not 0 <= size <= BYTES_MAX:
                raise UsageError(f"model {self.name!r}: size {size}, expected 0 to 2^62 bytes")
        if self.dynamic and self.version < VERSION_NEW:
            raise UsageError(f"model {self.name!r}: the old header knows no dynamic models")
        if self.dynamic and self.work_bytes:
            raise UsageError(f"model {self.name!r}: dynamic models have no work size")
        if self.submodel_weight_bytes and self.weight_bytes:
            raise UsageError(f"model {self.name!r}: a root model has no weights, its models have")
        if self.gears is not None and self.gears.kind is GearsKind.UNKNOWN:
            raise UsageError(f"model {self.name!r}: gears of kind {self.gears.kind}")
        for tensor in (*self.inputs, *self.outputs):
            if numbers_of(tensor.dtype) is None:
                raise UsageError(f"tensor {tensor.name!r}: no number for dtype {tensor.dtype!r}")

    @property
    def dynamic(self) -> bool:
        """True if the device manages the work memory itself."""
        return self.unknown_shapes or bool(self.submodel_weight_bytes)
