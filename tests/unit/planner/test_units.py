import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.units import (
    BYTES_MAX,
    GiB,
    KiB,
    MiB,
    align_up,
    format_bytes,
    format_duration,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_rate,
    shown,
)


@given(st.integers(0, BYTES_MAX), st.integers(1, 1 << 40))
def test_align_up_is_the_next_multiple(value: int, alignment: int) -> None:
    aligned = align_up(value, alignment)
    assert aligned % alignment == 0
    assert value <= aligned < value + alignment


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (BYTES_MAX, BYTES_MAX),
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        (" 11 MiB ", 11 * MiB),
        ("11mib", 11 * MiB),
        ("1.5GiB", 3 * GiB // 2),
        ("0.5KiB", KiB // 2),
        ("2TiB", 2 << 40),
        ("1PiB", 1 << 50),
        ("4EiB", BYTES_MAX),
        ("1kB", 1000),
        ("21.5 MB", 21_500_000),
        ("3GB", 3 * 10**9),
    ],
)
def test_sizes_are_read_with_units(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@given(st.integers(0, BYTES_MAX // MiB), st.sampled_from(["MiB", "mib", "MIB"]))
def test_whole_sizes_are_exact_up_to_the_largest(count: int, unit: str) -> None:
    assert parse_bytes(f"{count}{unit}") == count * MiB


BAD_SIZES = [
    # not a quantity at all
    "", " ", "MiB", "eleven", "1,5GiB", "0x10", "1e3", "nan", "inf", "1 2 MiB", "1MiB1", "1.",
    ".5MiB",
    # signs
    "-1", "+1", "-1MiB",
    # digits of other scripts, endless digits, unknown units
    "\uff11\uff12", "1" * 20, "1" * 1_000, "1." + "0" * 20, "1 blocks", "1 MiBs", "1Mi", "1ms",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_SIZES)
def test_other_texts_are_no_sizes(text: str) -> None:
    message = r"models.m.work: found .*, expected a size such as 11MiB, 1.5GiB or 4096 \(bytes\)"
    with pytest.raises(SpecError, match=message) as caught:
        parse_bytes(text, "models.m.work")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [None, True, 1.0, Decimal(1), b"1", [1], {"a": 1}])
def test_other_types_are_no_sizes(value: object) -> None:
    with pytest.raises(SpecError, match=f"found {type(value).__name__} .*, expected a size"):
        parse_bytes(value)  # type: ignore[arg-type] # what a file may hold


ENDLESS = 1 << 20_000  # Python refuses to print it in decimal


@pytest.mark.parametrize(
    "value", [BYTES_MAX + 1, pytest.param(ENDLESS, id="endless"), "5EiB", "4611686018427387905"]
)
def test_sizes_beyond_the_largest_are_refused(value: int | str) -> None:
    with pytest.raises(SpecError, match=r"is above the largest size, 2\^62 bytes"):
        parse_bytes(value)


@pytest.mark.parametrize(
    "text", ["0.3B", "1.0001kB", "1.0000000000000000001GiB", "4611686018427387903.9999999999999999"]
)
def test_fractions_of_a_byte_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a whole number of the smallest unit"):
        parse_bytes(text)


def test_whole_sizes_next_to_a_refused_one_are_named_as_they_can_be_given() -> None:
    message = r"'1\.68GiB' is not .* unit; the nearest that are: (\d+) and (\d+)$"
    with pytest.raises(SpecError, match=message) as caught:
        parse_bytes("1.68GiB")
    found = re.search(message, str(caught.value))
    assert found is not None
    below, above = (parse_bytes(text) for text in found.groups())
    assert above == below + 1
    assert below < Fraction("1.68") * GiB < above


@pytest.mark.parametrize("value", [-1, pytest.param(-ENDLESS, id="endless")])
def test_negative_sizes_and_durations_are_refused(value: int) -> None:
    with pytest.raises(SpecError, match=r"expected a size .*, not negative"):
        parse_bytes(value)
    with pytest.raises(SpecError, match=r"expected a duration .*, not negative"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        (7, 7),
        ("12ms", 12_000_000),
        ("1.5 us", 1_500),
        ("1.5 µs", 1_500),
        ("800ns", 800),
        ("2s", 2 * 10**9),
        ("3min", 180 * 10**9),
    ],
)
def test_durations_are_read_with_units(text: int | str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize("text", ["12", " 12 "])
def test_a_duration_needs_its_unit(text: str) -> None:
    with pytest.raises(SpecError, match="a number without unit; write 12ms, 800us or 2s"):
        parse_duration(text, "steps.read.time")


@pytest.mark.parametrize("text", ["", "ms", "-1ms", "12 h", "12MiB", "1.5"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(SpecError, match="expected a duration such as 12ms, 800us or 2s"):
        parse_duration(text)


def test_fractions_of_a_nanosecond_are_refused() -> None:
    with pytest.raises(SpecError, match=r"'0\.5ns' is not .* unit; the .* are: 0ns and 1ns"):
        parse_duration("0.5ns")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (KiB, "1.00 KiB"), (1536, "1.50 KiB"), (MiB, "1.00 MiB"),
        (GiB, "1.00 GiB"), (BYTES_MAX, "4294967296.00 GiB"), (-1, "-1 B"), (-MiB, "-1.00 MiB"),
    ],
)  # fmt: skip
def test_sizes_are_written_as_people_read_them(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, BYTES_MAX))
def test_what_is_written_reads_back_nearly(size: int) -> None:
    text = format_bytes(size)
    amount, unit = text.split(" ")
    factor = {"B": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB}[unit]
    assert abs(Fraction(amount) * factor - size) <= Fraction(factor, 100)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"), (999, "999 ns"), (1_000, "1.0 us"), (12_340_000, "12.3 ms"),
        (61 * 10**9, "61.0 s"), (-2_000, "-2.0 us"),
    ],
)  # fmt: skip
def test_durations_are_written_as_people_read_them(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


def test_found_values_are_shown_cut() -> None:
    assert shown("a" * 100) == f"'{'a' * 56}..."
    assert shown(1 << 200) == str(1 << 200)[:57] + "..."
    assert shown([1, 2]) == "[1, 2]"


@pytest.mark.parametrize(
    ("text", "rate_millihertz"),
    [("25fps", 25_000), ("12.5 fps", 12_500), ("29.97FPS", 29_970), ("0.001fps", 1), ("0fps", 0)],
)
def test_rates_are_read_with_their_unit(text: str, rate_millihertz: int) -> None:
    assert parse_rate(text) == rate_millihertz


@pytest.mark.parametrize("text", ["25", 25, "25Hz", "fps", "-1fps", "", True, "25ms"])
def test_other_values_are_no_rates(text: int | str) -> None:
    with pytest.raises(SpecError, match=r"p\.rate: found .*, expected a rate such as 25fps"):
        parse_rate(text, "p.rate")


def test_a_rate_is_a_whole_number_of_millihertz() -> None:
    with pytest.raises(SpecError, match="not a whole number of the smallest unit"):
        parse_rate("29.9705fps")


@given(st.integers(0, 10**13))
def test_a_written_rate_is_read_again(rate_millihertz: int) -> None:
    assert parse_rate(format_rate(rate_millihertz)) == rate_millihertz
