"""A capacity report as text of at most 80 columns: a bar, the table, what to do."""

import textwrap
from collections.abc import Sequence

from planner.capacity import Capacity, Kind, bytes_by_kind
from planner.columns import columns, cut, padded, wrapped
from planner.explanation import Explanation
from planner.measured import FleetReport
from planner.report.advice import (
    channels_words,
    do_words,
    gear_lines,
    parts_words,
    proof_words,
    rate_words,
)
from planner.report.explanation import explanation_text
from planner.report.figures import NOT_COUNTED
from planner.units import format_bytes

__all__ = ["KIND_WORDS", "capacity_text"]

WIDTH = 80
BAR = 60
FREED = 13
"""Columns of what a lever frees."""
ROWS_MAX = 20
"""Instances and devices listed in text; the JSON has all."""
KIND_WORDS = {
    Kind.WORK: "work memory",
    Kind.WEIGHTS: "weights",
    Kind.PADDING: "padding of regions",
    Kind.HOLES: "holes between regions",
    Kind.PAGES: "rounding to pages",
    Kind.IO: "inputs and outputs",
    Kind.SYSTEM: "system-managed models",
    Kind.RESERVE: "reserves",
}
_MARKS = {
    Kind.WORK: "W",
    Kind.WEIGHTS: "M",
    Kind.PADDING: "p",
    Kind.HOLES: "o",
    Kind.PAGES: "r",
    Kind.IO: "I",
    Kind.SYSTEM: "S",
    Kind.RESERVE: "R",
}


def capacity_text(
    capacity: Capacity,
    measured: Sequence[FleetReport] = (),
    explanation: Explanation | None = None,
) -> str:
    """Return the report that a person reads: where the bytes go, what they buy, what to do.

    What each device was seen to use follows, if the plan was run, and why it does not fit.
    """
    plan = capacity.plan
    heading = f"{cut(plan.fleet.name)}: {parts_words(plan)}; {proof_words(capacity.plan)}"
    parts = [
        wrapped(heading, WIDTH),
        [part for line in gear_lines(plan) for part in wrapped(line, WIDTH)],
        _bytes(capacity),
        _strategies(capacity),
        _levers(capacity),
        _channels(capacity),
        _devices(capacity),
        *(["measured beside planned", *report.text().splitlines()] for report in measured),
        explanation_text(explanation, plan) if explanation else [],
        wrapped(do_words(capacity), WIDTH),
        textwrap.wrap(f"not counted: {'; '.join(NOT_COUNTED)}", WIDTH),
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts if part) + "\n"


def _bytes(capacity: Capacity) -> list[str]:
    kinds = {kind: size for kind, size in bytes_by_kind(capacity.accounts).items() if size}
    total = capacity.plan.needed_bytes
    limit = capacity.plan.fleet.device.memory_bytes
    whole = max(total, limit or 0)
    bar = ""
    position = 0
    for kind, size in kinds.items():
        position += size
        # Rounded ends, so that the bar is as long as the sum and not as the sum of roundings.
        bar += _MARKS[kind] * (round(BAR * position / whole) - len(bar))
    lines = [f"[{bar:.<{BAR}}] of {format_bytes(whole)}"]
    lines += [
        f"  {_MARKS[kind]}  {KIND_WORDS[kind]:<28}{format_bytes(size):>12}{size / total:>8.1%}"
        for kind, size in kinds.items()
    ]
    lines.append(f"     {'needed':<28}{format_bytes(total):>12}")
    if capacity.headroom_bytes is not None:
        word = "headroom" if capacity.headroom_bytes >= 0 else "short"
        lines.append(f"  .  {word:<28}{format_bytes(abs(capacity.headroom_bytes)):>12}")
    return lines


def _strategies(capacity: Capacity) -> list[str]:
    most = max((strategy.bytes for strategy in capacity.strategies), default=0)
    lines = ["strategy              work + weights"]
    for strategy in capacity.strategies:
        bar = "#" * round(24 * strategy.bytes / most) if most else ""
        unsafe = "" if strategy.legal else "  corrupts: instances overlap"
        lines.append(f"  {strategy.name:<19}{format_bytes(strategy.bytes):>13}  {bar}{unsafe}")
    savings = capacity.dedupe
    further = (
        f"; `dedupe: weights` would save {format_bytes(savings.further_bytes)} more"
        if savings.further_bytes > 0
        else ""
    )
    lines += textwrap.wrap(
        f"equal weights held once (dedupe: {savings.current.value}) save "
        f"{format_bytes(savings.saved_bytes)} against weights of its own for each instance of "
        f"this plan{further}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
    )
    return lines


def _levers(capacity: Capacity) -> list[str]:
    rows = [lever for lever in capacity.levers if lever.in_witness]
    heading = "sets the height"
    if not rows:  # proven by a search, or not at all: no clique is as heavy as the plan is high
        free = (lever for lever in capacity.levers if lever.shrink_bytes)
        rows = sorted(free, key=lambda lever: -(lever.shrink_bytes or 0))
        heading = "no clique sets the height; frees most"
    if not rows:
        return []
    shown = rows[:ROWS_MAX]
    lanes = [lever.move_lane + "*" * (lever.move_count > 1) for lever in shown]
    # Names give way to lanes as far as they have room to spare.
    names = max(len(heading) - 2, *(columns(cut(lever.instance)) for lever in shown))
    names = max(names, min(41, WIDTH - 2 * FREED - 4 - max(map(columns, lanes))))
    room = WIDTH - 2 * FREED - 4 - names
    lines = [f"{heading:<{names + 2}}{'shrunk frees':>{FREED}}{'moved frees':>{FREED}}"]
    for lever, lane in zip(shown, lanes, strict=True):
        line = (
            f"  {padded(cut(lever.instance), names)}{_freed(lever.shrink_bytes):>{FREED}}"
            f"{_freed(lever.move_bytes):>{FREED}}"
        )
        if columns(lane) <= room:
            lines.append(f"{line}  {lane}".rstrip())
        else:
            lines += [line, f"    to lane {cut(lane, WIDTH - 12)}"]
    lines += _rest(rows)
    if any(lever.move_count > 1 for lever in rows[:ROWS_MAX]):
        lines.append("  * together with its like on other lanes: their steps have one lane or pool")
    return lines


def _freed(size: int | None) -> str:
    return "not asked" if size is None else format_bytes(size)


def _channels(capacity: Capacity) -> list[str]:
    lines = [f"{'pipeline':<43}{'channels':>9}  most that fit in memory"]
    for found in capacity.channels[:ROWS_MAX]:
        lines.append(
            f"  {padded(cut(found.pipeline), 41)}{found.channels:>9}  {channels_words(found)}"
        )
        if allowed := rate_words(capacity.rate_of(found.pipeline)):
            lines.append(f"    {allowed}")
    lines += _rest(capacity.channels)
    together = capacity.together
    if len(capacity.channels) > 1:
        lines.append(
            f"  {'all in proportion, times':<41}{together.channels:>9}  {channels_words(together)}"
        )
    return lines


def _devices(capacity: Capacity) -> list[str]:
    if not capacity.devices:
        return []
    lines = [f"{'device':<25}{'usable':>13}{'headroom':>13}"]
    for fit in capacity.devices[:ROWS_MAX]:
        lines.append(
            f"  {padded(cut(fit.device.name, 23), 23)}{format_bytes(fit.device.usable_bytes):>13}"
            f"{format_bytes(fit.headroom_bytes):>13}  {'fits' if fit.fits else 'too small'}"
        )
    return lines + _rest(capacity.devices)


def _rest(rows: Sequence[object]) -> list[str]:
    hidden = len(rows) - ROWS_MAX
    return [f"  ... and {hidden} more (--json has all)"] if hidden > 0 else []
