"""Calls on pools: the first free lane, one run of an execution at a time, nobody held back."""

import threading
from collections.abc import Iterator

import pytest

from arena.errors import GuardError, GuardTimeoutError
from arena.guard import Guard
from arena.guard.explain import waits_for
from arena.guard.machine import Machine
from arena.guard.moves import CallState
from arena.guard.records import CallRecord
from arena.guard.rules import channel_rules
from planner.fleet import FleetSpec, PipelineSpec
from planner.lanes import LanePool
from tests.oracles_guard import fleet_of, step

POOL = LanePool("ocr", 2)
READERS = fleet_of(
    PipelineSpec("p", (step("read", POOL), step("sort", "x", after=["read"])), channels=3)
)


def machine_of(fleet: FleetSpec) -> Machine:
    return Machine(channel_rules(fleet))


def lane(call: CallRecord) -> str:
    assert call.state is CallState.RUNNING
    return call.choice.lane


def test_the_first_free_lane_in_the_order_of_the_pool_is_taken() -> None:
    machine = machine_of(READERS)
    frames = [machine.open(f"p[{c}]") for c in range(3)]
    one, two, three = (machine.call(frame, "read") for frame in frames)
    assert (lane(one), lane(two), three.state) == ("ocr[0]", "ocr[1]", CallState.QUEUED)
    assert waits_for(three) == (
        "all of its locks at once, on any lane of its pool: 'ocr[0]' held by 'read' of p[0] frame "
        "0 (running), 'ocr[1]' held by 'read' of p[1] frame 0 (running)"
    )
    assert machine.finish(two) == [three]
    assert lane(three) == "ocr[1]"
    machine.finish(one)
    assert lane(machine.call(frames[1], "read")) == "ocr[0]"


def test_runs_of_one_execution_take_turns_and_leave_the_other_lanes_to_others() -> None:
    machine = machine_of(READERS)
    mine, other = machine.open("p[0]"), machine.open("p[1]")
    first, second, third = (machine.call(mine, "read") for _ in range(3))
    assert (second.state, third.state) == (CallState.BLOCKED, CallState.BLOCKED)
    assert waits_for(third) == (
        "earlier calls on its own step, which takes one lane at a time: "
        "'read' of p[0] frame 0 (running), 'read' of p[0] frame 0 (blocked)"
    )
    beside = machine.call(other, "read")
    assert lane(beside) == "ocr[1]"
    assert machine.withdraw(second) == [second]
    assert machine.finish(first) == [third]
    sorting = machine.call(mine, "sort")
    assert sorting.state is CallState.BLOCKED
    assert machine.finish(third) == [sorting]


def test_who_takes_one_lane_makes_way_on_the_others() -> None:
    fleet = fleet_of(
        PipelineSpec("p", (step("read", POOL, locks=["g"]),)),
        PipelineSpec("q", (step("find", POOL),)),
        PipelineSpec("r", (step("hold", "x", locks=["g"]),)),
    )
    machine = machine_of(fleet)
    holding = machine.call(machine.open("r[0]"), "hold")
    reading = machine.call(machine.open("p[0]"), "read")
    finding = machine.call(machine.open("q[0]"), "find")
    assert (reading.state, finding.state) == (CallState.QUEUED, CallState.QUEUED), "first come"
    assert machine.finish(holding) == [reading, finding]
    assert (lane(reading), lane(finding)) == ("ocr[0]", "ocr[1]")


def test_who_gives_up_makes_way_on_all_lanes() -> None:
    fleet = fleet_of(
        PipelineSpec("p", (step("read", POOL, locks=["g"]),)),
        PipelineSpec("q", (step("find", POOL),), channels=2),
        PipelineSpec("r", (step("hold", "x", locks=["g"]),)),
    )
    machine = machine_of(fleet)
    machine.call(machine.open("r[0]"), "hold")
    reading = machine.call(machine.open("p[0]"), "read")
    finding = [machine.call(machine.open(f"q[{c}]"), "find") for c in range(2)]
    assert machine.withdraw(reading) == [reading, *finding]
    assert [lane(call) for call in finding] == ["ocr[0]", "ocr[1]"]


def test_runs_of_one_execution_on_two_lanes_follow_one_another_by_token() -> None:
    machine = machine_of(READERS)
    mine, other = machine.open("p[0]"), machine.open("p[1]")
    first = machine.call(mine, "read")
    beside = machine.call(other, "read")
    machine.finish(first, token="first")
    machine.finish(beside, token="beside")
    machine.call(machine.open("p[2]"), "read")
    second = machine.call(mine, "read")
    assert (lane(second), set(second.follows)) == ("ocr[1]", {"first", "beside"})
    machine.finish(second, token="second")
    assert machine.call(mine, "sort").follows == ("second",)


def test_the_next_frame_follows_what_ran_on_any_lane() -> None:
    fleet = fleet_of(PipelineSpec("p", (step("read", POOL), step("find", POOL))))
    machine = machine_of(fleet)
    frame = machine.open("p[0]")
    for name in ("read", "find"):
        machine.finish(machine.call(frame, name), token=name)
    machine.leave(frame)
    assert set(machine.open("p[0]").follows) == {"read", "find"}


class Lanes:
    """A thread for each lane, which ends what it takes once `go` is set."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.go = threading.Event()
        self.taken: list[tuple[object, str, str, tuple[str, ...]]] = []
        self.withdrawn: list[tuple[object, str]] = []
        self.threads = [threading.Thread(target=self.serve, args=(lane,)) for lane in guard.lanes]
        for thread in self.threads:
            thread.start()

    def serve(self, lane: str) -> None:
        while (call := self.guard.take(lane)) is not None:
            if call.withdrawn:
                self.withdrawn.append((call.job, lane))
                continue
            self.taken.append((call.job, lane, call.instance, call.locks))
            self.go.wait(20)
            call.done()

    def close(self) -> None:
        self.go.set()
        self.guard.close(20)
        for thread in self.threads:
            thread.join()


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    serving = Lanes(Guard(READERS))
    yield serving
    serving.close()


def test_a_granted_submission_goes_to_the_lane_that_it_took(lanes: Lanes) -> None:
    with lanes.guard.open_frame("p[0]") as frame, lanes.guard.open_frame("p[1]") as other:
        first, second = frame.submit("read", "a"), other.submit("read", "b")
        assert (first.instance, second.instance) == ("read@ocr[0]", "read@ocr[1]")
        lanes.go.set()
    assert sorted(lanes.taken) == [
        ("a", "ocr[0]", "read@ocr[0]", ("ocr[0]",)),
        ("b", "ocr[1]", "read@ocr[1]", ("ocr[1]",)),
    ]


def test_a_call_on_a_pool_has_no_lane_before_it_is_granted(lanes: Lanes) -> None:
    with lanes.guard.open_frame("p[0]") as frame:
        frame.submit("read")
        waiting = frame.submit("read", "never ran")
        for ask in ("lane", "instance", "locks"):
            with pytest.raises(GuardError, match=r"no lane yet, it will take one of 'ocr\[0\]'"):
                getattr(waiting, ask)
        assert waiting.withdraw()
        lanes.go.set()
    lanes.close()
    assert lanes.withdrawn == [("never ran", "ocr[0]")], "its owner is told all the same"


def test_a_wait_for_a_pool_that_times_out_names_its_lanes(lanes: Lanes) -> None:
    with lanes.guard.open_frame("p[0]") as frame, lanes.guard.open_frame("p[1]") as other:
        frame.submit("read")
        other.submit("read")
        message = r"on any lane of its pool: 'ocr\[0\]' held by"

        def wait() -> None:
            with lanes.guard.open_frame("p[2]") as third:
                with pytest.raises(GuardTimeoutError, match=message):
                    third.enter("read", timeout_s=0)
                timed_out.append(third)

        timed_out: list[object] = []
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        assert timed_out
        lanes.go.set()
