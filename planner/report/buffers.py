"""Tensors in the arena, in every form of a report: what steps hand on, blocks of instances."""

from typing import Any

from planner.columns import cut
from planner.plan import Plan
from planner.units import format_bytes, format_count

__all__ = ["buffer_figures", "buffer_lines", "buffers_row"]

ROWS_MAX = 40
"""Tensors listed in text; the JSON has all."""


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


def buffer_lines(plan: Plan) -> list[str]:
    """Return a line for each of the first tensors: where, how large, who reads it."""
    lines = []
    for row in plan.buffers[:ROWS_MAX]:
        readers = ", ".join(dict.fromkeys(step for step, _ in row.readers))
        line = f"{row.offset:#x} {format_bytes(row.size_bytes)} {cut(row.name, 36)}"
        lines.append(cut(f"{line}: {readers}" if readers else line, 76))
    if len(plan.buffers) > ROWS_MAX:
        lines.append(f"... and {len(plan.buffers) - ROWS_MAX} more (--json has all)")
    return lines
