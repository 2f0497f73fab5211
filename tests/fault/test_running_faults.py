"""Closing, interrupts and failures while executions are under way: nothing is freed under them."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from arena.device import open_device
from arena.device.adaptors import Adaptor, FaultyDevice, Race, RaceCheck, TrackingDevice
from arena.device.base import Device, Launch
from arena.errors import DeviceError, GuardError
from arena.fleet import Fleet
from arena.session import plan_and_load
from planner.fleet import CrossStream
from tests.fleets import small_fleet

X = bytes(64)
MODES = list(CrossStream)


@pytest.fixture
def twin() -> Iterator[TrackingDevice]:
    device = TrackingDevice(open_device("twin"))
    device.open()
    yield device
    assert device.outstanding == {}
    device.close()


def run_a_frame(fleet: Fleet) -> None:
    with fleet.frame("p", timeout_s=20) as frame:
        for step in ("first", "second", "beside"):
            frame.submit(step, X)


def test_closing_inside_a_slot_is_refused_and_changes_nothing(twin: TrackingDevice) -> None:
    with plan_and_load(small_fleet(), device=twin) as fleet:
        before = twin.outstanding
        with fleet.frame("p") as frame, frame.slot("first"):
            with pytest.raises(GuardError, match="inside"):
                fleet.close()
            assert twin.outstanding == before
        fleet.run("p.first", X)


def test_two_threads_may_close(twin: TrackingDevice) -> None:
    fleet = plan_and_load(small_fleet(), device=twin)
    fleet.run("p.first", X)
    threads = [threading.Thread(target=fleet.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Interrupting(Adaptor):
    """Raises KeyboardInterrupt out of one call, once, as Ctrl-C does."""

    def __init__(self, inner: Device, name: str) -> None:
        super().__init__(inner)
        self.wanted = name
        self.launches: list[Launch] = []
        self.armed = False

    def around(self, name: str, call: Any, *arguments: Any, **named: Any) -> Any:
        if self.armed and name == self.wanted:
            self.armed = False
            raise KeyboardInterrupt
        return super().around(name, call, *arguments, **named)


@pytest.mark.parametrize("call", ["finish", "launch"])
def test_an_interrupted_execution_is_waited_for(call: str, twin: TrackingDevice) -> None:
    device = Interrupting(twin, call)
    with plan_and_load(small_fleet(), device=device) as fleet:
        device.armed = True
        with pytest.raises(KeyboardInterrupt):
            fleet.run("p.first", X)
        run_a_frame(fleet)  # nobody was refused, nothing is still executing


def test_an_interrupted_slot_is_waited_for(twin: TrackingDevice) -> None:
    device = Interrupting(twin, "synchronize")
    with plan_and_load(small_fleet(), device=device) as fleet:
        frame = fleet.frame("p")
        with pytest.raises(KeyboardInterrupt), frame, frame.slot("first"):
            device.armed = True
        run_a_frame(fleet)


@pytest.mark.parametrize(
    "name", ["record_event", "wait_event", "destroy_event", "launch", "finish"]
)
@pytest.mark.parametrize("nth", range(1, 7))
def test_one_failure_in_a_running_fleet_leaves_it_usable(
    name: str, nth: int, twin: TrackingDevice
) -> None:
    faulty = FaultyDevice(twin, fail_names=(name,), fail_call=nth)
    with plan_and_load(small_fleet(CrossStream.EVENTS), device=faulty) as fleet:
        failures = 0
        for _ in range(20):
            try:
                run_a_frame(fleet)
            except DeviceError:
                failures += 1
        assert failures <= 1
        assert fleet.runner.broken is None


@pytest.mark.parametrize("mode", MODES)
def test_what_follows_a_failed_execution_is_no_race(
    mode: CrossStream, twin: TrackingDevice
) -> None:
    faulty = FaultyDevice(twin, fail_names=("finish",), fail_call=1)
    with plan_and_load(small_fleet(mode), device=faulty) as fleet:
        with pytest.raises(DeviceError):
            run_a_frame(fleet)
        other = threading.Thread(target=lambda: outcome.append(fleet.run("p.beside", X)))
        outcome: list[dict[str, Any]] = []
        other.start()
        other.join()
        assert outcome[0].keys() == {"y"}


def test_a_withdrawn_submission_is_not_lost_silently(twin: TrackingDevice) -> None:
    with plan_and_load(small_fleet(), device=twin) as fleet:
        frame = fleet.frame("p")
        holder = threading.Thread(target=lambda: hold(frame))
        holder.start()
        assert held.wait(10)
        frame.submit("second", X)
        fleet.runner.guard.stop("for the test")
        release.set()
        holder.join()
        with pytest.raises(GuardError, match="was withdrawn before it ran"):
            frame.__exit__(None, None, None)


held, release = threading.Event(), threading.Event()


def hold(frame: Any) -> None:
    with frame.slot("first"):
        held.set()
        assert release.wait(10)


def test_a_cancelled_submission_is_nobodys_failure(twin: TrackingDevice) -> None:
    with plan_and_load(small_fleet(), device=twin) as fleet, fleet.frame("p") as frame:
        with frame.slot("first"):
            made: list[Any] = []
            thread = threading.Thread(target=lambda: made.append(frame.submit("second", X)))
            thread.start()
            thread.join()
            assert made[0].cancel()
        with pytest.raises(CancelledError):
            made[0].result(timeout=5)


def test_a_race_check_of_the_callers_own_is_not_wrapped_again(twin: TrackingDevice) -> None:
    races: list[Race] = []
    checked = RaceCheck(twin, races)
    with plan_and_load(small_fleet(), device=FaultyDevice(checked)) as fleet:
        assert not isinstance(fleet.device, RaceCheck)
    with plan_and_load(small_fleet(), device=checked) as fleet:
        run_a_frame(fleet)
        assert fleet.device is checked
    assert races == []


def test_frames_leave_nothing_behind(twin: TrackingDevice) -> None:
    for mode in MODES:
        with plan_and_load(small_fleet(mode), device=twin) as fleet:
            run_a_frame(fleet)
            before = twin.outstanding
            for _ in range(300):
                run_a_frame(fleet)
            fleet.runner.guard.close(timeout_s=20)
            assert {**before, "event": 0} == {**twin.outstanding, "event": 0}


def test_a_second_failure_while_reserving_keeps_the_cause(
    twin: TrackingDevice, tmp_path: Path
) -> None:
    faulty = FaultyDevice(twin, fail_names=("fill", "free"), fail_call=1, times=2)
    with pytest.raises(DeviceError, match="fill"):
        plan_and_load(small_fleet(), device=faulty, base=tmp_path)
