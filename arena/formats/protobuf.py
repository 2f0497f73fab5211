"""A walker over the protobuf wire format: bounded, lazy, and exact about where things went wrong.

    fields(start, end)  ->  (number, wire, a, b)
        VARINT   a = value (0 .. 2^64 - 1)      b = offset of the field
        BYTES    [a, b) = the bytes, unread
        FIXED64, FIXED32   a = value            b = offset of the field

Length-delimited fields are handed out as ranges and never entered unasked: whole subtrees are
skipped without being read, there is no recursion that nesting could exhaust, and memory is one
window whatever the message claims. Every step is paid from a `Budget`, so that a hostile file
costs seconds at most. Messages are not interpreted here.

References
----------
.. [1] Protocol Buffers, "Encoding", https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from arena.formats.source import ByteSource, Span

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Budget", "Field", "WireReader", "as_signed"]

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

Field: TypeAlias = tuple[int, int, int, int]
"""(number, wire type, a, b) as the module says."""

_WINDOW_BYTES: Final = 32 * 1024
_VARINT_BYTES_MAX: Final = 10
_NUMBER_MAX: Final = (1 << 29) - 1
TEXT_BYTES_MAX: Final = 1 << 20
"""Longest string that is read; names and versions have tens of bytes."""


@dataclass(slots=True)
class Budget:
    """Steps that reading one file may take: fields, list elements, table rows.

    A network of 194 operators takes 998, so a million is some 200,000 operators. Spending all of it
    takes about a second.
    """

    steps_left: int = 1_000_000

    def spend(self, source: ByteSource, offset: int, steps: int = 1) -> None:
        """Take `steps`; raises FormatError at `offset` when none are left."""
        self.steps_left -= steps
        if self.steps_left < 0:
            raise source.refuse(
                offset, "the file has more fields than a model can have: reading stops here"
            )


def as_signed(value: int) -> int:
    """Return a varint as the int64 that it encodes.

    Examples
    --------
    >>> as_signed(2**64 - 1), as_signed(7)
    (-1, 7)
    """
    return value - (1 << 64) if value >> 63 else value


class WireReader:
    """Walks messages inside one range of a source.

    Parameters
    ----------
    source : ByteSource
    start, end : int
        Nothing outside [start, end) is read.
    budget : Budget
        Shared by all readers of one file.
    """

    __slots__ = ("_base", "_window", "budget", "end", "source", "start")

    def __init__(self, source: ByteSource, start: int, end: int, budget: Budget) -> None:
        self.source = source
        self.start = start
        self.end = end
        self.budget = budget
        self._base = start
        self._window = b""

    @property
    def span(self) -> Span:
        """The whole range of this reader."""
        return (self.start, self.end)

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message at [start, end), a part of this reader's range.

        Raises
        ------
        FormatError
            A field leaves the message, a varint passes 64 bits, a number or wire type that
            protobuf 3 does not write, or the budget is spent. The model file is at fault.
        """
        spend, source = self.budget.spend, self.source
        position = start
        while position < end:
            at = position
            spend(source, at)
            tag, position = self._varint(position, end)
            number, wire = tag >> 3, tag & 7
            if not 0 < number <= _NUMBER_MAX:
                raise source.refuse(
                    at, f"field number {number}, expected 1 to {_NUMBER_MAX}: not a message"
                )
            if wire == BYTES:
                length, position = self._varint(position, end)
                if length > end - position:
                    raise source.refuse(
                        at,
                        f"field {number} claims {length} bytes, its message has "
                        f"{end - position} left",
                    )
                yield number, wire, position, position + length
                position += length
            elif wire == VARINT:
                value, position = self._varint(position, end)
                yield number, wire, value, at
            elif wire in (FIXED64, FIXED32):
                width = 8 if wire == FIXED64 else 4
                if width > end - position:
                    raise source.refuse(
                        at, f"field {number} needs {width} bytes, its message has {end - position}"
                    )
                raw = self.read(position, position + width)
                yield number, wire, int.from_bytes(raw, "little"), at
                position += width
            else:
                raise source.refuse(
                    at, f"field {number} has wire type {wire}, expected 0, 1, 2 or 5"
                )

    def integers(self, field: Field) -> list[int]:
        """Return the elements of one field of a repeated int64, packed or not."""
        _, wire, position, end = field
        if wire == VARINT:
            return [as_signed(position)]
        if wire != BYTES:
            raise self.source.refuse(end, f"wire type {wire} in a list of integers")
        values = []
        while position < end:
            self.budget.spend(self.source, position)
            value, position = self._varint(position, end)
            values.append(as_signed(value))
        return values

    def text(self, start: int, end: int) -> str:
        """Return the string at [start, end).

        Raises
        ------
        FormatError
            Longer than a mebibyte, or not UTF-8. The model file is at fault.
        """
        if end - start > TEXT_BYTES_MAX:
            raise self.source.refuse(
                start, f"a string of {end - start} bytes, expected at most {TEXT_BYTES_MAX}"
            )
        raw = self.read(start, end)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.source.refuse(
                start + error.start, f"found byte {raw[error.start]:#04x}, expected UTF-8 text"
            ) from None

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end), from the window where they are short."""
        if end - start > _WINDOW_BYTES:
            return bytes(self.source.view(start, end))
        if not (self._base <= start and end <= self._base + len(self._window)):
            self._fill(start)
        return self._window[start - self._base : end - self._base]

    def _fill(self, start: int) -> None:
        """Move the window to `start`; it never leaves the range, so weights stay unread."""
        self._window = bytes(self.source.view(start, min(start + _WINDOW_BYTES, self.end)))
        self._base = start

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """Return (value, offset after it) of the varint at `position`, before `end`."""
        index = position - self._base
        window = self._window
        if 0 <= index < len(window) and position < end and window[index] < 0x80:
            return window[index], position + 1  # most tags, lengths and small values
        reach = min(_VARINT_BYTES_MAX, end - position)
        if index < 0 or index + reach > len(window):
            self._fill(position)
            index, window = 0, self._window
        value = 0
        for place, byte in enumerate(window[index : index + reach]):
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if value >> 64:
                    raise self.source.refuse(position, f"varint {value:#x} is above 64 bits")
                return value, position + place + 1
        found = window[index : index + reach].hex(" ")
        if reach < _VARINT_BYTES_MAX:
            raise self.source.refuse(position, f"the message ends inside a varint: [{found}]")
        raise self.source.refuse(position, f"varint [{found}] has more than 10 bytes")
