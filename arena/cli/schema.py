"""`arena schema`: the JSON Schema of the fleet file, for editors and checks, and of reports."""

import json
import sys
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json

__all__ = ["schema"]


def schema(
    report: Annotated[
        bool, typer.Option("--report", help="Of what `arena report --json` prints.")
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Print the JSON Schema of the fleet file."""
    if report:
        from planner.report.schema import report_schema

        value = report_schema()
    else:
        from planner.fleet_file import fleet_schema

        value = fleet_schema()
    if as_json:
        emit_json(value)
    else:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
    return 0
