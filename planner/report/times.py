"""Measured times as text of at most 80 columns, and as JSON figures."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from planner.columns import cut
from planner.report.layout import headed_table, laid_out
from planner.times import ALONE_PERMILLE, Beside, Times
from planner.units import format_duration

__all__ = ["GAIN_LEAST", "times_figures", "times_text", "together"]

GAIN_LEAST: Final = 1.1
"""Two lanes that do less than this much of one lane's work at once: the second gains nothing."""
_NAME_MAX: Final = 24


def together(times: Times) -> list[tuple[Beside, Beside, float]]:
    """Return every measured pair of lanes, and how much of one lane's work both do at once.

    2 means that neither notices the other, 1 that a second lane gains nothing.
    """
    rows = {(row.lane, row.other): row for row in times.beside}
    found = []
    for row in times.beside:
        del rows[row.lane, row.other]
        if other := rows.get((row.other, row.lane)):
            both = (ALONE_PERMILLE / r.slowdown_permille for r in (row, other))
            found.append((row, other, sum(both)))
    return found


def times_figures(times: Times, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures as `arena time --json` prints them."""
    return {
        **asdict(times),
        "together": [
            {"lanes": [row.lane, row.other], "ratio": round(ratio, 3)}
            for row, _, ratio in together(times)
        ],
        "warnings": list(notes),
    }


def times_text(times: Times) -> str:
    """Return what a person wants to know: how long each model takes, what a second lane gains."""
    return laid_out(_parts(times))


def _parts(times: Times) -> Iterator[str | Table]:
    yield f"{times.fleet} on {times.device}: {times.repeats} executions of each model, alone"
    models = _table("model", "median", "10 %", "90 %")
    for row in times.models:
        shown = (format_duration(t) for t in (row.median_ns, row.low_ns, row.high_ns))
        models.add_row(cut(row.model, 40), *shown)
    yield models
    pairs = together(times)
    if pairs:
        yield "two lanes at once: times longer than alone, and the work of how many lanes"
        table = _table("lane", "takes", "beside", "takes", "lanes' work")
        noisy = {frozenset(pair) for pair in times.noisy()}
        for first, second, ratio in pairs:
            noise = " noise" if {first.lane, second.lane} in noisy else ""
            table.add_row(
                cut(first.lane, _NAME_MAX),
                f"{first.slowdown_permille / ALONE_PERMILLE:.2f} x",
                cut(second.lane, _NAME_MAX),
                f"{second.slowdown_permille / ALONE_PERMILLE:.2f} x",
                f"{ratio:.2f}{noise}",
            )
        yield table
        for group in times.groups:
            if len(group.lanes) > 1:
                yield (
                    f"{cut(group.lanes[0], _NAME_MAX)} stands for {len(group.lanes)} lanes with "
                    "the same models"
                )
        idle = [(a, b) for a, b, ratio in pairs if ratio < GAIN_LEAST]
        for first, second in idle:
            yield (
                f"{cut(first.lane, _NAME_MAX)} and {cut(second.lane, _NAME_MAX)} gain nothing from "
                "running at once: one lane for both costs no time"
            )


def _table(*columns: str) -> Table:
    table = headed_table()
    for column in columns:
        name = column in {"model", "lane", "beside"}
        table.add_column(
            column, justify="left" if name else "right", no_wrap=not name, overflow="fold"
        )
    return table
