"""`arena export`: a plan for programs that want only the pointers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag, PlanFile
from arena.cli.output import emit_json
from arena.cli.overwriting import Writes
from planner.errors import UsageError

__all__ = ["export"]


def export(
    plan_file: PlanFile,
    c_header: Annotated[bool, typer.Option("--c-header", help="A header for C and C++.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A row an instance.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Instead of stdout."),
        Writes(),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Write the offsets and sizes of a plan as a C header or as CSV."""
    from arena.files import write_atomically
    from arena.plan_files import open_plan
    from planner.report.c_header import c_header as header_of
    from planner.report.tables import instances_csv

    if c_header == csv:
        raise UsageError("expected one of --c-header and --csv")
    plan = open_plan(plan_file).plan
    form, text = ("c-header", header_of(plan)) if c_header else ("csv", instances_csv(plan))
    if output is not None:
        write_atomically(output, text.encode())
    if as_json:
        emit_json({"format": form, "text": text, "instances": len(plan.instances)})
    elif output is None:
        sys.stdout.write(text)
    return 0
