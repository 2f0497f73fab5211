"""No command overwrites what it reads: checked in one place, before a command computes anything.

Every path that a command takes is marked `Reads` or `Writes` beside its option, so that a new
command cannot forget to say which it is.

    Annotated[Path | None, typer.Option("-o", metavar="PLAN", help="..."), Writes()]
"""

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from planner.errors import ArenaError, UsageError

__all__ = ["Reads", "Writes", "keeping_inputs"]


@dataclass(frozen=True, slots=True)
class Reads:
    """Marks a path that a command reads; `is_fleet`: it names model files, which are read too."""

    is_fleet: bool = False


@dataclass(frozen=True, slots=True)
class Writes:
    """Marks a path that a command writes; `members`: a folder, and which of its files, a regex."""

    members: str = ""


@dataclass(frozen=True, slots=True)
class _Path:
    """One path of a command line: the option or argument it was given for, and what it is for."""

    name: str
    path: Path
    mark: Reads | Writes

    def __str__(self) -> str:
        return f"{self.name} {self.path}"

    def overwrites(self, other: Path) -> bool:
        """Return whether writing here would replace the content of `other`."""
        if other.exists() and not other.is_file():
            return False  # A device or a pipe takes what is written; two outputs may share it.
        assert isinstance(self.mark, Writes)
        if not self.mark.members:
            return _is_same(self.path, other)
        members = re.compile(self.mark.members)
        real = Path(os.path.realpath(other))
        if members.fullmatch(real.name) and _is_same(self.path, real.parent):
            return True
        inside = self.path.iterdir() if self.path.is_dir() else ()
        return any(members.fullmatch(path.name) and _is_same(path, other) for path in inside)


def keeping_inputs(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that refuses to overwrite what it reads, or one output by another.

    Raises
    ------
    TypeError
        A path of the command is neither marked `Reads` nor `Writes`: our own mistake.
    """
    marks = dict(_marks_of(command))

    @functools.wraps(command)
    def checked(**values: Any) -> int:
        _refuse_overwriting(list(_paths_of(marks, values)))
        return command(**values)

    return checked


def _marks_of(command: Callable[..., int]) -> Iterator[tuple[str, tuple[str, Reads | Writes]]]:
    """Yield the parameters that are paths, each with its name on the command line and its mark."""
    for parameter, hint in get_type_hints(command, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kind, *extras = get_args(hint)
        if Path not in (kind, *get_args(kind)):
            continue
        mark = next((item for item in extras if isinstance(item, Reads | Writes)), None)
        if mark is None:
            raise TypeError(f"{command.__name__}: path {parameter!r} is not marked Reads or Writes")
        (info,) = (item for item in extras if hasattr(item, "metavar"))
        # Of an annotation, typer keeps the first spelling of an option as its default.
        spellings = (info.default, *(info.param_decls or ()))
        name = next((text for text in spellings if isinstance(text, str)), info.metavar)
        yield parameter, (name.rstrip("."), mark)


def _paths_of(
    marks: Mapping[str, tuple[str, Reads | Writes]], values: Mapping[str, Any]
) -> Iterator[_Path]:
    for parameter, (name, mark) in marks.items():
        value = values[parameter]
        for path in value if isinstance(value, list) else [value] * (value is not None):
            yield _Path(name, path, mark)


def _refuse_overwriting(paths: list[_Path]) -> None:
    """Raise UsageError where an output is an input, a model of one, or another output."""
    outputs = [path for path in paths if isinstance(path.mark, Writes)]
    for first, second in combinations(outputs, 2):
        if first.overwrites(second.path) or second.overwrites(first.path):
            raise UsageError(f"{first} and {second}: are one file; give each a name of its own")
    if not outputs:
        return
    for path in paths:
        if not isinstance(path.mark, Reads):
            continue
        _refuse(outputs, path.path, path.name)
        # What is not there yet is no model file: most outputs cost no look into the fleet.
        if path.mark.is_fleet and any(output.path.exists() for output in outputs):
            for model, file in _model_files(path.path):
                _refuse(outputs, file, f"model {model!r} of {path.path}")


def _refuse(outputs: list[_Path], read: Path, what: str) -> None:
    for output in outputs:
        if output.overwrites(read):
            raise UsageError(
                f"{output}: would overwrite {read} ({what}), which this command reads; give "
                f"{output.name} another name"
            )


def _model_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the models of a fleet or plan file that have files; of a file that is neither, none."""
    from arena.files import DEMO_PREFIX, read_bytes
    from arena.plan_files import is_plan_file
    from planner.codec import decode_plan
    from planner.fleet_file import parse_fleet

    try:
        data = read_bytes(path)
        fleet = decode_plan(data).fleet if is_plan_file(data) else parse_fleet(data)
    except ArenaError:
        return  # The command itself says what is wrong with it, and writes nothing.
    for model in fleet.models:
        if model.file and not model.file.startswith(DEMO_PREFIX):
            yield model.id, path.parent / model.file


def _is_same(path: Path, other: Path) -> bool:
    """Return whether two paths are one file, however spelled or linked, also one yet to be made."""
    try:
        return path.samefile(other)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(other)
