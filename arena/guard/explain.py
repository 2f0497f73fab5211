"""What waits for what, in words: the texts of timeouts and refusals."""

from collections.abc import Iterable, Iterator
from typing import Final

from arena.guard.moves import CallState, FrameState
from arena.guard.records import CallRecord, FrameRecord

__all__ = ["call_text", "closed_text", "listing", "unknown_channel", "waits_for"]

_SHOWN_MAX: Final = 4


def listing(texts: Iterable[str]) -> str:
    """Join texts by commas; of many, name the first and count the rest.

    Examples
    --------
    >>> listing("abcdef")
    'a, b, c, d and 2 more'
    """
    names = list(texts)
    shown = ", ".join(names[:_SHOWN_MAX])
    return f"{shown} and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else shown


def unknown_channel(channel: str, known: Iterable[str]) -> str:
    """Return what is wrong with a channel's name."""
    return f"unknown channel {channel!r}, expected one of {listing(known)}"


def call_text(call: CallRecord) -> str:
    """Name a call, its state and who made it."""
    return f"{call} ({call.state}{_by(call.owner)})"


def waits_for(record: CallRecord | FrameRecord) -> str:
    """Say what a waiting call, a waiting frame or a frame being left waits for."""
    if isinstance(record, FrameRecord):
        if record.state is FrameState.LEAVING:
            return f"its calls to end: {listing(map(call_text, record.calls))}"
        return " and ".join(_before_start(record))
    if record.state is CallState.BLOCKED:
        return f"earlier calls on {_before_clear(record)}"
    where = ", on any lane of its pool" if record.rule.is_pooled else ""
    return f"all of its locks at once{where}: {listing(_before_grant(record))}"


def closed_text(frame: FrameRecord, index: int) -> str:
    """Say which call closed step `index` of `frame`, and the way out."""
    steps = frame.channel.rules.steps
    step = steps[index].id
    closer = next(steps[i].id for i in frame.closers if steps[i].before_mask >> index & 1)
    return (
        f"step {step!r} of {frame} is closed: {closer!r}, which comes after it, was called; "
        f"make every call of {step!r} before the first of {closer!r}, or open another frame"
    )


def _before_start(frame: FrameRecord) -> Iterator[str]:
    channel = frame.channel
    before = channel.live[channel.started - channel.rules.frames_in_flight]
    calls = f", calls {listing(map(call_text, before.calls))}" if before.calls else ""
    yield f"{before} to end ({before.state}, opened{_by(before.owner)}{calls})"
    ahead = list(channel.waiting)
    count = ahead.index(frame) if frame in channel.waiting else len(ahead)
    if count:
        yield f"{count} that came first to start"


def _before_clear(call: CallRecord) -> str:
    """Say which calls block a call: on its predecessors, else earlier runs of its own step."""
    calls = call.frame.calls
    before = [other for other in calls if call.rule.before_mask >> other.index & 1]
    if before:
        return f"its predecessors: {listing(map(call_text, before))}"
    same = [c for c in calls if c.index == call.index and c.sequence < call.sequence]
    return f"its own step, which takes one lane at a time: {listing(map(call_text, same))}"


def _before_grant(call: CallRecord) -> Iterator[str]:
    for lock in call.locks:
        if lock.holder is not None:
            yield f"{lock.name!r} held by {call_text(lock.holder)}"
        elif lock.queue[0] is not call:
            yield f"{lock.name!r} wanted first by {call_text(lock.queue[0])}"


def _by(owner: str) -> str:
    return f" by {owner}" if owner else ""
