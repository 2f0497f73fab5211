"""Streams: each is a thread that runs what was launched on it, in order; events join them.

        launch ──► [ task task task ] ──► worker thread ──► task.is_over
                     record_event: a task that does nothing; its end is the event
                     wait_event:   a task that waits for another one's end

A worker, not the caller's thread: lanes run side by side although one thread launches on all of
them, and launch returns at once. Waking a thread costs 40 microseconds, on busy processors
milliseconds, and most callers wait for what they have launched: so

- a thread that comes to wait for the next task in line runs it itself where the worker has not
  begun; but never the main thread, where Python handles signals (see `runtime.shielded`);
- where callers of a stream come back at once, the worker is not even woken at launch, but as soon
  as the thread that launched asks the device for anything else. Nothing can be seen of a task
  before that: its end shows in `finish`, `synchronize` and events alone.
"""

import atexit
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

__all__ = ["Launcher", "Stream", "Task"]

PROMPT_NS: Final = 200_000
"""Who finishes within this time after launching is expected to do so again."""


class Task:
    """One piece of work on a stream, and how it ended.

    Attributes
    ----------
    earlier : Task or None
        What was submitted before it, until it has run.
    is_over : bool
        Whether the work has ended.
    error : Exception or None
        What `work` raised; settled once it is over.
    submitted_ns : int
        When it was made, on a clock of no particular start.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.submitted_ns = perf_counter_ns()
        self._work = work
        self._running = threading.Lock()
        self._running.acquire()
        self.earlier: Task | None = None
        self.is_over = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Do the work on the calling thread, after what was submitted before."""
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

    def wait(self) -> None:
        """Return when the work is over, well or not."""
        with self._running:
            pass


class Stream:
    """An ordered queue of tasks with a thread of its own.

    The thread sleeps on a bell. Who takes the only task before the thread has heard the bell
    silences it: the thread sleeps on, and does not ask for the interpreter lock.

    Attributes
    ----------
    is_prompt : bool
        Whether the last task was waited for as soon as it was submitted.
    """

    def __init__(self, name: str) -> None:
        self._tasks: deque[Task] = deque()
        self._last: Task | None = None
        self._lock = threading.Lock()
        self._bell = threading.Lock()  # released: it rings
        self._bell.acquire()
        self._is_closing = False
        self.is_prompt = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        _open.add(self)

    def submit(self, task: Task, *, quietly: bool = False) -> None:
        """Run `task` after everything submitted before; quietly: once somebody asks for it."""
        with self._lock:
            task.earlier, self._last = self._last, task
            self._tasks.append(task)
            if not quietly:
                self._ring()

    def start(self) -> None:
        """Wake the thread if there is something to do."""
        with self._lock:
            if self._tasks:
                self._ring()

    def finish(self, task: Task) -> None:
        """Return when a submitted task is over; lend a hand if it is the next in line."""
        self.is_prompt = perf_counter_ns() - task.submitted_ns < PROMPT_NS
        if not _is_main() and self._take(task):
            task.run()
        else:
            self.start()
            task.wait()

    def synchronize(self) -> None:
        """Return when everything submitted so far is over."""
        self.start()
        if self._last is not None:
            self._last.wait()

    def close(self) -> None:
        """End the thread, after what was submitted."""
        with self._lock:
            self._is_closing = True
            self._ring()
        self._thread.join()
        _open.discard(self)

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()

    def _take(self, task: Task) -> bool:
        """Take `task` out of the queue if it could run now."""
        with self._lock:
            is_next = bool(self._tasks) and self._tasks[0] is task
            if not is_next or (task.earlier is not None and not task.earlier.is_over):
                return False
            self._tasks.popleft()
            if not self._tasks:
                self._bell.acquire(blocking=False)
            return True

    def _next(self) -> Task | None:
        with self._lock:
            return self._tasks.popleft() if self._tasks else None

    def _work(self) -> None:
        while True:
            self._bell.acquire()
            while (task := self._next()) is not None:
                task.run()
            if self._is_closing:
                return


class Launcher:
    """Submits executions to streams, quietly for threads that come back at once."""

    def __init__(self) -> None:
        self._mine = _Quiet()

    def launch(self, stream: Stream, task: Task) -> None:
        """Submit `task`, after starting what this thread launched before."""
        self.start_pending()
        quietly = stream.is_prompt and not _is_main()
        stream.submit(task, quietly=quietly)
        self._mine.stream = stream if quietly else None

    def finish(self, stream: Stream, task: Task) -> None:
        """Return when `task` is over; whatever else this thread launched runs meanwhile."""
        if self._mine.stream is stream:
            self._mine.stream = None
        self.start_pending()
        stream.finish(task)

    def start_pending(self) -> None:
        """Start what this thread launched quietly."""
        if self._mine.stream is not None:
            self._mine.stream.start()
            self._mine.stream = None


class _Quiet(threading.local):
    """The stream whose bell the thread at hand has not rung."""

    stream: Stream | None = None


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


_open: set[Stream] = set()


@atexit.register
def _close_all() -> None:
    """End every thread while callbacks into the interpreter still work."""
    for stream in list(_open):
        stream.close()
