"""`arena check`: the judge over a plan file, and over the model files it was made of."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from arena.cli.arguments import JsonFlag, PlanFile
from arena.cli.output import emit_json

__all__ = ["check"]


def check(
    plan_file: PlanFile,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="DIR", help="Compare the model files in this folder."),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Judge a plan file: recompute order and conflicts and list everything that is wrong.

    Exits 0 when the plan is valid and, with --against, every model file is the one that it was made
    of; 1 when not; 2 when the file is no plan at all.
    """
    from arena.comparison import compare_files
    from arena.session import judge_file, open_plan

    violations = judge_file(plan_file)
    figures: dict[str, Any] = {"valid": not violations, "violations": violations}
    stale = 0
    if against is not None:
        matches = () if violations else compare_files(open_plan(plan_file).plan, against)
        stale = sum(match.is_stale for match in matches)
        files = [{"model": m.model, "file": m.file, "state": m.state.value} for m in matches]
        figures |= {"files": files, "stale": stale}
    if as_json:
        emit_json(figures)
    else:
        for violation in violations:
            sys.stdout.write(f"{violation}\n")
        for file in figures.get("files", ()):
            sys.stdout.write(f"model {file['model']!r}: {file['file']} {file['state']}\n")
        verdict = f"{len(violations)} violations" if violations else "valid"
        stale_words = f", {stale} model files do not match" if stale else ""
        sys.stdout.write(f"{plan_file}: {verdict}{stale_words}\n")
    return 1 if violations or stale else 0
