"""`arena advise`: the first five minutes with a set of model files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, progress, table, warn

__all__ = ["advise"]

NOT_COUNTED = (
    "not counted: kernels, task tables and streams of each loaded model (blocks of 2 MiB), inputs "
    "and outputs, and what the device caches at the first inference (100 to 300 MiB on Ascend); "
    "measure free memory before and after"
)


def advise(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Model files.")],
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that run them.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FLEET", help="Write a fleet file to start from."),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Tell what these files cost with and without sharing, and write a fleet file to start from."""
    from arena.planning import measure_files
    from planner.advice import advise as strategies_of
    from planner.units import format_bytes

    base = Path() if output is None else output.parent
    with progress("measuring models") as advance:
        measured = measure_files(files, base, progress=advance)
    strategies = strategies_of(measured.models, measured.sizes, threads=threads)
    warnings = (*measured.warnings, NOT_COUNTED)
    if output is not None:
        import yaml

        from arena.files import write_atomically
        from planner.advice import starting_fleet
        from planner.codec import fleet_to_mapping

        fleet = starting_fleet(measured.models, threads=threads, lane="npu")
        text = yaml.safe_dump(fleet_to_mapping(fleet), sort_keys=False, allow_unicode=True)
        write_atomically(output, text.encode())
    if as_json:
        rows = [{"name": s.name, "bytes": s.bytes, "meaning": s.meaning} for s in strategies]
        emit_json({"strategies": rows, "threads": threads, "warnings": list(warnings)})
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
    return 0
