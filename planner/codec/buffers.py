"""Fed tensors and states in a plan file: the rows of `buffers`, what steps say of them, figures.

Fleets whose steps hand nothing on have none of these keys.
"""

from collections.abc import Mapping
from typing import Any

from planner.codec.place import Place
from planner.fleet import COUNT_MAX, StepSpec
from planner.handover import BufferUse, ChannelBuffer, Feed
from planner.plan import Plan

__all__ = [
    "decode_buffers",
    "decode_feeds",
    "decode_state",
    "decode_witness",
    "plan_buffers",
    "step_handovers",
]

_Mapping = dict[str, Any]


def plan_buffers(plan: Plan) -> _Mapping:
    """Return the keys that a plan with buffers has; none without."""
    if not plan.buffers and not plan.witness_buffers:
        return {}
    private, own = plan.buffers_private_bytes, plan.buffers_own_bytes
    return {
        "witness_buffers": list(plan.witness_buffers),
        "buffers_private_bytes": private,
        "buffers_own_bytes": own,
        "buffers": [_row(buffer, plan) for buffer in plan.buffers],
    }


def _row(buffer: ChannelBuffer, plan: Plan) -> _Mapping:
    return {
        "buffer": buffer.name,
        "use": buffer.use.value,
        "channel": buffer.channel,
        "step": buffer.step,
        "tensor": buffer.tensor,
        "slot": buffer.slot,
        "readers": [{"step": step, "input": name} for step, name in buffer.readers],
        "offset": buffer.offset,
        "bytes": buffer.size_bytes,
        "reserved_bytes": plan.rule.reserved_bytes(buffer.size_bytes),
    }


def decode_buffers(part: Mapping[str, Place]) -> tuple[ChannelBuffer, ...]:
    """Return the buffers of a plan file's members."""
    return tuple(_buffer(row) for row in part["buffers"].items()) if "buffers" in part else ()


def decode_witness(part: Mapping[str, Place]) -> tuple[str, ...]:
    """Return the buffers in the witness of a plan file's members."""
    names = part["witness_buffers"].items() if "witness_buffers" in part else ()
    return tuple(name.text() for name in names)


def _buffer(row: Place) -> ChannelBuffer:
    part = row.some_members(
        "use", "channel", "step", "tensor", "slot", "readers", "offset", "bytes"
    )
    return ChannelBuffer(
        use=part["use"].one_of(BufferUse),
        channel=part["channel"].text(),
        step=part["step"].text(),
        tensor=part["tensor"].text(),
        slot=part["slot"].integer(high=COUNT_MAX),
        readers=tuple(_reader(reader) for reader in part["readers"].items()),
        size_bytes=part["bytes"].integer(),
        offset=part["offset"].integer(),
    )


def _reader(place: Place) -> tuple[str, str]:
    part = place.members("step", "input")
    return part["step"].text(), part["input"].text()


def step_handovers(step: StepSpec) -> _Mapping:
    """Return the members of a step in a fleet that hands something on; none without."""
    feeds = {feed.input: f"{feed.step}.{feed.output}" for feed in step.feeds}
    mapping: _Mapping = {"feeds": feeds} if feeds else {}
    return {**mapping, "state": dict(step.state)} if step.state else mapping


def decode_feeds(part: Mapping[str, Place]) -> tuple[Feed, ...]:
    """Return the feeds of a step's members."""
    feeds = []
    for name, place in part["feeds"].entries() if "feeds" in part else ():
        step, dot, output = place.text().partition(".")
        if not dot or not output:
            raise place.wrong("a step and its output such as 'detect.boxes'")
        feeds.append(Feed(name, step, output))
    return tuple(feeds)


def decode_state(part: Mapping[str, Place]) -> tuple[tuple[str, str], ...]:
    """Return the state of a step's members."""
    pairs = part["state"].entries() if "state" in part else ()
    return tuple((name, place.text()) for name, place in pairs)
