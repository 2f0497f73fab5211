"""The MODEL_INOUT_INFO partition: inputs, outputs and gears as the run time reports them.

    u32 type, u32 length, value        repeated to the end of the partition
    0, 1  inputs, outputs    u32 n, then n x {u64 size, i32 format, i32 dtype, u32 bytes of name,
                             dims, dims after preprocessing, ranges; then those four}
    2     batch gears        u32 n, then n x i64
    3, 4  size, dims gears   u32 n, n x u32 lengths, then the rows of i64
    6     input order        u32 n, n x u32 lengths, then the strings

Compilers write it since about CANN 6; older files leave it to `om_graph`.

References
----------
.. [1] hicann/ge @ffdcbc9f7, inc/framework/common/ge_model_inout_types.h,
       base/common/helper/model_parser_base.cc.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from arena.formats.om_dtypes import element_of_acl
from arena.formats.om_tensors import Gears, GearsKind, shape_of, tensor
from arena.formats.protobuf import Budget
from arena.formats.source import ByteSource, Span
from planner.model import TensorSpec

__all__ = ["TENSOR_HEAD", "InOutInfo", "InOutType", "read_inout"]

TENSOR_HEAD: Final = struct.Struct("<QiiIIII")
_PARTITION_BYTES_MAX: Final = 16 << 20
_U32: Final = struct.Struct("<I")


class InOutType(IntEnum):
    """Types of the blocks."""

    INPUTS = 0
    OUTPUTS = 1
    BATCH = 2
    HW = 3
    DIMS = 4
    OUTPUT_SHAPES = 5
    ORDER = 6


_ROW_KINDS: Final[Mapping[int, GearsKind]] = {
    InOutType.HW: GearsKind.HW,
    InOutType.DIMS: GearsKind.DIMS,
}


@dataclass(frozen=True, slots=True)
class InOutInfo:
    """The partition's content."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    gears: Gears | None = None


class _Cursor:
    """Takes values off the front of a block; what would pass its end is refused."""

    def __init__(self, source: ByteSource, data: bytes, base: int, budget: Budget) -> None:
        self.source = source
        self._data = data
        self._base = base
        self._position = 0
        self._budget = budget

    @property
    def at(self) -> int:
        """Offset in the file."""
        return self._base + self._position

    @property
    def left(self) -> int:
        """Bytes that remain."""
        return len(self._data) - self._position

    def take(self, count: int, what: str) -> bytes:
        """Return the next `count` bytes."""
        if count > self.left:
            raise self.source.refuse(
                self.at, f"{what} needs {count} bytes, {self.left} are left in its block"
            )
        self._budget.spend(self.source, self.at)
        start = self._position
        self._position += count
        return self._data[start : self._position]

    def u32(self, what: str) -> int:
        """Return an unsigned 32-bit number."""
        return int(_U32.unpack(self.take(4, what))[0])

    def integers(self, size_bytes: int, what: str) -> tuple[int, ...]:
        """Return int64 numbers that fill `size_bytes`."""
        if size_bytes % 8:
            raise self.source.refuse(self.at, f"{what} of {size_bytes} bytes, expected 8 each")
        raw = self.take(size_bytes, what)
        self._budget.spend(self.source, self.at, size_bytes // 8)
        return struct.unpack(f"<{size_bytes // 8}q", raw)

    def text(self, size_bytes: int, what: str) -> str:
        """Return a string of `size_bytes`."""
        at = self.at
        raw = self.take(size_bytes, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.source.refuse(
                at + error.start, f"{what}: found byte {raw[error.start]:#04x}, expected UTF-8 text"
            ) from None

    def lengths(self, what: str) -> tuple[int, ...]:
        """Return a count and that many 32-bit lengths."""
        count = self.u32(what)
        raw = self.take(4 * count, what)
        self._budget.spend(self.source, self.at, count)
        return struct.unpack(f"<{count}I", raw)

    def block(self, size_bytes: int, what: str) -> "_Cursor":
        """Return a cursor over the next `size_bytes`."""
        at = self.at
        return _Cursor(self.source, self.take(size_bytes, what), at, self._budget)


def read_inout(source: ByteSource, span: Span, budget: Budget) -> InOutInfo:
    """Return what the partition at `span` describes; types of newer compilers are skipped.

    Raises
    ------
    FormatError
        A length passes its block, text is not UTF-8, or the partition is above 16 MiB. The model
        file is at fault.
    """
    start, end = span
    if end - start > _PARTITION_BYTES_MAX:
        raise source.refuse(
            start, f"MODEL_INOUT_INFO of {end - start} bytes, expected at most 16 MiB"
        )
    cursor = _Cursor(source, bytes(source.view(start, end)), start, budget)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    gears: Gears | None = None
    order: tuple[str, ...] = ()
    while cursor.left:
        kind = cursor.u32("block type")
        block = cursor.block(cursor.u32("block length"), f"block of type {kind}")
        if kind == InOutType.INPUTS:
            inputs += _tensors(block)
        elif kind == InOutType.OUTPUTS:
            outputs += _tensors(block)
        elif kind == InOutType.BATCH:
            batches = block.integers(8 * block.u32("batch count"), "batch gears")
            gears = Gears(GearsKind.BATCH, tuple((batch,) for batch in batches))
        elif kind in _ROW_KINDS:
            lengths = block.lengths("gears")
            rows = tuple(block.integers(8 * length, "gear") for length in lengths)
            gears = Gears(_ROW_KINDS[kind], rows)
        elif kind == InOutType.ORDER:
            order = tuple(
                block.text(length, "input name") for length in block.lengths("input order")
            )
    if gears is not None:
        gears = Gears(gears.kind, gears.choices, order)
    return InOutInfo(inputs, outputs, gears)


def _tensors(block: _Cursor) -> tuple[TensorSpec, ...]:
    """Return the tensors of a block of inputs or outputs."""
    found = []
    for _ in range(block.u32("tensor count")):
        at = block.at
        size_bytes, _, number, name_bytes, dims_bytes, dims2_bytes, range_bytes = (
            TENSOR_HEAD.unpack(block.take(TENSOR_HEAD.size, "tensor"))
        )
        name = block.text(name_bytes, "tensor name")
        dims = block.integers(dims_bytes, "dims")
        block.take(dims2_bytes, "dims after preprocessing")
        block.take(range_bytes, "dims ranges")
        shape = shape_of(dims, block.source, at)
        element = element_of_acl(number)
        size_bytes = size_bytes or element.tensor_bytes(shape)  # some compilers leave it 0
        found.append(tensor(name, element.name, shape, size_bytes, block.source, at))
    return tuple(found)
