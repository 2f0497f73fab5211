import struct

import pytest

from arena.errors import FormatError
from arena.formats.om_layout import (
    OmHeader,
    Partition,
    PartitionType,
    decode_header,
    encode_header,
    encode_table,
    find_partition,
    read_tables,
)
from arena.formats.protobuf import Budget
from arena.formats.source import ByteSource
from tests.om_files import NEW, OLD, header, plain_om, table


def tables(data: bytes) -> tuple[tuple[Partition, ...], ...]:
    return read_tables(ByteSource(memoryview(data)), decode_header(data[:256]), Budget())


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_header_of_distinct_bytes_survives(version: int) -> None:
    """Every field has its own place in both layouts."""
    raw = bytearray(range(256))
    struct.pack_into("<I", raw, 8, version)
    raw[82] = 0
    pad = slice(181, 184) if version == NEW else slice(177, 184)
    raw[pad] = bytes(len(raw[pad]))
    found = decode_header(bytes(raw))
    assert encode_header(found) == raw
    assert found.model_count == (int.from_bytes(raw[156:160], "little") if version == NEW else 1)
    start = 160 if version == NEW else 156
    assert found.platform_version == bytes(raw[start : start + 20])
    assert found.model_length_bytes == int.from_bytes(raw[184:192], "little")
    assert found.unknown_shapes == raw[193]


def test_header_fields() -> None:
    found = decode_header(header(77, wide=False, model_num=3, unknown=1, model_type=2, encrypted=1))
    assert found == OmHeader(
        length_bytes=77,
        model_count=3,
        unknown_shapes=1,
        model_type=2,
        encrypted=1,
        name_bytes=b"net",
        platform_version=b"",
        platform_type=0,
        ir_version=0,
    )
    assert (found.payload_bytes, found.is_wide, found.is_dynamic) == (77, False, True)


@pytest.mark.parametrize(
    ("version", "model_num", "unknown", "is_dynamic"),
    [
        (NEW, 1, 0, False),
        (NEW, 2, 0, True),
        (NEW, 1, 1, True),
        (NEW, 1, 2, False),  # the query compares with 1
        (NEW + 1, 2, 0, True),
        (OLD, 2, 1, False),
    ],
)
def test_which_files_are_dynamic(
    version: int, model_num: int, unknown: int, is_dynamic: bool
) -> None:
    data = header(1, version=version, model_num=model_num, unknown=unknown)
    assert decode_header(data).is_dynamic == is_dynamic


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"net", "net"),
        (b"net\0rest", "net"),
        ("模型".encode(), "模型"),
        ("模型".encode()[:-1], "模"),  # cut after 31 bytes by the writer
        (b"\xff\xfenet", "��net"),
        (b"", ""),
    ],
)
def test_names_are_text_whatever_they_are(raw: bytes, name: str) -> None:
    assert OmHeader(name_bytes=raw).name == name


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_tables_of_both_widths(wide: bool, version: int) -> None:
    data = plain_om([(0, b"abc"), (1, b""), (2, b"defg"), (99, b"x")], wide=wide, version=version)
    start = 256 + (8 + 4 * 24 if wide else 4 + 4 * 12)
    assert tables(data) == (
        (
            Partition(0, start, start + 3),
            Partition(1, start + 3, start + 3),
            Partition(2, start + 3, start + 7),
            Partition(99, start + 7, start + 8),
        ),
    )
    assert list(map(str, tables(data)[0])) == [
        "MODEL_DEF:3",
        "WEIGHTS_DATA:0",
        "TASK_INFO:4",
        "PARTITION_99:1",
    ]
    rows = [(0, 3), (1, 0), (2, 4), (99, 1)]
    assert data[256:start] == encode_table(rows, is_wide=wide)


def test_several_models() -> None:
    data = plain_om([(0, b"root")], [(0, b"a"), (1, b"bb")], [(1, b"c")], model_num=3)
    assert [list(map(str, found)) for found in tables(data)] == [
        ["MODEL_DEF:4"],
        ["MODEL_DEF:1", "WEIGHTS_DATA:2"],
        ["WEIGHTS_DATA:1"],
    ]


def test_the_first_of_a_type_counts() -> None:
    data = plain_om([(1, b"first"), (0, b"x"), (1, b"second")])
    found = find_partition(tables(data)[0], PartitionType.WEIGHTS_DATA)
    assert found is not None
    assert data[found.start : found.end] == b"first"
    assert find_partition(tables(data)[0], PartitionType.TASK_INFO) is None


def test_flow_models_may_have_many_partitions() -> None:
    rows = [(7, b"x")] * 4096
    assert len(tables(plain_om(rows, model_type=3))[0]) == 4096
    with pytest.raises(FormatError, match="has 4097 partitions, expected 1 to 4096"):
        tables(plain_om([(7, b"x")] * 4097, model_type=3))


def test_bundles_count_offsets_from_the_header() -> None:
    rows = [(25, bytes(8)), (24, b"model one"), (24, b"model two")]
    body = table(rows, wide=True, base=8 + 3 * 24)
    data = header(256 + len(body), version=0, model_num=2, model_type=5, magic=bytes(4)) + body
    assert list(map(str, tables(data)[0])) == [
        "BUNDLE_MODEL_VAR_INFO:8",
        "BUNDLE_MODEL_INFO:9",
        "BUNDLE_MODEL_INFO:9",
    ]
    assert decode_header(data).model_count == 2


def wide_row(size: int, offset: int = 0, kind: int = 0) -> bytes:
    return struct.pack("<IIQQ", kind, 0, offset, size)


@pytest.mark.parametrize(
    ("payload", "offset", "message"),
    [
        (b"", 256, "table 0 needs 4 bytes, 0 are left"),  # no length: not wide
        (b"\x01\0\0\0", 256, "table 0 needs 8 bytes, 4 are left"),
        (struct.pack("<II", 0, 0) + b"x", 256, "table 0 has 0 partitions, expected 1 to 8"),
        (struct.pack("<II", 9, 0) + b"x" * 300, 256, "table 0 has 9 partitions"),
        (struct.pack("<II", 2**32 - 1, 0) + b"x" * 99, 256, "has 4294967295 partitions"),
        (struct.pack("<II", 1, 0) + wide_row(0), 256, "of 1 rows ends at 288, the file at 288"),
        (struct.pack("<II", 2, 0) + wide_row(1) + b"x", 256, "ends at 312, the file at 289"),
        (
            struct.pack("<II", 1, 0) + wide_row(2) + b"x",
            264,
            "MODEL_DEF:2 starts at 288, the file has 1 bytes from there",
        ),
        (struct.pack("<II", 1, 0) + wide_row(2**64 - 1) + b"x", 264, "the file has 1 bytes"),
        (struct.pack("<II", 1, 0) + wide_row(1, offset=9) + b"x", 264, "at offset 9, expected 0"),
        (
            struct.pack("<II", 2, 0) + wide_row(1) + wide_row(1, offset=2**64 - 1) + b"xy",
            288,
            "at offset 18446744073709551615, expected 1",
        ),
        (
            struct.pack("<II", 1, 0) + wide_row(1) + b"xy",
            289,
            "the partitions of 1 model\\(s\\) end here, the file goes on to byte 290",
        ),
    ],
)
def test_damaged_tables_are_refused(payload: bytes, offset: int, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        tables(header(len(payload)) + payload)
    assert error.value.offset == offset


def test_a_claim_of_many_models_costs_no_more_than_the_file() -> None:
    data = plain_om([(0, b"x"), (2, b"y")], model_num=2**32 - 1)
    with pytest.raises(FormatError, match="table 1 needs 8 bytes, 0 are left"):
        tables(data)


def test_the_budget_pays_for_rows() -> None:
    data = plain_om(*([(0, b"x")] for _ in range(50)), model_num=50)
    read_tables(ByteSource(memoryview(data)), decode_header(data[:256]), Budget(4 * 50))
    with pytest.raises(FormatError, match="more fields than a model can have"):
        read_tables(ByteSource(memoryview(data)), decode_header(data[:256]), Budget(4 * 50 - 1))
