"""A capacity report as one page: self-contained, offline, with everything that it needs inside.

Names reach the page in three ways, each escaped by its own rule: HTML by the templates, SVG by
`svg`, and the embedded JSON with every character that could end a script as an escape. The page's
own policy forbids it to fetch anything.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final

from planner.capacity import Capacity, WhatIf, bytes_by_kind
from planner.columns import cut
from planner.explanation import Explanation, WayOut
from planner.measured import FleetReport, Reading
from planner.plan import Plan
from planner.report.advice import channels_words, do_words, parts_words, proof_words, rate_words
from planner.report.capacity_text import KIND_WORDS
from planner.report.explanation import culprits_words, left_out_words, time_words, way_words
from planner.report.figures import NOT_COUNTED, capacity_figures, what_if_figures
from planner.report.svg import arena_svg
from planner.units import format_bytes

__all__ = ["capacity_html", "script_json"]

NAME_MAX = 120
"""Longest name that the page shows whole."""
READINGS_MAX = 100
"""Readings of a device that the page lists; the JSON inside it has all."""
OWNERS_MAX = 200
"""Accounts that the page lists; the JSON inside it has all."""
_KIND_COLOURS: Final = (
    "#3b6fb6", "#2f8f6b", "#b98a1d", "#c8553d", "#8d949e", "#3a8fa3", "#b34d83", "#8a5fb0",
)  # fmt: skip


def capacity_html(
    capacity: Capacity,
    tables: Iterable[WhatIf],
    measured: Sequence[FleetReport] = (),
    explanation: Explanation | None = None,
) -> str:
    """Return the page of a report.

    Parameters
    ----------
    capacity : Capacity
    tables : iterable of WhatIf
        What the controls of the page look up.
    measured : sequence of FleetReport
        What each device was seen to use, if the plan was run.
    explanation : Explanation or None
        Why the plan does not fit.

    Notes
    -----
    The embedded JSON (``script`` element ``figures``) holds what ``arena report --json`` prints;
    a page of 1,000 instances takes about one MiB.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["size"] = format_bytes
    environment.filters["name"] = lambda text: cut(text, NAME_MAX)
    template = environment.from_string(
        (files("planner.report") / "page.html.j2").read_text(encoding="utf-8")
    )
    plan = capacity.plan
    limit = plan.fleet.device.memory_bytes
    figures = capacity_figures(capacity, measured, explanation)
    return template.render(
        figures=figures,
        data=Markup(script_json(figures)),
        what_if=Markup(script_json(what_if_figures(tables))),
        picture=Markup(arena_svg(plan)),
        name=plan.fleet.name,
        verdict=do_words(capacity),
        parts=parts_words(plan),
        proof=proof_words(capacity.plan),
        fits=plan.fits,
        whole=max(plan.needed_bytes, limit or 0, 1),
        kinds=[
            (KIND_WORDS[kind], size, colour)
            for (kind, size), colour in zip(
                bytes_by_kind(capacity.accounts).items(), _KIND_COLOURS, strict=True
            )
            if size
        ],
        owners=_owners(capacity),
        rows=_rows(figures),
        strategy_max=max(1, *(strategy.bytes for strategy in capacity.strategies)),
        channels=[
            (found, channels_words(found), rate_words(capacity.rate_of(found.pipeline)))
            for found in capacity.channels
        ],
        rated=bool(capacity.rates),
        together=(capacity.together, channels_words(capacity.together)),
        why=None if explanation is None else culprits_words(explanation.culprits, plan),
        ways=[] if explanation is None else _ways(explanation, plan),
        left_out="" if explanation is None else left_out_words(explanation.ways_out.left_out),
        measured=[(report, _meters(report)) for report in measured],
        not_counted="; ".join(NOT_COUNTED),
    )


def _meters(report: FleetReport) -> list[tuple[Reading, float, float]]:
    """Return each reading with its declared and its undeclared part, in percent of the largest."""
    shown = report.shown(READINGS_MAX)
    most = max([1, *(max(r.taken_bytes, r.declared_bytes) for r in shown)])
    return [
        (
            reading,
            100 * min(max(0, reading.taken_bytes), reading.declared_bytes) / most,
            100 * max(0, reading.beyond_bytes) / most,
        )
        for reading in shown
    ]


def script_json(value: object) -> str:
    r"""Return JSON that can stand inside a script element: no name in it ends the element.

    Examples
    --------
    >>> script_json({"name": "</script><b>&"})
    '{"name":"\\u003c/script\\u003e\\u003cb\\u003e\\u0026"}'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _ways(explanation: Explanation, plan: Plan) -> list[tuple[str, WayOut, str]]:
    """Return each way out in words, with its figures and its time."""
    return [
        (way_words(way, plan.fleet, NAME_MAX), way, time_words(way))
        for way in explanation.ways_out.rows
    ]


def _owners(capacity: Capacity) -> list[tuple[str, str, int]]:
    """Return the largest accounts: owner, kind in words, bytes."""
    ranked = sorted(capacity.accounts, key=lambda account: -account.bytes)
    return [(item.owner, KIND_WORDS[item.kind], item.bytes) for item in ranked[:OWNERS_MAX]]


def _rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table: each instance with its share and its lever."""
    shares = {row["instance"]: row for row in figures["shares"]}
    levers = {row["instance"]: row for row in figures["levers"]}
    return [
        {
            **row,
            "alone_bytes": shares[row["instance"]]["alone_bytes"]
            if row["instance"] in shares
            else 0,
            **{
                key: levers[row["instance"]][key]
                for key in ("in_witness", "shrink_bytes", "move_bytes", "move_lane", "move_count")
            },
        }
        for row in figures["instances"]
    ]
