import pytest

from arena.errors import FormatError
from arena.formats.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Budget,
    Field,
    WireReader,
)
from arena.formats.source import ByteSource
from tests.om_files import field, varint


def reader(data: bytes, budget: Budget | None = None) -> WireReader:
    return WireReader(ByteSource(memoryview(data)), 0, len(data), budget or Budget())


def fields(data: bytes) -> list[Field]:
    wire = reader(data)
    return list(wire.fields(*wire.span))


def test_all_wire_types() -> None:
    data = field(1, 300) + field(2, b"abc") + b"\x19" + bytes(7) + b"\x01" + b"\x25\x02\0\0\0"
    assert fields(data) == [
        (1, VARINT, 300, 0),
        (2, BYTES, 5, 8),
        (3, FIXED64, 1 << 56, 8),
        (4, FIXED32, 2, 17),
    ]


@pytest.mark.parametrize("value", [0, 127, 128, 16384, 2**63, 2**64 - 1])
def test_varints_round_trip(value: int) -> None:
    assert fields(varint(8) + varint(value)) == [(1, VARINT, value, 0)]


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"\x08", 1, r"the message ends inside a varint: \[\]"),
        (b"\x08\xff\xff", 1, r"the message ends inside a varint: \[ff ff\]"),
        (b"\x08" + b"\xff" * 10 + b"\0", 1, "more than 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x02", 1, "above 64 bits"),
        (b"\0\0", 0, "field number 0, expected 1 to 536870911"),
        (varint((1 << 29) * 8) + b"\0", 0, "field number 536870912"),
        (b"\x0a\x05abcd", 0, "field 1 claims 5 bytes, its message has 4 left"),
        (b"\x0a" + varint(2**64 - 1), 0, "claims 18446744073709551615 bytes"),
        (b"\x09\0\0\0", 0, "field 1 needs 8 bytes, its message has 3"),
        (b"\x0d\0\0\0", 0, "field 1 needs 4 bytes, its message has 3"),
        (b"\x0b\x0c", 0, "field 1 has wire type 3, expected 0, 1, 2 or 5"),
        (b"\x08\x01\x0f", 2, "wire type 7"),
    ],
)
def test_damage_is_refused_with_its_offset(data: bytes, offset: int, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        fields(data)
    assert error.value.offset == offset


def test_a_part_ends_where_it_ends() -> None:
    data = field(1, b"\x08\x96") + b"\x01"  # the inner varint would go on behind its message
    wire = reader(data)
    ((_, _, start, end),) = list(wire.fields(0, 4))
    with pytest.raises(FormatError, match="ends inside a varint"):
        list(wire.fields(start, end))


def test_repeated_integers_packed_or_not() -> None:
    data = field(3, varint(1) + varint(-1) + varint(300)) + field(3, 5)
    wire = reader(data)
    assert [wire.integers(item) for item in wire.fields(*wire.span)] == [[1, -1, 300], [5]]
    with pytest.raises(FormatError, match="wire type 5 in a list of integers"):
        wire.integers((3, FIXED32, 7, 0))


def test_text_is_utf8_and_short() -> None:
    data = "Modell 模型".encode()
    assert reader(data).text(0, len(data)) == "Modell 模型"
    with pytest.raises(FormatError, match="at byte 1: found byte 0xff, expected UTF-8 text"):
        reader(b"a\xffb").text(0, 3)
    with pytest.raises(FormatError, match="a string of 1048577 bytes, expected at most 1048576"):
        reader(bytes((1 << 20) + 1)).text(0, (1 << 20) + 1)
    assert reader(b"x" * (1 << 20)).text(0, 1 << 20) == "x" * (1 << 20)


def test_the_budget_bounds_fields_and_list_elements() -> None:
    many = field(1, 1) * 100
    wire = reader(many, Budget(99))
    with pytest.raises(FormatError, match="more fields than a model can have") as error:
        list(wire.fields(*wire.span))
    assert error.value.offset == 198
    packed = field(1, b"\1" * 100)
    wire = reader(packed, Budget(100))
    with pytest.raises(FormatError, match="more fields"):
        [wire.integers(item) for item in wire.fields(*wire.span)]
    wire = reader(packed, Budget(101))
    assert [wire.integers(item) for item in wire.fields(*wire.span)] == [[1] * 100]


def test_the_window_moves_and_stays_inside_the_range() -> None:
    """Fields far apart, read through a window of 32 KiB, and nothing outside the range."""

    class Watched(ByteSource):
        reads: list[tuple[int, int]]

        def view(self, start: int, end: int) -> memoryview:
            self.reads.append((start, end))
            return super().view(start, end)

    inner = b"".join(field(1 + index % 9, bytes(7000)) + field(10, index) for index in range(40))
    data = bytes(1000) + inner + bytes(100_000)
    source = Watched(memoryview(data))
    source.reads = []
    wire = WireReader(source, 1000, 1000 + len(inner), Budget())
    values = [a for number, _, a, _ in wire.fields(*wire.span) if number == 10]
    assert values == list(range(40))
    assert min(start for start, _ in source.reads) == 1000
    assert max(end for _, end in source.reads) == 1000 + len(inner)
    first = next(iter(wire.fields(*wire.span)))  # and back again
    assert first == (1, BYTES, 1003, 8003)
