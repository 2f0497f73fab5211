"""The error tree of both packages: every error says who is at fault.

An error that a user, a file or a device can cause is raised as one of these, with a message that
says what was found, where, what was expected and the way out. A broken invariant of our own is an
`assert`.
"""

from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "ArenaError",
    "DecodeError",
    "PlanError",
    "SpecError",
    "UsageError",
    "did_you_mean",
    "refuse_duplicates",
]

_NEAR_NAMES_MAX = 1_000
_NEAR_LENGTH_MAX = 80


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return the end of a message that names the nearest known name; empty where none is near.

    Examples
    --------
    >>> did_you_mean("detectr", ["reader", "detector"]), did_you_mean("x", ["reader"])
    ("; did you mean 'detector'?", '')
    """
    from difflib import get_close_matches  # only a failing run pays for it

    # Comparing is quadratic in the lengths: hostile names get no help.
    names = [name for name in known if len(name) <= _NEAR_LENGTH_MAX][:_NEAR_NAMES_MAX]
    near = get_close_matches(found[:_NEAR_LENGTH_MAX], names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _printable(path: str) -> str:
    """Return a path, which may hold hostile names, as text of one line that a terminal takes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in path)


class ArenaError(Exception):
    """Base of all errors of `planner` and `arena`; `fault` names the party that can mend it."""

    fault: ClassVar[str] = "this software"


class SpecError(ArenaError):
    """The fleet specification is wrong.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    path : str
        Place inside the specification, such as ``pipelines.camera.steps.read.after[0]``; empty
        where the whole is meant. Both stay readable as attributes.
    file : str
        The fleet file, before the place; empty where it was read from none.
    """

    fault = "the fleet specification"

    def __init__(self, message: str, path: str = "", *, file: str = "") -> None:
        path, file = _printable(path), _printable(file)
        super().__init__(": ".join(part for part in (file, path, message) if part))
        self.message = message
        self.path = path


class DecodeError(ArenaError):
    """A file or a mapping cannot be decoded; `path` is the place inside it."""

    fault = "the file"

    def __init__(self, message: str, path: str = "") -> None:
        path = _printable(path)
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


class PlanError(ArenaError):
    """A plan is refused: it is invalid, stale, or does not fit."""

    fault = "the plan"


class UsageError(ArenaError):
    """The caller broke a rule of an interface."""

    fault = "the caller"


def refuse_duplicates(names: Iterable[str], path: str) -> None:
    """Raise SpecError at `path` if a name is given twice.

    Examples
    --------
    >>> refuse_duplicates(["detect", "read"], "steps")
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SpecError(f"{name!r} is given twice", path)
        seen.add(name)
