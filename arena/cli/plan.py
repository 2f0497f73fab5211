"""`arena plan`: the plan of a fleet and its figures."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arena.cli.arguments import DeviceModelName, FleetFile, JsonFlag, Memory, TimesFile
from arena.cli.limits import counted_twice, limit_of, size_of
from arena.cli.misfit import misfit_of
from arena.cli.output import emit_json, progress, warn
from arena.cli.overwriting import Writes

if TYPE_CHECKING:
    from planner.plan import Plan

__all__ = ["plan"]


def plan(
    fleet: FleetFile,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PLAN", help="Write the plan file."),
        Writes(),
    ] = None,
    memory: Memory = None,
    device_model: DeviceModelName = None,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit", metavar="SIZE", help="Add order and locks until work and weights are so small."
        ),
    ] = None,
    times: TimesFile = None,
    as_json: JsonFlag = False,
) -> int:
    """Plan a fleet: offsets for every instance, with the proof of how near the optimum they are.

    Exits 0 when the plan fits the device's memory and --fit, 1 when it does not; both write -o.
    Where it does not fit: which instances cannot fit together, and what each way out frees and
    costs.
    """
    from arena.plan_files import write_plan
    from arena.planning import plan_file
    from planner.report.explanation import explanation_figures
    from planner.report.figures import plan_figures
    from planner.report.text import plan_text

    started = time.perf_counter()
    limit = limit_of(memory, device_model)
    budget = None if fit is None else size_of(fit, "--fit")
    with progress("measuring models") as advance:
        planned = plan_file(
            fleet, memory_bytes=limit, fit_bytes=budget, times=times, progress=advance
        )
    if output is not None:
        write_plan(planned.plan, output, base=planned.base)
    notes = (*planned.warnings, *_feeds_note(planned.plan))
    warn((*notes, *counted_twice(planned.plan.fleet, device_model)))
    why = misfit_of(planned.plan)
    if as_json:
        figures = plan_figures(planned.plan)
        figures["explanation"] = explanation_figures(why, planned.plan)
        seconds = round(time.perf_counter() - started, 6)
        emit_json({**figures, "warnings": list(notes), "seconds": seconds})
    else:
        sys.stdout.write(plan_text(planned.plan, why))
    return 0 if planned.plan.fits else 1


def _feeds_note(plan: "Plan") -> Iterator[str]:
    """Yield what feeds take more than none, if they do."""
    from planner.capacity.feeds import feeds_bytes
    from planner.units import format_bytes

    if (more := feeds_bytes(plan)) > 0:
        yield (
            f"feeds take {format_bytes(more)} more device memory than none: they save copies, and "
            "each instance keeps a place for all its inputs and outputs (docs/handing-on.md)"
        )
