"""`arena run`: plan, load, run frames of every channel, compare every output, unload."""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import DeviceModelName, DeviceName, FleetOrPlanFile, JsonFlag, Memory
from arena.cli.limits import counted_twice, limit_of
from arena.cli.misfit import misfit_of
from arena.cli.output import emit_json, progress, warn
from arena.cli.overwriting import Writes
from arena.cli.report_files import CsvFile, HtmlFile, MarkdownFile, ReportFiles, SvgFile
from planner.errors import UsageError
from planner.units import format_count

if TYPE_CHECKING:
    from arena.exercise import Outcome
    from arena.fleet import Fleet
    from planner.measured import FleetReport
    from planner.plan import Plan

__all__ = ["run"]


def run(
    source: FleetOrPlanFile,
    device: DeviceName = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of each channel.")] = 10,
    threads: Annotated[int, typer.Option("--threads", min=1, help="That feed channels.")] = 4,
    memory: Memory = None,
    device_model: DeviceModelName = None,
    unsafe_no_guard: Annotated[
        bool,
        typer.Option("--unsafe-no-guard", help="Twin only: no places, order or locks."),
    ] = False,
    race_check: Annotated[
        bool, typer.Option("--race-check", help="Refuse unordered sharers (twin: always on).")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write what ran when, for ui.perfetto.dev."),
        Writes(),
    ] = None,
    metrics: Annotated[
        int | None,
        typer.Option(
            "--metrics", min=0, max=65535, metavar="PORT", help="Serve metrics on 127.0.0.1."
        ),
    ] = None,
    with_report: Annotated[
        bool, typer.Option("--report", help="The capacity report, with what was measured.")
    ] = False,
    markdown: MarkdownFile = None,
    csv: CsvFile = None,
    svg: SvgFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
) -> int:
    """Load a fleet, run frames of every channel at once, and compare every output.

    Each output is compared with that of the same input alone in the same planned memory. Files of
    a report imply --report. Exits 0 without a mismatch, 1 with one or when the plan does not fit,
    3 when the device fails.
    """
    from arena.session import load_opened, open_plan_or_fleet

    if unsafe_no_guard and (trace is not None or metrics is not None):
        raise UsageError(
            "--trace and --metrics record what the guard does, --unsafe-no-guard runs without it"
        )
    started = time.perf_counter()
    limit = limit_of(memory, device_model)
    with progress("measuring models") as advance:
        opened = open_plan_or_fleet(source, memory_bytes=limit, progress=advance)
    plan = opened.plan
    warn((*opened.warnings, *counted_twice(plan.fleet, device_model)))
    figures: dict[str, Any] = {
        "fits": plan.fits,
        "short_bytes": plan.short_bytes,
        "executions": 0,
        "mismatches": 0,
        "planned_bytes": plan.planned_bytes,
        "outside_bytes": plan.outside_bytes,
        "peak_bytes": 0,
    }
    measured: list[FleetReport] = []
    if plan.fits:
        recording = _Recording(trace, metrics)
        with load_opened(opened, device=device, race_check=race_check) as fleet:
            outcome = _drive(fleet, frames, threads, recording, guarded=not unsafe_no_guard)
            measured.append(
                replace(
                    fleet.report(), executions=outcome.executions, mismatches=outcome.mismatches
                )
            )
        figures |= _ran(outcome, measured[0])
    figures["seconds"] = round(time.perf_counter() - started, 6)
    files = ReportFiles(markdown, csv, svg, html)
    text = "\n".join(found.summary() for found in measured)
    if with_report or files.any:
        whole, text = files.write(plan, measured)
        figures["report"] = {**whole, "warnings": list(opened.warnings)}
    if as_json:
        emit_json(figures)
    else:
        sys.stdout.write(_shown(plan, figures, text))
    return 0 if plan.fits and figures["mismatches"] == 0 else 1


@dataclass(frozen=True, slots=True)
class _Recording:
    """Where to write a trace, and on which port to serve metrics; None: not."""

    trace: Path | None
    port: int | None


def _drive(
    fleet: "Fleet", frames: int, threads: int, recording: _Recording, *, guarded: bool
) -> "Outcome":
    """Run all frames; a trace is written also where one of them fails."""
    from arena.exercise import exercise

    total = frames * sum(pipeline.channels for pipeline in fleet.plan.fleet.pipelines)
    done = iter(range(1, total + 1))
    with progress("running") as advance, ExitStack() as stack:
        if recording.trace is not None:
            stack.callback(fleet.trace().write, recording.trace)
        if recording.port is not None:
            port = fleet.metrics().serve(recording.port)
            sys.stderr.write(f"metrics: http://127.0.0.1:{port}/metrics\n")
        return exercise(
            fleet,
            frames,
            threads=threads,
            guarded=guarded,
            on_frame=lambda _: advance(next(done), total),
        )


def _ran(outcome: "Outcome", report: "FleetReport") -> dict[str, Any]:
    return {
        "device": report.device,
        "executions": outcome.executions,
        "mismatches": outcome.mismatches,
        "outside_bytes": report.outside_bytes,
        "peak_bytes": report.peak_bytes,
        "unmodelled_bytes": report.unmodelled_bytes,
    }


def _shown(plan: "Plan", figures: dict[str, Any], text: str) -> str:
    """Return what a person reads: what ran, and the report or why nothing did."""
    if plan.fits:
        n = figures["mismatches"]
        mismatches = f"{n} {'mismatch' if n == 1 else 'mismatches'}"
        return (
            f"{format_count(figures['executions'], 'execution')}, {mismatches}, "
            f"{figures['seconds']:.2f} s\n{text}"
        )
    from planner.report.text import plan_text

    return text or plan_text(plan, misfit_of(plan))
