"""Streams: each is a thread that runs what was launched on it, in order; events join them.

        launch ──► [ task task task ] ──► worker thread ──► task.is_over
                     record_event: a task that does nothing; its end is the event
                     wait_event:   a task that waits for another one's end

A worker, not the caller's thread: lanes run side by side although one thread launches on all of
them, and launch returns at once. A thread that comes to wait for the next task in line runs it
itself where the worker has not begun, which saves two changes of threads. The main thread does not:
Python handles signals there, and an interrupt inside one of the runtime's callbacks would end the
process (see `runtime.shielded`).
"""

import atexit
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Stream", "Task"]


class Task:
    """One piece of work on a stream, and how it ended.

    Attributes
    ----------
    is_over : bool
        Whether the work has ended.
    error : Exception or None
        What `work` raised; settled once it is over.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._claimed = threading.Lock()
        self._running = threading.Lock()
        self._running.acquire()
        self.earlier: Task | None = None
        self.is_over = False
        self.error: Exception | None = None

    def run(self) -> bool:
        """Do the work on the calling thread, after what was submitted before.

        Returns False at once where another thread does it, or has done it.
        """
        if not self._claimed.acquire(blocking=False):
            return False
        if self.earlier is not None:
            self.earlier.wait()
        try:
            self._work()
        except Exception as error:
            self.error = error
        finally:
            self.earlier = None
            self.is_over = True
            self._running.release()
        return True

    def wait(self) -> None:
        """Return when the work is over, well or not."""
        with self._running:
            pass


class Stream:
    """An ordered queue of tasks with a thread of its own."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._last: Task | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=_work, args=(self._queue,), name=name, daemon=True)
        self._thread.start()
        _open.add(self)

    def submit(self, task: Task) -> None:
        """Run `task` after everything submitted before."""
        with self._lock:
            task.earlier, self._last = self._last, task
            self._queue.put(task)

    def finish(self, task: Task) -> None:
        """Return when a submitted task is over; lend a hand if it is the next in line."""
        earlier = task.earlier
        is_next = earlier is None or earlier.is_over
        if not (is_next and _may_help() and task.run()):
            task.wait()

    def synchronize(self) -> None:
        """Return when everything submitted so far is over."""
        if self._last is not None:
            self._last.wait()

    def close(self) -> None:
        """End the thread, after what was submitted."""
        self._queue.put(None)
        self._thread.join()
        _open.discard(self)


def _may_help() -> bool:
    return threading.current_thread() is not threading.main_thread()


def _work(queue: "SimpleQueue[Task | None]") -> None:
    while (task := queue.get()) is not None:
        task.run()


_open: "weakref.WeakSet[Stream]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End every thread while callbacks into the interpreter still work."""
    for stream in list(_open):
        stream.close()
