"""`arena report`: where the bytes of a fleet or a plan go, what they buy, and what would fit."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import DeviceModelName, FleetOrPlanFile, JsonFlag, Memory
from arena.cli.limits import counted_twice, limit_of
from arena.cli.output import emit_json, progress, warn

__all__ = ["report"]


def report(
    source: FleetOrPlanFile,
    memory: Memory = None,
    device_model: DeviceModelName = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write it as Markdown.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the instances as CSV.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write the arena as a picture.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one offline page.")
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Report where the bytes go, what sharing saves, what sets the height, and what would fit."""
    from arena.catalogue import device_catalogue
    from arena.files import write_atomically
    from arena.session import open_plan_or_fleet
    from planner.capacity import capacity_of
    from planner.report.capacity_text import capacity_text
    from planner.report.figures import capacity_figures
    from planner.report.svg import arena_svg
    from planner.report.tables import capacity_markdown, instances_csv

    limit = limit_of(memory, device_model)
    with progress("measuring models") as advance:
        planned = open_plan_or_fleet(
            source, memory_bytes=limit, progress=advance, compare_files=False
        )
    warn((*planned.warnings, *counted_twice(planned.plan.fleet, device_model)))
    capacity = capacity_of(planned.plan, device_catalogue())
    if markdown is not None:
        write_atomically(markdown, capacity_markdown(capacity).encode())
    if csv is not None:
        write_atomically(csv, instances_csv(planned.plan).encode())
    if svg is not None:
        write_atomically(svg, arena_svg(planned.plan).encode())
    if html is not None:
        from planner.capacity import what_if
        from planner.report.html import capacity_html

        write_atomically(html, capacity_html(capacity, what_if(planned.plan)).encode())
    if as_json:
        emit_json({**capacity_figures(capacity), "warnings": list(planned.warnings)})
    else:
        sys.stdout.write(capacity_text(capacity))
    return 0
