"""What `arena run` does: all frames in flight, all outputs compared, nothing left behind."""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from arena.device import open_device
from arena.device.adaptors import FaultyDevice
from arena.device.adaptors.adaptor import Adaptor
from arena.device.twin import TwinConfig
from arena.errors import DeviceError
from arena.exercise import exercise
from arena.fleet import Fleet
from arena.frames import Frame
from arena.plan_files import OpenedPlan
from arena.references import INPUTS_EACH
from arena.running import Submission
from arena.session import load_opened, plan_and_load
from planner.errors import UsageError
from planner.fit import fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId
from planner.plan import AddedKind, AddedOrder
from tests.fleets import declared_sizes


def spec(*, channels: int, frames_in_flight: int) -> FleetSpec:
    models = tuple(ModelSpec(ModelId(m), work_bytes=4096, weight_bytes=512) for m in ("d", "r"))
    steps = StepSpec("detect", ModelId("d"), "a"), StepSpec("read", ModelId("r"), "b", ("detect",))
    camera = PipelineSpec("camera", steps, channels, frames_in_flight)
    door = PipelineSpec("door", (StepSpec("look", ModelId("d"), "c"),))
    return FleetSpec("street", models, (camera, door))


class Renamed(Adaptor):
    """A device that is not the twin, as far as its name tells."""

    name = "acl"


class InProgress:
    """Counts open frames of each channel, and the most at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.together = 0
        lock = threading.Lock()
        open_frame, leave = Fleet.frame, Frame.__exit__

        def opened(fleet: Fleet, channel: str, *, timeout_s: float | None = 60.0) -> Frame:
            frame = open_frame(fleet, channel, timeout_s=timeout_s)
            with lock:
                self.now[channel] += 1
                self.most[channel] = max(self.most[channel], self.now[channel])
                self.together = max(self.together, sum(self.now.values()))
            return frame

        def left(
            frame: Frame,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            with lock:
                self.now[frame._frame.channel] -= 1
            leave(frame, kind, error, traceback)

        monkeypatch.setattr(Fleet, "frame", opened)
        monkeypatch.setattr(Frame, "__exit__", left)


@pytest.fixture
def in_progress(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProgress]:
    watched = InProgress(monkeypatch)
    yield watched
    assert not any(watched.now.values()), "frames are left, also after failures"


@pytest.mark.parametrize("threads", [1, 3, 50])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_channel_has_all_its_frames_in_flight(
    d: int, threads: int, in_progress: InProgress
) -> None:
    done: Counter[str] = Counter()
    with plan_and_load(spec(channels=3, frames_in_flight=d), device="twin") as fleet:
        outcome = exercise(fleet, 5, threads=threads, on_frame=lambda name: done.update([name]))
    assert (outcome.executions, outcome.mismatches) == (5 * (3 * 2 + 1), 0)
    channels = [f"camera[{i}]" for i in range(3)]
    assert in_progress.most == {**dict.fromkeys(channels, d), "door[0]": 1}
    if threads == 1:
        assert in_progress.together == 3 * d + 1
    assert done == dict.fromkeys([*channels, "door[0]"], 5)


def test_steps_are_submitted_in_the_order_that_planning_added() -> None:
    """A step that is declared after another may have to run before it."""
    works = {"count": 65_536, "find": 65_536, "read": 4096}
    models = tuple(
        ModelSpec(ModelId(name), work_bytes=work - 32, weight_bytes=0)
        for name, work in works.items()
    )
    steps = (
        StepSpec("count", ModelId("count"), "x", time_ns=5),
        StepSpec("find", ModelId("find"), "y", time_ns=2),
        StepSpec("read", ModelId("read"), "y", ("find",), time_ns=5),
    )
    fleet = FleetSpec("street", models, (PipelineSpec("camera", steps),))
    plan = fit_fleet(fleet, declared_sizes(fleet), budget_bytes=65_536 + 4096)
    find, count = InstanceId("find@y"), InstanceId("count@x")
    assert plan.added == (AddedOrder(find, count, AddedKind.ORDER),)
    with load_opened(OpenedPlan(plan, Path()), device="twin") as loaded:
        outcome = exercise(loaded, 3)
    assert (outcome.executions, outcome.mismatches) == (9, 0)


def test_fewer_frames_than_may_be_in_flight(in_progress: InProgress) -> None:
    with plan_and_load(spec(channels=1, frames_in_flight=4), device="twin") as fleet:
        assert exercise(fleet, 2).executions == 2 * 3
        assert exercise(fleet, 0).executions == 0
    assert in_progress.most["camera[0]"] == 2


def test_frames_in_flight_run_beside_each_other() -> None:
    """Detect of each frame meets read of the frame before it: each waits inside for the other."""
    meeting = threading.Barrier(2, timeout=60)
    calls: Counter[str] = Counter()
    frames = 4

    def meet(model: str) -> int:
        calls[model] += 1
        number = calls[model] - INPUTS_EACH  # after those alone, counted from 1
        if (model == "d" and number > 1) or (model == "r" and 0 < number < frames):
            meeting.wait()
        return 0

    street = spec(channels=1, frames_in_flight=2)
    device = open_device("twin", twin=TwinConfig(step_ns=meet))
    try:
        with plan_and_load(replace(street, pipelines=street.pipelines[:1]), device=device) as fleet:
            outcome = exercise(fleet, frames)
    finally:
        device.close()
    assert (outcome.executions, outcome.mismatches) == (2 * frames, 0)


def test_one_thread_of_an_application_can_keep_its_frames_going(in_progress: InProgress) -> None:
    """As docs/times.md shows it: open, submit, leave the oldest first."""
    opened: deque[tuple[Frame, Submission]] = deque()
    numbers = []

    def finish(frame: Frame, submission: Submission) -> None:
        with frame:
            assert len(submission.result()["y"]) == 64
            numbers.append(frame.number)

    with plan_and_load(spec(channels=1, frames_in_flight=2), device="twin") as fleet:
        for _ in range(5):
            if len(opened) == 2:
                finish(*opened.popleft())
            frame = fleet.frame("camera[0]")
            frame.submit("detect", {"x": bytes(64)})
            opened.append((frame, frame.submit("read", {"x": bytes(64)})))
        while opened:
            finish(*opened.popleft())
    assert numbers == list(range(5))
    assert in_progress.most["camera[0]"] == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_leaves_no_frame_open(threads: int, in_progress: InProgress) -> None:
    device = FaultyDevice(open_device("twin"), fail_call=20, fail_names=("finish",))
    done: list[str] = []
    try:
        with (
            pytest.raises(DeviceError, match="injected"),
            plan_and_load(spec(channels=4, frames_in_flight=2), device=device) as fleet,
        ):
            exercise(fleet, 1_000, threads=threads, on_frame=done.append)
    finally:
        device.close()
    assert len(done) < 1_000, "the others stopped as well"


def test_outputs_that_differ_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with plan_and_load(spec(channels=2, frames_in_flight=1), device="twin") as fleet:
        run = fleet.runner.execute

        def changed(call: Any, request: Any) -> Any:
            outputs = run(call, request)
            return {**outputs, "y": bytes(64)} if call.step == "read" else outputs

        monkeypatch.setattr(fleet.runner, "execute", changed)
        outcome = exercise(fleet, 3)
    assert (outcome.executions, outcome.mismatches) == (3 * 5, 3 * 2)


def test_only_the_twin_runs_without_the_guard() -> None:
    with plan_and_load(spec(channels=2, frames_in_flight=2), device="twin") as fleet:
        outcome = exercise(fleet, 4, threads=3, guarded=False)
        assert outcome.executions == 4 * (2 * 2 + 1)
    twin = open_device("twin")
    try:
        with (
            plan_and_load(spec(channels=1, frames_in_flight=1), device=Renamed(twin)) as fleet,
            pytest.raises(UsageError, match="only the twin may run so"),
        ):
            exercise(fleet, 1, guarded=False)
    finally:
        twin.close()
