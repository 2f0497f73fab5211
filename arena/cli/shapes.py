"""Shapes of inputs that ONNX files leave open, as `--shape` gives them: read, and dealt to files.

One input's name may be of several files: a shape goes to all that leave the input open.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from arena.errors import OpenAxesError
from planner.errors import DecodeError, SpecError, UsageError

__all__ = ["ShapeOptions", "deal_shapes", "given_by_options", "parse_axes", "parse_shapes"]

ShapeOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=1,3,320,320",
        help="Axes of an input that an .onnx file leaves open; once for each such input.",
    ),
]


@contextmanager
def given_by_options() -> Iterator[None]:
    """Blame the caller for what would be a fleet's fault: no fleet file gives these shapes."""
    try:
        yield
    except SpecError as error:
        message, cause = str(error), error.__cause__ or error
        if isinstance(cause, OpenAxesError):
            message = message.replace(cause.in_fleet, cause.in_options)
        raise UsageError(message) from error


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return input name -> axes.

    Raises
    ------
    UsageError
        Not of the form NAME=1,3,320,320, or a name comes twice. Caused by the caller.

    Examples
    --------
    >>> parse_shapes(["x=1,3,480,640", "mask=1,640"])
    {'x': (1, 3, 480, 640), 'mask': (1, 640)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, axes = parse_axes("--shape", text)
        if name in shapes:
            raise UsageError(f"--shape {text!r}: input {name!r} was given twice")
        shapes[name] = axes
    return shapes


def parse_axes(option: str, text: str) -> tuple[str, tuple[int, ...]]:
    """Return an input's name and axes; names may hold an equals sign, axes cannot."""
    name, equals, axes = text.rpartition("=")
    words = [word.strip() for word in axes.split(",")]
    if not (name and equals and all(word.isascii() and word.isdigit() for word in words)):
        raise UsageError(f"{option} {text!r}: expected NAME=1,3,320,320 with axes >= 0")
    return name, tuple(map(int, words))


def deal_shapes(
    files: Sequence[Path], shapes: Mapping[str, tuple[int, ...]]
) -> list[dict[str, tuple[int, ...]]]:
    """Return the shapes of each file: of the inputs that it leaves open.

    A shape of an input that no file leaves open goes to those that have it: theirs must be equal.

    Raises
    ------
    UsageError
        No .onnx file has such an input. Caused by the caller.
    """
    dealt: list[dict[str, tuple[int, ...]]] = [{} for _ in files]
    # What cannot be read may have any input: who reads it next says what is wrong with it.
    found = [_inputs(file) if shapes else {} for file in files]
    inputs = [item or {} for item in found]
    for name, axes in shapes.items():
        owners = [index for index, known in enumerate(inputs) if name in known]
        takers = [index for index in owners if inputs[index][name]] or owners
        if not takers and None not in found:
            known = ", ".join(sorted({name for item in inputs for name in item})) or "none"
            raise UsageError(
                f"--shape {name}: no .onnx file has such an input; inputs that they have: {known}"
            )
        for index in takers:
            dealt[index][name] = axes
    return dealt


def _inputs(file: Path) -> dict[str, bool] | None:
    """Return input name -> whether an axis of it is open: of compiled files none; None: damaged."""
    from arena.sources import ONNX_SUFFIX

    if file.suffix.lower() != ONNX_SUFFIX:
        return {}
    from arena.device.cpu.compile import onnx_inputs

    try:
        return onnx_inputs(file)
    except DecodeError:
        return None
