"""Names as people read them: cut and padded by the columns they take, in the order they count in.

Reports alone use it: files and plans order by index, or by the characters of names.
"""

import re
import textwrap
from itertools import accumulate
from unicodedata import category, east_asian_width

__all__ = ["columns", "cut", "natural", "padded", "wrapped"]


def columns(text: str) -> int:
    """Return how many columns a terminal gives a line: two to wide characters, none to marks.

    References
    ----------
    Unicode Standard Annex 11, East Asian Width.

    Examples
    --------
    >>> columns("detector"), columns("检测")
    (8, 4)
    """
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(name: str, most: int = 40) -> str:
    """Return a name in at most so many columns: its middle left out where it is too long.

    Examples
    --------
    >>> cut("detector@vision"), cut("x" * 50, 9), cut("检测" * 9, 9)
    ('detector@vision', 'xxxx…xxxx', '检测…检测')
    """
    if columns(name) <= most:
        return name
    half = (most - 1) // 2
    return f"{_start(name, half)}…{_start(name[::-1], half)[::-1]}"


def padded(name: str, width: int) -> str:
    """Return a name with blanks behind it, so that it takes so many columns.

    Examples
    --------
    >>> padded("检测", 6) + "|"
    '检测  |'
    """
    return name + " " * (width - columns(name))


def natural(name: str) -> tuple[object, ...]:
    """Return what a name sorts by, numbers in it by their value.

    Examples
    --------
    >>> sorted(["cam-10", "cam-2", "cam-02", "bus"], key=natural)
    ['bus', 'cam-02', 'cam-2', 'cam-10']
    """
    # Digits by their count, then by themselves: Python makes no number of thousands of them.
    digits = [part.lstrip("0") for part in re.findall("[0-9]+", name)]
    words = re.split("[0-9]+", name)
    return (words[0], *zip(map(len, digits), digits, words[1:], strict=True)), name


def wrapped(text: str, width: int) -> list[str]:
    """Return lines of at most so many columns; with wide characters they may be shorter."""
    wide = sum(_width(char) == 2 for char in text)
    return textwrap.wrap(text, max(width // 2, width - wide))


def _width(char: str) -> int:
    if category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def _start(name: str, most: int) -> str:
    ends = accumulate(map(_width, name))
    return name[: sum(end <= most for end in ends)]
