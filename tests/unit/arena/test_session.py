"""A loaded fleet: frames, submissions, slots, failures, reports; on the twin."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena.device import open_device
from arena.device.adaptors import FaultyDevice, TrackingDevice
from arena.device.twin import TwinConfig
from arena.errors import DeviceError, GuardError, GuardTimeoutError
from arena.fleet import Fleet
from arena.plan_files import OpenedPlan, judge_file, open_plan, write_plan
from arena.session import attach, default_device, open_plan_or_fleet, plan_and_load
from planner.errors import DecodeError, PlanError, SpecError, UsageError
from planner.fleet import CrossStream, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from tests.fleets import small_fleet, write_fleet

X = bytes(range(64))


@pytest.fixture
def device() -> Iterator[TrackingDevice]:
    device = TrackingDevice(open_device("twin"))
    device.open()
    yield device
    assert device.outstanding == {}
    device.close()


@pytest.fixture(params=list(CrossStream))
def fleet(request: pytest.FixtureRequest, device: TrackingDevice) -> Iterator[Fleet]:
    """Return a loaded fleet, once for each way to order across streams."""
    spec = small_fleet(request.param, channels=2, frames_in_flight=2)
    with plan_and_load(spec, device=device) as loaded:
        yield loaded


def test_a_step_gives_the_same_alone_and_in_a_frame(fleet: Fleet) -> None:
    alone = fleet.run("p[0].first", {"x": X})
    with fleet.frame("p[1]") as frame:
        again = frame.run("first", X)
        other = frame.run("second", X)
    assert alone.keys() == {"y"}
    assert np.array_equal(alone["y"], again["y"])
    assert not np.array_equal(alone["y"], other["y"])


def test_outputs_depend_on_inputs(fleet: Fleet) -> None:
    changed = bytes(64)
    assert not np.array_equal(
        fleet.run("p[0].first", X)["y"], fleet.run("p[0].first", changed)["y"]
    )


def test_submissions_run_in_the_order_of_the_plan(fleet: Fleet) -> None:
    expected = {step: fleet.run(f"p[0].{step}", X)["y"] for step in ("first", "second", "beside")}
    for _ in range(20):
        with fleet.frame("p[0]") as frame:
            futures = {step: frame.submit(step, X) for step in ("first", "second", "beside")}
            for step, future in futures.items():
                assert np.array_equal(future.result(timeout=30)["y"], expected[step])


def test_a_step_may_run_many_times_and_is_then_closed(fleet: Fleet) -> None:
    with fleet.frame("p[0]") as frame:
        for _ in range(3):
            frame.run("first", X)
        frame.run("second", X)
        with pytest.raises(GuardError, match=r"'first'.*'second'|'second'.*'first'"):
            frame.run("first", X)


def test_frames_number_themselves(fleet: Fleet) -> None:
    numbers = []
    for _ in range(3):
        with fleet.frame("p[0]") as frame:
            numbers.append(frame.number)
    assert numbers == [0, 1, 2]


def test_a_frame_waits_for_its_place_and_says_so(fleet: Fleet) -> None:
    opened = [fleet.frame("p[0]"), fleet.frame("p[0]")]
    caught: list[BaseException] = []

    def late() -> None:
        try:
            fleet.frame("p[0]", timeout_s=0.05)
        except GuardError as error:
            caught.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    thread.join()
    for frame in opened:
        with frame:
            pass
    assert isinstance(caught[0], GuardTimeoutError)
    assert "p[0]" in str(caught[0])


def test_a_wrong_input_leaves_the_frame_usable(fleet: Fleet) -> None:
    with fleet.frame("p[0]") as frame:
        with pytest.raises(UsageError, match=r"'second' of p.0. frame 0: input 'x': found 3 bytes"):
            frame.run("second", b"abc")
        frame.run("first", X)  # `second` was never called, so nothing is closed


def test_an_unknown_step_or_channel_names_the_known(fleet: Fleet) -> None:
    with fleet.frame("p[0]") as frame, pytest.raises(GuardError, match="unknown step 'third'"):
        frame.run("third")
    with pytest.raises(GuardError, match=r"unknown channel 'q\[0\]'"):
        fleet.frame("q[0]")
    with pytest.raises(UsageError, match="expected channel and step"):
        fleet.run("p[0]")


def test_an_exception_ends_the_frame_and_not_the_fleet(fleet: Fleet) -> None:
    frame = fleet.frame("p[0]")
    with pytest.raises(ZeroDivisionError), frame:
        raise ZeroDivisionError
    assert fleet.run("p[0].second", X)["y"].shape == (64,)


def test_cancelling_withdraws_what_waits(fleet: Fleet) -> None:
    with fleet.frame("p[0]") as frame, fleet.frame("p[1]") as other:
        with frame.slot("first"):
            waiting = threading.Thread(target=lambda: None)
            waiting.start()
            future = submit_elsewhere(other, "second")
            assert future.cancel()
            assert future.cancelled()
            assert wait([future], timeout=10).done == {future}
        with pytest.raises(CancelledError):
            future.result(timeout=10)


def submit_elsewhere(frame: Any, step: str) -> Any:
    """Submit from another thread: one that holds a slot makes no other call."""
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(frame.submit(step, X)))
    thread.start()
    thread.join()
    return made[0]


def test_a_slot_hands_out_what_the_application_needs(fleet: Fleet) -> None:
    with fleet.frame("p[0]") as frame:
        frame.submit("first", X).result(timeout=10)
        with frame.slot("second") as slot:
            assert slot.instance == "small@main"
            assert slot.work is not None
            assert slot.work.size_bytes == 8_192
            assert slot.weights is not None
            assert fleet.runner.streams["main"] == slot.stream
            with pytest.raises(GuardError, match="is inside"):
                frame.run("beside", X)


def test_an_exception_inside_a_slot_fails_the_call(fleet: Fleet) -> None:
    with pytest.raises(ZeroDivisionError), fleet.frame("p[0]") as frame, frame.slot("first"):
        raise ZeroDivisionError
    fleet.run("p[0].first", X)


def test_the_report_holds_measured_beside_planned(fleet: Fleet) -> None:
    fleet.run("p[0].first", X)
    report = fleet.report()
    assert report.planned_bytes == fleet.plan.planned_bytes == report.reserved_bytes
    assert report.reserved_bytes <= report.loaded_bytes <= report.peak_bytes
    assert report.peak_bytes <= report.planned_bytes + report.outside_bytes
    assert report.unmodelled_bytes == 0
    assert max(map(len, report.text().splitlines())) <= 80


def test_a_pipeline_of_one_channel_needs_no_index(device: TrackingDevice) -> None:
    with plan_and_load(small_fleet(), device=device) as fleet:
        assert fleet.run("p.first", X).keys() == {"y"}
        with fleet.frame("p") as frame:
            assert str(frame).startswith("p[0]")


def test_the_limit_of_a_frame_is_that_of_its_calls(device: TrackingDevice) -> None:
    with plan_and_load(small_fleet(channels=2), device=device) as fleet:
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with fleet.frame("p[0]") as frame, frame.slot("first"):
                held.set()
                let_go.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        with fleet.frame("p[1]", timeout_s=0.05) as frame:
            with pytest.raises(GuardTimeoutError, match=r"'first' of p\[1\] .* waited 0\.05 s"):
                frame.run("first", X)
            with pytest.raises(GuardTimeoutError, match=r"waited 0\.01 s"):
                frame.run("first", X, timeout_s=0.01)
            let_go.set()
            thread.join()
            assert frame.run("first", X).keys() == {"y"}


def test_closing_twice_is_once(device: TrackingDevice) -> None:
    fleet = plan_and_load(small_fleet(), device=device)
    fleet.close()
    fleet.close()
    with pytest.raises(GuardError, match="closed"):
        fleet.frame("p")


@pytest.mark.parametrize("mode", list(CrossStream))
def test_a_failed_execution_fails_its_frame_alone(
    mode: CrossStream, device: TrackingDevice
) -> None:
    spec = small_fleet(mode)
    faulty = FaultyDevice(device, fail_names=("finish",), fail_call=2)
    with plan_and_load(spec, device=faulty) as fleet:
        with fleet.frame("p") as frame:
            frame.run("first", X)
            with pytest.raises(DeviceError, match="fault 1"):
                frame.run("second", X)
        with fleet.frame("p") as frame:
            assert frame.submit("second", X).result(timeout=10).keys() == {"y"}


@pytest.mark.parametrize("mode", list(CrossStream))
def test_a_submitted_failure_that_nobody_looked_at_is_raised_at_the_end(
    mode: CrossStream, device: TrackingDevice
) -> None:
    spec = small_fleet(mode)
    faulty = FaultyDevice(device, fail_names=("launch",), fail_call=1)
    with plan_and_load(spec, device=faulty) as fleet:
        with pytest.raises(DeviceError, match="fault 1"), fleet.frame("p") as frame:
            frame.submit("first", X)
        with fleet.frame("p") as frame:
            future = frame.submit("first", X)
            assert future.exception(timeout=10) is None


class Unsettled(FaultyDevice):
    """Fails so that nobody knows whether the execution ended."""

    def around(self, name: str, call: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return super().around(name, call, *arguments, **named)
        except DeviceError as error:
            error.unsettled = True
            raise


@pytest.mark.parametrize("mode", list(CrossStream))
def test_an_execution_that_may_still_run_closes_the_fleet(
    mode: CrossStream, device: TrackingDevice
) -> None:
    spec = small_fleet(mode)
    hung = Unsettled(device, fail_names=("finish",), fail_call=2)
    with plan_and_load(spec, device=hung) as fleet:
        fleet.run("p.first", X)
        with pytest.raises(DeviceError), fleet.frame("p") as frame:
            frame.submit("first", X).result(timeout=10)
        with pytest.raises(DeviceError, match="may still be running"):
            fleet.frame("p")


def test_a_plan_file_loads_without_planning(tmp_path: Path, device: TrackingDevice) -> None:
    fleet_file = write_fleet(tmp_path / "street")
    planned = open_plan_or_fleet(fleet_file)
    target = tmp_path / "plan.json"
    write_plan(planned.plan, target, base=planned.base)
    assert judge_file(target) == []
    opened = open_plan(target)
    assert opened.plan.instances == planned.plan.instances
    with plan_and_load(target, device=device) as fleet:
        fleet.run("camera[0].detect", bytes(64))
    with plan_and_load(opened.plan, device=device, base=tmp_path) as fleet:
        fleet.run("door.look", bytes(64))


def test_models_may_come_from_the_caller(tmp_path: Path, device: TrackingDevice) -> None:
    fleet_file = write_fleet(tmp_path / "street")
    encrypted = fleet_file.parent / "models" / "rec.om"
    plain = encrypted.read_bytes()
    encrypted.write_bytes(bytes(byte ^ 0x55 for byte in plain))
    calls = []

    def decrypt() -> bytes:
        calls.append(1)
        return bytes(byte ^ 0x55 for byte in encrypted.read_bytes())

    with plan_and_load(fleet_file, device=device, readers={"reader": decrypt}) as fleet:
        assert fleet.run("door.look", bytes(64)).keys() == {"y"}
        plan = fleet.plan
    assert calls
    encrypted.write_bytes(b"something else")
    with pytest.raises((PlanError, DecodeError)):
        plan_and_load(plan, device=device, base=fleet_file.parent, readers={"reader": decrypt})


def test_a_plan_has_its_limit_inside(tmp_path: Path) -> None:
    planned = open_plan_or_fleet(write_fleet(tmp_path / "street"))
    target = tmp_path / "plan.json"
    write_plan(planned.plan, target, base=planned.base)
    with pytest.raises(UsageError, match="its limit is part of it"):
        open_plan_or_fleet(target, memory_bytes=1)


def test_a_missing_model_file_has_its_place(tmp_path: Path) -> None:
    fleet_file = write_fleet(tmp_path / "street")
    (fleet_file.parent / "models" / "trk.om").unlink()
    with pytest.raises(SpecError, match=r"models\.tracker\.file: there is no file"):
        open_plan_or_fleet(fleet_file)


def model_fleet(*files: str) -> FleetSpec:
    models = tuple(
        ModelSpec(ModelId(f"m{i}"), file=file)
        if file
        else ModelSpec(ModelId(f"m{i}"), work_bytes=1, weight_bytes=1)
        for i, file in enumerate(files)
    )
    steps = tuple(StepSpec(f"s{i}", model.id, "l") for i, model in enumerate(models))
    return FleetSpec("f", models, (PipelineSpec("p", steps),))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("a.onnx", "b.arena", "demo:ocr-det"), "cpu"),
        (("a.om",), "twin"),
        (("",), "twin"),
        (("a.om", ""), "twin"),
    ],
)
def test_the_default_device_is_what_models_are_for(files: tuple[str, ...], expected: str) -> None:
    assert default_device(model_fleet(*files)) == expected


def test_no_device_runs_both_kinds() -> None:
    with pytest.raises(UsageError, match="make two fleets"):
        default_device(model_fleet("a.onnx", "b.om"))


def test_attach_wants_a_stream_for_each_lane(tmp_path: Path) -> None:
    fleet_file = write_fleet(tmp_path / "street")
    with pytest.raises(UsageError, match="one stream of its own for each of 'tracking', 'vision'"):
        attach(fleet_file, context=1, streams={"vision": 2})
    with pytest.raises(UsageError, match="one stream of its own"):
        attach(fleet_file, context=1, streams={"vision": 2, "tracking": 2})


def test_a_plan_that_was_never_judged_is_judged_here(device: TrackingDevice) -> None:
    with plan_and_load(small_fleet(), device=device) as fleet:
        plan = fleet.plan
    broken = replace(plan, height_bytes=plan.height_bytes - 512)
    with pytest.raises(PlanError, match="violations"):
        plan_and_load(broken, device=device)
    assert OpenedPlan(plan, Path()).warnings == ()


def test_a_fleet_that_takes_more_streams_than_are_free_is_refused() -> None:
    device = open_device("twin", twin=TwinConfig(streams_max=3))
    with pytest.raises(DeviceError, match=r"has 1 streams free, .* lanes take 2"):
        plan_and_load(small_fleet(), device=device)
    device.close()


def test_a_plan_without_the_digest_of_a_file_is_not_loaded(
    tmp_path: Path, device: TrackingDevice
) -> None:
    planned = open_plan_or_fleet(write_fleet(tmp_path / "street"))
    sizes = tuple((model, replace(size, file_digest="")) for model, size in planned.plan.sizes)
    rows = tuple(replace(row, weights_key=f"model:{row.model}") for row in planned.plan.instances)
    plan = replace(planned.plan, sizes=sizes, instances=rows)
    with pytest.raises(PlanError, match=r"the plan was made of none"):
        plan_and_load(plan, device=device, base=planned.base)


def test_weights_that_share_by_content_are_compared_by_content(
    tmp_path: Path, device: TrackingDevice
) -> None:
    fleet_file = write_fleet(tmp_path / "street")
    fleet_file.write_text(fleet_file.read_text().replace("64MiB}", "64MiB, dedupe: weights}"))
    planned = open_plan_or_fleet(fleet_file)
    with plan_and_load(planned.plan, device=device, base=planned.base) as fleet:
        fleet.run("door.look", bytes(64))
    digest = dict(planned.plan.sizes)[ModelId("detector")].weights_digest
    sizes = tuple(
        (model, replace(size, weights_digest=digest) if model == "reader" else size)
        for model, size in planned.plan.sizes
    )
    forged = replace(planned.plan, sizes=sizes)
    with pytest.raises(PlanError):
        plan_and_load(forged, device=device, base=planned.base)


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (lambda: 1 / 0, "models.reader: its reader failed: ZeroDivisionError"),
        (lambda: None, "models.reader: its reader returned NoneType, expected bytes"),
    ],
)
def test_a_reader_that_fails_names_its_model(reader: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        plan_and_load(write_fleet(tmp_path / "street"), device="twin", readers={"reader": reader})


def test_a_plan_that_is_cut_off_is_called_so(tmp_path: Path) -> None:
    planned = open_plan_or_fleet(write_fleet(tmp_path / "street"))
    target = tmp_path / "plan.json"
    write_plan(planned.plan, target, base=planned.base)
    target.write_bytes(target.read_bytes()[:2_000])
    with pytest.raises(DecodeError, match=r"plan\.json: the plan file is changed or cut off"):
        open_plan_or_fleet(target)
    with pytest.raises(DecodeError, match="or one that is cut off"):
        judge_file(target)


def test_a_device_that_does_not_run_a_format_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'detector' is an \.om file, .* use twin or acl"):
        plan_and_load(write_fleet(tmp_path / "street"), device="cpu")
    with pytest.raises(UsageError, match=r"'big' is declared sizes alone, .* use twin"):
        plan_and_load(small_fleet(), device="cpu")


def test_planning_that_cannot_be_imported_points_to_plan_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "arena.planning", None)
    with pytest.raises(UsageError, match="load the plan file here"):
        plan_and_load(small_fleet(), device="twin")
