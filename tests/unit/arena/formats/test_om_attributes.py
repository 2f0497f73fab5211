import pytest

from arena.errors import FormatError
from arena.formats.om_attributes import Attributes, NameTable
from arena.formats.protobuf import BYTES, Budget, WireReader
from arena.formats.source import ByteSource
from tests.om_files import attr, field, varint

EMPTY = NameTable()
TABLE = NameTable(("index", "label", "order"), (False, True, True), ("alpha", "beta"))


def attributes(
    *entries: bytes, table: NameTable = EMPTY, wanted: tuple[str, ...] | None = None
) -> Attributes:
    data = b"".join(entries)
    wire = WireReader(ByteSource(memoryview(data)), 0, len(data), Budget())
    found = Attributes(wire, table, ("",) if wanted is None else wanted)
    for _, kind, start, end in wire.fields(0, len(data)):
        assert kind == BYTES
        found.add(start, end)
    return found


def test_every_kind_of_value() -> None:
    rows = b"".join(field(1, field(1, varint(2) + varint(-1))) for _ in range(2))
    found = attributes(
        attr(11, "number", field(3, -5)),
        attr(11, "text", field(2, "Ascend310")),
        attr(11, "numbers", field(1, field(3, varint(1) + varint(2)) + field(3, 3))),
        attr(11, "texts", field(1, field(2, "a") + field(2, "b"))),
        attr(11, "flags", field(1, field(5, b"\0\1"))),
        attr(11, "rows", field(14, rows)),
    )
    assert found.integer("number") == -5
    assert found.text("text") == "Ascend310"
    assert found.integers("numbers") == (1, 2, 3)
    assert found.texts("texts") == ("a", "b")
    assert found.flags("flags") == (False, True)
    assert found.rows("rows") == ((2, -1), (2, -1))
    assert "flags" in found


def test_unwanted_names_are_forgotten() -> None:
    entries = [attr(11, name, field(3, 7)) for name in ("size", "size_2", "other")]
    found = attributes(*entries, wanted=("size", "zone"))
    assert [name in found for name in ("size", "size_2", "other")] == [True, True, False]
    assert found.integer("other") == 0


def test_missing_attributes_are_empty() -> None:
    found = attributes()
    assert found.integer("x") == found.amount("x") == 0
    assert found.text("x") == ""
    lists = [found.integers("x"), found.flags("x"), found.texts("x"), found.rows("x")]
    assert lists == [()] * 4
    assert "x" not in found


def test_values_of_another_kind_are_empty() -> None:
    """As the vendor's getters do, which then leave the default."""
    found = attributes(attr(11, "x", field(2, "text")), attr(11, "y", field(3, 7)))
    assert found.integer("x") == 0
    assert found.text("y") == ""
    assert (found.rows("x"), found.texts("y")) == ((), ())


def test_the_last_entry_of_a_name_counts() -> None:
    found = attributes(attr(11, "x", field(3, 1)), attr(11, "x", field(3, 2)))
    assert found.integer("x") == 2


def test_negative_amounts_are_refused() -> None:
    found = attributes(attr(11, "memory_size", field(3, -1)))
    with pytest.raises(FormatError, match="attribute memory_size is -1, expected >= 0"):
        found.amount("memory_size")


def test_long_names_and_foreign_fields_are_passed_over() -> None:
    found = attributes(
        attr(11, "n" * 257, field(3, 1)),
        field(11, field(3, b"later") + field(1, "x") + field(2, field(3, 4))),
    )
    assert "n" * 257 not in found
    assert found.integer("x") == 4


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("plain", ("plain", False)),
        ("\0\x01", ("index", False)),
        ("\0\x02", ("label", True)),
        ("\0\x04", None),
        ("\0", ("index", False)),  # no digits: 0, as the vendor decodes it
        ("\0\x01\x01", ("index", False)),
        ("\0\0", None),  # a digit of -1
        ("\0" + "\x01" * 6, None),  # longer than any table
    ],
)
def test_compressed_names(key: str, expected: tuple[str, bool] | None) -> None:
    assert TABLE.lookup(key) == expected


def test_names_beyond_one_digit() -> None:
    names = tuple(f"name{index}" for index in range(127 * 127 + 3))
    table = NameTable(names, (False,) * len(names))
    assert table.lookup("\0\x7f") == ("name126", False)
    assert table.lookup("\0\x01\x02") == ("name127", False)
    assert table.lookup("\0\x02\x01\x02") == ("name16130", False)


def test_compressed_attributes() -> None:
    found = attributes(
        attr(10, "\0\x01", field(3, 7)),
        attr(10, "\0\x02", field(3, 1)),
        attr(10, "\0\x03", field(1, field(3, varint(0) + varint(1)))),
        table=TABLE,
    )
    assert found.integer("index") == 7
    assert found.text("label") == "beta"
    assert found.texts("order") == ("alpha", "beta")


def test_indices_outside_the_tables_are_refused() -> None:
    with pytest.raises(FormatError, match="is not in the table of 3 names"):
        attributes(attr(10, "\0\x09", field(3, 7)), table=TABLE)
    found = attributes(attr(10, "\0\x02", field(3, 2)), table=TABLE)
    with pytest.raises(FormatError, match="string 2 of the model's table of 2"):
        found.text("label")
