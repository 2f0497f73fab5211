"""The moves of the machine, one by one: who runs, who waits, who is reported."""

import pytest

from arena.errors import GuardError
from arena.guard.machine import Machine
from arena.guard.moves import CallState, FrameState
from arena.guard.rules import channel_rules
from planner.fleet import FleetSpec, PipelineSpec
from tests.oracles_guard import fleet_of, step

CHAIN = (step("a", "x"), step("b", "y", after=["a"]), step("c", "z", after=["b"]))


def machine_of(fleet: FleetSpec) -> Machine:
    return Machine(channel_rules(fleet))


def pipeline(*steps: object, **settings: int) -> FleetSpec:
    return fleet_of(PipelineSpec("p", steps, **settings))  # type: ignore[arg-type]


def test_locks_are_granted_all_at_once_and_a_waiting_call_holds_none() -> None:
    machine = machine_of(pipeline(step("a", "x"), step("b", "y", locks=["x"]), step("c", "y")))
    frame = machine.open("p[0]")
    a = machine.call(frame, "a")
    b = machine.call(frame, "b")
    assert b.state is CallState.QUEUED
    assert {lock.name: lock.holder for lock in b.locks} == {"x": a, "y": None}


def test_first_come_first_served_a_later_call_takes_no_lock_that_an_earlier_one_wants() -> None:
    machine = machine_of(pipeline(step("a", "x"), step("b", "y", locks=["x"]), step("c", "y")))
    frame = machine.open("p[0]")
    a, b, c = (machine.call(frame, name) for name in "abc")
    assert c.state is CallState.QUEUED, "y is free, but b came first"
    assert machine.finish(a) == [b]
    assert machine.finish(b) == [c]


def test_first_come_counts_only_among_calls_whose_predecessors_are_over() -> None:
    machine = machine_of(pipeline(step("a", "x"), step("b", "y", after=["a"]), step("c", "y")))
    frame = machine.open("p[0]")
    a, b, c = (machine.call(frame, name) for name in "abc")
    assert (b.state, c.state) == (CallState.BLOCKED, CallState.RUNNING)
    assert machine.finish(a) == []
    assert b.state is CallState.QUEUED
    assert machine.finish(c) == [b]


def test_a_call_that_becomes_runnable_takes_its_place_by_when_it_was_made() -> None:
    fleet = fleet_of(
        PipelineSpec("p", (step("a", "x"), step("b", "y", after=["a"]))),
        PipelineSpec("q", (step("c", "y"), step("d", "y"))),
    )
    machine = machine_of(fleet)
    one, other = machine.open("p[0]"), machine.open("q[0]")
    running = machine.call(other, "c")
    a, b = machine.call(one, "a"), machine.call(one, "b")
    late = machine.call(other, "d")
    machine.finish(a)
    assert machine.finish(running) == [b]
    assert machine.finish(b) == [late]


def test_a_withdrawn_call_makes_way_for_those_behind_it() -> None:
    machine = machine_of(pipeline(step("a", "x"), step("b", "y", locks=["x"]), step("c", "y")))
    frame = machine.open("p[0]")
    _, b, c = (machine.call(frame, name) for name in "abc")
    assert machine.withdraw(b) == [b, c]
    assert c.state is CallState.RUNNING


def test_a_skipped_step_keeps_the_order_of_its_neighbours() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    a, c = machine.call(frame, "a"), machine.call(frame, "c")
    assert c.state is CallState.BLOCKED
    assert machine.finish(a) == [c]


def test_runs_of_one_step_exclude_each_other_by_their_lane_and_hold_back_what_follows() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    first, second, b = (machine.call(frame, name) for name in "aab")
    assert (first.state, second.state, b.state) == (
        CallState.RUNNING,
        CallState.QUEUED,
        CallState.BLOCKED,
    )
    assert machine.finish(first) == [second]
    assert machine.finish(second) == [b]


def test_frame_t_starts_when_frame_t_minus_d_has_ended_not_when_any_frame_has() -> None:
    machine = machine_of(pipeline(*CHAIN, frames_in_flight=2))
    first, second = machine.open("p[0]"), machine.open("p[0]")
    third, fourth = machine.open("p[0]"), machine.open("p[0]")
    assert machine.leave(second) == [second]
    assert third.state is FrameState.WAITING, "frame 2 follows frame 0, which is open"
    assert machine.leave(first) == [first, third, fourth]
    assert [f.number for f in (first, second, third, fourth)] == [0, 1, 2, 3]


def test_a_frame_that_gave_up_used_no_number() -> None:
    machine = machine_of(pipeline(*CHAIN))
    first, second, third = (machine.open("p[0]") for _ in range(3))
    machine.give_up(second)
    assert second.state is FrameState.WITHDRAWN
    assert machine.leave(first) == [first, third]
    assert (second.number, third.number) == (-1, 1)


def test_channels_do_not_wait_for_one_another() -> None:
    machine = machine_of(pipeline(*CHAIN, channels=2))
    assert machine.open("p[0]").state is FrameState.OPEN
    assert machine.open("p[1]").state is FrameState.OPEN


def test_leaving_waits_for_waiting_calls_unless_an_execution_failed() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    a, b = machine.call(frame, "a"), machine.call(frame, "b")
    assert machine.leave(frame) == []
    assert machine.finish(a) == [b]
    assert machine.finish(b) == [frame]


def test_a_failure_while_the_frame_is_being_left_withdraws_what_waits() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    a, b = machine.call(frame, "a"), machine.call(frame, "b")
    machine.leave(frame)
    assert machine.finish(a, failed=True) == [b, frame]
    assert b.state is CallState.WITHDRAWN


def test_a_failure_inside_the_frame_withdraws_what_waits_when_it_is_left() -> None:
    machine = machine_of(pipeline(*CHAIN, channels=2))
    frame, other = machine.open("p[0]"), machine.open("p[1]")
    machine.finish(machine.call(frame, "a"), failed=True)
    running = machine.call(other, "b")
    waiting = machine.call(frame, "b")
    assert machine.leave(frame) == [waiting, frame]
    assert running.state is CallState.RUNNING, "other frames go on"


def test_a_frame_left_by_an_exception_waits_for_what_runs() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    a, b = machine.call(frame, "a"), machine.call(frame, "b")
    assert machine.leave(frame, failed=True) == [b]
    assert frame.state is FrameState.LEAVING
    assert machine.finish(a) == [frame]


def test_closing_withdraws_what_waits_and_lets_what_runs_end() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame, behind = machine.open("p[0]"), machine.open("p[0]")
    a, b = machine.call(frame, "a"), machine.call(frame, "b")
    assert machine.close("the device failed") == [behind, b]
    assert machine.is_running()
    with pytest.raises(GuardError, match="the guard is closed: the device failed"):
        machine.call(frame, "c")
    with pytest.raises(GuardError, match="the guard is closed: the device failed"):
        machine.open("p[0]")
    assert machine.finish(a) == []
    assert not machine.is_running()
    assert machine.leave(frame) == [frame]


def test_closing_ends_frames_that_were_being_left() -> None:
    machine = machine_of(pipeline(*CHAIN, channels=2))
    frame, other = machine.open("p[0]"), machine.open("p[1]")
    running = machine.call(other, "a")
    waiting = machine.call(frame, "a")
    machine.leave(frame)
    assert machine.close("enough") == [waiting, frame]
    assert running.state is CallState.RUNNING


# ---- tokens


def test_a_call_gets_the_tokens_of_the_calls_before_it_by_order_and_by_lock() -> None:
    fleet = fleet_of(
        PipelineSpec("p", CHAIN),
        PipelineSpec("q", (step("d", "z", locks=["g"]), step("e", "v", locks=["g"]))),
    )
    machine = machine_of(fleet)
    frame, other = machine.open("p[0]"), machine.open("q[0]")
    for name in "ad":
        machine.finish(machine.call(frame if name == "a" else other, name), token=name)
    assert machine.call(other, "e").follows == ("d",)
    b = machine.call(frame, "b")
    assert b.follows == ("a",)
    machine.finish(b, token="b")
    assert machine.call(frame, "c").follows == ("a", "b", "d")


def test_repeated_runs_hand_on_the_last_token() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    for token in ("a1", "a2"):
        machine.finish(machine.call(frame, "a"), token=token)
    assert machine.call(frame, "b").follows == ("a2",)


def test_a_frame_follows_the_last_call_on_each_lane_of_frame_t_minus_d() -> None:
    steps = (step("a", "x"), step("b", "y"), step("e", "x"), step("f", "v"))
    machine = machine_of(pipeline(*steps))
    frame = machine.open("p[0]")
    for token in ("a1", "e1", "b1", "a2"):
        machine.finish(machine.call(frame, token[0]), token=token)
    machine.leave(frame)
    assert set(machine.call(machine.open("p[0]"), "f").follows) == {"a2", "b1"}


def test_a_frame_that_ran_nothing_hands_on_what_it_follows() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    machine.finish(machine.call(frame, "a"), token="a")
    machine.leave(frame)
    machine.leave(machine.open("p[0]"))
    assert machine.call(machine.open("p[0]"), "c").follows == ("a",)


def test_frames_in_flight_together_hand_on_nothing_but_by_locks() -> None:
    machine = machine_of(pipeline(*CHAIN, frames_in_flight=2))
    one, other = machine.open("p[0]"), machine.open("p[0]")
    machine.finish(machine.call(one, "a"), token="a")
    assert machine.call(other, "b").follows == ()
    assert machine.call(one, "b").state is CallState.QUEUED


def test_an_execution_that_did_not_take_place_leaves_no_token() -> None:
    machine = machine_of(pipeline(*CHAIN))
    frame = machine.open("p[0]")
    machine.finish(machine.call(frame, "a"), token="a1")
    machine.finish(machine.call(frame, "a"))
    assert machine.call(frame, "b").follows == ("a1",)


def test_a_lock_keeps_the_token_of_the_last_execution_that_took_place() -> None:
    machine = machine_of(pipeline(step("a", "x"), channels=2))
    one, other = machine.open("p[0]"), machine.open("p[1]")
    machine.finish(machine.call(one, "a"), token="a1")
    machine.finish(machine.call(one, "a"))
    assert machine.call(other, "a").follows == ("a1",)
