"""What every command prints: one JSON object, or text for people; never both on stdout."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import typer

from arena.errors import DeviceError, FetchError
from planner.errors import ArenaError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "console",
    "emit_error",
    "emit_json",
    "error_figures",
    "exit_code_of",
    "live_line",
    "progress",
    "short_paths",
    "table",
    "warn",
]


def emit_json(value: Mapping[str, object]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def emit_error(error: Exception, *, message: str, as_json: bool) -> None:
    """Print what went wrong: one line on stderr, and the JSON object where one was asked for."""
    figures = error_figures(error, message)
    sys.stderr.write(f"error ({figures['fault']}): {figures['message']}\n")
    if as_json:
        emit_json({"error": figures})


def error_figures(error: Exception, message: str) -> dict[str, str]:
    """Return an error as a JSON mapping; its message is one line."""
    line = " ".join(message.split()) or type(error).__name__
    if isinstance(error, ArenaError):
        fault = error.fault
    else:
        fault = "the caller" if isinstance(error, typer.TyperException) else "this software"
    return {"message": line, "fault": fault, "type": type(error).__name__}


def exit_code_of(error: ArenaError) -> int:
    """Return 3 where a device or the network failed, 2 where the input or the use is wrong."""
    return 3 if isinstance(error, DeviceError | FetchError) else 2


def warn(messages: Iterable[str]) -> None:
    """Print warnings on stderr: one line each, or wrapped at words where that is a terminal."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for message in messages:
        line = f"warning: {message}"
        if width is not None:
            line = textwrap.fill(
                line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
        sys.stderr.write(f"{line}\n")


def short_paths(paths: Sequence[str]) -> list[str]:
    """Return the ends of paths: names, with as many folders as it takes to tell all apart.

    Examples
    --------
    >>> short_paths(["/srv/a/det.om", "/srv/b/det.om", "/srv/b/rec.om", "/srv/b/rec.om"])
    ['a/det.om', 'b/det.om', 'rec.om', 'rec.om']
    """
    parts = [PurePath(path).parts for path in paths]

    def tail(own: tuple[str, ...]) -> str:
        others = [other for other in parts if other != own]
        for length in range(1, len(own)):
            if all(other[-length:] != own[-length:] for other in others):
                return PurePath(*own[-length:]).as_posix()
        return PurePath(*own).as_posix()

    return [tail(own) for own in parts]


def console() -> "Console":
    """Return the console for stdout: 80 columns when it is no terminal; NO_COLOR is respected."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else shutil.get_terminal_size((80, 24)).columns
    return Console(width=width, highlight=False, markup=False, soft_wrap=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int]) -> None:
    """Print a table; `numbers` are the positions of right-aligned columns."""
    from rich import box
    from rich.table import Table

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        view.add_column(
            name,
            justify="right" if index in numbers else "left",
            no_wrap=index in numbers,
            overflow="fold",
        )
    for row in rows:
        view.add_row(*row)
    console().print(view)


@contextmanager
def progress(label: str) -> Iterator[Any]:
    """Yield a callback (done, total) that draws a bar on stderr when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def live_line() -> Iterator[Any]:
    """Yield a callback (height, bound) that rewrites one line on stderr when that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return

    def report(height: int | None, bound: int) -> None:
        gap = "-" if not height or not bound else f"{height / bound - 1:.2%}"
        sys.stderr.write(f"\rheight {height}  lower bound {bound}  gap {gap}\x1b[K")
        sys.stderr.flush()

    try:
        yield report
    finally:
        sys.stderr.write("\r\x1b[K")
