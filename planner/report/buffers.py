"""Tensors in the arena, in every form of a report: what steps hand on, blocks of instances."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from planner.columns import cut
from planner.handover import BufferUse, ChannelBuffer
from planner.plan import Plan
from planner.report.layout import headed_table
from planner.units import format_bytes, format_count

__all__ = ["buffer_figures", "buffer_parts", "buffers_row"]

ROWS_MAX = 8
"""Tensors listed in text, the largest; the JSON has all."""
NAME_MAX = 66
READERS_MAX = 22
"""Columns of a terminal for names of tensors, in two lines at most, and of their readers."""


def buffer_figures(plan: Plan) -> dict[str, Any]:
    """Return the tensors that steps hand on, sizes in exact bytes; offsets in the work reservation.

    ``buffers_private_bytes`` is what they take with inputs and outputs of its own at every step,
    ``buffers_own_bytes`` what they add: bytes where they lie and no work memory ever does.
    """
    return {
        "witness_buffers": list(plan.witness_buffers),
        "buffers_private_bytes": plan.buffers_private_bytes,
        "buffers_own_bytes": plan.buffers_own_bytes,
        "buffers": [
            {
                "buffer": row.name,
                "use": row.use.value,
                "channel": row.channel,
                "step": row.step,
                "tensor": row.tensor,
                "slot": row.slot,
                "readers": [f"{row.channel}.{step}.{name}" for step, name in row.readers],
                "offset": row.offset,
                "bytes": row.size_bytes,
            }
            for row in plan.buffers
        ],
    }


def buffers_row(plan: Plan) -> tuple[str, str, str]:
    """Return one line of figures: name, bytes that are added, and what is saved."""
    saved = plan.buffers_private_bytes - plan.buffers_own_bytes
    words = f"of the work; {format_count(len(plan.buffers), 'buffer')}"
    if saved > 0:
        words += f", {format_bytes(saved)} less than private"
    return "tensors", format_bytes(plan.buffers_own_bytes), words


def buffer_parts(plan: Plan) -> Iterator[str | Table]:
    """Yield a table of the largest tensors: where, how large, who reads them; nothing without."""
    if not plan.buffers:
        return
    table = headed_table()
    table.add_column("largest tensors", overflow="fold", ratio=1)
    for heading in ("work at", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("read by", overflow="fold", max_width=READERS_MAX)
    for row in sorted(plan.buffers, key=lambda row: -row.size_bytes)[:ROWS_MAX]:
        table.add_row(
            cut(row.name, NAME_MAX), f"{row.offset:#x}", format_bytes(row.size_bytes), _readers(row)
        )
    yield table
    if len(plan.buffers) > ROWS_MAX:
        yield f"... and {len(plan.buffers) - ROWS_MAX} more (--json has all)"


def _readers(row: ChannelBuffer) -> str:
    """Return the steps that read a tensor; an instance reads and writes a block of its own."""
    if row.use is BufferUse.INSTANCE:
        return "itself"
    steps = ", ".join(dict.fromkeys(step for step, _ in row.readers))
    return cut(f"{steps}, next frame" if row.use is BufferUse.STATE else steps, 2 * READERS_MAX)
