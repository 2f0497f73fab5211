"""`arena advise`: the first five minutes with a set of model files."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, progress, table, warn
from arena.cli.overwriting import Reads, Writes
from arena.cli.shapes import ShapeOptions, deal_shapes, given_by_options, parse_shapes
from planner.errors import UsageError

if TYPE_CHECKING:
    from planner.fleet import ModelSpec
    from planner.strategies import Strategy

__all__ = ["advise"]

NOT_COUNTED = (
    "not counted: kernels, task tables and streams of each loaded model (blocks of 2 MiB), inputs "
    "and outputs, and what the device caches at the first inference (100 to 300 MiB on Ascend); "
    "measure free memory before and after"
)


def advise(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Model files."), Reads()],
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that run them.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FLEET", help="Write a fleet file to start from."),
        Writes(),
    ] = None,
    shapes: ShapeOptions = None,
    as_json: JsonFlag = False,
) -> int:
    """Tell what these files cost with and without sharing, and write a fleet file to start from.

    No file is overwritten: fleet files are edited.
    """
    from arena.planning import measure_files
    from planner.advice import advise as strategies_of
    from planner.units import format_bytes

    if output is not None and output.is_file():
        raise UsageError(
            f"{output}: is there already, and may have been edited; give -o another name, or "
            "remove the file"
        )
    base = Path() if output is None else output.parent
    dealt = deal_shapes(files, parse_shapes(shapes or ()))
    with given_by_options(), progress("measuring models") as advance:
        measured = measure_files(files, base, shapes=dealt, progress=advance)
    strategies = strategies_of(measured.models, measured.sizes, threads=threads)
    warnings = (*measured.warnings, NOT_COUNTED)
    if output is not None:
        import yaml

        from arena.files import write_atomically
        from planner.advice import starting_fleet
        from planner.codec import fleet_to_mapping

        models = tuple(_relative(model, output.parent) for model in measured.models)
        fleet = starting_fleet(models, threads=threads, lane="npu")
        mapping = _without_empty(fleet_to_mapping(fleet))
        text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True)
        notes = "".join(f"# {line}\n" for line in _written(strategies, threads))
        write_atomically(output, (notes + text).encode())
    if as_json:
        rows = [{"name": s.name, "bytes": s.bytes, "meaning": s.meaning} for s in strategies]
        written = None if output is None else strategies[-1].name
        emit_json(
            {
                "strategies": rows,
                "threads": threads,
                "written": written,
                "warnings": list(warnings),
            }
        )
        return 0

    first = strategies[0].bytes
    table(
        ("strategy", "memory", "of private", "meaning"),
        [
            (s.name, format_bytes(s.bytes), f"{s.bytes / first:.0%}" if first else "-", s.meaning)
            for s in strategies
        ],
        numbers=(1, 2),
    )
    warn(warnings)
    if output is not None:
        sys.stdout.write(f"wrote {output}: next, `arena plan {output}`\n")
        sys.stdout.writelines(f"  {line}\n" for line in _written(strategies, threads))
    return 0


def _written(strategies: Sequence["Strategy"], threads: int) -> list[str]:
    """Return which of the strategies the fleet file is, and how to have the one before it."""
    from planner.units import format_bytes

    lanes, single = strategies[-2:]
    shown = f"strategy {single.name}, {format_bytes(single.bytes)}"
    if threads == 1:
        return [f"{shown}: one lane for everything"]
    return [
        f"{shown}: {threads} threads take turns on one lane",
        f'{lanes.name}, {format_bytes(lanes.bytes)}, threads at once: lane: "thread-{{channel}}"',
    ]


def _relative(model: "ModelSpec", folder: Path) -> "ModelSpec":
    """Return a model whose file is relative to `folder`: the fleet file can be moved with it."""
    target = folder / model.file
    target = target.parent.resolve() / target.name
    return replace(model, file=Path(os.path.relpath(target, folder.resolve())).as_posix())


def _without_empty(value: Any) -> Any:
    """Return a mapping without the keys that say nothing."""
    if not isinstance(value, dict):
        return value
    rest = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in rest.items() if item not in ([], {})}
