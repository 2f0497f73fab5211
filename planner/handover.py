"""What steps hand on to other steps in device memory: fed tensors, and state from frame to frame.

    feeds: {x: detect.boxes}         state: {h_in: h_out}

    frame t   detect ==boxes==> read      listen: A -> B      one buffer for each frame in flight;
    frame t+1 detect ==boxes==> read      listen: B -> A      two for a state, used in turn

A fed buffer is live from the start of the step that writes it to the end of the last that reads it.
A state is live always: it outlasts its frame. Who may share bytes with them follows from the order
and is `io_buffers`' matter; here is what a fleet may say, and what a plan says of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from planner.errors import SpecError, did_you_mean, refuse_duplicates

__all__ = ["BufferUse", "ChannelBuffer", "Feed", "Handovers", "bytes_of_buffers_alone"]


class Feed(NamedTuple):
    """One input that is an output of another step of the same frame, without a copy.

    Attributes
    ----------
    input : str
        Of the step that reads.
    step, output : str
        The step that writes, and its output.
    """

    input: str
    step: str
    output: str


class BufferUse(StrEnum):
    """What a buffer holds."""

    FEED = "feed"
    """An output that other steps of its frame read."""
    STATE = "state"
    """An output that the same step reads in the next frame, or half of such a pair."""
    INSTANCE = "instance"
    """All inputs and outputs of one instance, for what comes from the host and goes to it."""


@dataclass(frozen=True, slots=True)
class ChannelBuffer:
    """Device memory of tensors inside the work reservation.

    Attributes
    ----------
    use : BufferUse
    channel : str
        Such as ``camera[0]``; empty for the block of an instance, as are `tensor` and `readers`.
    step, tensor : str
        The step that writes it, and its output; `step` is the instance whose block it is.
    slot : int
        Frame t uses slot t mod d of a fed tensor, where d frames are in flight; a state has slots 0
        and 1, which are read and written in turn.
    readers : tuple of (step, input)
        Steps of the channel that read it, as declared.
    size_bytes : int
        Of the tensor or the block, before the region rule.
    offset : int
        Bytes from the base of the work reservation.
    """

    use: BufferUse
    channel: str
    step: str
    tensor: str
    slot: int
    readers: tuple[tuple[str, str], ...]
    size_bytes: int
    offset: int = 0

    @property
    def name(self) -> str:
        """``camera[0].detect.boxes slot 1`` or ``reader@vision io``: unique in a plan."""
        if self.use is BufferUse.INSTANCE:
            return f"{self.step} io"
        return f"{self.channel}.{self.step}.{self.tensor} slot {self.slot}"


@dataclass(frozen=True, slots=True)
class Handovers:
    """What the steps of one pipeline hand on, checked against each other.

    Attributes
    ----------
    after : mapping of step to steps
        Direct predecessors inside a frame, free of cycles; steps as declared.
    feeds : mapping of step to its Feeds
    states : mapping of step to (input, output) pairs
    """

    after: Mapping[str, Sequence[str]]
    feeds: Mapping[str, Sequence[Feed]]
    states: Mapping[str, Sequence[tuple[str, str]]]

    def check(self, path: str, *, frames_in_flight: int) -> None:
        """Raise SpecError unless all of it has a meaning; `path` is the place of the steps."""
        for step, feeds in self.feeds.items():
            place = f"{path}.{step}.feeds"
            _check_tensors([feed.input for feed in feeds], place)
            before = self._before(step)
            for feed in feeds:
                self._check_feed(feed, f"{place}.{feed.input}", before, step)
        for step, pairs in self.states.items():
            place = f"{path}.{step}.state"
            fed = [feed.input for feed in self.feeds.get(step, ())]
            _check_tensors([*fed, *(name for name, _ in pairs)], place)
            _check_tensors([output for _, output in pairs], place)
            if pairs and frames_in_flight > 1:
                raise SpecError(
                    f"a state goes from frame to frame, and nothing orders this step between the "
                    f"{frames_in_flight} frames in flight; found frames_in_flight "
                    f"{frames_in_flight}, expected 1",
                    place,
                )

    def _before(self, step: str) -> set[str]:
        found: set[str] = set()
        todo = [step]
        while todo:
            for name in self.after[todo.pop()]:
                if name not in found:
                    found.add(name)
                    todo.append(name)
        return found

    def _check_feed(self, feed: Feed, place: str, before: set[str], step: str) -> None:
        if feed.step not in self.after:
            near = did_you_mean(feed.step, self.after)
            raise SpecError(
                f"unknown step {feed.step!r}, expected one of this pipeline{near}", place
            )
        if feed.step not in before:
            raise SpecError(
                f"{feed.step!r} does not precede {step!r}, so its output need not be there: put it "
                "into `after`",
                place,
            )
        if any(feed.output == output for _, output in self.states.get(feed.step, ())):
            raise SpecError(
                f"output {feed.output!r} of {feed.step!r} is its state, which the next frame "
                "overwrites: it cannot be fed as well",
                place,
            )


def _check_tensors(names: Sequence[str], path: str) -> None:
    if "" in names:
        raise SpecError("found an empty name of a tensor", path)
    refuse_duplicates(names, path)


def bytes_of_buffers_alone(
    buffers: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]
) -> int:
    """Return how many bytes lie in a range of `buffers` and in none of `others`.

    Ranges are half-open (start, end), of any order and overlap.

    Examples
    --------
    >>> bytes_of_buffers_alone([(0, 10), (5, 12)], [(0, 8)])
    4
    """
    events: list[tuple[int, int, int]] = []
    for side, ranges in enumerate((buffers, others)):
        for start, end in ranges:
            events += [(start, side, 1), (end, side, -1)]
    open_ranges = [0, 0]
    total = position = 0
    for place, side, step in sorted(events):
        if open_ranges[0] and not open_ranges[1]:
            total += place - position
        position = place
        open_ranges[side] += step
    return total
