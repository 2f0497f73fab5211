"""Every wait says what it waits for, every refusal names both sides and the way out."""

import pytest

from arena.errors import GuardError
from arena.guard.explain import listing, waits_for
from arena.guard.machine import Machine
from arena.guard.rules import channel_rules
from planner.fleet import PipelineSpec
from tests.oracles_guard import fleet_of, step

STEPS = (step("a", "x"), step("b", "y", after=["a"], locks=["g"]), step("c", "z", locks=["g", "y"]))


@pytest.fixture
def machine() -> Machine:
    return Machine(channel_rules(fleet_of(PipelineSpec("p", STEPS, channels=2))))


def test_a_blocked_call_names_the_earlier_calls_on_its_predecessors(machine: Machine) -> None:
    frame = machine.open("p[0]", "main")
    machine.call(frame, "a", "t1")
    machine.call(frame, "a", "t2")
    assert waits_for(machine.call(frame, "b")) == (
        "earlier calls on its predecessors: 'a' of p[0] frame 0 (running by t1), "
        "'a' of p[0] frame 0 (queued by t2)"
    )


def test_a_queued_call_names_its_locks_and_who_holds_or_wants_them(machine: Machine) -> None:
    one, other = machine.open("p[0]"), machine.open("p[1]")
    machine.call(one, "b", "t1")
    machine.call(other, "c", "t2")
    assert waits_for(machine.call(other, "b")) == (
        "all of its locks at once: 'g' held by 'b' of p[0] frame 0 (running by t1), "
        "'y' held by 'b' of p[0] frame 0 (running by t1)"
    )
    machine = Machine(channel_rules(fleet_of(PipelineSpec("p", (*STEPS, step("d", "z"))))))
    frame = machine.open("p[0]")
    for name in "bc":
        machine.call(frame, name)
    assert waits_for(machine.call(frame, "d")) == (
        "all of its locks at once: 'z' wanted first by 'c' of p[0] frame 0 (queued)"
    )


def test_a_waiting_frame_names_the_frame_before_and_how_many_came_first(machine: Machine) -> None:
    frame = machine.open("p[0]", "t1")
    assert waits_for(machine.open("p[0]")) == "p[0] frame 0 to end (open, opened by t1)"
    machine.call(frame, "a", "t2")
    machine.leave(frame)
    assert waits_for(machine.open("p[0]")) == (
        "p[0] frame 0 to end (leaving, opened by t1, calls 'a' of p[0] frame 0 (running by t2)) "
        "and 1 that came first to start"
    )


def test_a_frame_being_left_names_its_calls(machine: Machine) -> None:
    frame = machine.open("p[0]")
    machine.call(frame, "a", "t1")
    machine.leave(frame)
    assert waits_for(frame) == "its calls to end: 'a' of p[0] frame 0 (running by t1)"


def test_running_calls_are_named_once_however_many_locks_they_hold(machine: Machine) -> None:
    assert machine.running_text() == ""
    machine.call(machine.open("p[1]"), "c", "t1")
    assert machine.running_text() == "'c' of p[1] frame 0 (running by t1)"


def test_a_call_on_a_closed_step_names_both_steps_and_the_way_out(machine: Machine) -> None:
    frame = machine.open("p[0]")
    machine.call(frame, "c")
    machine.withdraw(machine.call(frame, "b"))
    with pytest.raises(GuardError) as refusal:
        machine.call(frame, "a")
    assert str(refusal.value) == (
        "step 'a' of p[0] frame 0 is closed: 'b', which comes after it, was called; "
        "make every call of 'a' before the first of 'b', or open another frame"
    )


def test_unknown_names_list_what_there_is(machine: Machine) -> None:
    with pytest.raises(GuardError, match=r"unknown channel 'p', expected one of p\[0\], p\[1\]"):
        machine.open("p")
    with pytest.raises(GuardError, match=r"unknown step 'q' of p\[0\], expected one of a, b, c"):
        machine.call(machine.open("p[0]"), "q")


def test_an_owner_that_must_not_wait_is_told_why_and_the_way_out(machine: Machine) -> None:
    machine.open("p[0]", "t1")
    with pytest.raises(GuardError) as refusal:
        machine.open("p[0]", "t1", "thread 't1' holds p[0] frame 0")
    assert str(refusal.value) == (
        "thread 't1' holds p[0] frame 0, so it opens a frame only if a place is free at once, and "
        "a frame of p[0] would wait for p[0] frame 0 to end (open, opened by t1); leave the other "
        "frame first, or open this one in another thread"
    )
    assert machine.open("p[1]", "t1", "thread 't1' holds p[0] frame 0").number == 0


def test_long_listings_are_cut() -> None:
    assert listing([]) == ""
    assert listing("abcd") == "a, b, c, d"
    assert listing("abcde") == "a, b, c, d and 1 more"
