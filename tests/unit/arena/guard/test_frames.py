"""The guard's rules as its users meet them, with real threads: one test a rule, in its words."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import pytest

from arena.errors import GuardError, GuardTimeoutError
from arena.guard import Call, Frame, Guard
from planner.fleet import PipelineSpec
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder
from tests.oracles_guard import fleet_of, step

Result = TypeVar("Result")

STEPS = (
    step("detect", "vision"),
    step("read", "ocr", after=["detect"]),
    step("track", "tracking", after=["detect"], locks=["heavy"]),
)
STREET = fleet_of(
    PipelineSpec("camera", STEPS, channels=2),
    PipelineSpec("deep", STEPS, frames_in_flight=2),
)


@pytest.fixture
def guard() -> Guard:
    return Guard(STREET)


class Threads:
    """A fresh thread for every piece of work: what a thread holds is its own."""

    def __init__(self) -> None:
        self.started: list[threading.Thread] = []

    def submit(self, work: Callable[..., Result], *arguments: object) -> "Future[Result]":
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # raised again by `future.result`
                future.set_exception(error)

        thread = threading.Thread(target=run, name=f"other-{len(self.started)}", daemon=True)
        self.started.append(thread)
        thread.start()
        return future


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    for thread in threads.started:
        thread.join(30)
        assert not thread.is_alive(), "a thread waits for ever"


def until(condition: Callable[[], object]) -> None:
    """Wait until another thread has come so far."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the other thread never came so far"
        time.sleep(0.0005)


def waiting(guard: Guard, count: int = 1) -> Callable[[], bool]:
    """Whether `count` threads sleep in the guard."""
    return lambda: len(guard._machine._waiters) == count


# ---- calls and their predecessors


def test_a_call_waits_until_every_earlier_call_on_a_transitive_predecessor_is_over(
    guard: Guard, threads: Threads
) -> None:
    with guard.open_frame("camera[0]") as frame:
        detect = threads.submit(frame.enter, "detect").result()
        read = threads.submit(frame.enter, "read")
        until(waiting(guard))
        assert not read.done()
        detect.done()
        read.result().done()


def test_an_earlier_call_counts_while_it_is_waiting_too(guard: Guard, threads: Threads) -> None:
    with guard.open_frame("camera[1]") as other, guard.open_frame("camera[0]") as frame:
        busy = threads.submit(other.enter, "detect").result()
        detect = threads.submit(frame.enter, "detect")
        until(waiting(guard))
        read = threads.submit(frame.enter, "read")
        until(waiting(guard, 2))
        busy.done()
        until(detect.done)
        assert not read.done()
        detect.result().done()
        read.result().done()


def test_making_a_call_closes_its_predecessors_even_if_it_is_later_withdrawn(
    guard: Guard,
) -> None:
    with guard.open_frame("camera[0]") as frame:
        first = frame.submit("detect")
        read = frame.submit("read")
        assert read.withdraw()
        assert read.withdrawn
        with pytest.raises(GuardError, match=r"step 'detect' of .* is closed: 'read', which comes"):
            frame.enter("detect")
        with pytest.raises(GuardError, match=r"step 'detect' of .* is closed"):
            frame.submit("detect")
        first.done()


def test_a_step_runs_zero_one_or_many_times(guard: Guard) -> None:
    with guard.open_frame("camera[0]") as frame:
        for _ in range(3):
            frame.enter("read").done()
        with frame.enter("track") as call:
            assert call.step == "track"
            assert call.instance == "track@tracking"
            assert call.lane == "tracking"
            assert call.locks == ("heavy", "tracking")
            assert str(call) == "'track' of camera[0] frame 0"


def test_a_running_call_cannot_be_withdrawn(guard: Guard) -> None:
    with guard.open_frame("camera[0]") as frame:
        call = frame.enter("detect")
        assert not call.withdraw()
        assert not call.withdrawn
        call.done()
        with pytest.raises(GuardError, match=r"finish while over; allowed: nothing; make a new"):
            call.done()


# ---- locks


def test_a_waiting_call_holds_no_lock(guard: Guard, threads: Threads) -> None:
    fleet = fleet_of(PipelineSpec("p", (step("a", "x"), step("b", "y", locks=["x"])), channels=3))
    guard = Guard(fleet)
    one, two = guard.open_frame("p[0]"), guard.open_frame("p[1]")
    a = one.submit("a")
    b = threads.submit(two.enter, "b")
    until(waiting(guard))
    with pytest.raises(GuardTimeoutError):
        two.enter("b", timeout_s=0)
    a.done()
    b.result().done()
    one.leave()
    two.leave()


def test_steps_that_share_an_added_lock_exclude_each_other(threads: Threads) -> None:
    added = AddedOrder(InstanceId("read@ocr"), InstanceId("track@tracking"), AddedKind.EXCLUSIVE)
    guard = Guard(STREET, [added])
    with guard.open_frame("camera[0]") as frame, guard.open_frame("camera[1]") as other:
        read = threads.submit(frame.enter, "read").result()
        with pytest.raises(GuardTimeoutError, match=r"'read@ocr \| track@tracking' held by 'read'"):
            other.enter("track", timeout_s=0)
        read.done()
        other.enter("track", timeout_s=0).done()


def test_an_added_order_holds_inside_every_frame() -> None:
    added = AddedOrder(InstanceId("read@ocr"), InstanceId("track@tracking"), AddedKind.ORDER)
    guard = Guard(STREET, [added])
    with guard.open_frame("camera[0]") as frame:
        frame.enter("track").done()
        with pytest.raises(GuardError, match=r"'read' of .* is closed: 'track', which comes after"):
            frame.enter("read")


# ---- frames


def test_frame_t_starts_when_frame_t_minus_d_has_ended(guard: Guard, threads: Threads) -> None:
    first = guard.open_frame("camera[0]")
    second = threads.submit(guard.open_frame, "camera[0]")
    until(waiting(guard))
    assert not second.done()
    first.leave()
    assert second.result().number == 1
    assert str(second.result()) == "camera[0] frame 1"
    assert second.result().channel == "camera[0]"
    assert [s.id for s in second.result().rules.steps] == ["detect", "read", "track"]
    second.result().leave()


def test_with_two_frames_in_flight_the_next_frame_runs_beside_this_one(
    guard: Guard, threads: Threads
) -> None:
    with guard.open_frame("deep[0]") as one, guard.open_frame("deep[0]") as two:
        read = one.enter("read")
        detect = threads.submit(two.enter, "detect", 0).result()
        detect.done()
        read.done()


def test_a_timed_out_wait_for_a_place_uses_no_number(guard: Guard, threads: Threads) -> None:
    first = guard.open_frame("camera[0]")
    late = threads.submit(guard.open_frame, "camera[0]", 0.01)
    with pytest.raises(GuardTimeoutError, match=r"waited 0\.01 s for camera\[0\] frame 0 to end"):
        late.result()
    first.leave()
    with guard.open_frame("camera[0]") as frame:
        assert frame.number == 1


def test_leaving_the_block_waits_for_all_its_calls(guard: Guard, threads: Threads) -> None:
    frame = guard.open_frame("camera[0]")
    detect = frame.submit("detect")
    read = frame.submit("read")
    left = threads.submit(frame.leave)
    until(waiting(guard))
    with pytest.raises(GuardError, match=r"call while leaving; allowed: end; make every call bef"):
        frame.submit("track")
    detect.done()
    assert not left.done()
    read.done()
    left.result()
    with pytest.raises(GuardError, match=r"call while ended; allowed: nothing; open a new frame"):
        frame.enter("track")
    with pytest.raises(GuardError, match=r"leave while ended"):
        frame.leave()


def test_leaving_by_an_exception_withdraws_the_waiting_and_waits_for_the_running(
    guard: Guard, threads: Threads
) -> None:
    calls: list[Future[Call]] = []

    def work() -> None:
        with guard.open_frame("camera[0]") as frame:
            calls.append(threads.submit(frame.enter, "detect"))
            until(calls[0].done)
            calls.append(threads.submit(frame.enter, "read"))
            until(waiting(guard))
            raise ZeroDivisionError

    done = threads.submit(work)
    until(lambda: len(calls) == 2 and calls[1].done())
    with pytest.raises(GuardError, match=r"'read' of .* was withdrawn: its frame was left after"):
        calls[1].result()
    assert not done.done(), "detect still runs"
    calls[0].result().done()
    with pytest.raises(ZeroDivisionError):
        done.result()
    guard.open_frame("camera[0]", timeout_s=0).leave()


def test_an_execution_that_raises_ends_the_frame_and_leaves_the_fleet_usable(guard: Guard) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        guard.open_frame("camera[1]") as frame,
        frame.enter("detect"),
    ):
        raise ZeroDivisionError
    with guard.open_frame("camera[1]", timeout_s=0) as frame:
        assert frame.number == 1
        frame.enter("detect", timeout_s=0).done()


def test_after_a_failed_execution_leaving_withdraws_what_waits(guard: Guard) -> None:
    with guard.open_frame("camera[1]") as other:
        busy = other.submit("read")
        frame = guard.open_frame("camera[0]")
        frame.enter("detect").done(failed=True)
        read = frame.submit("read")
        seen = [read.withdrawn]
        frame.leave()
        assert [*seen, read.withdrawn] == [False, True], "the block might still mend what failed"
        busy.done()


# ---- self-deadlock is named at once


def test_a_thread_holding_a_slot_makes_no_other_call_and_opens_or_leaves_no_frame(
    guard: Guard,
) -> None:
    with guard.open_frame("camera[0]") as frame:
        call = frame.enter("detect")
        me = threading.current_thread().name
        inside = f"thread {me!r} is inside 'detect' of camera\\[0\\] frame 0, .*leave the slot"
        with pytest.raises(GuardError, match=r"cannot call read of camera.*" + inside):
            frame.enter("read")
        with pytest.raises(GuardError, match=r"cannot submit read of camera.*" + inside):
            frame.submit("read")
        with pytest.raises(GuardError, match=r"cannot open a frame of camera.*" + inside):
            guard.open_frame("camera[1]")
        with pytest.raises(GuardError, match=r"cannot leave camera.*" + inside):
            frame.leave()
        with pytest.raises(GuardError, match=r"cannot take calls of lane ocr.*" + inside):
            guard.take("ocr")
        with pytest.raises(GuardError, match=r"cannot close the guard.*" + inside):
            guard.close()
        call.done()
        frame.enter("read").done()


def test_a_slot_may_be_freed_by_another_thread(guard: Guard, threads: Threads) -> None:
    with guard.open_frame("camera[0]") as frame:
        call = frame.enter("detect")
        threads.submit(call.done).result()
        frame.enter("read").done()


def test_a_thread_holding_a_frame_opens_another_only_if_a_place_is_free_at_once(
    guard: Guard, threads: Threads
) -> None:
    with guard.open_frame("camera[0]"):
        with guard.open_frame("camera[1]"):
            pass
        with pytest.raises(GuardError, match=r"holds camera\[0\] frame 0, so it opens.*leave the"):
            guard.open_frame("camera[0]")
        behind = threads.submit(guard.open_frame, "camera[0]")
        until(waiting(guard))
    behind.result().leave()


def test_a_frame_left_by_another_thread_is_held_no_longer(guard: Guard, threads: Threads) -> None:
    frame = guard.open_frame("camera[0]")
    threads.submit(frame.leave).result()
    behind = threads.submit(guard.open_frame, "camera[0]").result()
    opened = threads.submit(behind.leave)
    guard.open_frame("camera[0]", timeout_s=30).leave()
    opened.result()


# ---- submitted calls and the threads that serve lanes


def serve(guard: Guard, lane: str, log: list[str]) -> None:
    """Execute the calls of a lane until the guard is closed."""
    while (call := guard.take(lane)) is not None:
        log.append(f"{call.job} {'withdrawn' if call.withdrawn else 'runs'}")
        if not call.withdrawn:
            call.done()


def test_submitted_calls_come_out_once_each_on_their_lane_in_order(
    guard: Guard, threads: Threads
) -> None:
    assert guard.lanes == ("ocr", "tracking", "vision")
    logs: dict[str, list[str]] = {lane: [] for lane in guard.lanes}
    served = [threads.submit(serve, guard, lane, logs[lane]) for lane in guard.lanes]
    for _ in range(2):
        with guard.open_frame("camera[0]") as frame:
            for job in ("detect", "read", "read", "track"):
                assert frame.submit(job, job=f"{frame.number} {job}").step == job
    guard.close()
    for future in served:
        future.result()
    assert logs == {
        "vision": ["0 detect runs", "1 detect runs"],
        "ocr": ["0 read runs", "0 read runs", "1 read runs", "1 read runs"],
        "tracking": ["0 track runs", "1 track runs"],
    }


def test_a_withdrawn_submission_comes_out_too_so_that_its_owner_can_be_told(
    guard: Guard, threads: Threads
) -> None:
    log: list[str] = []
    with guard.open_frame("camera[0]") as frame:
        detect = frame.submit("detect")
        assert frame.submit("read", job="first").withdraw()
        frame.submit("read", job="second")
        detect.done(failed=True)
        busy = threads.submit(serve, guard, "ocr", log)
        until(lambda: len(log) == 2)
    guard.close()
    busy.result()
    assert log == ["first withdrawn", "second runs"]


def test_whoever_serves_a_lane_may_submit_and_never_waits_for_others(
    guard: Guard, threads: Threads
) -> None:
    frame = guard.open_frame("camera[0]")
    frame.submit("detect")

    def serve_once() -> None:
        call = guard.take("vision")
        assert call is not None
        call.done()
        waits = r"thread 'other-\d+' serves lane 'vision', .*; submit instead, or use a thread"
        with pytest.raises(GuardError, match=r"cannot call read of camera.*" + waits):
            frame.enter("read")
        with pytest.raises(GuardError, match=r"cannot leave camera.*" + waits):
            frame.leave()
        with pytest.raises(GuardError, match=r"cannot close the guard.*" + waits):
            guard.close()
        with pytest.raises(GuardError, match=r"serves lane 'vision', so it opens a frame only if"):
            guard.open_frame("camera[0]")
        frame.submit("read").done()

    threads.submit(serve_once).result()
    frame.leave()


def test_every_thread_that_serves_a_lane_is_sent_home_when_the_guard_closes(
    guard: Guard, threads: Threads
) -> None:
    served = [threads.submit(serve, guard, "ocr", []) for _ in range(3)]
    guard.close()
    for future in served:
        future.result(30)
    serve(guard, "ocr", [])
    guard.close()


def test_an_unknown_lane_lists_the_lanes(guard: Guard) -> None:
    with pytest.raises(
        GuardError, match=r"unknown lane 'x', expected one of ocr, tracking, vision"
    ):
        guard.take("x")


# ---- time limits


def test_a_call_that_timed_out_is_withdrawn_and_says_what_it_waited_for(
    guard: Guard, threads: Threads
) -> None:
    with guard.open_frame("camera[0]") as frame:
        detect = threads.submit(frame.enter, "detect").result()
        with pytest.raises(GuardTimeoutError) as late:
            frame.enter("read", timeout_s=0.01)
        assert str(late.value).startswith(
            "'read' of camera[0] frame 0 waited 0.01 s for earlier calls on its predecessors: "
            "'detect' of camera[0] frame 0 (running by other-"
        )
        detect.done()
        frame.enter("read").done()


def test_leaving_with_a_time_limit_names_the_calls_and_the_frame_ends_by_itself(
    guard: Guard, threads: Threads
) -> None:
    frame = guard.open_frame("camera[0]")
    detect, read = frame.submit("detect"), frame.submit("read")
    with pytest.raises(
        GuardTimeoutError, match=r"leaving camera\[0\] frame 0 waited 0.01 s for its"
    ):
        frame.leave(timeout_s=0.01)
    assert read.withdrawn
    behind = threads.submit(guard.open_frame, "camera[0]")
    until(waiting(guard))
    detect.done()
    behind.result().leave()


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf"), 1e18])
def test_a_senseless_time_limit_is_refused(guard: Guard, timeout_s: float) -> None:
    with pytest.raises(GuardError, match=r"timeout_s is .*, expected 0 to .* or None"):
        guard.open_frame("camera[0]", timeout_s)
    with guard.open_frame("camera[0]") as frame:
        with pytest.raises(GuardError, match=r"timeout_s is"):
            frame.enter("detect", timeout_s)
        with pytest.raises(GuardError, match=r"timeout_s is"):
            frame.leave(timeout_s=timeout_s)
        with pytest.raises(GuardError, match=r"timeout_s is"):
            guard.close(timeout_s)
        frame.enter("detect").done()


# ---- the end


def test_after_close_everything_new_is_refused_and_everything_that_waits_is_withdrawn(
    guard: Guard, threads: Threads
) -> None:
    frame = guard.open_frame("camera[0]")
    place = threads.submit(guard.open_frame, "camera[0]")
    detect = threads.submit(frame.enter, "detect").result()
    read = threads.submit(frame.enter, "read")
    until(waiting(guard, 2))
    with pytest.raises(
        GuardTimeoutError, match=r"closing waited 0 s for calls to end: 'detect' of"
    ):
        guard.close(timeout_s=0)
    with pytest.raises(GuardError, match=r"frame of camera.* was withdrawn: close"):
        place.result()
    with pytest.raises(GuardError, match=r"'read' of .* was withdrawn: close"):
        read.result()
    with pytest.raises(GuardError, match=r"the guard is closed: close"):
        frame.submit("track")
    closed = threads.submit(guard.close)
    until(waiting(guard))
    detect.done()
    closed.result()
    guard.close()
    frame.leave()


def test_a_guard_can_be_stopped_inside_a_call_so_that_nothing_more_is_granted(
    guard: Guard, threads: Threads
) -> None:
    with guard.open_frame("camera[0]") as frame, guard.open_frame("camera[1]") as other:
        call = frame.enter("detect")
        behind = threads.submit(other.enter, "detect")
        until(waiting(guard))
        guard.stop("the device hangs")
        guard.stop("a later reason is not kept")
        with pytest.raises(GuardError, match=r"was withdrawn: the device hangs"):
            behind.result()
        call.done(failed=True)
        with pytest.raises(GuardError, match=r"the guard is closed: the device hangs"):
            frame.enter("read")


def interrupt_when(condition: Callable[[], object]) -> threading.Thread:
    """Send this process a signal as soon as another thread sees the condition."""

    def act() -> None:
        until(condition)
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGUSR1 raise KeyboardInterrupt in the main thread."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_wait_gives_up_and_leaves_nothing_behind(
    guard: Guard, threads: Threads
) -> None:
    busy = threads.submit(guard.open_frame, "camera[0]").result()
    call = threads.submit(busy.enter, "detect").result()
    frame = guard.open_frame("camera[1]")
    helper = interrupt_when(waiting(guard))
    with pytest.raises(KeyboardInterrupt):
        frame.enter("detect")
    helper.join()
    submitted = frame.submit("detect")
    helper = interrupt_when(waiting(guard))
    with pytest.raises(KeyboardInterrupt):
        frame.leave()
    helper.join()
    assert submitted.withdrawn
    frame = guard.open_frame("camera[1]", timeout_s=0)
    frame.leave()
    helper = interrupt_when(waiting(guard))
    with pytest.raises(KeyboardInterrupt):
        guard.open_frame("camera[0]")
    helper.join()
    assert waiting(guard, 0)()
    call.done()
    busy.leave()
    guard.open_frame("camera[0]", timeout_s=0).leave()


def child(guard: Guard, frame: Frame, call: Call) -> None:
    """Use a forked guard: everything new is refused, what is held can be let go."""
    for act in (lambda: guard.open_frame("camera[1]"), lambda: frame.submit("read")):
        with pytest.raises(GuardError, match=r"the guard is closed: the process forked; start"):
            act()
    call.done()
    assert guard.take("ocr") is None
    frame.leave()
    guard.close()


def test_a_guard_survives_no_fork(guard: Guard) -> None:
    frame = guard.open_frame("camera[0]")
    call = frame.submit("detect")
    process = multiprocessing.get_context("fork").Process(target=child, args=(guard, frame, call))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    call.done()
    frame.leave()
