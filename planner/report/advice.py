"""The sentences of a report: what fits, what sets the height, and what to do."""

from collections.abc import Sequence

from planner.capacity import Capacity, ChannelsFit, GrowthStatus, RateChannels
from planner.columns import cut
from planner.plan import Plan
from planner.problem import SolveStatus
from planner.units import format_bytes, format_count, format_rate

__all__ = ["channels_words", "do_words", "gear_lines", "parts_words", "proof_words", "rate_words"]

NAMED_MAX = 3
"""Pipelines that a sentence names; tables and the JSON have all."""


def parts_words(plan: Plan) -> str:
    """Return of how many models, instances and lanes a plan is."""
    lanes = len({row.lane for row in plan.instances})
    return (
        f"{format_count(len(plan.sizes), 'model')}, "
        f"{format_count(len(plan.instances), 'instance')}, {format_count(lanes, 'lane')}"
    )


def proof_words(plan: Plan) -> str:
    """Return how near the optimum the work reservation is, of plans with the order that it has."""
    if plan.status is SolveStatus.OPTIMAL:
        return "optimal for this order"
    slack, bound = plan.height_bytes - plan.lower_bound_bytes, plan.lower_bound_bytes
    share = f" ({slack / bound:.2%})" if bound else ""
    return f"within {format_bytes(slack)}{share} of optimal for this order"


def channels_words(found: ChannelsFit) -> str:
    """Return how many channels fit in memory, in words."""
    words = {
        GrowthStatus.NO_LIMIT: "no limit is given",
        GrowthStatus.UNLIMITED: "memory does not limit them",
        GrowthStatus.AT_LEAST: f"at least {found.largest}",
        GrowthStatus.EXACT: f"{found.largest}",
    }
    return words[found.status]


def rate_words(allowed: RateChannels | None) -> str:
    """Return how many channels a declared rate allows; nothing where none is declared."""
    if allowed is None:
        return ""
    rate = format_rate(allowed.rate_millihertz)
    if allowed.most is None:
        return f"{rate} does not limit them: lanes of their own"
    return f"{rate} allows at most {allowed.most}: {cut(allowed.limited_by, 24)}"


def do_words(capacity: Capacity) -> str:
    """Return what to do: how to make it fit, or what still fits; one or two sentences."""
    headroom = capacity.headroom_bytes
    needed = format_bytes(capacity.plan.needed_bytes)
    if headroom is None:
        return (
            f"Needs {needed}; give --memory or --device-model to learn what fits.{_lever(capacity)}"
        )
    if not capacity.plan.fits:
        return f"{_misfit(capacity, headroom)}{_lever(capacity)}{_device(capacity)}"
    exact = _more(capacity, GrowthStatus.EXACT)
    least = _more(capacity, GrowthStatus.AT_LEAST)
    grow = f" Up to {exact} fit in memory." if exact else ""
    grow += f" At least {least} fit in memory." if least else ""
    return f"Fits with {format_bytes(headroom)} to spare.{grow}"


def _more(capacity: Capacity, status: GrowthStatus) -> str:
    """Return of which pipelines more channels fit, with their numbers."""
    return _either(
        [
            found
            for found in capacity.channels
            if found.status is status and (found.largest or 0) > found.channels
        ],
        capacity,
        "more",
    )


def _either(rows: Sequence[ChannelsFit], capacity: Capacity, degree: str) -> str:
    """Return numbers of channels of the first pipelines, each beside what its rate allows."""
    words = []
    for found in rows[:NAMED_MAX]:
        number = f"{format_count(found.largest or 0, 'channel')} of {cut(found.pipeline)}"
        allowed = capacity.rate_of(found.pipeline)
        if allowed is not None and allowed.most is not None and allowed.most < (found.largest or 0):
            number += f" (its rate allows at most {allowed.most})"
        words.append(number)
    text, others = " or ".join(words), len(rows) - NAMED_MAX
    if others > 0:
        text += f", or {degree} of {format_count(others, 'other pipeline')},"
    return text


def _misfit(capacity: Capacity, headroom: int) -> str:
    if headroom >= 0:
        plan = capacity.plan
        streams = format_count(plan.stream_count, "stream")
        return f"DOES NOT FIT: {streams} of {plan.fleet.device.streams_max}."
    fewer = _either([found for found in capacity.channels if found.largest], capacity, "fewer")
    less = f" With {fewer} it fits in memory." if fewer else ""
    return f"DOES NOT FIT: {format_bytes(-headroom)} short.{less}"


def _lever(capacity: Capacity) -> str:
    moves = [lever for lever in capacity.levers if lever.move_bytes]
    if not moves:
        return ""
    best = max(moves, key=lambda lever: lever.move_bytes or 0)
    others = f" and the {best.move_count - 1} like it" if best.move_count > 1 else ""
    return (
        f" Moving {cut(best.instance)}{others} to lane {cut(best.move_lane)!r} frees "
        f"{format_bytes(best.move_bytes or 0)}, at the price of time."
    )


def _device(capacity: Capacity) -> str:
    for fit in capacity.devices:
        if fit.fits:
            usable = format_bytes(fit.device.usable_bytes)
            return f" The smallest device that fits is {cut(fit.device.name)} ({usable} usable)."
    return ""


def gear_lines(plan: Plan) -> list[str]:
    """Return a line for each model that is planned at the largest of its gears."""
    return [
        f"{cut(model)}: planned at the largest of its gears, {size.gears}"
        for model, size in plan.sizes
        if size.gears
    ]
