"""The report of a plan as text of at most 80 columns."""

from collections.abc import Iterator

from rich.table import Table

from planner.explanation import Explanation
from planner.plan import AddedKind, Plan, SchedulePrice
from planner.report.advice import gear_lines, parts_words, proof_words
from planner.report.buffers import buffer_parts, buffers_row
from planner.report.explanation import explanation_text
from planner.report.figures import NOT_COUNTED
from planner.report.layout import headed_table, laid_out
from planner.units import format_bytes, format_count, format_makespan

__all__ = ["plan_text"]

ROWS_MAX = 60
"""Instances listed in text; the JSON has all."""
ADDED_MAX = 20
"""Added constraints listed in text; the JSON has all."""


def plan_text(plan: Plan, explanation: Explanation | None = None) -> str:
    """Return what a person wants to know of a plan: figures, proof, instances, whether it fits.

    Where it does not, `explanation` says why and what each way out costs.
    """
    why = () if explanation is None else ("", *explanation_text(explanation, plan), "")
    middle = "".join(f"{line.rstrip()}\n" for line in why)
    return laid_out(_parts(plan)) + middle + laid_out([_verdict(plan)])


def _parts(plan: Plan) -> Iterator[str | Table]:
    yield _heading(plan)
    yield _figures(plan)
    yield from gear_lines(plan)
    yield _instances(plan)
    if len(plan.instances) > ROWS_MAX:
        yield f"... and {len(plan.instances) - ROWS_MAX} more instances (--json has all)"
    yield from buffer_parts(plan)
    if plan.price is not None:
        yield _added(plan)
        yield _price(plan.price)
    yield f"not counted: {'; '.join(NOT_COUNTED)}"


def _heading(plan: Plan) -> str:
    """Return the first line: whether it fits, how large it is, of how much."""
    device = plan.fleet.device
    limits = (device.memory_bytes, device.streams_max, plan.fleet.schedule.fit_bytes)
    verdict = "fits" if limits != (None, None, None) else "no limit is given"
    verdict = verdict if plan.fits else "DOES NOT FIT"
    return f"{plan.fleet.name}: {verdict}, {format_bytes(plan.total_bytes)}; {parts_words(plan)}"


def _figures(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    private = plan.private_total_bytes
    share = f"{1 - plan.total_bytes / private:.1%} less than private" if private else ""
    table.add_row("work", format_bytes(plan.height_bytes), proof_words(plan))
    table.add_row("weights", format_bytes(plan.weight_bytes), _dedupe(plan))
    table.add_row("total", format_bytes(plan.total_bytes), share)
    table.add_row("private instances", format_bytes(private), "without any sharing")
    if plan.buffers:
        table.add_row(*buffers_row(plan))
    if plan.outside_bytes:
        table.add_row("outside the arena", format_bytes(plan.outside_bytes), _outside(plan))
    return table


def _dedupe(plan: Plan) -> str:
    buffers = len({row.weights_key for row in plan.instances if row.weights_key})
    readers = sum(1 for row in plan.instances if row.weights_key)
    counts = f"{format_count(buffers, 'buffer')}, {format_count(readers, 'reader')}"
    return f"{counts} (dedupe: {plan.fleet.device.dedupe.value})"


def _outside(plan: Plan) -> str:
    managed = sum(1 for _, size in plan.sizes if size.system_managed)
    models = format_count(managed, "system-managed model")
    return f"I/O datasets, {models}" if managed else "I/O datasets"


def _instances(plan: Plan) -> Table:
    table = headed_table()
    table.add_column("instance", overflow="fold", ratio=1)
    for name in ("work at", "work", "weights at", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in plan.instances[:ROWS_MAX]:
        table.add_row(
            row.id,
            "-" if row.work_offset is None else f"{row.work_offset:#x}",
            format_bytes(row.work_bytes),
            "-" if row.weight_offset is None else f"{row.weight_offset:#x}",
            format_bytes(row.weight_bytes),
        )
    return table


def _added(plan: Plan) -> str:
    above = plan.over_budget_bytes > 0
    if not plan.added:
        why = "none that takes less memory was found" if above else "it fits as it is"
        return f"nothing was added to the order: {why}"
    aim = "for the least memory that was found" if above else "so that it fits"
    lines = [f"added to the order {aim} ({len(plan.added)}):"]
    for item in plan.added[:ADDED_MAX]:
        joint = "before" if item.kind is AddedKind.ORDER else "never beside"
        lines.append(f"  {item.first} {joint} {item.second}")
    if len(plan.added) > ADDED_MAX:
        lines.append(f"  ... and {len(plan.added) - ADDED_MAX} more (--json has all)")
    return "\n".join(lines)


def _price(price: SchedulePrice) -> str:
    share = f" (+{price.makespan / price.before - 1:.1%})" if price.before else ""
    if price.is_proven:
        proof = "no plan of this size is faster"
    else:
        slack = price.makespan / price.lower_bound - 1 if price.lower_bound else 0
        proof = f"at most {slack:.1%} above what any plan of this size takes"
    return (
        f"one frame of every channel: {format_makespan(price.makespan, price.unit)}{share}, "
        f"{format_makespan(price.before, price.unit)} with nothing added; {proof}; "
        f"{format_makespan(price.serial, price.unit)} if a second lane gained nothing"
    )


def _verdict(plan: Plan) -> str:
    limit = plan.fleet.device.memory_bytes
    parts = [
        f"needs {format_bytes(plan.needed_bytes)} of device memory, page-rounded, with "
        f"{format_bytes(plan.fleet.device.reserve_bytes)} of reserves"
    ]
    if limit is None:
        parts.append("no limit is given")
    elif plan.short_bytes:
        parts.append(
            f"DOES NOT FIT in {format_bytes(limit)}: short by {plan.short_bytes} bytes "
            f"({format_bytes(plan.short_bytes)})"
        )
    else:
        parts.append(
            f"fits in {format_bytes(limit)} with {format_bytes(limit - plan.needed_bytes)} to spare"
        )
    budget = plan.fleet.schedule.fit_bytes
    if budget is not None and plan.over_budget_bytes:
        parts.append(
            f"DOES NOT FIT the {format_bytes(budget)} asked for: work and weights are "
            f"{plan.over_budget_bytes} bytes ({format_bytes(plan.over_budget_bytes)}) more"
        )
    elif budget is not None:
        parts.append(f"work and weights fit the {format_bytes(budget)} asked for")
    streams_max = plan.fleet.device.streams_max
    if streams_max is not None and plan.stream_count > streams_max:
        parts.append(f"DOES NOT FIT: {format_count(plan.stream_count, 'stream')} of {streams_max}")
    return "; ".join(parts)
