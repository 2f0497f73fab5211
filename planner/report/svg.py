"""The arena as a picture: address upwards, so that what lies on the same bytes is side by side.

    few instances    a column each                 [det][read]      [w][w]  [det] weights
    many             a column a lane: its          [det     ]               [read]
                     instances are used in turn    [ [read] ]
    many lanes       lanes that share no byte      [cam-1   ]
                     below one another             [cam-0   ]

Tensors that steps hand on share narrow columns right of the instances. In a column of a lane
smaller regions stand inside larger ones that they share bytes with; nothing else is drawn on
anything. Text is escaped; every region has a title, which browsers show on hover.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import chain
from typing import Final, NamedTuple

from planner.columns import columns as columns_of
from planner.columns import cut
from planner.handover import BufferUse, ChannelBuffer
from planner.plan import Instance, Plan
from planner.units import format_bytes

__all__ = ["arena_svg"]

REGIONS_MAX: Final = 400
"""Regions of a kind drawn; more are no picture. The largest are kept, in plan order."""
ALONE_MAX: Final = 40
"""Columns that are still wide enough for a name; of more, owners share columns."""
LANE_COLOURS: Final = (
    "#3b6fb6", "#c8553d", "#2f8f6b", "#8a5fb0", "#b98a1d", "#3a8fa3", "#b34d83", "#6b7a3a",
)  # fmt: skip
_TENSOR, _WEIGHT, _SMALLER = "#d9b93b", "#6f7782", "#8d949e"
_SHADES: Final = (1.0, 0.7)
"""Opacity of neighbours of one colour, in turn, where they stand in one column."""
_HEIGHT, _TALL, _LEAST = 360, 560, 0.5
"""Pixels of an arena, of one in which many regions stand below one another, of a region."""
_TOP, _LEFT = 24, 92
_TITLE = 168
"""Width of a reservation's title, such as ``weights: 1023.99 MiB``."""
_NAME_MAX = 120
_LEGEND_LINE, _LETTER = 18, 6.6


@dataclass(frozen=True, slots=True)
class _Bar:
    owner: str
    start: int
    length: int
    colour: str
    title: str
    opacity: float = 1.0

    @property
    def end(self) -> int:
        return self.start + self.length

    def meets(self, other: "_Bar") -> bool:
        return self.start < other.end and other.start < self.end


class _Column(NamedTuple):
    """What stands in one column; a label below it, if it has one owner."""

    label: str
    bars: Sequence[_Bar]


class _Group(NamedTuple):
    """Columns of one width, in pixels; of shared ones the regions are named inside."""

    columns: Sequence[_Column]
    width: int
    is_shared: bool


class _Panel(NamedTuple):
    """One reservation."""

    name: str
    height_bytes: int
    groups: Sequence[_Group]
    hidden: int


def arena_svg(plan: Plan) -> str:
    """Return both reservations of `plan` as one SVG picture: work on the left, weights right of it.

    Below them a legend: lanes as the fleet names them, weights, tensors.

    Notes
    -----
    At most `REGIONS_MAX` regions of instances, of tensors and of weights; the picture says how many
    it left out.
    """
    families = _families(plan)
    colours = {
        family: LANE_COLOURS[index % len(LANE_COLOURS)]
        for index, family in enumerate(dict.fromkeys(families.values()))
    }
    panels = (_work(plan, families, colours), _weights(plan))
    tall = any(group.is_shared and group.width > _TENSOR_MAX for p in panels for group in p.groups)
    base = _TOP + (_TALL if tall else _HEIGHT)
    drawn, x = "", 0
    for panel in panels:
        text, end = _drawn(panel, x, base)
        drawn, x = drawn + text, end + 24
    room = max(_angle_and_room(group)[1] for panel in panels for group in panel.groups)
    legend, height = _legend(plan, colours, base + room + 8, end)
    label = escape(
        f"{cut(plan.fleet.name)}: work reservation of {format_bytes(plan.height_bytes)}, weight "
        f"reservation of {format_bytes(plan.weight_bytes)}, address upwards"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {end} {height}" width="{end}" '
        f'height="{height}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="currentColor">{drawn}{legend}</svg>\n'
    )


def _families(plan: Plan) -> dict[str, str]:
    """Return the name that the fleet gives each lane: ``cam-{channel}``, or its pool."""
    named = {
        lane: step.lane_name
        for _, channel, step in plan.fleet.channel_steps()
        for lane in step.lanes_of(channel)
    }
    return {row.lane: named.get(row.lane, row.lane) for row in plan.instances}


def _work(plan: Plan, families: Mapping[str, str], colours: Mapping[str, str]) -> _Panel:
    rows = [row for row in plan.instances if row.work_offset is not None]
    shown = _largest(rows, {row.id: row.work_bytes for row in rows})
    blocks = {row.step: row for row in plan.buffers if row.use is BufferUse.INSTANCE}
    tensors = [row for row in plan.buffers if row.use is not BufferUse.INSTANCE]
    members: dict[str, list[str]] = {}
    for lane, family in families.items():
        members.setdefault(family, []).append(lane)
    shades = {
        lane: _SHADES[index % 2] for lanes in members.values() for index, lane in enumerate(lanes)
    }
    own: dict[Instance, list[_Bar]] = {}
    for row in rows:
        if row.id in shown:
            bar = _work_bar(plan, row, colours[families[row.lane]], shades[row.lane])
            block = blocks.get(row.id)
            own[row] = [bar, *([_tensor_bar(plan, block)] if block else [])]
    columns = [_Column(row.id, bars) for row, bars in own.items()]
    if len(columns) > ALONE_MAX:
        by_lane: dict[str, list[_Bar]] = {}
        for row, bars in own.items():
            by_lane.setdefault(row.lane, []).extend(bars)
        columns = [_Column(lane, bars) for lane, bars in by_lane.items()]
        hidden_rows = [row for row in rows if row not in own]
        columns += _smaller(plan, hidden_rows, chain.from_iterable(own.values()))
    groups = [_standing(columns)]
    if tensors:
        bars = [_tensor_bar(plan, row) for row in tensors[:REGIONS_MAX]]
        packed = _packed([_Column("", [bar]) for bar in bars])
        width = max(3, min(_TENSOR_MAX, 160 // len(packed)))
        groups.append(_Group(packed, width, is_shared=True))
    hidden = len(rows) - len(own) + max(0, len(tensors) - REGIONS_MAX)
    return _Panel("work", plan.height_bytes, groups, hidden)


def _smaller(plan: Plan, hidden: Sequence[Instance], shown: Iterable[_Bar]) -> Iterator[_Column]:
    """Yield one region for neighbours that are not drawn, so that their bytes do not look free.

    Not for those on bytes where others are drawn, nor where all of them are less than seen.
    """
    taken = _joined(shown)
    starts = [bar.start for bar in taken]
    free = [
        bar
        for bar in (_work_bar(plan, row, _SMALLER, 1.0) for row in hidden)
        if bar.end > taken[max(0, bisect_right(starts, bar.start) - 1)].end or bar.start < starts[0]
    ]
    for bar in _joined(free):
        if bar.length * _TALL >= _LEAST * plan.height_bytes:
            title = f"smaller ones: work {_range(bar.start, bar.length)}"
            yield _Column("smaller ones", [replace(bar, owner="smaller ones", title=title)])


def _joined(bars: Iterable[_Bar]) -> list[_Bar]:
    """Return regions in order of address, those that touch or overlap as one."""
    joined: list[_Bar] = []
    for bar in sorted(bars, key=lambda bar: bar.start):
        if joined and bar.start <= joined[-1].end:
            last = joined.pop()
            bar = replace(last, length=max(last.end, bar.end) - last.start)
        joined.append(bar)
    return joined


_TENSOR_MAX: Final = 14
"""Width of a column of tensors, pixels."""


def _standing(columns: Sequence[_Column]) -> _Group:
    """Return columns as they are where there is room for all, else as few as hold them."""
    if len(columns) <= ALONE_MAX:
        return _Group(columns, max(14, min(44, 560 // max(1, len(columns)))), is_shared=False)
    packed = _packed(columns)
    return _Group(packed, max(3, min(_TITLE, 560 // len(packed))), is_shared=True)


def _packed(columns: Sequence[_Column]) -> list[_Column]:
    """Return as few columns as possible in which owners that share no byte stand together."""
    packed: list[list[_Bar]] = []
    ends: list[int] = []
    for column in sorted(columns, key=lambda column: min(bar.start for bar in column.bars)):
        start = min(bar.start for bar in column.bars)
        free = next((k for k, end in enumerate(ends) if end <= start), len(ends))
        if free == len(ends):
            packed.append([])
            ends.append(0)
        packed[free].extend(column.bars)
        ends[free] = max(bar.end for bar in column.bars)
    return [_Column("", bars) for bars in packed]


def _weights(plan: Plan) -> _Panel:
    readers: dict[int, list[Instance]] = {}
    for row in plan.instances:
        if row.weight_offset is not None:
            readers.setdefault(row.weight_offset, []).append(row)
    firsts = [rows[0] for rows in readers.values()]
    shown = _largest(firsts, {row.id: row.weight_bytes for row in firsts})
    kept = [(offset, rows) for offset, rows in readers.items() if rows[0].id in shown]
    columns = [
        _Column(rows[0].model, [_weight_bar(plan, offset, rows, _SHADES[index % 2])])
        for index, (offset, rows) in enumerate(kept)
    ]
    return _Panel("weights", plan.weight_bytes, [_standing(columns)], len(readers) - len(kept))


def _largest(rows: Sequence[Instance], sizes: Mapping[str, int]) -> set[str]:
    ranked = sorted(rows, key=lambda row: (-sizes[row.id], row.id))
    return {row.id for row in ranked[:REGIONS_MAX]}


def _work_bar(plan: Plan, row: Instance, colour: str, opacity: float) -> _Bar:
    start, size = row.work_offset or 0, plan.rule.reserved_bytes(row.work_bytes)
    title = (
        f"{cut(row.id, _NAME_MAX)}: work {_range(start, size)}, {format_bytes(row.work_bytes)}, "
        f"lane {cut(row.lane)}"
    )
    return _Bar(row.id, start, size, colour, title, opacity)


def _tensor_bar(plan: Plan, row: ChannelBuffer) -> _Bar:
    size = plan.rule.reserved_bytes(row.size_bytes)
    readers = "".join(f", read by {step}" for step in dict.fromkeys(s for s, _ in row.readers))
    title = (
        f"{cut(row.name, _NAME_MAX)}: tensor {_range(row.offset, size)}, "
        f"{format_bytes(row.size_bytes)}{readers}"
    )
    return _Bar(row.name, row.offset, size, _TENSOR, title)


def _weight_bar(plan: Plan, offset: int, rows: Sequence[Instance], opacity: float) -> _Bar:
    size = plan.rule.reserved_bytes(rows[0].weight_bytes)
    names = ", ".join(cut(row.id) for row in rows[:4])
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    title = (
        f"weights {_range(offset, size)}, {format_bytes(rows[0].weight_bytes)}, "
        f"read by {names}{more}"
    )
    return _Bar(rows[0].model, offset, size, _WEIGHT, title, opacity)


def _range(start: int, size: int) -> str:
    return f"[{start:#x}, {start + size:#x})"


def _angle_and_room(group: _Group) -> tuple[int, int]:
    """Return the angle of names below columns, degrees, and the pixels that they take.

    Narrow columns have steep names, whose lines need 10.5 pixels each; shared ones have none.
    """
    if group.is_shared:
        return 0, 56
    return (35, 64) if group.width >= 19 else (65, 92)


def _drawn(panel: _Panel, x: int, base: int) -> tuple[str, int]:
    """Return one reservation drawn from `x` on, and where it ends."""
    left = x + _LEFT
    right = left + max(_TITLE, sum(g.width * len(g.columns) for g in panel.groups))
    scale = (base - _TOP) / panel.height_bytes if panel.height_bytes else 0.0
    parts = [
        f'<text x="{left}" y="15" font-weight="600">{panel.name}: '
        f"{format_bytes(panel.height_bytes)}</text>",
        f'<line x1="{left}" x2="{right}" y1="{base}" y2="{base}" stroke="currentColor"/>',
        *_axis(panel.height_bytes, left, base, scale),
    ]
    at = left
    for group in panel.groups:
        angle, _ = _angle_and_room(group)
        for column in group.columns:
            parts += _bars(column.bars, at, group, base, scale)
            if not group.is_shared:
                centre = at + group.width // 2
                parts.append(
                    f'<text x="{centre}" y="{base + 12}" font-size="9" text-anchor="end" '
                    f'transform="rotate(-{angle} {centre} {base + 12})">'
                    f"{escape(cut(column.label, 14))}</text>"
                )
            at += group.width
    if panel.hidden:
        text = f"{panel.hidden} smaller ones not drawn one by one"
        parts.append(f'<text x="{left}" y="{base + 48}">{text}</text>')
    return "".join(parts), right


def _bars(bars: Sequence[_Bar], x: int, group: _Group, base: int, scale: float) -> Iterator[str]:
    """Yield the regions of one column: inside a larger one what shares bytes with it."""
    drawn = sorted(bars, key=lambda bar: -bar.length)
    for index, bar in enumerate(drawn):
        below = sum(other.meets(bar) for other in drawn[:index])
        inset = min(3 * below, group.width // 3)
        tall = max(_LEAST, bar.length * scale)
        y = base - bar.end * scale
        opacity = f' fill-opacity="{bar.opacity}"' if group.is_shared and bar.opacity < 1 else ""
        yield (
            f'<rect x="{x + inset}" y="{y:.2f}" width="{max(2, group.width - 2 - 2 * inset)}" '
            f'height="{tall:.2f}" fill="{bar.colour}"{opacity} '
            f'data-owner="{escape(bar.owner)}"><title>{escape(bar.title)}</title></rect>'
        )
        has_room = group.is_shared and tall >= 12 and group.width >= 60
        if has_room and not below and not any(bar.meets(other) for other in drawn[index + 1 :]):
            name = escape(cut(bar.owner, int((group.width - 8) / 5.2)))
            yield (
                f'<text x="{x + 4}" y="{y + 9.5:.2f}" font-size="9" fill="#fff" '
                f'pointer-events="none">{name}</text>'
            )


def _axis(height: int, left: int, base: int, scale: float) -> Iterable[str]:
    for quarter in range(5 if height else 1):
        size = height * quarter // 4
        y = base - size * scale
        yield (
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="10">'
            f"{format_bytes(size)}</text>"
            f'<line x1="{left - 4}" x2="{left}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"/>'
        )


def _legend(plan: Plan, colours: Mapping[str, str], top: int, width: int) -> tuple[str, int]:
    """Return what the colours mean, in lines from `top` on, and where the picture ends."""
    items = [(f"lane {cut(name, 24)}", colour) for name, colour in colours.items()]
    items, repeated = items[: len(LANE_COLOURS)], len(items) - len(LANE_COLOURS)
    if repeated > 0:
        items.append((f"{repeated} further lanes in the same colours", "none"))
    items.append(("weights", _WEIGHT))
    if plan.buffers:
        items.append(("tensors", _TENSOR))
    parts, x, y = [], _LEFT, top
    for words, colour in items:
        wide = int(columns_of(words) * _LETTER) + 30
        if x > _LEFT and x + wide > width:
            x, y = _LEFT, y + _LEGEND_LINE
        parts.append(
            f'<circle cx="{x + 5}" cy="{y - 4}" r="5" fill="{colour}"/>'
            f'<text x="{x + 15}" y="{y}" font-size="11">{escape(words)}</text>'
        )
        x += wide
    return "".join(parts), y + 10
