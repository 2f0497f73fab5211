"""A capacity report as Markdown for a review, and the instances of a plan as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence

from planner.capacity import Capacity, bytes_by_kind
from planner.columns import cut
from planner.explanation import Explanation
from planner.measured import FleetReport
from planner.plan import Plan
from planner.report.advice import channels_words, do_words, proof_words, rate_words
from planner.report.capacity_text import KIND_WORDS
from planner.report.explanation import (
    CULPRITS_MAX,
    culprits_words,
    left_out_words,
    time_words,
    way_words,
)
from planner.units import format_bytes

__all__ = ["capacity_markdown", "instances_csv", "markdown_table", "markdown_text"]

NAME_MAX = 80
_ACTIVE = "\\`*_{}[]()<>#+!|~@&:"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown_text(text: str) -> str:
    """Return a name as Markdown shows it literally: nothing in it formats, links or mentions.

    Examples
    --------
    >>> print(markdown_text("a|b <script> *x*"))
    a&#124;b &#60;script&#62; &#42;x&#42;
    """
    return "".join(f"&#{ord(char)};" if char in _ACTIVE else char for char in cut(text, NAME_MAX))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose first column is text and whose others are numbers."""
    rule = [":--", *("--:" for _ in columns[1:])]
    return [f"| {' | '.join(row)} |" for row in (columns, rule, *rows)]


def capacity_markdown(
    capacity: Capacity,
    measured: Iterable[FleetReport] = (),
    explanation: Explanation | None = None,
) -> str:
    """Return the report as Markdown: what to do, where the bytes go, strategies, channels.

    Why the plan does not fit, and a table for each device that it was run on, follow.
    """
    plan = capacity.plan
    kinds = [
        (KIND_WORDS[kind], format_bytes(size), str(size))
        for kind, size in bytes_by_kind(capacity.accounts).items()
        if size
    ]
    total = ("**needed**", format_bytes(plan.needed_bytes), str(plan.needed_bytes))
    strategies = [
        (
            strategy.name + ("" if strategy.legal else " (corrupts)"),
            format_bytes(strategy.bytes),
            str(strategy.bytes),
        )
        for strategy in capacity.strategies
    ]
    rated = bool(capacity.rates)
    columns = ("pipeline", "channels", "most that fit in memory", *(["its rate"] if rated else []))
    channels = [
        (
            markdown_text(found.pipeline),
            str(found.channels),
            channels_words(found),
            *([markdown_sentence(rate_words(capacity.rate_of(found.pipeline)))] if rated else []),
        )
        for found in capacity.channels
    ]
    lines = [
        f"### {markdown_text(plan.fleet.name)}",
        "",
        f"{markdown_sentence(do_words(capacity))} Work memory: {proof_words(capacity.plan)}.",
        "",
        *markdown_table(("where the bytes go", "size", "bytes"), [*kinds, total]),
        "",
        *markdown_table(("strategy", "work + weights", "bytes"), strategies),
        "",
        *markdown_table(columns, channels),
        *(_explanation(explanation, plan) if explanation else ()),
    ]
    for report in measured:
        rows = [(name, format_bytes(size), str(size)) for name, size in report.rows()]
        title = f"measured beside planned, on {markdown_text(report.device)}"
        lines += ["", *markdown_table((title, "size", "bytes"), rows)]
        lines += ["", report.pages_words()]
        if compared := report.compared_words():
            lines += ["", f"**{compared}**" if report.mismatches else compared]
    return "\n".join(lines) + "\n"


def _explanation(explanation: Explanation, plan: Plan) -> list[str]:
    """Return the lines that say why a plan does not fit, and the price list."""
    culprits, ways = explanation.culprits, explanation.ways_out
    names = [markdown_text(name) for name in culprits.instances[:CULPRITS_MAX]]
    if len(culprits.instances) > CULPRITS_MAX:
        names.append(f"{len(culprits.instances) - CULPRITS_MAX} more")
    rows = [
        (
            markdown_sentence(way_words(way, plan.fleet, NAME_MAX)),
            format_bytes(way.bytes_freed),
            time_words(way),
            format_bytes(way.needed_bytes),
            "yes" if way.fits else "no",
        )
        for way in ways.rows
    ]
    sentence = f"**Why it does not fit.** {markdown_sentence(culprits_words(culprits, plan))}"
    return [
        "",
        " ".join((sentence, ", ".join(names))).rstrip(),
        "",
        *markdown_table(("way out", "frees", "takes", "then needs", "fits"), rows),
        *(["", left_out_words(ways.left_out)] if ways.left_out else []),
    ]


def markdown_sentence(text: str) -> str:
    """Return a sentence of ours, which may hold names, as literal Markdown."""
    return "".join(f"&#{ord(char)};" if char in _ACTIVE else char for char in text)


def instances_csv(plan: Plan) -> str:
    """Return one row an instance: offsets in the reservations and sizes, exact bytes.

    A cell that a spreadsheet would take for a formula starts with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            "instance",
            "model",
            "lane",
            "work_offset",
            "work_bytes",
            "weight_offset",
            "weight_bytes",
            "weights_key",
        )
    )
    for row in plan.instances:
        names = [_cell(name) for name in (row.id, row.model, row.lane)]
        offsets = [row.work_offset, row.work_bytes, row.weight_offset, row.weight_bytes]
        writer.writerow([*names, *offsets, _cell(row.weights_key)])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
