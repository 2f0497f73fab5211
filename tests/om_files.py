"""Hand-made .om files and the plain truth about them, independent of the code under test."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NEW, OLD = 0x20000000, 0x10000000
MODEL_DEF, WEIGHTS, TASK, TBE, INOUT = 0, 1, 2, 3, 8


def varint(value: int) -> bytes:
    """A protobuf varint; negative numbers as int64."""
    value %= 1 << 64
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def field(number: int, value: "int | bytes | str") -> bytes:
    """A varint field, or a length-delimited one."""
    if isinstance(value, int):
        return varint(number * 8) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number * 8 + 2) + varint(len(value)) + value


def attr(number: int, name: str, value: bytes) -> bytes:
    """A map entry name -> AttrDef."""
    return field(number, field(1, name) + field(2, value))


def tensor_desc(dtype: int, shape: Iterable[int], size: int = 0, packed: bool = True) -> bytes:
    """A TensorDescriptor."""
    dims = b"".join(map(varint, shape)) if packed else b""
    inner = field(1, dims) if packed else b"".join(field(1, length) for length in shape)
    return field(2, dtype) + field(3, inner) + (field(10, size) if size else b"")


def op(name: str, kind: str, rest: bytes = b"") -> bytes:
    """An OpDef inside a graph."""
    return field(6, field(1, name) + field(2, kind) + rest)


def model_def(*ops: bytes, attrs: bytes = b"", name: str = "net") -> bytes:
    """A ModelDef with one graph."""
    return field(1, name) + field(7, field(1, "graph") + b"".join(ops)) + attrs


def task_info(memory: int = 4096) -> bytes:
    """A ModelTaskDef."""
    return field(1, "1") + field(10, field(2, 3)) + field(11, memory) + field(14, 7)


def tensors_block(kind: int, *tensors: tuple[str, int, tuple[int, ...], int]) -> bytes:
    """A block of inputs or outputs: (name, acl dtype, dims, size) each."""
    value = struct.pack("<I", len(tensors))
    for name, dtype, dims, size in tensors:
        raw = name.encode()
        value += struct.pack("<QiiIIII", size, 0, dtype, len(raw), 8 * len(dims), 8 * len(dims), 0)
        value += raw + 2 * struct.pack(f"<{len(dims)}q", *dims)
    return block(kind, value)


def block(kind: int, value: bytes) -> bytes:
    """A block of MODEL_INOUT_INFO."""
    return struct.pack("<II", kind, len(value)) + value


def rows_block(kind: int, rows: Sequence[Sequence[int]]) -> bytes:
    """A block of gears of size or dims."""
    value = struct.pack(f"<{1 + len(rows)}I", len(rows), *map(len, rows))
    return block(kind, value + b"".join(struct.pack(f"<{len(row)}q", *row) for row in rows))


def header(
    payload: int,
    *,
    version: int = NEW,
    wide: bool = True,
    model_num: int = 1,
    unknown: int = 0,
    model_type: int = 0,
    encrypted: int = 0,
    magic: bytes = b"IMOD",
    headsize: int = 256,
    name: bytes = b"net",
) -> bytes:
    """The first 256 bytes, written at offsets as the format's description counts them."""
    out = bytearray(256)
    out[0:4] = magic
    struct.pack_into("<II", out, 4, headsize, version)
    struct.pack_into("<I", out, 76, 0 if wide else payload)
    out[80], out[82] = encrypted, model_type
    out[84 : 84 + len(name)] = name
    if version >= NEW or model_type == 5:
        struct.pack_into("<I", out, 156, model_num)
    struct.pack_into("<Q", out, 184, payload if wide else 0)
    out[193] = unknown
    return bytes(out)


def table(rows: Sequence[tuple[int, bytes]], wide: bool, base: int = 0) -> bytes:
    """A partition table and the partitions."""
    out = struct.pack("<II", len(rows), 0) if wide else struct.pack("<I", len(rows))
    offset = base
    for kind, content in rows:
        if wide:
            out += struct.pack("<IIQQ", kind, 0, offset, len(content))
        else:
            out += struct.pack("<III", kind, offset, len(content))
        offset += len(content)
    return out + b"".join(content for _, content in rows)


def plain_om(
    *models: Sequence[tuple[int, bytes]], wide: bool = True, **header_fields: int
) -> bytes:
    """A whole file of the given partitions."""
    payload = b"".join(table(rows, wide) for rows in models)
    return header(len(payload), wide=wide, **header_fields) + payload  # type: ignore[arg-type]


def static_om(
    weights: bytes = b"w" * 100, memory: int = 4096, wide: bool = True, **header_fields: int
) -> bytes:
    """A small static model with an input and an output, described by the graph."""
    data = op("x", "Data", field(33, tensor_desc(1, (1, 4), 16)))
    out = op("out", "NetOutput", field(33, tensor_desc(1, (1, 2), 64)))
    rows = [(MODEL_DEF, model_def(data, out)), (WEIGHTS, weights), (TASK, task_info(memory))]
    return plain_om(rows, wide=wide, **header_fields)


@dataclass(frozen=True)
class ManifestRow:
    """What a reader must find in one public file."""

    path: Path
    file_bytes: int
    version: int
    is_wide: bool
    work_bytes: int
    zero_copy_bytes: int | None
    weight_bytes: int
    partitions: tuple[tuple[str, ...], ...]
    soc: str
    compiler: str


def manifest(folder: Path) -> list[ManifestRow]:
    """Read manifest.tsv."""
    lines = (folder / "manifest.tsv").read_text().splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    return [
        ManifestRow(
            path=folder / row["file"],
            file_bytes=int(row["bytes"]),
            version=int(row["header_version"], 16),
            is_wide=row["table"] == "wide64",
            work_bytes=int(row["work_size"]),
            zero_copy_bytes=int(row["zero_copy"]) if row["zero_copy"] else None,
            weight_bytes=int(row["weight_size"]),
            partitions=tuple(tuple(t.split(",")) for t in row["partitions"].split(" | ")),
            soc=row["soc"],
            compiler=row["atc"],
        )
        for row in rows
    ]


class QueryRefusedError(Exception):
    """The vendor's query would refuse the file."""


def vendor_query(data: bytes) -> tuple[int, int]:
    """The vendor's size query, step by step, as slow and plain as it can be (facts: GE source).

    Raises QueryRefusedError where the query returns an error.
    """
    if len(data) < 256:
        raise QueryRefusedError("header")
    magic, _, version = struct.unpack_from("<4sII", data)
    length = struct.unpack_from("<Q", data, 184)[0] or struct.unpack_from("<I", data, 76)[0]
    if magic != b"IMOD" or length != len(data) - 256:
        raise QueryRefusedError("length or magic")
    (model_num,) = struct.unpack_from("<I", data, 156)
    dynamic = version >= NEW and (model_num > 1 or data[193] == 1)
    flow = data[82] == 3
    wide = struct.unpack_from("<Q", data, 184)[0] != 0 or flow
    position = 256
    tables: list[dict[int, bytes]] = []
    for _ in range(model_num if dynamic else 1):
        if len(data) - position <= 8:
            raise QueryRefusedError("no room for a table")
        (num,) = struct.unpack_from("<I", data, position)
        if num > 4096 if flow else not 1 <= num <= 8:
            raise QueryRefusedError("partition count")
        end = position + (8 + 24 * num if wide else 4 + 12 * num)
        if len(data) <= end:
            raise QueryRefusedError("table beyond the end")
        first: dict[int, bytes] = {}
        cursor = end
        for index in range(num):
            if wide:
                kind, _, _, size = struct.unpack_from("<IIQQ", data, position + 8 + 24 * index)
            else:
                kind, _, size = struct.unpack_from("<III", data, position + 4 + 12 * index)
            if size > len(data) - cursor:
                raise QueryRefusedError("partition beyond the end")
            first.setdefault(kind, data[cursor : cursor + size])
            cursor += size
        if not tables and not dynamic and num == 1:
            raise QueryRefusedError("not executable")
        tables.append(first)
        position = cursor
    if position != len(data) or not tables:
        raise QueryRefusedError("does not end at the end")
    weight = sum(len(first.get(WEIGHTS, b"")) for first in tables)
    return (0 if dynamic else _memory_size(tables[0].get(TASK, b""))), weight


def _memory_size(message: bytes) -> int:
    """Field 11 of a ModelTaskDef."""
    position, found = 0, 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        if tag // 8 == 0:
            raise QueryRefusedError("field 0")
        if tag % 8 == 0:
            value, position = _read_varint(message, position)
            found = value if tag // 8 == 11 else found
        elif tag % 8 == 1:
            position += 8
        elif tag % 8 == 5:
            position += 4
        elif tag % 8 == 2:
            size, position = _read_varint(message, position)
            position += size
        else:
            raise QueryRefusedError("wire type")  # groups: no compiler writes them
        if position > len(message):
            raise QueryRefusedError("truncated message")
    return found


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if position + place >= len(message):
            raise QueryRefusedError("truncated varint")
        byte = message[position + place]
        value += (byte & 127) << (7 * place)
        if byte < 128:
            return value % (1 << 64), position + place + 1
    raise QueryRefusedError("varint of more than 10 bytes")
