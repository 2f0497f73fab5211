"""The difference of two plans as JSON, text and Markdown."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from planner.capacity import ChannelsFit, GrowthStatus
from planner.columns import cut, padded
from planner.difference import BufferChange, Change, Difference, InstanceChange, SettingChange
from planner.plan import AddedKind, AddedOrder
from planner.report.advice import channels_words
from planner.report.capacity_text import KIND_WORDS
from planner.report.tables import markdown_table, markdown_text
from planner.units import format_bytes, format_count, format_duration, format_makespan

__all__ = [
    "budget_words",
    "difference_figures",
    "difference_markdown",
    "difference_text",
    "signed",
]

ROWS_MAX = 40
"""Changes listed in text and Markdown; the JSON has all."""
BUFFERS_MAX = 8
"""Tensors listed in text and Markdown, the largest; the JSON has all."""
ADDED_MAX = 5
"""Constraints that came or went listed in text and Markdown; the JSON has all."""


def signed(size: int) -> str:
    """Return a change of bytes as people read it, with its sign.

    Examples
    --------
    >>> signed(1536), signed(-512), signed(0)
    ('+1.50 KiB', '-512 B', '0 B')
    """
    return f"+{format_bytes(size)}" if size > 0 else format_bytes(size)


def difference_figures(difference: Difference) -> dict[str, Any]:
    """Return a difference as a JSON mapping, exact bytes; old and new sizes beside every change."""
    return {
        "empty": difference.is_empty,
        "height_bytes_delta": difference.height_bytes_delta,
        "weight_bytes_delta": difference.weight_bytes_delta,
        "total_bytes_delta": difference.total_bytes_delta,
        "needed_bytes_delta": difference.needed_bytes_delta,
        "bytes_by_kind_delta": {kind.value: delta for kind, delta in difference.kinds},
        "models": [
            {
                "model": change.model,
                "kind": change.kind.value,
                "old_bytes": change.old_bytes,
                "new_bytes": change.new_bytes,
                "delta_bytes": change.delta_bytes,
            }
            for change in difference.models
        ],
        "instances": [
            {
                "instance": change.instance,
                "change": change.change.value,
                **{
                    f"{key}_{field}": None if row is None else getattr(row, field)
                    for key, row in (("old", change.old), ("new", change.new))
                    for field in ("work_offset", "work_bytes", "weight_offset", "weight_bytes")
                },
            }
            for change in difference.instances
        ],
        "buffers": [
            {
                "buffer": change.buffer,
                "change": change.change.value,
                "old_offset": None if change.old is None else change.old.offset,
                "old_bytes": None if change.old is None else change.old.size_bytes,
                "new_offset": None if change.new is None else change.new.offset,
                "new_bytes": None if change.new is None else change.new.size_bytes,
            }
            for change in difference.buffers
        ],
        "channels_fit": {
            name: {
                "old": _largest(old),
                "new": _largest(new),
                "old_at_least": _at_least(old),
                "new_at_least": _at_least(new),
            }
            for name, old, new in _paired(difference)
        },
        "fits": {"old": difference.old.fits, "new": difference.new.fits},
        "settings": [
            {"place": change.place, "old": change.old, "new": change.new}
            for change in difference.settings
        ],
        "added": {
            key: [
                {"first": item.first, "second": item.second, "kind": item.kind.value}
                for item in items
            ]
            for key, items in (("came", difference.came), ("went", difference.went))
        },
        "makespan": {
            key: {"makespan": span.length, "makespan_unit": span.unit.value}
            for key, span in (("old", difference.old_span), ("new", difference.new_span))
        },
    }


def _largest(found: ChannelsFit | None) -> int | None:
    return None if found is None else found.largest


def _at_least(found: ChannelsFit | None) -> bool:
    """Return whether more may fit: the search ended at its limits."""
    return found is not None and found.status is GrowthStatus.AT_LEAST


def _paired(
    difference: Difference,
) -> list[tuple[str, ChannelsFit | None, ChannelsFit | None]]:
    old = {found.pipeline: found for found in difference.old_channels}
    new = {found.pipeline: found for found in difference.new_channels}
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys((*new, *old))]


def _headline(difference: Difference) -> list[str]:
    """Return what is said first, in parts of which each fits a line."""
    if difference.is_empty:
        others = _other_parts(difference)
        return ["no byte changed", *others] if others else ["nothing changed"]
    parts = [
        f"{signed(difference.total_bytes_delta)} in the arena (work "
        f"{signed(difference.height_bytes_delta)}, weights "
        f"{signed(difference.weight_bytes_delta)})",
        f"instances: {_counts(difference.instances)}",
    ]
    if difference.buffers:
        parts.append(f"tensors: {_counts(difference.buffers)}")
    return parts + _other_parts(difference)


def _other_parts(difference: Difference) -> list[str]:
    """Return what changed but for bytes: time, what was added to the order, settings."""
    parts = []
    old, new = difference.old_span, difference.new_span
    if old != new:
        before, after = (format_makespan(span.length, span.unit) for span in (old, new))
        share = (
            f" ({new.length / old.length - 1:+.1%})" if old.unit is new.unit and old.length else ""
        )
        parts.append(f"one frame of every channel: {before} -> {after}{share}")
    if difference.came or difference.went:
        parts.append(
            f"constraints added to the order: {len(difference.came)} came, "
            f"{len(difference.went)} went"
        )
    if difference.settings:
        parts.append(f"{format_count(len(difference.settings), 'setting')} changed")
    return parts


def _counts(changes: Sequence[InstanceChange | BufferChange]) -> str:
    found = Counter(item.change for item in changes)
    return ", ".join(f"{found[change]} {change.value}" for change in Change)


def _fit_words(difference: Difference) -> str:
    """Return whether the new plan fits, where either does not; else nothing."""
    old, new = difference.old, difference.new
    if new.fits:
        return "" if old.fits else "The new plan fits, the old one did not."
    if new.short_bytes:
        why = f"{format_bytes(new.short_bytes)} short"
    elif new.over_budget_bytes:
        why = f"{format_bytes(new.over_budget_bytes)} more than its schedule is to fit"
    else:
        why = f"{format_count(new.stream_count, 'stream')} of {new.fleet.device.streams_max}"
    return f"The new plan DOES NOT FIT: {why}; the old one {'did' if old.fits else 'did not'}."


def budget_words(difference: Difference, allowed_bytes: int | None) -> str:
    """Return by how much a difference is above its budget; nothing where it is within."""
    if allowed_bytes is None or difference.total_bytes_delta <= allowed_bytes:
        return ""
    above = difference.total_bytes_delta - allowed_bytes
    return f"ABOVE THE BUDGET of {signed(allowed_bytes)} by {format_bytes(above)} ({above} bytes)"


def _words(found: ChannelsFit | None) -> str:
    return "-" if found is None else channels_words(found)


def difference_text(difference: Difference, allowed_bytes: int | None = None) -> str:
    """Return a difference as text of at most 80 columns.

    The last line says so where both reservations grow by more than `allowed_bytes`.
    """
    lines = [*_headline(difference), *textwrap.wrap(_fit_words(difference), 80), ""]
    lines += [
        f"  {KIND_WORDS[kind]:<28}{signed(delta):>14}" for kind, delta in difference.kinds if delta
    ]
    lines.append(f"  {'needed':<28}{signed(difference.needed_bytes_delta):>14}")
    if difference.models:
        lines += ["", f"{'model':<38}{'kind':<12}{'change':>14}"]
        lines += [
            f"  {padded(cut(change.model, 34), 36)}{change.kind.value:<12}"
            f"{signed(change.delta_bytes):>14}"
            for change in difference.models[:ROWS_MAX]
        ]
        lines += _rest(difference.models)
    if difference.instances:
        lines += ["", "instance"]
        lines += [
            f"  {change.change.value:<8} {cut(change.instance, 60)}"
            for change in difference.instances[:ROWS_MAX]
        ]
        lines += _rest(difference.instances)
    if difference.buffers:
        lines += ["", f"{'largest tensors in the arena':<54}{'size':>26}"]
        lines += [
            f"  {change.change.value:<8} {padded(cut(change.buffer, 42), 42)} {_sizes(change):>26}"
            for change in _largest_buffers(difference)
        ]
        lines += _rest(difference.buffers, BUFFERS_MAX)
    if difference.came or difference.went:
        lines += ["", "constraint added to the order"]
        lines += [
            f"  {word:<8} {cut(item.first, 27)} {_joint(item)} {cut(item.second, 27)}"
            for word, item in _constraints(difference)[:ADDED_MAX]
        ]
        lines += _rest(_constraints(difference), ADDED_MAX)
    if difference.settings:
        lines += ["", "setting"]
        for change in difference.settings[:ROWS_MAX]:
            before, after = (cut(words, 16) for words in _values(change))
            lines.append(f"  {padded(cut(change.place, 40), 40)} {before} -> {after}")
        lines += _rest(difference.settings)
    lines += ["", "channels that fit in memory"]
    for name, old, new in _paired(difference)[:ROWS_MAX]:
        lines.append(f"  {padded(cut(name, 18), 18)} {_words(old):>26} -> {_words(new)}")
    above = budget_words(difference, allowed_bytes)
    lines += ["", above] if above else []
    return "\n".join(lines) + "\n"


def _sizes(change: BufferChange) -> str:
    """Return the size of a tensor, or both where it changed."""
    sizes = [row.size_bytes for row in (change.old, change.new) if row is not None]
    return " -> ".join(map(format_bytes, dict.fromkeys(sizes)))


def _largest_buffers(difference: Difference) -> list[BufferChange]:
    def size(change: BufferChange) -> int:
        return max(row.size_bytes for row in (change.old, change.new) if row is not None)

    return sorted(difference.buffers, key=lambda change: -size(change))[:BUFFERS_MAX]


def _constraints(difference: Difference) -> list[tuple[str, AddedOrder]]:
    return [
        *(("came", item) for item in difference.came),
        *(("went", item) for item in difference.went),
    ]


def _joint(item: AddedOrder) -> str:
    return "before" if item.kind is AddedKind.ORDER else "never beside"


def _values(change: SettingChange) -> tuple[str, str]:
    """Return a setting before and after, as people read it; exact where that reads the same."""
    above, key = ["", *change.place.split(".")][-2:]
    old, new = (_value(key, above, value) for value in (change.old, change.new))
    return (old, new) if old != new else (json.dumps(change.old), json.dumps(change.new))


def _value(key: str, above: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return "given"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int) and key == "time":
        return format_duration(value)
    if isinstance(value, int) and (key in {"memory", "fit"} or above == "reserve"):
        return format_bytes(value)
    return str(value)


def _rest(rows: Sequence[object], most: int = ROWS_MAX) -> list[str]:
    hidden = len(rows) - most
    return [f"  ... and {hidden} more (--json has all)"] if hidden > 0 else []


def difference_markdown(difference: Difference, allowed_bytes: int | None = None) -> str:
    """Return a difference as a review comment: the headline first, then what it is made of.

    The budget and the limit follow the headline where the new plan is above them.
    """
    lines = [
        f"**{markdown_text(difference.new.fleet.name)}**: {'; '.join(_headline(difference))}",
        "",
    ]
    for words in (budget_words(difference, allowed_bytes), _fit_words(difference)):
        lines += [f"**{words}**", ""] if words else []
    kinds = [(KIND_WORDS[kind], signed(delta)) for kind, delta in difference.kinds if delta]
    total = ("**needed**", signed(difference.needed_bytes_delta))
    lines += markdown_table(("kind", "change"), [*kinds, total])
    if difference.models:
        rows = [
            (
                markdown_text(change.model),
                change.kind.value,
                format_bytes(change.old_bytes),
                format_bytes(change.new_bytes),
                signed(change.delta_bytes),
            )
            for change in difference.models[:ROWS_MAX]
        ]
        lines += ["", *markdown_table(("model", "kind", "old", "new", "change"), rows)]
        lines += _below(_rest(difference.models))
    if difference.instances:
        changed = [
            (markdown_text(change.instance), change.change.value)
            for change in difference.instances[:ROWS_MAX]
        ]
        lines += ["", *markdown_table(("instance", "change"), changed)]
        lines += _below(_rest(difference.instances))
    if difference.buffers:
        tensors = [
            (markdown_text(change.buffer), change.change.value, _sizes(change))
            for change in _largest_buffers(difference)
        ]
        lines += ["", *markdown_table(("largest tensors in the arena", "change", "size"), tensors)]
        lines += _below(_rest(difference.buffers, BUFFERS_MAX))
    if difference.came or difference.went:
        constraints = [
            (f"{markdown_text(item.first)} {_joint(item)} {markdown_text(item.second)}", word)
            for word, item in _constraints(difference)[:ADDED_MAX]
        ]
        lines += ["", *markdown_table(("constraint added to the order", "change"), constraints)]
        lines += _below(_rest(_constraints(difference), ADDED_MAX))
    if difference.settings:
        settings = [
            (markdown_text(change.place), *map(markdown_text, _values(change)))
            for change in difference.settings[:ROWS_MAX]
        ]
        lines += ["", *markdown_table(("setting", "old", "new"), settings)]
        lines += _below(_rest(difference.settings))
    channels = [
        (markdown_text(name), _words(old), _words(new)) for name, old, new in _paired(difference)
    ][:ROWS_MAX]
    lines += ["", *markdown_table(("channels that fit in memory", "old", "new"), channels)]
    return "\n".join(lines) + "\n"


def _below(lines: Sequence[str]) -> list[str]:
    """Return lines below a table of Markdown, which takes what follows it at once for a row."""
    return ["", *(line.strip() for line in lines)] if lines else []
