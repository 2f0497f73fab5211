"""A machine that tells watchers what it does: for traces and metrics, and only while they watch.

The machine that nobody watches does not know that it could be: watching replaces it by one of this
class, which takes over its state under the guard's mutex. So a guard without watchers pays nothing.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

from arena.guard.machine import Machine, Moved
from arena.guard.moves import CallState, FrameState
from arena.guard.records import CallRecord, FrameRecord

__all__ = ["Watched", "WatchedMachine", "Watcher"]


class Watched(StrEnum):
    """What happens to calls and frames, as watchers are told."""

    WAITS = "waits"
    """A call was made, or a frame asked for, and cannot go on at once. Nobody is told of others."""
    STARTED = "started"
    """A frame has its place and its number."""
    GRANTED = "granted"
    """A call holds its locks."""
    LAUNCHED = "launched"
    """A granted call is about to be over for the guard while the device still executes it."""
    OVER = "over"
    """A call ended well, or a frame ended: locks and place are free."""
    FINISHED = "finished"
    """The device executed a launched call well."""
    FAILED = "failed"
    """The execution of a call failed; it may have been over for the guard before."""
    WITHDRAWN = "withdrawn"
    """A call or a frame that waited gave up."""


Watcher: TypeAlias = Callable[[Watched, CallRecord | FrameRecord, int], None]
"""Called with the event, the record and `time.perf_counter_ns()`, inside the guard's mutex: it must
be short, and call nothing of the guard."""


class WatchedMachine(Machine):
    """The machine that watchers see, with the state of the one that it replaces.

    Parameters
    ----------
    machine : Machine
        Not used any more afterwards.
    """

    def __init__(self, machine: Machine) -> None:
        self.__dict__.update(machine.__dict__)
        self.watchers: tuple[Watcher, ...] = ()

    def tell(
        self, event: Watched, record: CallRecord | FrameRecord, time_ns: int | None = None
    ) -> None:
        """Tell every watcher; without a time it is now."""
        now = time.perf_counter_ns() if time_ns is None else time_ns
        for watcher in self.watchers:
            watcher(event, record, now)

    def open(self, channel: str, owner: str = "", cannot_wait: str = "") -> FrameRecord:
        """Return a new frame; see `Machine.open`."""
        asked_ns = time.perf_counter_ns()
        frame = super().open(channel, owner, cannot_wait)
        if frame.state is FrameState.WAITING:
            self.tell(Watched.WAITS, frame, asked_ns)
        return frame

    def give_up(self, frame: FrameRecord) -> None:
        """Withdraw a frame that waits for its turn."""
        super().give_up(frame)
        self.tell(Watched.WITHDRAWN, frame)

    def call(self, frame: FrameRecord, step: str, owner: str = "") -> CallRecord:
        """Make a call; see `Machine.call`."""
        made_ns = time.perf_counter_ns()
        call = super().call(frame, step, owner)
        if call.is_waiting:
            self.tell(Watched.WAITS, call, made_ns)
        return call

    def finish(self, call: CallRecord, *, failed: bool = False, token: object = None) -> Moved:
        """End a running call: it is over before any other is granted."""
        if call.state is CallState.RUNNING:
            self.tell(Watched.FAILED if failed else Watched.OVER, call)
        return super().finish(call, failed=failed, token=token)

    def _start(self, frame: FrameRecord) -> None:
        super()._start(frame)
        self.tell(Watched.STARTED, frame)

    def _end_if_idle(self, frame: FrameRecord) -> Moved:
        # Told before, so that the frame which takes its place starts later.
        if frame.state is FrameState.LEAVING and not frame.calls:
            self.tell(Watched.OVER, frame)
        return super()._end_if_idle(frame)

    def _grant_if_first(self, call: CallRecord) -> bool:
        granted = super()._grant_if_first(call)
        if granted:
            self.tell(Watched.GRANTED, call)
        return granted

    def _take_back(self, call: CallRecord) -> None:
        super()._take_back(call)
        self.tell(Watched.WITHDRAWN, call)
