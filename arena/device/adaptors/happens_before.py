"""Vector clocks over streams: which launched executions are over before a given moment.

    host thread   ──launch──►  stream:  e1 ─► e2 ─► (event) ─► e3
        ▲                                │        └────wait────► another stream: e4
        └───────────finish(e1)───────────┘

A clock maps each stream to the number of its launches that are certainly over (on a stream: will be
over before whatever is enqueued next). Host threads and streams own clocks; every call joins the
clocks of the two parties that it orders, and only those. An execution precedes a moment iff the
moment's clock counts it.

Pure values and dictionaries: no device, no thread, no lock.

References
----------
.. [1] L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978.
.. [2] F. Mattern, "Virtual Time and Global States of Distributed Systems", 1989.
.. [3] C. Flanagan, S. Freund, "FastTrack: Efficient and Precise Dynamic Race Detection", 2009: one
       number (an epoch) suffices to ask whether a single execution precedes a clock.
"""

from dataclasses import dataclass
from typing import TypeAlias

from arena.device.base import EventId, StreamId

__all__ = ["Clock", "Epoch", "HappensBefore", "join"]

Clock: TypeAlias = dict[StreamId, int]
"""Stream -> launches on it that are over; a stream that is absent counts 0."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One execution: launch `number` (counted from 1) on `stream`."""

    stream: StreamId
    number: int

    def precedes(self, clock: Clock) -> bool:
        """Whether the execution is over before the moment that `clock` describes.

        Examples
        --------
        >>> Epoch(StreamId(1), 2).precedes({StreamId(1): 2})
        True
        >>> Epoch(StreamId(1), 2).precedes({StreamId(1): 1, StreamId(2): 9})
        False
        """
        return clock.get(self.stream, 0) >= self.number


class HappensBefore:
    """The clocks of streams and events; each host thread brings its own.

    Notes
    -----
    Not thread-safe: one call at a time. A call costs O(streams). Nothing is ever forgotten about a
    stream, so that a reused stream id goes on counting.

    Examples
    --------
    >>> order, mine, other = HappensBefore(), {}, {}
    >>> first, _ = order.launch(mine, StreamId(1))
    >>> first.precedes(order.launch(other, StreamId(2))[1])
    False
    >>> order.finish(mine, first)
    >>> first.precedes(order.launch(mine, StreamId(2))[1])
    True
    """

    def __init__(self) -> None:
        self._launched: Clock = {}
        self._streams: dict[StreamId, Clock] = {}
        self._events: dict[EventId, Clock] = {}
        self._ends: dict[Epoch, Clock] = {}

    def launch(self, host: Clock, stream: StreamId) -> tuple[Epoch, Clock]:
        """Return the epoch of a new execution on `stream`, and the clock at which it starts."""
        clock = self._enqueue(host, stream)
        start = dict(clock)
        epoch = Epoch(stream, self._launched.get(stream, 0) + 1)
        self._launched[stream] = clock[stream] = epoch.number
        self._ends[epoch] = dict(clock)
        return epoch, start

    def finish(self, host: Clock, epoch: Epoch) -> None:
        """Order an execution before everything that `host` does from now on."""
        join(host, self._ends.pop(epoch))

    def cancel(self, epoch: Epoch) -> None:
        """Forget an execution that did not take place."""
        del self._ends[epoch]

    def synchronize(self, host: Clock, stream: StreamId) -> None:
        """Order everything on `stream` before everything that `host` does from now on."""
        join(host, self._streams.get(stream, {}))

    def record(self, host: Clock, stream: StreamId, event: EventId) -> None:
        """Let `event` stand for everything on `stream` so far."""
        self._events[event] = dict(self._enqueue(host, stream))

    def wait(self, host: Clock, stream: StreamId, event: EventId) -> None:
        """Order what `event` stands for before everything that `stream` runs from now on."""
        join(self._enqueue(host, stream), self._events[event])

    def forget(self, event: EventId) -> None:
        """Release an event."""
        del self._events[event]

    def _enqueue(self, host: Clock, stream: StreamId) -> Clock:
        """Return the stream's clock: whatever `host` saw is over before it enqueues anything."""
        clock = self._streams.setdefault(stream, {})
        join(clock, host)
        return clock


def join(clock: Clock, other: Clock) -> None:
    """Make `clock` count whatever `other` counts.

    Examples
    --------
    >>> clock = {StreamId(1): 3}
    >>> join(clock, {StreamId(1): 2, StreamId(2): 1})
    >>> clock
    {1: 3, 2: 1}
    """
    for stream, number in other.items():
        if clock.get(stream, 0) < number:
            clock[stream] = number
