"""Text of at most 80 columns, as rich lays it out."""

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

__all__ = ["headed_table", "laid_out"]


def laid_out(parts: Iterable[RenderableType]) -> str:
    """Return parts below one another, in lines without blanks at their ends.

    Examples
    --------
    >>> laid_out(["a  ", "[b]"]).splitlines()
    ['a', '[b]']
    """
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False, markup=False, color_system=None)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def headed_table() -> Table:
    """Return a table without columns yet: a rule below its heads, none around it."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
