"""`arena inspect`: sizes and facts of model files, without a device."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import (
    emit_error,
    emit_json,
    error_figures,
    exit_code_of,
    progress,
    short_paths,
    table,
)
from arena.cli.overwriting import Reads
from arena.cli.shapes import ShapeOptions, deal_shapes, given_by_options, parse_shapes
from planner.errors import ArenaError

if TYPE_CHECKING:
    from arena.formats import ModelFacts

__all__ = ["inspect"]


def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Model files."), Reads()],
    shapes: ShapeOptions = None,
    as_json: JsonFlag = False,
) -> int:
    """Print sizes and facts of model files; no device is needed.

    An .onnx file is compiled into the cache first. Of several files, those that cannot be read are
    named, and the others shown; the exit code is that of the worst.
    """
    from arena.sizes import read_facts

    dealt = deal_shapes(files, parse_shapes(shapes or ()))
    facts: list[ModelFacts] = []
    failed: list[tuple[ArenaError, str]] = []
    rows: list[dict[str, Any]] = []
    with progress("reading") as advance:
        for file, own in zip(files, dealt, strict=True):
            try:
                with given_by_options():
                    facts.append(read_facts(file, shapes=own, progress=advance))
                rows.append(_mapping(facts[-1]))
            except ArenaError as error:
                if len(files) == 1:
                    raise
                what, name = str(error), str(file)
                what = what if what.startswith(name) else f"{name}: {what}"
                failed.append((error, what))
                rows.append({"file": name, "error": error_figures(error, what)})
    for fault, what in failed:
        emit_error(fault, message=what, as_json=False)
    worst = max(failed, key=lambda item: exit_code_of(item[0]), default=None)
    if as_json:
        emit_json({"models": rows, **({} if worst is None else {"error": error_figures(*worst)})})
    elif facts:
        _show(facts)
    return 0 if worst is None else exit_code_of(worst[0])


def _show(facts: Sequence["ModelFacts"]) -> None:
    """Print a table of files, and the tensors of each."""
    from planner.units import format_bytes

    rows = [
        (
            name,
            item.format,
            "system" if item.dynamic else format_bytes(item.work_bytes),
            format_bytes(item.weight_bytes),
            item.weights_sha256[:12] or "-",
            item.soc or "-",
        )
        for name, item in zip(short_paths([item.file for item in facts]), facts, strict=True)
    ]
    table(("file", "format", "work", "weights", "weights sha256", "soc"), rows, numbers=(2, 3))
    for item in facts:
        sys.stdout.write(f"\n{item.file}\n")
        for direction in ("inputs", "outputs"):
            for name, dtype, shape, size in _tensors(item, direction):
                axes = "x".join(map(str, shape)) or "scalar"
                sys.stdout.write(f"  {direction[:-1]:<7}{name}: {dtype} {axes}, {size} bytes\n")
        if item.size is not None and item.size.gears:
            sys.stdout.write(f"  chosen before each execution: {item.size.gears}\n")
        if item.note:
            sys.stdout.write(f"  {item.note}\n")


def _tensors(facts: "ModelFacts", direction: str) -> Any:
    """Return (name, dtype, shape, bytes) of the inputs or outputs that the file describes."""
    if facts.size is None:
        return ()
    tensors = facts.size.inputs if direction == "inputs" else facts.size.outputs
    return [(t.name, t.dtype, t.shape, t.size_bytes) for t in tensors]


def _mapping(facts: "ModelFacts") -> dict[str, Any]:
    return {
        "file": facts.file,
        "format": facts.format,
        "work_bytes": facts.work_bytes,
        "weight_bytes": facts.weight_bytes,
        "weights_sha256": facts.weights_sha256,
        "file_sha256": facts.file_sha256,
        "dynamic": facts.dynamic,
        "soc": facts.soc,
        "gears": [list(choice) for choice in facts.size.gear_choices] if facts.size else [],
        "note": facts.note,
        "details": dict(facts.details),
    }
