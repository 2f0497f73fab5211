"""The .om container: a 256-byte header, then for each model in the file a table and its partitions.

    0        256                     256 + table
    | header | partition table | MODEL_DEF | WEIGHTS_DATA | TASK_INFO | ... | table | ...
                               '--------- sizes of the rows, back to back -'

Two headers (the model count exists since version 0x20000000) and two tables (`tiny` counts 32 bits,
`wide` 64) are in use. Decoding and encoding live side by side: what is decoded here encodes to the
same bytes. What the partitions hold is not known here.

References
----------
.. [1] hicann/ge @ffdcbc9f7, inc/framework/common/framework_types_internal.h (ModelFileHeader) and
       base/common/helper/om_file_helper.cc (what the loader checks).
.. [2] Eight compiled files, 2021 to 2025: rebuilt from header and partitions to equal bytes.
"""

import codecs
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from arena.formats.protobuf import Budget
from arena.formats.source import ByteSource, Span

__all__ = [
    "HEADER_BYTES",
    "MAGIC",
    "VERSION_NEW",
    "VERSION_OLD",
    "ModelTable",
    "ModelType",
    "OmHeader",
    "Partition",
    "PartitionType",
    "decode_header",
    "encode_header",
    "encode_table",
    "find_partition",
    "read_tables",
    "table_bytes",
]

HEADER_BYTES: Final = 256
MAGIC: Final = 0x444F4D49
"""``IMOD`` in the file."""
VERSION_OLD: Final = 0x10000000
VERSION_NEW: Final = 0x20000000
"""Since this version the header counts models and knows dynamic shapes."""

_COMMON: Final = struct.Struct("<III64sIBBBB32sI32sI")
_NEW_TAIL: Final = struct.Struct("<I20sB3xQBB62s")
_OLD_TAIL: Final = struct.Struct("<20sB7xQBB62s")
_WIDE_HEAD: Final = struct.Struct("<I4x")
_WIDE_ROW: Final = struct.Struct("<I4xQQ")
_TINY_HEAD: Final = struct.Struct("<I")
_TINY_ROW: Final = struct.Struct("<III")
_PARTITIONS_MAX: Final = 8
_FLOW_PARTITIONS_MAX: Final = 4096
_ROW_STEPS: Final = 4  # a row is kept, a field is only passed


class ModelType(IntEnum):
    """What the header says the file is."""

    IR = 0
    STANDARD = 1
    TINY = 2
    FLOW = 3
    LITE = 4
    BUNDLE = 5


class PartitionType(IntEnum):
    """What a partition holds; loaders skip types they do not know."""

    MODEL_DEF = 0
    WEIGHTS_DATA = 1
    TASK_INFO = 2
    TBE_KERNELS = 3
    CUST_AICPU_KERNELS = 4
    SO_BINS = 5
    FLOW_MODEL = 6
    FLOW_SUBMODEL = 7
    MODEL_INOUT_INFO = 8
    STATIC_TASK_DESC = 9
    DYNAMIC_TASK_DESC = 10
    TASK_PARAM = 11
    TILING_DATA = 12
    PRE_MODEL_DESC = 20
    PRE_MODEL_SQE = 21
    PRE_KERNEL_ARGS = 22
    PRE_MODEL_DESC_EXTEND = 23
    BUNDLE_MODEL_INFO = 24
    BUNDLE_MODEL_VAR_INFO = 25
    CUSTOM_OPS = 26


@dataclass(frozen=True, slots=True)
class OmHeader:
    """The first 256 bytes of a file, field by field.

    Attributes
    ----------
    version : int
        `VERSION_OLD` or `VERSION_NEW` in the files seen.
    length_bytes, model_length_bytes : int
        Bytes after the header, in 32 or in 64 bits; the other one is 0.
    model_type : int
        A `ModelType`.
    encrypted : int
        1: the partitions are encrypted.
    model_count : int
        Models in the file; 1 where the old header has no such field.
    unknown_shapes : int
        1: shapes are known only when the model runs.
    name_bytes, platform_version : bytes
        NUL-padded text; the writer cuts names after 31 bytes.
    """

    version: int = VERSION_NEW
    length_bytes: int = 0
    model_length_bytes: int = 0
    model_type: int = ModelType.IR
    encrypted: int = 0
    model_count: int = 1
    unknown_shapes: int = 0
    name_bytes: bytes = b""
    platform_version: bytes = b"1.11.z.0"
    platform_type: int = 1
    ir_version: int = 2
    magic: int = MAGIC
    header_bytes: int = HEADER_BYTES
    checksum: bytes = b""
    checksum_type: int = 0
    generation_mode: int = 0
    op_count: int = 0
    user_info: bytes = b""
    checks_host: int = 0
    reserved: bytes = b""

    @property
    def payload_bytes(self) -> int:
        """Bytes that the header claims to follow it."""
        return self.model_length_bytes or self.length_bytes

    @property
    def is_wide(self) -> bool:
        """True if partition tables count 64 bits."""
        return self.model_length_bytes != 0 or self.model_type == ModelType.FLOW

    @property
    def is_dynamic(self) -> bool:
        """True if the device manages the work memory itself."""
        return self.version >= VERSION_NEW and (self.model_count > 1 or self.unknown_shapes == 1)

    @property
    def name(self) -> str:
        """The model's name; a character that the writer cut in two is dropped.

        The vendor neither checks nor uses it, so bytes that are no text are only replaced.
        """
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(self.name_bytes)
        return text.partition("\0")[0]


def decode_header(data: bytes) -> OmHeader:
    """Return the header in the first 256 bytes; the values are not judged."""
    (
        magic,
        header_bytes,
        version,
        checksum,
        length_bytes,
        encrypted,
        checksum_type,
        model_type,
        generation_mode,
        name_bytes,
        op_count,
        user_info,
        ir_version,
    ) = _COMMON.unpack_from(data)
    if _counts_models(version, model_type):
        model_count, *tail = _NEW_TAIL.unpack_from(data, _COMMON.size)
    else:
        model_count, tail = 1, list(_OLD_TAIL.unpack_from(data, _COMMON.size))
    return OmHeader(
        version=version,
        length_bytes=length_bytes,
        model_type=model_type,
        encrypted=encrypted,
        model_count=model_count,
        name_bytes=name_bytes.rstrip(b"\0"),
        ir_version=ir_version,
        magic=magic,
        header_bytes=header_bytes,
        checksum=checksum.rstrip(b"\0"),
        checksum_type=checksum_type,
        generation_mode=generation_mode,
        op_count=op_count,
        user_info=user_info.rstrip(b"\0"),
        platform_version=tail[0].rstrip(b"\0"),
        platform_type=tail[1],
        model_length_bytes=tail[2],
        checks_host=tail[3],
        unknown_shapes=tail[4],
        reserved=tail[5].rstrip(b"\0"),
    )


def encode_header(header: OmHeader) -> bytes:
    """Return the 256 bytes of `header`, laid out as its version asks."""
    common = _COMMON.pack(
        header.magic,
        header.header_bytes,
        header.version,
        header.checksum,
        header.length_bytes,
        header.encrypted,
        header.checksum_type,
        header.model_type,
        header.generation_mode,
        header.name_bytes,
        header.op_count,
        header.user_info,
        header.ir_version,
    )
    tail = (
        header.platform_version,
        header.platform_type,
        header.model_length_bytes,
        header.checks_host,
        header.unknown_shapes,
        header.reserved,
    )
    if _counts_models(header.version, header.model_type):
        return common + _NEW_TAIL.pack(header.model_count, *tail)
    return common + _OLD_TAIL.pack(*tail)


def _counts_models(version: int, model_type: int) -> bool:
    """Return True for the new layout; bundles have it with a version of 0."""
    return version >= VERSION_NEW or model_type == ModelType.BUNDLE


@dataclass(frozen=True, slots=True)
class Partition:
    """The bytes [start, end) of the file, and what they hold."""

    type: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Length of the partition."""
        return self.end - self.start

    @property
    def span(self) -> Span:
        """The range of the partition."""
        return (self.start, self.end)

    @property
    def name(self) -> str:
        """The vendor's name of the type; ``PARTITION_<n>`` for one that is not known here."""
        try:
            return PartitionType(self.type).name
        except ValueError:
            return f"PARTITION_{self.type}"

    def __str__(self) -> str:
        return f"{self.name}:{self.size_bytes}"


ModelTable: TypeAlias = tuple[Partition, ...]
"""The partitions of one model in the file, in file order."""


def find_partition(table: ModelTable, wanted: PartitionType) -> Partition | None:
    """Return the first partition of a type, as the loader does; None if there is none."""
    return next((partition for partition in table if partition.type == wanted), None)


def table_bytes(row_count: int, *, is_wide: bool) -> int:
    """Return the size of a table of `row_count` partitions, without their contents.

    Examples
    --------
    >>> table_bytes(4, is_wide=False), table_bytes(3, is_wide=True)
    (52, 80)
    """
    head, row = (_WIDE_HEAD, _WIDE_ROW) if is_wide else (_TINY_HEAD, _TINY_ROW)
    return head.size + row_count * row.size


def encode_table(rows: Sequence[tuple[int, int]], *, is_wide: bool) -> bytes:
    """Return the table of one model: rows of (type, size in bytes), contents back to back."""
    head, row = (_WIDE_HEAD, _WIDE_ROW) if is_wide else (_TINY_HEAD, _TINY_ROW)
    encoded = [head.pack(len(rows))]
    offset = 0
    for kind, size_bytes in rows:
        encoded.append(row.pack(kind, offset, size_bytes))
        offset += size_bytes
    return b"".join(encoded)


def read_tables(source: ByteSource, header: OmHeader, budget: Budget) -> tuple[ModelTable, ...]:
    """Return the table of every model in the file; the contents stay unread.

    Parameters
    ----------
    source : ByteSource
    header : OmHeader
        Of this file, magic and length already judged.
    budget : Budget

    Raises
    ------
    FormatError
        What the vendor's loader refuses: row counts outside 1 to 8 (flow models and bundles: 4096),
        partitions that leave the file, a table without content, bytes after the last partition. And
        offsets that disagree with the sizes: the loader ignores them, every writer keeps them. The
        model file is at fault.
    """
    is_bundle = header.model_type == ModelType.BUNDLE
    count = header.model_count if header.is_dynamic and not is_bundle else 1
    tables = []
    position = HEADER_BYTES
    for index in range(count):
        table, position = _read_table(source, header, position, budget, where=f"table {index}")
        tables.append(table)
    if position != source.size_bytes:
        raise source.refuse(
            position,
            f"the partitions of {count} model(s) end here, "
            f"the file goes on to byte {source.size_bytes}",
        )
    return tuple(tables)


def _read_table(
    source: ByteSource, header: OmHeader, start: int, budget: Budget, where: str
) -> tuple[ModelTable, int]:
    """Return one table and the end of its partitions."""
    head, row = (_WIDE_HEAD, _WIDE_ROW) if header.is_wide else (_TINY_HEAD, _TINY_ROW)
    if source.size_bytes - start < head.size:
        raise source.refuse(
            start, f"{where} needs {head.size} bytes, {source.size_bytes - start} are left"
        )
    (count,) = head.unpack(source.view(start, start + head.size))
    many = header.model_type in (ModelType.FLOW, ModelType.BUNDLE)
    count_max = _FLOW_PARTITIONS_MAX if many else _PARTITIONS_MAX
    if not 1 <= count <= count_max:
        raise source.refuse(start, f"{where} has {count} partitions, expected 1 to {count_max}")
    budget.spend(source, start, _ROW_STEPS * count)
    end = start + head.size + count * row.size
    if end >= source.size_bytes:
        raise source.refuse(
            start, f"{where} of {count} rows ends at {end}, the file at {source.size_bytes}"
        )
    rows = source.view(start + head.size, end)
    # A bundle counts its offsets from the end of the header, all others from the end of the table.
    offset = end - HEADER_BYTES if header.model_type == ModelType.BUNDLE else 0
    position = end
    table = []
    for index, (kind, claimed_offset, size_bytes) in enumerate(row.iter_unpack(rows)):
        at = start + head.size + index * row.size
        partition = Partition(kind, position, position + size_bytes)
        if size_bytes > source.size_bytes - position:
            raise source.refuse(
                at,
                f"{where}: {partition} starts at {position}, "
                f"the file has {source.size_bytes - position} bytes from there",
            )
        if claimed_offset != offset:
            raise source.refuse(
                at, f"{where}: {partition} is at offset {claimed_offset}, expected {offset}"
            )
        table.append(partition)
        position += size_bytes
        offset += size_bytes
    return tuple(table), position
