"""The machine under one mutex: threads block until a move ends their wait, or time runs out.

    enter ──► [ mutex: machine.call ] ──granted──────────────────────────► caller executes
                       └─ not yet: sleep on a lock of its own ──woken──►     │
    another thread ──► [ mutex: machine.finish ] ── wakes whoever moved ◄── done

The mutex makes each move atomic and is held for microseconds, never while anything executes or
sleeps. Every waiting thread sleeps on a lock of its own, registered under the same mutex hold that
found it must wait, and is woken once, by the move that ends its wait: no herd, no lost wake-up.
"""

import threading
from collections.abc import Mapping
from queue import SimpleQueue

from arena.errors import GuardError, GuardTimeoutError
from arena.guard.explain import waits_for
from arena.guard.machine import Machine, Moved
from arena.guard.moves import CallState, FrameState
from arena.guard.records import CallRecord, FrameRecord
from arena.guard.rules import ChannelRules
from arena.guard.watched import Watched, WatchedMachine, Watcher

__all__ = ["BlockingMachine", "ForkedMachine"]


class BlockingMachine:
    """A `Machine` for many threads; what each thread may do is its caller's to check.

    Parameters
    ----------
    rules : mapping of channel name -> ChannelRules

    Notes
    -----
    Every `timeout_s` is seconds, >= 0, or None for no limit. A wait that is interrupted
    (KeyboardInterrupt) gives up like one that timed out.
    """

    def __init__(self, rules: Mapping[str, ChannelRules]) -> None:
        self._machine = Machine(rules)
        self._mutex = threading.Lock()
        self._waiters: dict[object, list[threading.Lock]] = {}
        self._jobs: dict[CallRecord, object] = {}
        self._queues: dict[str, SimpleQueue[tuple[CallRecord, object] | None]] = {
            lane: SimpleQueue() for lane in sorted(self._machine.lanes)
        }

    @property
    def lanes(self) -> tuple[str, ...]:
        """Names of all lanes, sorted."""
        return tuple(self._queues)

    def open(
        self, channel: str, owner: str, cannot_wait: str, timeout_s: float | None
    ) -> FrameRecord:
        """Return the next frame of `channel` once it started."""
        _check_timeout(timeout_s)
        with self._mutex:
            frame = self._machine.open(channel, owner, cannot_wait)
            waiter = None if frame.state is FrameState.OPEN else self._register(frame)
        if waiter is None:
            return frame
        try:
            _sleep(waiter, timeout_s)
        except BaseException:
            self._stop_waiting_for_place(frame, interrupted=True)
            raise
        if frame.state is not FrameState.OPEN:
            wait = self._stop_waiting_for_place(frame)
            if wait:
                raise GuardTimeoutError(f"{frame} waited {timeout_s} s for {wait}")
        return frame

    def enter(
        self, frame: FrameRecord, step: str, owner: str, timeout_s: float | None
    ) -> CallRecord:
        """Make a call and return it once it runs."""
        _check_timeout(timeout_s)
        with self._mutex:
            call = self._machine.call(frame, step, owner)
            waiter = None if call.state is CallState.RUNNING else self._register(call)
        if waiter is None:
            return call
        try:
            _sleep(waiter, timeout_s)
        except BaseException:
            self._stop_waiting_for_grant(call, interrupted=True)
            raise
        if call.state is not CallState.RUNNING:
            wait = self._stop_waiting_for_grant(call)
            if wait:
                raise GuardTimeoutError(f"{call} waited {timeout_s} s for {wait}")
        return call

    def submit(self, frame: FrameRecord, step: str, owner: str, job: object) -> CallRecord:
        """Make a call and return at once; `take` hands it out, granted or withdrawn."""
        with self._mutex:
            call = self._machine.call(frame, step, owner)
            self._jobs[call] = job
            if call.state is CallState.RUNNING:
                self._wake([call])
        return call

    def take(self, lane: str) -> tuple[CallRecord, object] | None:
        """Wait for a submitted call of `lane` and return it with its job; None once closed."""
        queue = self._queues.get(lane)
        if queue is None:
            raise GuardError(f"unknown lane {lane!r}, expected one of {', '.join(self._queues)}")
        item = queue.get()
        if item is None:
            queue.put(None)  # For whoever else serves this lane.
        return item

    def finish(self, call: CallRecord, *, failed: bool, token: object) -> None:
        """End a running call."""
        with self._mutex:
            self._wake(self._machine.finish(call, failed=failed, token=token))

    def withdraw(self, call: CallRecord) -> bool:
        """Withdraw a call if it still waits; return whether it did."""
        with self._mutex:
            waits = call.is_waiting
            if waits:
                self._wake(self._machine.withdraw(call))
        return waits

    def leave(self, frame: FrameRecord, *, failed: bool, timeout_s: float | None) -> None:
        """Leave a frame and return once it ended."""
        _check_timeout(timeout_s)
        with self._mutex:
            self._wake(self._machine.leave(frame, failed=failed))
            waiter = self._register(frame) if frame.state is FrameState.LEAVING else None
        if waiter is None:
            return
        try:
            woken = _sleep(waiter, timeout_s)
        except BaseException:
            self._stop_waiting_for_end(frame)
            raise
        if not woken:
            wait = self._stop_waiting_for_end(frame)
            if wait:
                raise GuardTimeoutError(f"leaving {frame} waited {timeout_s} s for {wait}")

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every move from now on."""
        with self._mutex:
            if not isinstance(self._machine, WatchedMachine):
                self._machine = WatchedMachine(self._machine)
            self._machine.watchers += (watcher,)

    def tell(self, event: Watched, call: CallRecord) -> None:
        """Tell watchers, if there are any, what the device did."""
        with self._mutex:
            if isinstance(self._machine, WatchedMachine):
                self._machine.tell(event, call)

    def stop(self, reason: str) -> None:
        """Withdraw what waits and refuse what is new; running calls go on."""
        with self._mutex:
            if not self._machine.closed:
                self._wake(self._machine.close(reason))
                for queue in self._queues.values():
                    queue.put(None)

    def close(self, reason: str, timeout_s: float | None) -> None:
        """Stop, and return once nothing runs."""
        _check_timeout(timeout_s)
        self.stop(reason)
        with self._mutex:
            waiter = self._register(self) if self._machine.is_running() else None
        if waiter is None or _sleep(waiter, timeout_s):
            return
        with self._mutex:
            running = self._machine.running_text()
        if running:
            raise GuardTimeoutError(f"closing waited {timeout_s} s for calls to end: {running}")

    def _register(self, subject: object) -> threading.Lock:
        """Return a lock that the move which ends the wait for `subject` releases."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.setdefault(subject, []).append(waiter)
        return waiter

    def _wake(self, moved: Moved) -> None:
        for record in moved:
            for waiter in self._waiters.pop(record, ()):
                waiter.release()
            if isinstance(record, CallRecord) and record in self._jobs:
                self._queues[record.choice.lane].put((record, self._jobs.pop(record)))
        if self._machine.closed and not self._machine.is_running():
            for waiter in self._waiters.pop(self, ()):
                waiter.release()

    def _stop_waiting_for_place(self, frame: FrameRecord, *, interrupted: bool = False) -> str:
        """Give up a frame that waits; say what for. Empty: it started as the time ran out."""
        with self._mutex:
            self._waiters.pop(frame, None)
            if frame.state is FrameState.OPEN:
                if interrupted:
                    self._wake(self._machine.leave(frame))
                return ""
            if frame.state is FrameState.WITHDRAWN:
                raise GuardError(f"{frame} was withdrawn: {self._machine.closed}")
            wait = waits_for(frame)
            self._machine.give_up(frame)
        return wait

    def _stop_waiting_for_grant(self, call: CallRecord, *, interrupted: bool = False) -> str:
        """Withdraw a call that waits; say what for. Empty: it was granted as the time ran out."""
        with self._mutex:
            self._waiters.pop(call, None)
            if call.state is CallState.RUNNING:
                if interrupted:
                    self._wake(self._machine.finish(call))
                return ""
            if call.state is CallState.WITHDRAWN:
                reason = self._machine.closed or "its frame was left after a failure"
                raise GuardError(f"{call} was withdrawn: {reason}")
            wait = waits_for(call)
            self._wake(self._machine.withdraw(call))
        return wait

    def _stop_waiting_for_end(self, frame: FrameRecord) -> str:
        """Withdraw the waiting calls of a frame; say what is not over. Empty: it just ended."""
        with self._mutex:
            self._waiters.pop(frame, None)
            if frame.state is FrameState.ENDED:
                return ""
            wait = waits_for(frame)
            self._wake(self._machine.withdraw_waiting(frame))
        return wait


class ForkedMachine(BlockingMachine):
    """What a forked child finds in place of its parent's machine: closed, with nothing to wait for.

    Parameters
    ----------
    reason : str
        For the messages of all that is refused.
    """

    def __init__(self, reason: str) -> None:
        super().__init__({})
        self._machine.closed = reason

    def take(self, lane: str) -> None:
        """Return None: nothing is left."""

    def finish(self, call: CallRecord, *, failed: bool, token: object) -> None:
        """Let go of a call; nobody is there to be granted its locks."""

    def withdraw(self, call: CallRecord) -> bool:  # noqa: ARG002 (every call is gone)
        """Return False: nothing waits."""
        return False

    def leave(self, frame: FrameRecord, *, failed: bool, timeout_s: float | None) -> None:
        """Let go of a frame; whoever ran its calls is not there."""


def _check_timeout(timeout_s: float | None) -> None:
    if timeout_s is not None and not 0 <= timeout_s <= threading.TIMEOUT_MAX:
        raise GuardError(
            f"timeout_s is {timeout_s}, expected 0 to {threading.TIMEOUT_MAX:.0f} seconds, "
            "or None for no limit"
        )


def _sleep(waiter: threading.Lock, timeout_s: float | None) -> bool:
    """Return True once woken, False if the time ran out first."""
    return waiter.acquire(timeout=-1 if timeout_s is None else timeout_s)
