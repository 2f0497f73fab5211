"""The arena as a picture: address upwards, one column an instance, so that sharing is seen.

Regions that lie on the same bytes stand side by side at the same height; nothing is drawn on top
of anything else. Text in it is escaped; every region has a title, which browsers show on hover.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from planner.columns import cut
from planner.plan import Instance, Plan
from planner.units import format_bytes

__all__ = ["arena_svg"]

COLUMNS_MAX = 400
"""Instances drawn; a wider picture is no picture. The largest are kept, in plan order."""
LANE_COLOURS = (
    "#3b6fb6", "#c8553d", "#2f8f6b", "#8a5fb0", "#b98a1d", "#3a8fa3", "#b34d83", "#6b7a3a",
)  # fmt: skip
_HEIGHT = 360
_TOP, _LEFT = 24, 92
_TITLE = 168
"""Width of a reservation's title, such as ``weights: 1023.99 MiB``."""
_NAME_MAX = 120


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    start: int
    length: int
    colour: str
    title: str


def arena_svg(plan: Plan) -> str:
    """Return both reservations of `plan` as one SVG picture: work on the left, weights right of it.

    What steps hand on stands behind the instances, in a colour of its own.

    Notes
    -----
    At most `COLUMNS_MAX` columns a reservation; the picture says how many it left out.
    """
    lanes = {row.lane: None for row in plan.instances}
    colours = {lane: LANE_COLOURS[index % len(LANE_COLOURS)] for index, lane in enumerate(lanes)}
    work, hidden = _work(plan, colours)
    weights, hidden_weights = _weights(plan)
    first, width = _panel(work, plan.height_bytes, 0, "work", hidden)
    second, end = _panel(weights, plan.weight_bytes, width + 24, "weights", hidden_weights)
    height = _TOP + _HEIGHT + max(_layout(len(bars)).room for bars in (work, weights))
    label = escape(
        f"{cut(plan.fleet.name)}: work reservation of {format_bytes(plan.height_bytes)}, weight "
        f"reservation of {format_bytes(plan.weight_bytes)}, address upwards, a column an owner"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {end} {height}" width="{end}" '
        f'height="{height}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="currentColor">{first}{second}</svg>\n'
    )


def _largest(rows: Sequence[Instance], sizes: Mapping[str, int]) -> set[str]:
    ranked = sorted(rows, key=lambda row: (-sizes[row.id], row.id))
    return {row.id for row in ranked[:COLUMNS_MAX]}


def _work(plan: Plan, colours: Mapping[str, str]) -> tuple[list[_Bar], int]:
    rows = [row for row in plan.instances if row.work_offset is not None]
    shown = _largest(rows, {row.id: row.work_bytes for row in rows})
    bars = [
        _Bar(
            row.id,
            row.work_offset or 0,
            plan.rule.reserved_bytes(row.work_bytes),
            colours[row.lane],
            f"{cut(row.id, _NAME_MAX)}: work [{row.work_offset:#x}, "
            f"{(row.work_offset or 0) + plan.rule.reserved_bytes(row.work_bytes):#x}), "
            f"{format_bytes(row.work_bytes)}, lane {cut(row.lane)}",
        )
        for row in rows
        if row.id in shown
    ]
    hidden = len(rows) - len(bars)
    bars += [
        _Bar(
            row.name,
            row.offset,
            plan.rule.reserved_bytes(row.size_bytes),
            "#c9a227",
            f"{cut(row.name, _NAME_MAX)}: tensor [{row.offset:#x}, "
            f"{row.offset + plan.rule.reserved_bytes(row.size_bytes):#x}), "
            f"{format_bytes(row.size_bytes)}"
            + "".join(f", read by {step}" for step in dict.fromkeys(s for s, _ in row.readers)),
        )
        for row in plan.buffers[:COLUMNS_MAX]
    ]
    return bars, hidden + max(0, len(plan.buffers) - COLUMNS_MAX)


def _weights(plan: Plan) -> tuple[list[_Bar], int]:
    readers: dict[int, list[Instance]] = {}
    for row in plan.instances:
        if row.weight_offset is not None:
            readers.setdefault(row.weight_offset, []).append(row)
    firsts = [rows[0] for rows in readers.values()]
    shown = _largest(firsts, {row.id: row.weight_bytes for row in firsts})
    bars = []
    for offset, rows in readers.items():
        if rows[0].id in shown:
            size = plan.rule.reserved_bytes(rows[0].weight_bytes)
            names = ", ".join(cut(row.id) for row in rows[:4])
            more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
            title = (
                f"weights [{offset:#x}, {offset + size:#x}), {format_bytes(rows[0].weight_bytes)}, "
                f"read by {names}{more}"
            )
            bars.append(_Bar(rows[0].model, offset, size, "#6f7782", title))
    return bars, len(readers) - len(bars)


class _Layout(NamedTuple):
    """Pixels of a column and below it; the angle of names there, degrees, 0: there is no room."""

    column: int
    angle: int
    room: int


def _layout(n_columns: int) -> _Layout:
    """Return how columns stand: narrow ones have steep names, whose lines need 10.5 pixels each."""
    column = max(3, min(44, 560 // max(1, n_columns)))
    if column < 14:
        return _Layout(column, 0, 56)
    return _Layout(column, 35, 64) if column >= 19 else _Layout(column, 65, 92)


def _panel(bars: Sequence[_Bar], height: int, x: int, name: str, hidden: int) -> tuple[str, int]:
    """Return one reservation drawn from `x` on, and where it ends."""
    column, angle, _ = _layout(len(bars))
    left = x + _LEFT
    right = left + max(_TITLE, column * len(bars))
    scale = _HEIGHT / height if height else 0.0
    base = _TOP + _HEIGHT
    parts = [
        f'<text x="{left}" y="15" font-weight="600">{name}: {format_bytes(height)}</text>',
        f'<line x1="{left}" x2="{right}" y1="{base}" y2="{base}" stroke="currentColor"/>',
        *_axis(height, left, base, scale),
    ]
    for index, bar in enumerate(bars):
        tall = max(0.5, bar.length * scale)
        y = base - (bar.start + bar.length) * scale
        parts.append(
            f'<rect x="{left + index * column}" y="{y:.2f}" width="{max(2, column - 2)}" '
            f'height="{tall:.2f}" fill="{bar.colour}" tabindex="0" data-owner="{escape(bar.name)}">'
            f"<title>{escape(bar.title)}</title></rect>"
        )
        if angle:
            centre = left + index * column + column // 2
            name = escape(cut(bar.name, 14))
            parts.append(
                f'<text x="{centre}" y="{base + 12}" font-size="9" text-anchor="end" '
                f'transform="rotate(-{angle} {centre} {base + 12})">{name}</text>'
            )
    if hidden:
        parts.append(f'<text x="{left}" y="{base + 48}">{hidden} smaller ones not drawn</text>')
    return "".join(parts), right


def _axis(height: int, left: int, base: int, scale: float) -> Iterable[str]:
    for quarter in range(5 if height else 1):
        size = height * quarter // 4
        y = base - size * scale
        yield (
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="10">'
            f"{format_bytes(size)}</text>"
            f'<line x1="{left - 4}" x2="{left}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"/>'
        )
