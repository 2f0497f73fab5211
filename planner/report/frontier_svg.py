"""The frontier as a picture: memory to the right, makespan upwards, a step between two plans."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import count
from typing import Final

from planner.columns import cut
from planner.frontier import Frontier
from planner.units import format_bytes, format_makespan

__all__ = ["frontier_svg"]

_WIDTH: Final = 560
_HEIGHT: Final = 320
_LEFT, _TOP, _RIGHT, _BOTTOM = 84, 40, 30, 56
_LINE, _KNEE, _QUIET = "#3b6fb6", "#c8553d", "#6f7782"


def frontier_svg(found: Frontier) -> str:
    """Return the frontier as one SVG picture; what was not tried between two plans is a step.

    A dashed line shows the makespan of everything serial, another the device's memory if it lies
    in the picture.
    """
    points = [(p.plan.total_bytes, p.makespan) for p in found.points]
    memory_max = max(found.concurrent.plan.total_bytes, points[0][0])
    memory_min = min(found.serial_bytes, points[-1][0])
    time_max = max(found.serial_makespan, points[-1][1], 1)
    scale = _Scale(memory_min, max(memory_max, memory_min + 1), time_max)
    label = escape(
        f"{cut(found.concurrent.plan.fleet.name)}: total memory against the makespan of one frame "
        f"of every channel, {len(points)} plans"
    )
    parts = [
        f'<text x="{_LEFT}" y="18" font-weight="600">'
        f"{escape(cut(found.concurrent.plan.fleet.name))}: memory against makespan</text>",
        *_axes(scale, found),
        *_limits(scale, found),
        f'<path d="{_steps(scale, points)}" fill="none" stroke="{_LINE}" stroke-width="2"/>',
        *_marks(scale, found),
    ]
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="currentColor">{"".join(parts)}</svg>\n'
    )


class _Scale:
    """Bytes and times as places in the picture."""

    def __init__(self, memory_min: int, memory_max: int, time_max: int) -> None:
        margin = max(1, (memory_max - memory_min) // 12)
        self.memory_min = max(0, memory_min - margin)
        self.memory_max = memory_max + margin
        self.time_max = time_max * 10 // 9 + 1

    def x(self, memory: int) -> float:
        """Return the place of a size."""
        share = (memory - self.memory_min) / (self.memory_max - self.memory_min)
        return _LEFT + _WIDTH * share

    def y(self, time: int) -> float:
        """Return the place of a makespan."""
        return _TOP + _HEIGHT * (1 - time / self.time_max)


def _axes(scale: _Scale, found: Frontier) -> Iterator[str]:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    yield (
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="currentColor"/>'
        f'<text x="{right}" y="{bottom + 44}" text-anchor="end">total memory</text>'
        f'<text x="{_LEFT}" y="{_TOP - 6}">makespan of one frame of every channel</text>'
    )
    for memory in _ticks(scale.memory_min, scale.memory_max, (1,), base=2):
        x = scale.x(memory)
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" '
            f'stroke="currentColor"/><text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" '
            f'font-size="10">{format_bytes(memory)}</text>'
        )
    for time in _ticks(0, scale.time_max, (1, 2, 5), base=10):
        y = scale.y(time)
        yield (
            f'<line x1="{_LEFT - 4}" x2="{_LEFT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="10">'
            f"{format_makespan(time, found.unit)}</text>"
        )


def _ticks(low: int, high: int, digits: Sequence[int], *, base: int) -> range:
    """Return the multiples from `low` to `high` of a round step: a digit times a power of `base`.

    The step is the least that there are at most six of.

    Examples
    --------
    >>> list(_ticks(30, 71, (1,), base=2)), list(_ticks(0, 177, (1, 2, 5), base=10))
    ([32, 40, 48, 56, 64], [0, 50, 100, 150])
    """
    powers = (base**k for k in count())
    step = next(d * power for power in powers for d in digits if d * power * 6 >= high - low)
    return range(-(-low // step) * step, high + 1, step)


def _limits(scale: _Scale, found: Frontier) -> Iterator[str]:
    y = scale.y(found.serial_makespan)
    yield (
        f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_QUIET}" '
        f'stroke-dasharray="5 4"/><text x="{_LEFT + _WIDTH}" y="{y - 5:.1f}" text-anchor="end" '
        f'font-size="10" fill="{_QUIET}">if a second lane gained nothing: '
        f"{format_makespan(found.serial_makespan, found.unit)}</text>"
    )
    plan = found.concurrent.plan
    limit = plan.fleet.device.memory_bytes
    if limit is None:
        return
    room = limit - plan.outside_bytes - plan.fleet.device.reserve_bytes
    if scale.memory_min <= room <= scale.memory_max:
        x = scale.x(room)
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" '
            f'stroke="{_QUIET}" stroke-dasharray="5 4"/><text x="{x - 5:.1f}" '
            f'y="{_TOP + _HEIGHT - 8}" text-anchor="end" font-size="10" fill="{_QUIET}">'
            f"room on the device: {format_bytes(room)}</text>"
        )


def _steps(scale: _Scale, points: Sequence[tuple[int, int]]) -> str:
    """Return the path: with less memory than a plan takes, the next slower plan holds."""
    memory, time = points[0]
    path = f"M{_LEFT + _WIDTH} {scale.y(time):.1f}H{scale.x(memory):.1f}"
    for memory, time in points[1:]:
        path += f"V{scale.y(time):.1f}H{scale.x(memory):.1f}"
    return path


def _marks(scale: _Scale, found: Frontier) -> Iterator[str]:
    for index, point in enumerate(found.points):
        x, y = scale.x(point.plan.total_bytes), scale.y(point.makespan)
        is_knee = index == found.knee
        title = (
            f"plan {index + 1}: {format_bytes(point.plan.total_bytes)}, "
            f"{format_makespan(point.makespan, found.unit)}, "
            f"{len(point.plan.added)} constraints added"
        )
        yield (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if is_knee else 4}" tabindex="0" '
            f'fill="{_KNEE if is_knee else _LINE}"><title>{escape(title)}</title></circle>'
            f'<text x="{x + 7:.1f}" y="{y - 7:.1f}" font-size="10">{index + 1}'
            f"{' knee' if is_knee else ''}</text>"
        )
