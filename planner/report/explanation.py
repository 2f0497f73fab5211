"""Why a plan does not fit and what each way out costs, as JSON, as text and in words."""

import textwrap
from collections.abc import Sequence
from typing import Any

from planner.columns import cut, padded, wrapped
from planner.explanation import Change, ChangeKind, Culprits, Explanation, WayOut
from planner.fleet import FleetSpec
from planner.plan import Plan
from planner.units import format_bytes, format_makespan

__all__ = [
    "culprits_words",
    "explanation_figures",
    "explanation_text",
    "left_out_words",
    "time_words",
    "way_words",
]

WIDTH = 80
CULPRITS_MAX = 12
"""Culprits listed in text; the JSON has all."""
_NAME_MAX = 40
_WHAT = 36


def explanation_figures(explanation: Explanation | None, plan: Plan) -> dict[str, Any] | None:
    """Return why `plan` does not fit as a JSON mapping, exact bytes; None where it fits.

    ``culprits`` are instances that cannot fit together: alone they need ``culprits_needed_bytes``,
    no plan of them needs less than ``culprits_lower_bound_bytes``. ``ways_out`` is the price list.
    """
    if explanation is None:
        return None
    culprits = explanation.culprits
    return {
        "culprits": list(culprits.instances),
        "culprits_needed_bytes": culprits.needed_bytes,
        "culprits_lower_bound_bytes": culprits.lower_bound_bytes,
        "culprits_stream_count": culprits.stream_count,
        "culprits_proven": culprits.is_proven,
        "culprits_minimal": culprits.is_minimal,
        "ways_out": [_way_figures(way, plan.fleet) for way in explanation.ways_out.rows],
        "left_out": explanation.ways_out.left_out,
    }


def _way_figures(way: WayOut, fleet: FleetSpec) -> dict[str, Any]:
    return {
        "what": way_words(way, fleet),
        "changes": [
            {"kind": change.kind.value, "names": list(change.names), "count": change.count}
            for change in way.changes
        ],
        "device": None if way.device is None else way.device.name,
        "bytes_freed": way.bytes_freed,
        "time_added": way.time_added,
        "time_unit": way.time_unit.value,
        "needed_bytes": way.needed_bytes,
        "limit_bytes": way.limit_bytes,
        "fits": way.fits,
        "time_at_most": way.time_at_most,
    }


def way_words(way: WayOut, fleet: FleetSpec, name_max: int | None = None) -> str:
    """Return what a way out does; names longer than `name_max` lose their middle."""
    if way.device is not None:
        name = _cut(way.device.name, name_max)
        return f"device {name} ({format_bytes(way.device.usable_bytes)} usable)"
    if way.changes[0].kind is ChangeKind.FIT and not way.bytes_freed:
        # The plan at hand has that order already: what was asked for cannot be had.
        return f"the least that --fit can ask for (--fit {way.changes[0].count})"
    within = ", in at most this time" if way.time_at_most else ""
    return "; ".join(_change_words(change, fleet, name_max, within) for change in way.changes)


def _cut(name: str, most: int | None) -> str:
    return name if most is None else cut(name, most)


def _change_words(change: Change, fleet: FleetSpec, name_max: int | None, within: str) -> str:
    names = [_cut(name, name_max) for name in change.names]
    match change.kind:
        case ChangeKind.FIT:
            return f"order that planning chooses{within} (--fit {change.count})"
        case ChangeKind.DEDUPE_WEIGHTS:
            return "equal weights held once (dedupe: weights)"
        case ChangeKind.EXCLUSIVE_INSTANCES:
            return f"{' and '.join(names)} in turn"
        case ChangeKind.EXCLUSIVE_LANES if len(names) == 1:
            return f"lanes {names[0]} of all channels in turn"
        case ChangeKind.EXCLUSIVE_LANES:
            return f"lanes {' and '.join(names)} in turn"
        case ChangeKind.SERIAL:
            return "everything in turn"
        case ChangeKind.FEWER_FRAMES if len(names) > 1:
            return f"frames in flight of {len(names)} pipelines -> {change.count}"
        case ChangeKind.FEWER_FRAMES:
            before = fleet.pipeline(change.names[0]).frames_in_flight
            return f"{names[0]}: frames in flight {before} -> {change.count}"
        case _ if change.count == 0:
            return f"without pipeline {names[0]}"
        case _:  # FEWER_CHANNELS
            before = fleet.pipeline(change.names[0]).channels
            return f"{names[0]}: channels {before} -> {change.count}"


def time_words(way: WayOut) -> str:
    """Return the time that a way out adds, with its sign.

    Examples
    --------
    >>> from planner.makespan import MakespanUnit
    >>> way = WayOut((), None, 0, -3, MakespanUnit.STEPS, 0, None, True)
    >>> time_words(way)
    '-3 steps'
    """
    sign = "-" if way.time_added < 0 else "+"
    return f"{sign}{format_makespan(abs(way.time_added), way.time_unit)}"


def culprits_words(culprits: Culprits, plan: Plan) -> str:
    """Return who cannot fit together, in a sentence or two, without their names."""
    device = plan.fleet.device
    streams_max = device.streams_max
    if streams_max is not None and culprits.stream_count > streams_max:
        needs, limit = f"{culprits.stream_count} streams", f"{streams_max} streams"
        proof = ""
    else:
        needs, limit = (
            format_bytes(culprits.needed_bytes),
            format_bytes(plan.decisive_limit_bytes or 0),
        )
        # What a schedule is to fit are the two reservations alone.
        if device.reserve_bytes and not plan.over_budget_bytes and culprits.instances:
            needs += f" ({format_bytes(device.reserve_bytes)} of it the fleet's reserves)"
        proof = ", proven" if culprits.is_proven else ", as far as was searched"
    n, total = len(culprits.instances), len(plan.instances)
    if n == 0:
        return f"The reserves alone are above the limit: {needs} of {limit}."
    if n == 1:
        return f"One instance does not fit even alone: it needs {needs} of {limit}{proof}."
    rest = (
        "without any one of them the others of them fit"
        if culprits.is_minimal
        else "fewer of them may be enough, the search ended before"
    )
    if proof and culprits.is_proven:
        # More order may let them share, unless planning could choose it already.
        proof += " for this order" if plan.price is None else " whatever is added"
    return (
        f"These {n} of {total} instances cannot fit together: alone they need {needs} of "
        f"{limit}{proof}; {rest}."
    )


def left_out_words(left_out: int) -> str:
    """Return what to know of changes that are not listed; empty: there are none."""
    if not left_out:
        return ""
    changes = "change is" if left_out == 1 else "changes are"
    return f"{left_out:,} further {changes} not listed: not planned, or freeing less."


def explanation_text(explanation: Explanation, plan: Plan) -> list[str]:
    """Return the lines, of at most 80 columns, that say why `plan` does not fit."""
    culprits = explanation.culprits
    lines = textwrap.wrap(f"Why it does not fit. {culprits_words(culprits, plan)}", WIDTH)
    shown = culprits.instances[:CULPRITS_MAX]
    lines += [f"  {cut(name, WIDTH - 2)}" for name in shown]
    if len(culprits.instances) > len(shown):
        lines.append(f"  ... and {len(culprits.instances) - len(shown)} more (--json has all)")
    ways = explanation.ways_out
    lines += ["", f"{'way out':<{_WHAT}}{'frees':>12}{'takes':>13}{'then needs':>12}"]
    for way in ways.rows:
        lines += _way_lines(way, plan.fleet)
    if ways.left_out:
        lines.append(left_out_words(ways.left_out))
    return lines


def _way_lines(way: WayOut, fleet: FleetSpec) -> Sequence[str]:
    """Return one row; a long change continues below its first line."""
    first, *more = wrapped(way_words(way, fleet, _NAME_MAX), _WHAT - 3) or [""]
    figures = (
        f"{format_bytes(way.bytes_freed):>12}{time_words(way):>13}"
        f"{format_bytes(way.needed_bytes):>12}{'  fits' if way.fits else ''}"
    )
    return [f"  {padded(first, _WHAT - 2)}{figures}", *(f"    {line}" for line in more)]
