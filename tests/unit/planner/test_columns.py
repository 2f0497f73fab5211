"""Columns of a terminal: what is cut or padded takes what it says, whatever its script."""

from hypothesis import given
from hypothesis import strategies as st

from planner.columns import columns, cut, natural, padded, wrapped

SCRIPTS = st.sampled_from("\u68c0\u6d4b\u6a21e\u0301\U0001f600")
NAMES = st.text(alphabet=st.one_of(st.characters(exclude_categories=("C", "Z")), SCRIPTS))


@given(NAMES, st.integers(1, 50))
def test_a_cut_name_fits_and_keeps_its_ends(name: str, most: int) -> None:
    shown = cut(name, most)
    assert columns(shown) <= most
    if shown != name:
        start, _, end = shown.partition("…")
        assert name.startswith(start)
        assert name.endswith(end) or "…" in name


@given(NAMES, st.integers(0, 20))
def test_padding_fills_up(name: str, more: int) -> None:
    width = columns(name) + more
    assert columns(padded(name, width)) == width


@given(st.lists(NAMES), st.integers(4, 60))
def test_no_line_is_wider(words: list[str], width: int) -> None:
    assert all(columns(line) <= width for line in wrapped(" ".join(words), width))


def test_marks_take_no_column() -> None:
    assert columns("e\u0301") == 1
    assert columns("\uff46\uff55\uff4c\uff4c") == 8


@given(st.text(), st.integers(0, 10**30), st.integers(0, 10**30), st.text())
def test_numbers_in_names_count(start: str, one: int, two: int, end: str) -> None:
    if start[-1:].isdigit():
        start += "-"
    names = [f"{start}{number}-{end}" for number in (one, two)]
    assert (natural(names[0]) < natural(names[1])) is (one < two)


@given(st.lists(st.text(alphabet="a-01\u0663"), unique=True))
def test_names_have_one_order(names: list[str]) -> None:
    assert len(set(map(natural, names))) == len(names)
    assert natural("9" * 10_000) < natural("1" + "0" * 10_000)
