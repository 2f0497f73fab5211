"""`arena run`: plan, load, run frames of every channel, compare every output, unload."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import DeviceModelName, DeviceName, FleetOrPlanFile, JsonFlag, Memory
from arena.cli.limits import counted_twice, limit_of
from arena.cli.misfit import misfit_of
from arena.cli.output import emit_json, progress, warn
from arena.cli.report_files import CsvFile, HtmlFile, MarkdownFile, ReportFiles, SvgFile
from planner.errors import UsageError

if TYPE_CHECKING:
    from planner.measured import FleetReport

__all__ = ["run"]


def run(
    source: FleetOrPlanFile,
    device: DeviceName = None,
    frames: Annotated[int, typer.Option("--frames", min=0, help="Frames of each channel.")] = 10,
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
    from arena.exercise import exercise
    from arena.session import load_opened, open_plan_or_fleet

    if trace is not None and unsafe_no_guard:
        raise UsageError("--trace records what the guard does, --unsafe-no-guard runs without it")
    started = time.perf_counter()
    limit = limit_of(memory, device_model)
    with progress("measuring models") as advance:
        opened = open_plan_or_fleet(source, memory_bytes=limit, progress=advance)
    warn((*opened.warnings, *counted_twice(opened.plan.fleet, device_model)))
    plan = opened.plan
    measured: list[FleetReport] = []
    figures: dict[str, Any] = {
        "fits": plan.fits,
        "short_bytes": plan.short_bytes,
        "executions": 0,
        "mismatches": 0,
        "planned_bytes": plan.planned_bytes,
        "outside_bytes": plan.outside_bytes,
        "peak_bytes": 0,
    }
    if plan.fits:
        total = frames * sum(pipeline.channels for pipeline in plan.fleet.pipelines)
        with (
            load_opened(opened, device=device, race_check=race_check) as fleet,
            progress("running") as advance,
        ):
            recorded = None if trace is None else fleet.trace()
            if metrics is not None:
                served = fleet.metrics().serve(metrics)
                sys.stderr.write(f"metrics: http://127.0.0.1:{served}/metrics\n")
            done = iter(range(1, total + 1))
            outcome = exercise(
                fleet,
                frames,
                threads=threads,
                guarded=not unsafe_no_guard,
                on_frame=lambda _: advance(next(done), total),
            )
            report = fleet.report()
            if recorded is not None and trace is not None:
                recorded.write(trace)
        measured.append(report)
        figures |= {
            "device": report.device,
            "executions": outcome.executions,
            "mismatches": outcome.mismatches,
            "outside_bytes": report.outside_bytes,
            "peak_bytes": report.peak_bytes,
            "unmodelled_bytes": report.unmodelled_bytes,
        }
    figures["seconds"] = round(time.perf_counter() - started, 6)
    files = ReportFiles(markdown, csv, svg, html)
    text = "\n".join(found.text() for found in measured)
    if with_report or files.any:
        whole, text = files.write(plan, measured)
        figures["report"] = {**whole, "warnings": list(opened.warnings)}
    if as_json:
        emit_json(figures)
        return _code(figures)
    if plan.fits:
        sys.stdout.write(
            f"{figures['executions']} executions, {figures['mismatches']} mismatches, "
            f"{figures['seconds']:.2f} s\n"
        )
    elif not text:
        from planner.report.text import plan_text

        text = plan_text(plan, misfit_of(plan))
    sys.stdout.write(text)
    return _code(figures)


def _code(figures: dict[str, Any]) -> int:
    return 0 if figures["fits"] and figures["mismatches"] == 0 else 1
