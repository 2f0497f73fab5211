"""Run a few threads through every interleaving of their lock operations, one at a time.

The code under test gets `Interleaving.lock` and `Interleaving.queue` instead of the standard ones.
Each thread stops before it takes a lock or an item, and after a sleep on a lock; which thread goes
on is a choice, and so is whether a wait with a time limit times out, and whether a sleep of the
thread chosen for that is interrupted. `explore` tries all choices by depth-first search, with at
most `preemptions_max` switches away from a thread that could go on.

References
----------
.. [1] M. Musuvathi, S. Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded
       Programs", 2007.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Interleaving", "explore"]

GO, TIMEOUT, INTERRUPT = range(3)


class Task:
    """One thread: what it waits for, and whether that wait may time out or be interrupted."""

    def __init__(self, body: Callable[[], None]) -> None:
        self.body = body
        self.baton = threading.Semaphore(0)
        self.is_ready: Callable[[], bool] = lambda: True
        self.may_time_out = False
        self.may_be_interrupted = False
        self.wakes_by = GO
        self.over = False
        self.error: BaseException | None = None


class Interleaving:
    """One run under one sequence of choices."""

    def __init__(self, prefix: Sequence[int], preemptions_max: int) -> None:
        self.prefix = prefix
        self.choices: list[tuple[int, int]] = []
        self.preemptions = preemptions_max
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.control = threading.Semaphore(0)
        self.inside = 0
        self.failure = ""
        self.interruptible: int | None = None
        """Position of the thread whose first sleep may be interrupted."""

    def lock(self) -> "Lock":
        """Return what stands for `threading.Lock()`."""
        return Lock(self)

    def queue(self) -> "Queue":
        """Return what stands for `queue.SimpleQueue()`."""
        return Queue(self)

    def run(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run the bodies to their ends, or until all of them wait for ever."""
        self.tasks = [Task(body) for body in bodies]
        threads = [threading.Thread(target=self._run, args=(t,), daemon=True) for t in self.tasks]
        for thread in threads:
            thread.start()
        while not all(task.over for task in self.tasks):
            options = self._options()
            if not options:
                self.failure = "deadlock"
                break
            task, wakes_by = options[self._choose(len(options))]
            if self.current not in (None, task) and self._can_go(self.current):
                self.preemptions -= 1
            task.wakes_by = wakes_by
            self.current = task
            task.baton.release()
            self.control.acquire()
        self.current = None
        for task in self.tasks:
            if task.error is not None:
                raise task.error
        if not self.failure:
            for thread in threads:
                thread.join()

    def pause(self, is_ready: Callable[[], bool] = lambda: True) -> None:
        """Let others go first, and go on when `is_ready`."""
        self.sleep(is_ready, timed=False, interruptible=False)

    def sleep(self, is_ready: Callable[[], bool], *, timed: bool, interruptible: bool) -> bool:
        """Let others go first; return False if this wait timed out instead."""
        task = self.current
        if task is None or self.inside:
            assert is_ready(), "waits while it holds the mutex"
            return True
        chosen = self.interruptible is not None and task is self.tasks[self.interruptible]
        task.is_ready, task.may_time_out = is_ready, timed
        task.may_be_interrupted = interruptible and chosen
        self.control.release()
        task.baton.acquire()
        if task.wakes_by == INTERRUPT:
            self.interruptible = None
            raise KeyboardInterrupt
        return task.wakes_by == GO

    def _run(self, task: Task) -> None:
        task.baton.acquire()
        try:
            task.body()
        except BaseException as error:  # raised again by `run`
            task.error = error
        task.over = True
        self.control.release()

    def _can_go(self, task: Task | None) -> bool:
        return task is not None and not task.over and task.is_ready()

    def _options(self) -> list[tuple[Task, int]]:
        """Tasks that may go next, and what wakes them; the current one first."""
        if self.current is not None and self._can_go(self.current) and self.preemptions <= 0:
            return [(self.current, GO)]
        tasks = sorted(self.tasks, key=lambda task: task is not self.current)
        ready = [(t, GO) for t in tasks if self._can_go(t)]
        late = [(t, TIMEOUT) for t in tasks if not t.over and t.may_time_out and not t.is_ready()]
        hit = [(t, INTERRUPT) for t in tasks if not t.over and t.may_be_interrupted]
        return ready + late + hit

    def _choose(self, count: int) -> int:
        position = len(self.choices)
        chosen = self.prefix[position] if position < len(self.prefix) else 0
        self.choices.append((chosen, count))
        return chosen


class Lock:
    """A lock whose operations are choices; as a context manager it is the mutex."""

    def __init__(self, owner: Interleaving) -> None:
        self._owner = owner
        self._held = False

    def _is_free(self) -> bool:
        return not self._held

    def acquire(self, timeout: float = -1) -> bool:
        woken = self._owner.sleep(self._is_free, timed=timeout >= 0, interruptible=True)
        if woken:
            self._held = True
        self._owner.pause()  # What it was woken for may change before it looks.
        return woken

    def release(self) -> None:
        assert self._held
        self._held = False

    def __enter__(self) -> None:
        self._owner.pause(self._is_free)
        self._held = True
        self._owner.inside += 1

    def __exit__(self, *error: object) -> None:
        self._owner.inside -= 1
        self.release()


class Queue:
    """A queue whose `get` is a choice."""

    def __init__(self, owner: Interleaving) -> None:
        self._owner = owner
        self._items: deque[Any] = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def get(self) -> Any:
        self._owner.pause(lambda: bool(self._items))
        return self._items.popleft()


def explore(
    scenario: Callable[[Interleaving], tuple[Sequence[Callable[[], None]], Callable[[], None]]],
    *,
    preemptions_max: int,
) -> int:
    """Run a scenario under every sequence of choices; return how many there are.

    Parameters
    ----------
    scenario : callable
        Builds everything anew for one run and returns the threads' bodies and a final check.
    preemptions_max : int
        Switches away from a thread that could go on, per run.
    """
    prefix: list[int] = []
    count = 0
    while True:
        run = Interleaving(prefix, preemptions_max)
        bodies, check = scenario(run)
        try:
            run.run(bodies)
            assert not run.failure, run.failure
            check()
        except BaseException as error:
            error.add_note(f"choices {[chosen for chosen, _ in run.choices]}")
            raise
        count += 1
        while run.choices and run.choices[-1][0] == run.choices[-1][1] - 1:
            run.choices.pop()
        if not run.choices:
            return count
        prefix = [chosen for chosen, _ in run.choices]
        prefix[-1] += 1
