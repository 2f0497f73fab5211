"""Streams, events and executions under way of the `acl` device."""

from dataclasses import dataclass, field
from typing import Final

from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import AclCode
from arena.device.acl_io import InstanceIo
from arena.device.base import EventId, ModelHandle, StreamId
from arena.errors import DeviceError
from planner.errors import UsageError

__all__ = ["AclLaunch", "AclStreams"]

_HUNG: Final = (
    AclCode.RT_STREAM_SYNC_TIMEOUT,
    AclCode.RT_WAIT_TIMEOUT,
    AclCode.RT_TASK_TIMEOUT,
)


@dataclass(eq=False, slots=True)
class AclLaunch:
    """An execution under way.

    Attributes
    ----------
    name : str
        Of the model.
    io : InstanceIo
        Where its inputs and outputs are.
    leaves_outputs : bool
        Whether `finish` has outputs to copy to the host.
    over : bool
        Finished, or failed.
    hung : bool
        It did not end in time and may still write to its memory.
    failure : DeviceError or None
        What failed on its stream while another execution was waited for; `finish` raises it.
    """

    model: ModelHandle
    stream: StreamId
    name: str
    io: InstanceIo
    leaves_outputs: bool
    over: bool = False
    hung: bool = False
    failure: DeviceError | None = None


@dataclass(eq=False, slots=True)
class _Queue:
    """A stream, ours or borrowed, and what was launched on it and is not over."""

    borrowed: bool
    launches: set[AclLaunch] = field(default_factory=set)
    failed: bool = False


class AclStreams:
    """Streams and events of one device; all methods want its context entered.

    Parameters
    ----------
    calls : AclCalls
    timeout_ms : int
        Longest wait for a stream; -1: for ever.
    """

    def __init__(self, calls: AclCalls, timeout_ms: int) -> None:
        self._calls = calls
        self._timeout_ms = timeout_ms
        self._queues: dict[StreamId, _Queue] = {}
        self._events: set[EventId] = set()

    @property
    def n_streams(self) -> int:
        """Streams of our own that are not destroyed."""
        return sum(not queue.borrowed for queue in self._queues.values())

    @property
    def n_events(self) -> int:
        """Events that are not destroyed."""
        return len(self._events)

    def borrow(self, handle: int) -> None:
        """Make a stream of the application's known."""
        self._queues[StreamId(handle)] = _Queue(borrowed=True)

    def forget(self) -> None:
        """Forget borrowed streams."""
        self._queues.clear()

    def create(self) -> StreamId:
        """Return a new stream."""
        stream = StreamId(self._calls.call("rt.create_stream", what="creating a stream"))
        self._queues[stream] = _Queue(borrowed=False)
        return stream

    def destroy(self, stream: StreamId) -> None:
        """Destroy a stream; one that failed or hangs is destroyed by force."""
        queue = self.require(stream)
        if queue.borrowed:
            raise UsageError(f"stream {stream:#x} is borrowed: it is the application's to destroy")
        if not queue.failed and queue.launches:
            names = ", ".join(sorted(repr(launch.name) for launch in tuple(queue.launches)))
            raise UsageError(f"stream {stream:#x} has launches that nobody finished: {names}")
        force = queue.failed and self._calls.has("rt.destroy_stream_force")
        name = "rt.destroy_stream_force" if force else "rt.destroy_stream"
        self._calls.call(name, stream, what=f"destroying stream {stream:#x}")
        del self._queues[stream]

    def require(self, stream: StreamId) -> _Queue:
        """Return a known stream."""
        queue = self._queues.get(stream)
        if queue is None:
            raise UsageError(f"stream {stream:#x} is not known to this device")
        return queue

    def add(self, launch: AclLaunch) -> None:
        """Remember an execution until it is over."""
        self.require(launch.stream).launches.add(launch)

    def wait(self, stream: StreamId) -> None:
        """Synchronise a stream; if that fails, everything launched on it is over.

        Raises
        ------
        DeviceError
            Something failed there, or did not end in time; names what was running.
        """
        queue = self.require(stream)
        what = f"waiting for stream {stream:#x}"
        try:
            if self._timeout_ms < 0:
                self._calls.call("rt.synchronize_stream", stream, what=what)
            else:
                name = "rt.synchronize_stream_with_timeout"
                self._calls.call(name, stream, self._timeout_ms, what=what)
        except DeviceError as error:
            queue.failed = True
            launches = tuple(queue.launches)
            running = sorted(launches, key=lambda launch: launch.name)
            for launch in running:
                launch.hung = error.code in _HUNG
                self.end(launch)
            names = ", ".join(repr(launch.name) for launch in running)
            message = f"{error}; running there: {names}" if names else str(error)
            unsettled = error.code in (*_HUNG, AclCode.RT_CONTEXT_NULL)
            failure = DeviceError(message, call=error.call, code=error.code, unsettled=unsettled)
            for launch in running:
                launch.failure = failure
            raise failure from error

    def synchronize(self, stream: StreamId) -> None:
        """Wait for a stream; launches that left nothing to copy are over then."""
        self.wait(stream)
        for launch in list(self.require(stream).launches):
            if not launch.leaves_outputs:
                self.end(launch)

    def end(self, launch: AclLaunch) -> None:
        """Mark an execution as over, and free what it had for itself alone unless it hangs."""
        launch.over = True
        self.require(launch.stream).launches.discard(launch)
        if not launch.hung:
            launch.io.end_launch()

    def record(self, stream: StreamId) -> EventId:
        """Return a new event, recorded in a stream."""
        self.require(stream)
        event = EventId(self._calls.call("rt.create_event", what="creating an event"))
        try:
            what = f"recording an event in stream {stream:#x}"
            self._calls.call("rt.record_event", event, stream, what=what)
        except DeviceError:
            self._calls.attempt("rt.destroy_event", event)
            raise
        self._events.add(event)
        return event

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Make later work of a stream wait for an event."""
        self.require(stream)
        self._require_event(event)
        what = f"stream {stream:#x} waiting for event {event:#x}"
        self._calls.call("rt.stream_wait_event", stream, event, what=what)

    def destroy_event(self, event: EventId) -> None:
        """Destroy an event."""
        self._require_event(event)
        self._calls.call("rt.destroy_event", event, what=f"destroying event {event:#x}")
        self._events.discard(event)

    def _require_event(self, event: EventId) -> None:
        if event not in self._events:
            raise UsageError(f"event {event:#x} is not known to this device")
