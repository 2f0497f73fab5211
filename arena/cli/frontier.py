"""`arena frontier`: what memory buys, from everything concurrent to everything serial."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import DeviceModelName, FleetFile, JsonFlag, Memory, TimesFile
from arena.cli.limits import counted_twice, limit_of
from arena.cli.output import emit_json, progress, warn
from arena.cli.overwriting import Writes

__all__ = ["frontier"]


def frontier(
    fleet: FleetFile,
    points: Annotated[int, typer.Option("--points", min=2, help="Most points.")] = 24,
    times: TimesFile = None,
    save: Annotated[
        Path | None,
        typer.Option("-o", "--save", metavar="DIR", help="Write each plan into this folder."),
        Writes(members=r"plan-\d{2,}\.json"),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write a picture."),
        Writes(),
    ] = None,
    memory: Memory = None,
    device_model: DeviceModelName = None,
    as_json: JsonFlag = False,
) -> int:
    """Show what memory buys: plans of which none takes more memory and more time than another.

    Exits 0 when the smallest plan fits the device, its memory and its streams, 1 when it does not.
    """
    from arena.files import write_atomically
    from arena.planning import plan_frontier
    from planner.report.frontier import frontier_figures, frontier_text
    from planner.report.frontier_svg import frontier_svg

    started = time.perf_counter()
    limit = limit_of(memory, device_model)
    with progress("planning") as advance:
        planned = plan_frontier(
            fleet, memory_bytes=limit, times=times, plans_max=points, progress=advance
        )
    found = planned.frontier
    files: list[str] = []
    if save is not None:
        from arena.plan_files import write_plan

        save.mkdir(parents=True, exist_ok=True)
        for index, point in enumerate(found.points, start=1):
            path = save / f"plan-{index:02}.json"
            write_plan(point.plan, path, base=planned.base)
            files.append(str(path))
    if svg is not None:
        write_atomically(svg, frontier_svg(found).encode())
    warn((*planned.warnings, *counted_twice(found.concurrent.plan.fleet, device_model)))
    if as_json:
        seconds = round(time.perf_counter() - started, 6)
        figures = frontier_figures(found, files)
        emit_json({**figures, "warnings": list(planned.warnings), "seconds": seconds})
    else:
        sys.stdout.write(frontier_text(found))
        if files:
            sys.stdout.write(f"plans: {files[0]} to {files[-1]}\n")
    return 0 if found.points[-1].plan.fits_device else 1
