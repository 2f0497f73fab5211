"""What is left to say of blocking beside the interleavings: the machine of a forked child."""

import pytest

from arena.errors import GuardError
from arena.guard.blocking import BlockingMachine, ForkedMachine
from arena.guard.rules import channel_rules
from planner.fleet import PipelineSpec
from tests.oracles_guard import fleet_of, step

FLEET = fleet_of(PipelineSpec("p", (step("a", "x"), step("b", "x"))))


def test_in_a_child_everything_new_is_refused_and_what_was_held_is_let_go_without_waiting() -> None:
    parent = BlockingMachine(channel_rules(FLEET))
    frame = parent.open("p[0]", "t", "", None)
    call = parent.enter(frame, "a", "t", None)
    waiting = parent.submit(frame, "b", "t", "job")
    child = ForkedMachine("forked")
    with pytest.raises(GuardError, match="the guard is closed: forked"):
        child.open("p[0]", "t", "", None)
    with pytest.raises(GuardError, match="the guard is closed: forked"):
        child.enter(frame, "b", "t", None)
    with pytest.raises(GuardError, match="the guard is closed: forked"):
        child.submit(frame, "b", "t", "job")
    child.take("x")
    assert not child.withdraw(waiting)
    child.finish(call, failed=False, token=None)
    child.leave(frame, failed=False, timeout_s=None)
    child.close("again", timeout_s=None)
