"""A report of a plan and the files that it goes to: for `arena report` and `arena run`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from arena.cli.misfit import misfit_of
from arena.cli.overwriting import Writes

if TYPE_CHECKING:
    from planner.measured import FleetReport
    from planner.plan import Plan

__all__ = ["CsvFile", "HtmlFile", "MarkdownFile", "ReportFiles", "SvgFile"]

MarkdownFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write the report as Markdown."),
    Writes(),
]
CsvFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the instances as CSV."),
    Writes(),
]
SvgFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--svg", metavar="FILE", help="Write the arena as a picture."),
    Writes(),
]
HtmlFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write the report as an offline page."),
    Writes(),
]


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where a report goes beside the terminal; None: nowhere."""

    markdown: Path | None
    csv: Path | None
    svg: Path | None
    html: Path | None

    @property
    def any(self) -> bool:
        """Whether any file was asked for."""
        return any((self.markdown, self.csv, self.svg, self.html))

    def write(
        self, plan: "Plan", measured: Sequence["FleetReport"] = ()
    ) -> tuple[dict[str, Any], str]:
        """Compute the report, write the files, and return it as a mapping and as text."""
        from arena.catalogue import device_catalogue
        from arena.files import write_atomically
        from planner.capacity import capacity_of, what_if
        from planner.report.capacity_text import capacity_text
        from planner.report.figures import capacity_figures
        from planner.report.svg import arena_svg
        from planner.report.tables import capacity_markdown, instances_csv

        capacity, why = capacity_of(plan, device_catalogue()), misfit_of(plan)
        if self.markdown is not None:
            write_atomically(self.markdown, capacity_markdown(capacity, measured, why).encode())
        if self.csv is not None:
            write_atomically(self.csv, instances_csv(plan).encode())
        if self.svg is not None:
            write_atomically(self.svg, arena_svg(plan).encode())
        if self.html is not None:
            from planner.report.html import capacity_html

            page = capacity_html(capacity, what_if(plan), measured, why)
            write_atomically(self.html, page.encode())
        figures = capacity_figures(capacity, measured, why)
        return figures, capacity_text(capacity, measured, why)
