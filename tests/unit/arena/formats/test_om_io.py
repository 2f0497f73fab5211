import struct

import pytest

from arena.errors import FormatError
from arena.formats.om_io import InOutInfo, read_inout
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.protobuf import Budget
from arena.formats.source import ByteSource
from planner.model import TensorSpec
from tests.om_files import block, rows_block, tensors_block


def read(data: bytes, budget: Budget | None = None) -> InOutInfo:
    return read_inout(ByteSource(memoryview(data)), (0, len(data)), budget or Budget())


def test_inputs_and_outputs() -> None:
    data = tensors_block(0, ("x", 0, (1, 4), 16), ("mask", 12, (-1,), 0))
    data += tensors_block(1, ("out:0", 1, (2, 2), 8))
    assert read(data) == InOutInfo(
        inputs=(TensorSpec("x", "float32", (1, 4), 16), TensorSpec("mask", "bool", (-1,), 0)),
        outputs=(TensorSpec("out:0", "float16", (2, 2), 8),),
    )


def test_a_size_of_nothing_follows_from_type_and_shape() -> None:
    assert read(tensors_block(0, ("x", 3, (16,), 0))).inputs[0].size_bytes == 64


def test_the_stored_size_wins_over_the_shape() -> None:
    """Preprocessed inputs take other bytes than the network's shape says."""
    assert read(tensors_block(0, ("x", 0, (1, 3, 8, 8), 96))).inputs[0].size_bytes == 96


@pytest.mark.parametrize(
    ("data", "gears"),
    [
        (block(2, struct.pack("<I3q", 3, 1, 2, 8)), Gears(GearsKind.BATCH, ((1,), (2,), (8,)))),
        (rows_block(3, [(32, 64), (64, 64)]), Gears(GearsKind.HW, ((32, 64), (64, 64)))),
        (
            rows_block(4, [(1, 2, 3), (4,)]) + block(6, struct.pack("<III", 2, 1, 2) + b"abc"),
            Gears(GearsKind.DIMS, ((1, 2, 3), (4,)), ("a", "bc")),
        ),
        (block(5, b"shapes of outputs") + block(77, b"of a newer compiler"), None),
        (block(6, struct.pack("<II", 1, 1) + b"x"), None),  # an order without gears
        (b"", None),
    ],
)
def test_gears(data: bytes, gears: Gears | None) -> None:
    assert read(data).gears == gears


TENSOR = struct.Struct("<QiiIIII")


def one(*values: int, tail: bytes = b"") -> bytes:
    return block(0, struct.pack("<I", 1) + TENSOR.pack(*values) + tail)


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"\0\0\0", 0, "block type needs 4 bytes, 3 are left"),
        (b"\0\0\0\0\0", 4, "block length needs 4 bytes, 1 are left"),
        (struct.pack("<II", 0, 5) + b"abcd", 8, "block of type 0 needs 5 bytes, 4 are left"),
        (struct.pack("<II", 0, 2**32 - 1), 8, "block of type 0 needs 4294967295 bytes"),
        (block(0, b"\1"), 8, "tensor count needs 4 bytes, 1 are left"),
        (block(0, struct.pack("<I", 2**32 - 1)), 12, "tensor needs 32 bytes, 0 are left"),
        (one(4, 0, 0, 9, 0, 0, 0), 44, "tensor name needs 9 bytes, 0 are left"),
        (one(4, 0, 0, 1, 0, 0, 0, tail=b"\xff"), 44, "tensor name: found byte 0xff"),
        (one(4, 0, 0, 0, 9, 0, 0, tail=bytes(9)), 44, "dims of 9 bytes, expected 8 each"),
        (one(4, 0, 0, 0, 8, 0, 0), 44, "dims needs 8 bytes, 0 are left"),
        (one(4, 0, 0, 0, 0, 8, 0), 44, "dims after preprocessing needs 8 bytes"),
        (one(4, 0, 0, 0, 0, 0, 8), 44, "dims ranges needs 8 bytes"),
        (one(2**63, 0, 0, 0, 0, 0, 0), 12, r"expected at most 2\^62"),
        (one(4, 0, 0, 0, 1040, 0, 0, tail=bytes(1040)), 12, "130 axes"),
        (block(2, struct.pack("<I", 2**32 - 1)), 12, "batch gears needs 34359738360 bytes"),
        (block(3, struct.pack("<I", 2**32 - 1)), 12, "gears needs 17179869180 bytes"),
        (block(4, struct.pack("<II", 1, 2**32 - 1)), 16, "gear needs 34359738360 bytes"),
        (block(6, struct.pack("<II", 1, 9)), 16, "input name needs 9 bytes, 0 are left"),
    ],
)
def test_damage_is_refused_with_its_offset(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        read(data)
    assert error.value.offset == offset


def test_offsets_count_in_the_file() -> None:
    source = ByteSource(memoryview(b"xxxx" + b"\0\0\0"))
    with pytest.raises(FormatError, match="at byte 4: block type"):
        read_inout(source, (4, 7), Budget())


def test_a_partition_of_megabytes_is_refused_unread() -> None:
    source = ByteSource(memoryview(b""))
    with pytest.raises(FormatError, match="MODEL_INOUT_INFO of 16777217 bytes, expected at most"):
        read_inout(source, (0, (16 << 20) + 1), Budget())


def test_the_budget_pays_for_numbers() -> None:
    with pytest.raises(FormatError, match="more fields than a model can have"):
        read(block(2, struct.pack("<I", 100) + bytes(800)), Budget(99))
