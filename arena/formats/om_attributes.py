"""Attributes of models and operators (AttrDef), and the tables that newer compilers name them by.

With attribute compression the name of an operator's attribute is an index into a table that the
model carries, and strings it holds may be indices too. `NameTable` undoes that; a model's own
attributes, the tables among them, are always in clear.

References
----------
.. [1] hicann/ge @ffdcbc9f7, graph_metadef/proto/ge_ir.proto (AttrDef),
       graph_metadef/graph/utils/enum_attr_utils.cc (compressed names and values).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from arena.formats.protobuf import BYTES, VARINT, Field, WireReader, as_signed
from arena.formats.source import Span

__all__ = ["Attributes", "NameTable"]

_KEY_BYTES_MAX: Final = 256
"""Longer attribute names are not among those that are asked for."""


@dataclass(frozen=True, slots=True)
class NameTable:
    """The tables behind compressed attribute names; empty where the model is not compressed."""

    names: tuple[str, ...] = ()
    holds_text: tuple[bool, ...] = ()
    values: tuple[str, ...] = ()

    def lookup(self, key: str) -> tuple[str, bool] | None:
        r"""Return (name, whether its strings are indices); None where the index has no name.

        A compressed name is NUL and the index in base 127, lowest digit first, digits from 1.

        Examples
        --------
        >>> NameTable(("index",), (True,)).lookup("\0\x01")
        ('index', True)
        """
        if not key.startswith("\0"):
            return key, False
        index = sum((ord(digit) - 1) * 127**place for place, digit in enumerate(key[1:6]))
        if len(key) > 6 or not 0 <= index < min(len(self.names), len(self.holds_text)):
            return None
        return self.names[index], self.holds_text[index]


class Attributes:
    """Attributes of one model or operator, decoded when they are asked for.

    A missing attribute is 0, "" or (), as the run time reads it.

    Parameters
    ----------
    wire : WireReader
    table : NameTable
        Of the model; empty for a model's own attributes.
    wanted : tuple of str
        How the names start that will be asked for; others are forgotten at once.
    """

    __slots__ = ("_spans", "_table", "_text_indices", "_wanted", "_wire")

    def __init__(self, wire: WireReader, table: NameTable, wanted: tuple[str, ...]) -> None:
        self._wire = wire
        self._table = table
        self._wanted = wanted
        self._spans: dict[str, Span] = {}
        self._text_indices: set[str] = set()

    def add(self, start: int, end: int) -> None:
        """Take up the map entry at [start, end); the last one of a name counts."""
        key, value = "", (end, end)
        for number, wire, a, b in self._wire.fields(start, end):
            if number == 1 and wire == BYTES:
                key = self._wire.text(a, b) if b - a <= _KEY_BYTES_MAX else ""
            elif number == 2 and wire == BYTES:
                value = (a, b)
        found = self._table.lookup(key)
        if found is None:
            raise self._wire.source.refuse(
                start,
                f"compressed attribute name {key!r} is not in the table of "
                f"{len(self._table.names)} names",
            )
        name, holds_text = found
        if not name.startswith(self._wanted):
            return
        self._spans[name] = value
        if holds_text:
            self._text_indices.add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._spans

    def integer(self, name: str) -> int:
        """Return an int64."""
        values = [
            as_signed(a)
            for number, wire, a, _ in self._fields(name)
            if (number, wire) == (3, VARINT)
        ]
        return values[-1] if values else 0

    def amount(self, name: str) -> int:
        """Return a count or a number of bytes.

        Raises
        ------
        FormatError
            Negative. The model file is at fault.
        """
        value = self.integer(name)
        if value < 0:
            raise self._wire.source.refuse(
                self._spans[name][0], f"attribute {name} is {value}, expected >= 0"
            )
        return value

    def text(self, name: str) -> str:
        """Return a string."""
        found = ""
        for number, wire, a, b in self._fields(name):
            if (number, wire) == (2, BYTES):
                found = self._wire.text(a, b)
            elif (number, wire) == (3, VARINT) and name in self._text_indices:
                found = self._value(a, b)
        return found

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of int64."""
        return tuple(
            value
            for field in self._list_fields(name)
            if field[0] == 3
            for value in self._wire.integers(field)
        )

    def flags(self, name: str) -> tuple[bool, ...]:
        """Return a list of bool."""
        return tuple(
            value != 0
            for field in self._list_fields(name)
            if field[0] == 5
            for value in self._wire.integers(field)
        )

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        found = []
        for field in self._list_fields(name):
            number, wire, a, b = field
            if (number, wire) == (2, BYTES):
                found.append(self._wire.text(a, b))
            elif number == 3 and name in self._text_indices:
                found.extend(self._value(index, b) for index in self._wire.integers(field))
        return tuple(found)

    def rows(self, name: str) -> tuple[tuple[int, ...], ...]:
        """Return a list of lists of int64."""
        wire = self._wire
        return tuple(
            tuple(
                value for item in wire.fields(c, d) if item[0] == 1 for value in wire.integers(item)
            )
            for number, kind, a, b in self._fields(name)
            if (number, kind) == (14, BYTES)
            for row, row_kind, c, d in wire.fields(a, b)
            if (row, row_kind) == (1, BYTES)
        )

    def _fields(self, name: str) -> Iterator[Field]:
        """Yield the fields of the AttrDef called `name`."""
        return self._wire.fields(*self._spans.get(name, (0, 0)))

    def _list_fields(self, name: str) -> Iterator[Field]:
        """Yield the fields of the list inside the AttrDef called `name`."""
        for number, wire, a, b in self._fields(name):
            if (number, wire) == (1, BYTES):
                yield from self._wire.fields(a, b)

    def _value(self, index: int, at: int) -> str:
        """Return the string that a compressed value stands for."""
        if not 0 <= index < len(self._table.values):
            raise self._wire.source.refuse(
                at, f"string {index} of the model's table of {len(self._table.values)}"
            )
        return self._table.values[index]
