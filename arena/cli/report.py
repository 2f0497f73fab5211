"""`arena report`: the figures of a fleet or a plan."""

import sys

from arena.cli.arguments import FleetOrPlanFile, JsonFlag, Memory
from arena.cli.output import emit_json, progress, warn

__all__ = ["report"]


def report(source: FleetOrPlanFile, memory: Memory = None, as_json: JsonFlag = False) -> int:
    """Report where the bytes of a fleet go and how near the optimum its plan is."""
    from arena.session import open_plan_or_fleet
    from planner.report.figures import plan_figures
    from planner.report.text import plan_text
    from planner.units import parse_bytes

    limit = None if memory is None else parse_bytes(memory, "--memory")
    with progress("measuring models") as advance:
        planned = open_plan_or_fleet(source, memory_bytes=limit, progress=advance)
    warn(planned.warnings)
    if as_json:
        emit_json({**plan_figures(planned.plan), "warnings": list(planned.warnings)})
    else:
        sys.stdout.write(plan_text(planned.plan))
    return 0
