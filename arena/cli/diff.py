"""`arena diff`: what changed between two plans, for a review and for CI."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.limits import size_of
from arena.cli.output import emit_json, warn
from arena.cli.overwriting import Reads, Writes

__all__ = ["diff"]


def diff(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="Plan or fleet file before."),
        Reads(is_fleet=True),
    ],
    new: Annotated[
        Path,
        typer.Argument(metavar="NEW", help="Plan or fleet file after."),
        Reads(is_fleet=True),
    ],
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="+SIZE", help="Exit 1 if the arena grows by more."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write a review comment."),
        Writes(),
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Tell what changed from one plan to another: bytes by model and kind, instances, channels.

    Exits 1 where both reservations together grow by more than --budget (or shrink by less than a
    negative one).
    """
    from arena.files import write_atomically
    from arena.session import open_plan_or_fleet
    from planner.difference import diff_plans
    from planner.report.difference import (
        difference_figures,
        difference_markdown,
        difference_text,
    )

    allowed = None if budget is None else _budget(budget)
    before, after = (open_plan_or_fleet(path, compare_files=False) for path in (old, new))
    warn((*before.warnings, *after.warnings))
    difference = diff_plans(before.plan, after.plan)
    within = allowed is None or difference.total_bytes_delta <= allowed
    if markdown is not None:
        write_atomically(markdown, difference_markdown(difference, allowed).encode())
    if as_json:
        figures = difference_figures(difference)
        emit_json({**figures, "budget_bytes": allowed, "within_budget": within})
    else:
        sys.stdout.write(difference_text(difference, allowed))
    return 0 if within else 1


def _budget(text: str) -> int:
    """Return a signed size in bytes."""
    size = size_of(text[1:] if text[:1] in ("+", "-") else text, "--budget")
    return -size if text.startswith("-") else size
