"""The frontier of memory and time: JSON figures, and text of at most 80 columns."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from textwrap import fill
from typing import Any, Final

from rich.table import Table

from planner.columns import cut
from planner.frontier import Frontier, FrontierPoint
from planner.makespan import MakespanUnit
from planner.rate import PipelineRate
from planner.report.layout import headed_table, laid_out
from planner.units import NS_IN_1000_S, format_bytes, format_count, format_makespan, format_rate

__all__ = ["frontier_advice", "frontier_figures", "frontier_text"]

_COLUMNS_MAX: Final = 4
"""Pipelines and lanes that the text has columns for; the JSON has all."""


def frontier_figures(found: Frontier, files: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures as `arena frontier --json` prints them.

    Parameters
    ----------
    found : Frontier
    files : sequence of str
        The plan file of each point, where they were saved.
    """
    return {
        "fleet": found.concurrent.plan.fleet.name,
        "makespan_unit": found.unit.value,
        "points": [
            {**_point(point), "plan": files[index] if files else None, "knee": index == found.knee}
            for index, point in enumerate(found.points)
        ],
        "knee": found.knee,
        "concurrent": _point(found.concurrent),
        "serial": {"total_bytes": found.serial_bytes, "makespan": found.serial_makespan},
        "lanes_assumed_independent": [list(pair) for pair in found.assumed],
        "advice": list(frontier_advice(found)),
    }


def _point(point: FrontierPoint) -> dict[str, Any]:
    plan = point.plan
    return {
        "height_bytes": plan.height_bytes,
        "weight_bytes": plan.weight_bytes,
        "total_bytes": plan.total_bytes,
        "needed_bytes": plan.needed_bytes,
        "fits": plan.fits_device,  # the budget that it was made for is not asked
        "makespan": point.makespan,
        "added": len(plan.added),
        "rates": [
            {
                "pipeline": rate.pipeline,
                "wanted_millihertz": _millihertz(rate.wanted),
                "most_millihertz": _millihertz(rate.most),
                "feasible": rate.feasible,
                "limited_by": rate.limited_by,
                "serial_most_millihertz": _millihertz(serial.most),
                "serial_feasible": serial.feasible,
            }
            for rate, serial in zip(point.rates, point.serial_rates, strict=True)
        ],
        "lanes": [{"lane": use.lane, "share": round(float(use.share), 4)} for use in point.lanes],
    }


def _millihertz(rate: Fraction | None) -> int | None:
    return None if rate is None else int(rate * NS_IN_1000_S)


def frontier_text(found: Frontier) -> str:
    """Return what a person wants to know: the points, what they hold, what to make of them."""
    return laid_out(_parts(found))


def _parts(found: Frontier) -> Iterator[str | Table]:
    n = len(found.points)
    yield (
        f"{found.concurrent.plan.fleet.name}: {format_count(n, 'plan')} between "
        "everything concurrent and everything serial"
    )
    yield _points(found)
    if found.points[0].rates:
        yield "\nrate that each channel can hold at most | if a second lane gained nothing"
        yield _rates(found)
        if any(rate.wanted for rate in found.points[0].rates):
            yield "yes: as wanted even then; perhaps: only where lanes gain; no: never"
        yield "\nhow busy lanes are at the rates wanted, else at those they can hold"
        yield _lanes(found)
    yield ""
    for line in frontier_advice(found):
        yield fill(line, 80, initial_indent="- ", subsequent_indent="  ")


def _points(found: Frontier) -> Table:
    table = _table("", "total", "work", "makespan", "if serial", "added", "")
    serial = format_makespan(found.serial_makespan, found.unit)
    for index, point in enumerate(found.points):
        notes = ["knee"] if index == found.knee else []
        notes += [] if point.plan.fits_device else ["does not fit"]
        table.add_row(
            str(index + 1),
            format_bytes(point.plan.total_bytes),
            format_bytes(point.plan.height_bytes),
            format_makespan(point.makespan, found.unit),
            serial,
            str(len(point.plan.added)),
            ", ".join(notes),
        )
    return table


def _rates(found: Frontier) -> Table:
    rates = found.points[0].rates
    names = [
        cut(rate.pipeline, 14) + (f" ({_shown_rate(rate.wanted)})" if rate.wanted else "")
        for rate in rates[:_COLUMNS_MAX]
    ]
    table = _table("", *names, *_more(len(rates)))
    for index, point in enumerate(found.points):
        cells = [
            _rate_cell(rate, serial)
            for rate, serial in zip(point.rates, point.serial_rates, strict=True)
        ]
        table.add_row(str(index + 1), *cells[:_COLUMNS_MAX])
    return table


def _rate_cell(rate: PipelineRate, serial: PipelineRate) -> str:
    both = f"{_shown_rate(rate.most)} | {_shown_rate(serial.most)}"
    if rate.feasible is None:
        return both
    return f"{both} {'yes' if serial.feasible else 'perhaps' if rate.feasible else 'no'}"


def _shown_rate(rate: Fraction | None) -> str:
    """Return a rate in frames a nanosecond as people read it, never above what it is."""
    if rate is None:
        return "any"
    millihertz = int(rate * NS_IN_1000_S)
    digits = 10 if millihertz < 100_000 else 1000
    return format_rate(millihertz // digits * digits)


def _lanes(found: Frontier) -> Table:
    lanes = found.points[0].lanes
    names = [cut(use.lane, 14) for use in lanes[:_COLUMNS_MAX]]
    table = _table("", *names, *_more(len(lanes)))
    for index, point in enumerate(found.points):
        shares = [f"{float(use.share):.0%}" for use in point.lanes[:_COLUMNS_MAX]]
        table.add_row(str(index + 1), *shares)
    return table


def _more(n: int) -> Iterator[str]:
    if n > _COLUMNS_MAX:
        yield f"{n - _COLUMNS_MAX} more: --json"


def frontier_advice(found: Frontier) -> Iterator[str]:
    """Yield what the figures mean, one sentence each."""
    first, last = found.points[0], found.points[-1]
    saved = found.concurrent.plan.total_bytes - last.plan.total_bytes
    if len(found.points) == 1 and saved:
        yield (
            f"nothing to choose: the smallest plan takes {format_bytes(saved)} less than "
            "everything concurrent and no more time"
        )
    elif len(found.points) == 1:
        yield "nothing to choose: everything concurrent takes no more memory than everything serial"
    elif found.knee is not None:
        knee = found.points[found.knee]
        yield (
            f"the knee, plan {found.knee + 1}, takes "
            f"{format_bytes(first.plan.total_bytes - knee.plan.total_bytes)} less than the fastest "
            f"plan and {_longer(first, knee)}"
        )
    if found.serial_makespan <= first.makespan:
        yield "one lane for everything costs no time"
    if found.unit is MakespanUnit.STEPS:
        yield (
            "some step has no time, so every step counts 1: give `time`, or measure it "
            "(arena time FLEET -o FILE, then --times FILE)"
        )
    yield from _left_out(found)
    if found.assumed:
        n = len(found.assumed)
        yield (
            f"{format_count(n, 'pair')} of lanes taken to be independent: on one chip "
            "lanes share its cores, and `if serial` holds if a second lane gains nothing; "
            "`arena time` measures it"
        )


def _left_out(found: Frontier) -> Iterator[str]:
    """Yield which pipelines the rates of others leave no time: easily taken for a fault."""
    for position, rate in enumerate(found.points[0].rates):
        plans = [
            str(index + 1)
            for index, point in enumerate(found.points)
            if point.rates[position].is_left_out
        ]
        if plans:
            yield (
                f"{rate.pipeline} declares no rate, and those declared leave it no time (0fps) in "
                f"{'plan' if len(plans) == 1 else 'plans'} {', '.join(plans)}: give it a `rate`, "
                "or ask less of the others"
            )


def _longer(first: FrontierPoint, second: FrontierPoint) -> str:
    return f"{(second.makespan - first.makespan) / first.makespan:.0%} longer"


def _table(*columns: str) -> Table:
    table = headed_table()
    for index, column in enumerate(columns):
        last = index == len(columns) - 1
        table.add_column(column, justify="left" if last and not column else "right")
    return table
