"""Watching: what is told, to whom, and that a guard which nobody watches knows nothing of it."""

import time

import pytest

from arena.errors import GuardError
from arena.guard import CallRecord, FrameRecord, Guard, Watched
from arena.guard.machine import Machine
from arena.guard.watched import WatchedMachine
from tests.fleets import small_fleet

Told = list[tuple[str, str, int]]


def watched(guard: Guard) -> Told:
    told: Told = []

    def watch(event: Watched, record: CallRecord | FrameRecord, time_ns: int) -> None:
        told.append((event.value, str(record), time_ns))

    guard.watch(watch)
    return told


def shown(told: Told) -> list[tuple[str, str]]:
    return [(event, record) for event, record, _ in told]


def test_a_guard_that_nobody_watches_runs_the_plain_machine() -> None:
    guard = Guard(small_fleet())
    assert type(guard._machine._machine) is Machine
    told = watched(guard)
    assert type(guard._machine._machine) is WatchedMachine
    assert told == []


def test_every_move_is_told_in_order_and_time() -> None:
    guard = Guard(small_fleet())
    before = time.perf_counter_ns()
    told = watched(guard)
    frame = guard.open_frame("p[0]")
    call = frame.enter("first")
    call.done()
    frame.leave()
    assert shown(told) == [
        ("started", "p[0] frame 0"),
        ("granted", "'first' of p[0] frame 0"),
        ("over", "'first' of p[0] frame 0"),
        ("over", "p[0] frame 0"),
    ]
    times = [time_ns for _, _, time_ns in told]
    assert before <= times[0]
    assert times == sorted(times)


def test_watching_takes_over_what_is_under_way() -> None:
    guard = Guard(small_fleet())
    frame = guard.open_frame("p[0]")
    call = frame.enter("first")
    told = watched(guard)
    again = watched(guard)
    with pytest.raises(GuardError, match="is inside"):
        frame.enter("second")
    call.done(failed=True)
    with pytest.raises(GuardError, match="finish while over"):
        call.done()
    frame.leave()
    assert shown(told) == shown(again)
    assert shown(told) == [("failed", "'first' of p[0] frame 0"), ("over", "p[0] frame 0")]
    with guard.open_frame("p[0]") as later:
        assert later.number == 1


def test_what_waits_is_told_with_the_time_of_the_call() -> None:
    guard = Guard(small_fleet())
    told = watched(guard)
    frame = guard.open_frame("p[0]")
    first = frame.submit("first")
    second = frame.submit("second")
    guard.tell(Watched.LAUNCHED, first)
    assert second.withdraw()
    guard.stop("for the test")
    assert shown(told)[1:] == [
        ("granted", "'first' of p[0] frame 0"),
        ("waits", "'second' of p[0] frame 0"),
        ("launched", "'first' of p[0] frame 0"),
        ("withdrawn", "'second' of p[0] frame 0"),
    ]


def test_telling_without_watchers_is_nothing() -> None:
    guard = Guard(small_fleet())
    with guard.open_frame("p[0]") as frame, frame.enter("first") as call:
        guard.tell(Watched.LAUNCHED, call)
    assert type(guard._machine._machine) is Machine
