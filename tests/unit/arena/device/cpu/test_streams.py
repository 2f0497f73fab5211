"""A stream runs its tasks in order on a thread of its own; waiting threads may lend a hand."""

import subprocess
import sys
import threading
from collections.abc import Callable

from arena.device.cpu.streams import PROMPT_NS, Launcher, Stream, Task


def in_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_tasks_run_in_order_off_the_calling_thread() -> None:
    stream, seen = Stream("test"), []
    for k in range(50):
        stream.submit(Task(lambda k=k: seen.append((k, threading.current_thread()))))  # type: ignore[misc]
    stream.synchronize()
    assert [k for k, _ in seen] == list(range(50))
    assert {thread.name for _, thread in seen} == {"test"}
    stream.close()


def test_an_error_stays_with_its_task_and_the_stream_goes_on() -> None:
    stream = Stream("test")
    bad, good = Task(lambda: [][0]), Task(lambda: None)
    stream.submit(bad)
    stream.submit(good)
    stream.finish(good)
    assert isinstance(bad.error, IndexError)
    assert good.error is None
    assert bad.is_over
    stream.close()


def test_a_thread_that_waits_runs_the_next_task_itself() -> None:
    stream, gate = Stream("test"), threading.Event()
    runners: list[str] = []
    stream.submit(Task(gate.wait))  # type: ignore[arg-type]
    second = Task(lambda: runners.append(threading.current_thread().name))

    def wait_for_second() -> None:
        threading.current_thread().name = "helper"
        stream.submit(second)
        threading.Timer(0.05, gate.set).start()
        stream.finish(second)  # not the next in line: waits

    in_thread(wait_for_second)
    assert runners == ["test"]
    stream.close()
    assert gate.is_set()


def test_the_next_in_line_is_run_by_who_waits_for_it() -> None:
    stream, seen = Stream("test"), []

    def work() -> None:
        for k in range(200):
            task = Task(lambda k=k: seen.append((k, threading.current_thread().name)))  # type: ignore[misc]
            stream.submit(task)
            stream.finish(task)

    thread = threading.Thread(target=work, name="helper")
    thread.start()
    thread.join()
    stream.close()
    assert [k for k, _ in seen] == list(range(200))
    assert "helper" in {name for _, name in seen}


def test_the_main_thread_never_runs_a_task() -> None:
    stream, runners = Stream("test"), []
    for _ in range(200):
        task = Task(lambda: runners.append(threading.current_thread()))
        stream.submit(task)
        stream.finish(task)
    assert threading.main_thread() not in runners
    stream.close()


def test_order_holds_whoever_runs() -> None:
    stream, seen, tasks = Stream("test"), [], []
    for k in range(300):
        tasks.append(Task(lambda k=k: seen.append(k)))  # type: ignore[misc]

    def launch_and_finish() -> None:
        for task in tasks:
            stream.submit(task)
            stream.finish(task)

    in_thread(launch_and_finish)
    assert seen == list(range(300))
    stream.close()


def test_an_unused_stream_has_nothing_to_wait_for() -> None:
    stream = Stream("test")
    stream.synchronize()
    stream.close()
    assert "test" not in [thread.name for thread in threading.enumerate()]


def test_a_process_ends_although_streams_are_open() -> None:
    program = (
        "from arena.device.cpu.streams import Stream, Task\n"
        "import time\n"
        "stream = Stream('left open')\n"
        "stream.submit(Task(lambda: time.sleep(0.2)))\n"
        "stream.submit(Task(lambda: print('ran to its end', flush=True)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, timeout=60
    )
    assert done.stdout == b"ran to its end\n"


def named_task(seen: list[str]) -> Task:
    """Return a task that notes the name of the thread that runs it."""
    return Task(lambda: seen.append(threading.current_thread().name))


def test_a_prompt_caller_never_wakes_the_worker() -> None:
    stream, launcher, seen = Stream("worker"), Launcher(), list[str]()

    def work() -> None:
        threading.current_thread().name = "caller"
        for _ in range(50):
            stream.is_prompt = True
            task = named_task(seen)
            launcher.launch(stream, task)
            assert not task.is_over
            launcher.finish(stream, task)

    in_thread(work)
    stream.close()
    assert seen == ["caller"] * 50


def test_what_was_launched_quietly_starts_with_the_next_call() -> None:
    """One thread launches on two streams: both run at once, in whatever order it waits."""
    first, second, launcher = Stream("first"), Stream("second"), Launcher()
    meeting = threading.Barrier(2, timeout=20)

    def meet() -> None:
        meeting.wait()

    def work() -> None:
        for order in ((0, 1), (1, 0)):
            first.is_prompt = second.is_prompt = True
            tasks = [Task(meet) for _ in range(2)]
            launcher.launch(first, tasks[0])
            launcher.launch(second, tasks[1])
            for k in order:
                launcher.finish((first, second)[k], tasks[k])
            assert [task.error for task in tasks] == [None, None]

    in_thread(work)
    for stream in (first, second):
        stream.close()
    assert not meeting.broken


def test_another_thread_may_wait_for_what_was_launched_quietly() -> None:
    stream, launcher, seen = Stream("worker"), Launcher(), list[str]()
    tasks = [named_task(seen) for _ in range(2)]

    def launch(k: int) -> None:
        stream.is_prompt = True
        launcher.launch(stream, tasks[k])

    in_thread(lambda: launch(0))
    stream.finish(tasks[0])  # the main thread wakes the worker
    in_thread(lambda: launch(1))
    stream.synchronize()
    assert seen == ["worker", "worker"]
    stream.close()


def test_who_comes_late_is_not_expected_at_once() -> None:
    stream = Stream("worker")
    for submitted, expected in ((0, True), (-PROMPT_NS, False)):
        task = Task(lambda: None)
        task.submitted_ns += submitted
        stream.submit(task)
        stream.finish(task)
        assert stream.is_prompt is expected
    stream.close()
