"""Bytes, durations and rates: parse, format, align. Nothing else belongs here.

Sizes are exact integers of bytes everywhere; text with a unit exists only at the edges.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from typing import Final

from planner.errors import SpecError

__all__ = [
    "BYTES_MAX",
    "NS_IN_1000_S",
    "RATE_MAX",
    "GiB",
    "KiB",
    "MakespanUnit",
    "MiB",
    "align_up",
    "format_bytes",
    "format_count",
    "format_duration",
    "format_makespan",
    "format_rate",
    "parse_bytes",
    "parse_duration",
    "parse_rate",
    "shown",
]


class MakespanUnit(StrEnum):
    """What a makespan counts."""

    NS = "ns"
    """Nanoseconds: the time of every step is known."""
    STEPS = "steps"
    """Steps: some time is unknown, and every step counts 1."""


KiB: Final = 1 << 10
MiB: Final = 1 << 20
GiB: Final = 1 << 30
BYTES_MAX: Final = 1 << 62
"""No size, offset or sum may exceed this: solvers and devices count in signed 64-bit integers."""
RATE_MAX: Final = 10**12
"""Highest rate, frames in 1,000 seconds: a thousand million frames a second."""
NS_IN_1000_S: Final = 10**12
"""Rates in frames a nanosecond times this are millihertz."""

_BYTE_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{p}ib": 1 << (10 * k) for k, p in enumerate("kmgtpe", start=1)},
    **{f"{p}b": 1000**k for k, p in enumerate("kmgtpe", start=1)},
}
_TIME_UNITS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_RATE_UNITS: Final = {"fps": 1000}
_QUANTITY: Final = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([A-Za-zµ]*)\s*")
_SHOWN_MAX: Final = 60


def align_up(value: int, alignment: int) -> int:
    """Return the smallest multiple of `alignment` (> 0) not below `value` (>= 0), both bytes.

    Examples
    --------
    >>> align_up(513, 512), align_up(512, 512), align_up(0, 512)
    (1024, 512, 0)
    """
    return -(-value // alignment) * alignment


def parse_bytes(value: int | str, path: str = "") -> int:
    """Return a size in bytes from an integer or from text with a unit.

    Parameters
    ----------
    value : int or str
        Bytes, or a number with B, KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of
        1000), in any letter case. A fraction is accepted where the result is whole.
    path : str
        Place inside the specification, for the error.

    Raises
    ------
    SpecError
        Not a size, negative, not a whole number of bytes, or above `BYTES_MAX`.

    Examples
    --------
    >>> parse_bytes("11MiB"), parse_bytes("1.5 GiB"), parse_bytes(512)
    (11534336, 1610612736, 512)
    """
    size = _parse_quantity(
        value, _BYTE_UNITS, path, wanted="a size such as 11MiB, 1.5GiB or 4096 (bytes)", exact=str
    )
    if size > BYTES_MAX:
        raise SpecError(f"{shown(value)} is above the largest size, 2^62 bytes", path)
    return size


def parse_duration(value: int | str, path: str = "") -> int:
    """Return a duration in nanoseconds from text such as ``12ms`` (an integer counts nanoseconds).

    Raises
    ------
    SpecError
        Not a duration, negative, or not a whole number of nanoseconds.

    Examples
    --------
    >>> parse_duration("12ms"), parse_duration("1.5 us"), parse_duration("2s")
    (12000000, 1500, 2000000000)
    """
    if isinstance(value, str) and value.strip().isdecimal():
        raise SpecError(
            f"found {shown(value)}, a number without unit; write 12ms, 800us or 2s", path
        )
    return _parse_quantity(
        value, _TIME_UNITS, path, wanted="a duration such as 12ms, 800us or 2s", exact="{}ns".format
    )


def parse_rate(value: int | str, path: str = "") -> int:
    """Return a rate in millihertz, frames in 1,000 seconds, from text such as ``25fps``.

    Raises
    ------
    SpecError
        Not a rate, without its unit, or not a whole number of millihertz.

    Examples
    --------
    >>> parse_rate("25fps"), parse_rate("29.97 fps")
    (25000, 29970)
    """
    if not isinstance(value, str) or value.strip().isdecimal():
        raise SpecError(f"found {shown(value)}, expected a rate such as 25fps or 12.5fps", path)
    return _parse_quantity(
        value, _RATE_UNITS, path, wanted="a rate such as 25fps or 12.5fps", exact=format_rate
    )


def _parse_quantity(
    value: int | str,
    units: dict[str, int],
    path: str,
    wanted: str,
    exact: Callable[[int], str],
) -> int:
    """Return a count of the smallest unit; `exact` writes one so that it is read without loss."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise SpecError(f"found {type(value).__name__} {shown(value)}, expected {wanted}", path)
    if isinstance(value, int):
        if value < 0:
            raise SpecError(f"found {shown(value)}, expected {wanted}, not negative", path)
        return value
    match = _QUANTITY.fullmatch(value)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise SpecError(f"found {shown(value)}, expected {wanted}", path)
    amount = Fraction(match[1]) * factor
    if amount.denominator != 1:
        below = amount.numerator // amount.denominator
        raise SpecError(
            f"{value!r} is not a whole number of the smallest unit; the nearest that are: "
            f"{exact(below)} and {exact(below + 1)}",
            path,
        )
    return amount.numerator


def shown(value: object) -> str:
    """Return a found value for an error message: as Python writes it, cut where it is endless.

    Examples
    --------
    >>> shown("11 MB"), shown(-3), shown(1 << 20_000)
    ("'11 MB'", '-3', 'an integer of 20001 bits')
    """
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print the longest
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 3]}..."


def format_bytes(size: int) -> str:
    """Return a size in bytes as people read it: B, KiB, MiB or GiB with at most two decimals.

    Examples
    --------
    >>> format_bytes(0), format_bytes(1536), format_bytes(11 * MiB), format_bytes(-21527 * MiB)
    ('0 B', '1.50 KiB', '11.00 MiB', '-21.02 GiB')
    """
    magnitude = abs(size)
    for factor, unit in ((GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if magnitude >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} B"


def format_duration(duration_ns: int) -> str:
    """Return a duration in nanoseconds as people read it: ns, us, ms or s.

    Examples
    --------
    >>> format_duration(12_000_000), format_duration(1_500), format_duration(7)
    ('12.0 ms', '1.5 us', '7 ns')
    """
    for factor, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if abs(duration_ns) >= factor:
            return f"{duration_ns / factor:.1f} {unit}"
    return f"{duration_ns} ns"


def format_makespan(makespan: int, unit: MakespanUnit) -> str:
    """Return a makespan, >= 0, as people read it.

    Examples
    --------
    >>> format_makespan(1_500_000, MakespanUnit.NS), format_makespan(1, MakespanUnit.STEPS)
    ('1.5 ms', '1 step')
    """
    if unit is MakespanUnit.NS:
        return format_duration(makespan)
    return format_count(makespan, "step")


def format_count(count: int, noun: str) -> str:
    """Return how many there are, as people write it; `noun` takes an s where they are not one.

    Examples
    --------
    >>> format_count(0, "model"), format_count(1, "model"), format_count(2, "model")
    ('0 models', '1 model', '2 models')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_rate(rate_millihertz: int) -> str:
    """Return a rate in millihertz as `parse_rate` reads it, without loss.

    Examples
    --------
    >>> format_rate(25_000), format_rate(29_970), format_rate(1)
    ('25fps', '29.97fps', '0.001fps')
    """
    whole, rest = divmod(rate_millihertz, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".") + "fps"
