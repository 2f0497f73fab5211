"""Streams and events of the twin: in order within a stream, side by side across streams.

Each stream has a thread of its own, started with its first task. A task returns nothing or raises
`CallFailed`, whose code the next synchronisation reports once; later tasks run all the same, as on
a device that continues after failures (the vendor's default).
"""

import ctypes
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from arena.device.acl_codes import AclCode
from arena.device.twin.binding import CallFailed

__all__ = ["Event", "Stream", "Task", "Ticket", "give_way"]

Task = Callable[["Stream"], None]
_POLL_S: Final = 0.01
_sched_yield = ctypes.CDLL(None).sched_yield


def give_way() -> None:
    """Let another thread run, if one can: a hundred times cheaper than sleeping for 0 seconds.

    The call by ctypes gives up the interpreter lock and the processor.
    """
    _sched_yield()


class Stream:
    """One queue of tasks and the thread that runs them.

    Attributes
    ----------
    context : int
        Handle of the context that it belongs to.
    """

    def __init__(self, context: int, name: str) -> None:
        self.context = context
        self._name = name
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._n_submitted = 0
        self._n_completed = 0
        self._failure: CallFailed | None = None
        self._bug: BaseException | None = None
        self._abandoned = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether every task has ended."""
        return self._n_submitted == self._n_completed

    def submit(self, task: Task) -> None:
        """Queue a task behind those that were submitted before."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._n_submitted += 1
            self._tasks.put(task)

    def synchronize(self, timeout_s: float = -1) -> None:
        """Wait for everything submitted so far; raise the first failure since the last time."""
        if not self.idle:
            done = threading.Lock()
            done.acquire()
            self.submit(lambda _: done.release())
            if not done.acquire(timeout=timeout_s):
                raise CallFailed(
                    AclCode.RT_STREAM_SYNC_TIMEOUT, f"stream not done after {timeout_s} s"
                )
        with self._lock:
            failure, self._failure = self._failure, None
            bug, self._bug = self._bug, None
        if bug is not None:
            raise bug
        if failure is not None:
            raise failure

    def pause(self, seconds: float) -> None:
        """Let time pass inside a task; a forced destruction ends it early."""
        if seconds > 0:
            self._abandoned.wait(seconds)
        else:
            give_way()

    def wait_for(self, ticket: "Ticket") -> None:
        """Hold up the stream until a ticket is done, or the stream is destroyed by force."""
        while not ticket.done.wait(_POLL_S):
            if self._abandoned.is_set():
                return

    def destroy(self, *, force: bool) -> None:
        """End the thread: after all tasks, or by force after the running one."""
        if force:
            self._abandoned.set()
        with self._lock:
            thread = self._thread
            self._tasks.put(None)
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task(self)
            except CallFailed as failure:
                with self._lock:
                    self._failure = self._failure or failure
            except BaseException as bug:
                self._bug = bug
            self._n_completed += 1


class Ticket:
    """One record of an event: done when the stream gets there."""

    __slots__ = ("done", "recorded", "time_ns")

    def __init__(self) -> None:
        self.recorded = False
        self.done = threading.Event()
        self.time_ns = 0

    def complete(self, _stream: Stream) -> None:
        """Mark as done now: the task that a record queues."""
        self.time_ns = time.perf_counter_ns()
        self.done.set()


class Event:
    """A mark in a stream that hosts and other streams can wait for."""

    def __init__(self) -> None:
        self.ticket = Ticket()

    def record(self, stream: Stream) -> None:
        """Complete when everything submitted to `stream` so far has ended."""
        if self.ticket.recorded:
            self.ticket = Ticket()
        self.ticket.recorded = True
        stream.submit(self.ticket.complete)

    def reset(self) -> None:
        """Become unrecorded."""
        self.ticket = Ticket()
