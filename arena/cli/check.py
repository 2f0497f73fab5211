"""`arena check`: the judge over a plan file, and over the model files it was made of."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import JsonFlag, PlanFile
from arena.cli.output import emit_json
from arena.cli.overwriting import Reads
from planner.units import format_bytes, format_count

if TYPE_CHECKING:
    from planner.plan import Plan

__all__ = ["check"]


def check(
    plan_file: PlanFile,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Compare the model files in this folder.",
        ),
        Reads(),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Judge a plan file: recompute order and conflicts and list everything that is wrong.

    Exits 0 when the plan is valid and, with --against, every model file is the one that it was made
    of; 1 when not, or when there was no model file to compare; 2 when the file is no plan at all.
    A valid plan may still not fit its device: that is said.
    """
    from arena.comparison import MatchState, compare_files
    from arena.plan_files import judge_file, open_plan

    violations = judge_file(plan_file)
    plan = None if violations else open_plan(plan_file).plan
    figures: dict[str, Any] = {
        "valid": not violations,
        "violations": violations,
        "fits": None if plan is None else plan.fits,
        "short_bytes": None if plan is None else plan.short_bytes,
    }
    verdict = [format_count(len(violations), "violation") if violations else "valid"]
    if plan is not None and not plan.fits:
        verdict.append(_misfit(plan))
    failed = bool(violations)
    if against is not None:
        matches = () if plan is None else compare_files(plan, against)
        stale = sum(match.is_stale for match in matches)
        compared = sum(match.state is not MatchState.DECLARED for match in matches)
        files = [{"model": m.model, "file": m.file, "state": m.state.value} for m in matches]
        figures |= {"files": files, "stale": stale, "compared": compared}
        if stale:
            verdict.append(f"{stale} model {'file does' if stale == 1 else 'files do'} not match")
        if not compared:
            verdict.append(f"nothing compared with {against}: {_nothing(violations)}")
        failed = failed or stale > 0 or compared == 0
    if as_json:
        emit_json(figures)
    else:
        for violation in violations:
            sys.stdout.write(f"{violation}\n")
        for file in figures.get("files", ()):
            name = file["file"] or "no file,"
            sys.stdout.write(f"model {file['model']!r}: {name} {file['state']}\n")
        sys.stdout.write(f"{plan_file}: {', '.join(verdict)}\n")
    return 1 if failed else 0


def _misfit(plan: "Plan") -> str:
    """Return by how much a plan does not fit."""
    device = plan.fleet.device
    if plan.over_budget_bytes:
        budget = format_bytes(plan.fleet.schedule.fit_bytes or 0)
        return (
            f"but does not fit the {budget} that its schedule asks for: work and weights take "
            f"{plan.over_budget_bytes} bytes ({format_bytes(plan.over_budget_bytes)}) more"
        )
    if plan.short_bytes:
        limit = format_bytes(device.memory_bytes or 0)
        return (
            f"but does not fit in {limit}: short by {plan.short_bytes} bytes "
            f"({format_bytes(plan.short_bytes)})"
        )
    return f"but does not fit: {format_count(plan.stream_count, 'stream')} of {device.streams_max}"


def _nothing(violations: list[str]) -> str:
    """Return why no model file was compared."""
    return "the plan is not valid" if violations else "all sizes are declared, no model has a file"
