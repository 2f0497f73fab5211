"""`arena time`: how long steps take alone, and lanes beside one another, measured on a device."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import DeviceName, FleetFile, JsonFlag
from arena.cli.output import emit_json, progress, warn
from arena.cli.overwriting import Writes

__all__ = ["time"]


def time(
    fleet: FleetFile,
    device: DeviceName = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the times file."),
        Writes(),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Executions of each model that count.")
    ] = 30,
    as_json: JsonFlag = False,
) -> int:
    """Measure how long each model takes alone, and how lanes slow one another down.

    The times file serves `arena frontier --times FILE`.
    """
    from arena.files import write_atomically
    from arena.planning import blamed_on, read_fleet
    from arena.timing import measure_times
    from planner.report.times import times_figures, times_text
    from planner.times import encode_times

    spec = read_fleet(fleet)
    with blamed_on(fleet), progress("measuring times") as advance:
        times, notes = measure_times(
            spec, fleet.parent, device=device, repeats=repeats, progress=advance
        )
    if output is not None:
        write_atomically(output, encode_times(times))
    notes += times.noise_words()
    warn(notes)
    if as_json:
        emit_json(times_figures(times, notes))
    else:
        sys.stdout.write(times_text(times))
    return 0
