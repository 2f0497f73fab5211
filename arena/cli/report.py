"""`arena report`: where the bytes of a fleet or a plan go, what they buy, and what would fit."""

import sys

from arena.cli.arguments import DeviceModelName, FleetOrPlanFile, JsonFlag, Memory
from arena.cli.limits import counted_twice, limit_of
from arena.cli.output import emit_json, progress, warn
from arena.cli.report_files import CsvFile, HtmlFile, MarkdownFile, ReportFiles, SvgFile

__all__ = ["report"]


def report(
    source: FleetOrPlanFile,
    memory: Memory = None,
    device_model: DeviceModelName = None,
    markdown: MarkdownFile = None,
    csv: CsvFile = None,
    svg: SvgFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
) -> int:
    """Report where the bytes go, what sharing saves, what sets the height, and what would fit.

    Exits 0 also where the plan does not fit: a report is no verdict, `arena plan` gives one.
    """
    from arena.session import open_plan_or_fleet

    limit = limit_of(memory, device_model)
    with progress("measuring models") as advance:
        planned = open_plan_or_fleet(
            source, memory_bytes=limit, progress=advance, compare_files=False
        )
    warn((*planned.warnings, *counted_twice(planned.plan.fleet, device_model)))
    figures, text = ReportFiles(markdown, csv, svg, html).write(planned.plan)
    if as_json:
        emit_json({**figures, "warnings": list(planned.warnings)})
    else:
        sys.stdout.write(text)
    return 0
