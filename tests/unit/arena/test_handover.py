"""Tensors handed on, on the twin and with real networks: bit for bit as if passed by hand."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.device import open_device
from arena.device.adaptors import FaultyDevice
from arena.device.base import Device
from arena.errors import DeviceError, GuardError, RaceError
from arena.exercise import exercise
from arena.fleet import Fleet
from arena.handover import Handover
from arena.plan_files import OpenedPlan
from arena.references import execute_once
from arena.session import load_opened, plan_and_load
from planner.errors import PlanError, UsageError
from planner.fleet import CrossStream, IoPlace
from planner.handover import BufferUse
from planner.lanes import LanePool
from planner.plan import Plan
from tests.handing import BUILDERS, IMAGE_BYTES, twin_fleet

IMAGE = bytes(k % 251 for k in range(IMAGE_BYTES))
OTHER = bytes(k % 241 for k in range(IMAGE_BYTES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("handing")


@pytest.fixture(
    params=[(device, io) for device in BUILDERS for io in IoPlace],
    ids=lambda pair: f"{pair[0]}, io {pair[1].value}",
)
def fleet(request: pytest.FixtureRequest, folder: Path) -> Iterator[Fleet]:
    device, io = request.param
    spec = BUILDERS[device](folder, io=io)
    with plan_and_load(spec, device=device, base=folder) as loaded:
        yield loaded


def _bytes(outputs: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: memoryview(array).tobytes() for name, array in outputs.items()}


def _alone(fleet: Fleet, instance: str, **inputs: bytes) -> dict[str, bytes]:
    """Execute an instance by itself, on host arrays."""
    item = next(i for name, i in fleet.runner.loaded.instances.items() if name == instance)
    stream = fleet.runner.streams[item.instance.lane]
    arguments = [inputs[spec.name] for spec in item.description.visible_inputs]
    outputs = execute_once(fleet.device, item, arguments, stream)
    fleet.runner.settle()
    return dict(zip([spec.name for spec in item.description.outputs], outputs, strict=True))


def _by_hand(fleet: Fleet, image: bytes) -> dict[str, bytes]:
    detected = _alone(fleet, "first@vision", x=image)["y"]
    read = _alone(fleet, "second@vision", x=detected)["y"]
    return {
        "detect": detected,
        "read": read,
        "track": _alone(fleet, "second@tracking", x=detected)["y"],
        "store": _alone(fleet, "first@vision", x=read)["y"],
    }


def test_fed_steps_give_what_passing_arrays_by_hand_gives(fleet: Fleet) -> None:
    for image in (IMAGE, OTHER, IMAGE):
        wanted = _by_hand(fleet, image)
        with fleet.frame("camera") as frame:
            found = {"detect": _bytes(frame.run("detect", image))["y"]}
            for step in ("read", "track", "store"):
                found[step] = _bytes(frame.run(step))["y"]
        assert found == wanted


def test_only_the_outputs_that_are_wanted_come_to_the_host(fleet: Fleet) -> None:
    wanted = _by_hand(fleet, IMAGE)
    with fleet.frame("camera") as frame:
        assert frame.run("detect", IMAGE, outputs=()) == {}
        assert frame.submit("read", outputs=[]).result() == {}
        assert _bytes(frame.run("store", outputs=["y"]))["y"] == wanted["store"]
        with pytest.raises(UsageError, match=r"unknown output 'z', expected y"):
            frame.run("store", outputs=["z"])


def test_a_step_that_runs_several_times_hands_on_its_last_output(fleet: Fleet) -> None:
    wanted = _by_hand(fleet, OTHER)
    with fleet.frame("camera") as frame:
        frame.run("detect", IMAGE)
        frame.run("detect", OTHER, outputs=())
        assert _bytes(frame.run("read"))["y"] == wanted["read"]
        assert _bytes(frame.run("read"))["y"] == wanted["read"], "as often as one likes"


def test_submitted_steps_find_what_is_handed_on(fleet: Fleet) -> None:
    wanted = _by_hand(fleet, IMAGE)
    with fleet.frame("camera") as frame:
        futures = {"detect": frame.submit("detect", IMAGE)}
        futures |= {step: frame.submit(step) for step in ("read", "track", "store")}
        found = {step: _bytes(future.result())["y"] for step, future in futures.items()}
    assert found == wanted


def test_an_input_that_nobody_wrote_in_this_frame_is_the_caller_s_to_give(fleet: Fleet) -> None:
    wanted = _alone(fleet, "second@vision", x=IMAGE)
    with fleet.frame("camera") as frame:
        frame.run("detect", OTHER)
    with fleet.frame("camera") as frame:
        with pytest.raises(
            UsageError,
            match=r"'read' of .*: input 'x' is fed by 'y' of 'detect', which was not called",
        ):
            frame.run("read")
        assert _bytes(frame.run("read", IMAGE)) == wanted
        assert _bytes(frame.run("read", {"x": IMAGE})) == wanted


def test_a_bare_input_serves_the_only_one_that_is_not_handed_on(fleet: Fleet) -> None:
    zeros = bytes(64)
    wanted = _alone(fleet, "listener@audio", x=IMAGE[:64], h=zeros)
    with fleet.frame("microphone[0]") as frame:
        assert _bytes(frame.run("listen", IMAGE[:64])) == wanted
    with fleet.frame("camera") as frame:
        frame.run("detect", IMAGE)
        assert frame.run("read", OTHER), "an input that is fed may be given"
    with fleet.frame("microphone[0]") as frame:
        with pytest.raises(UsageError, match=r"'listen' of .*: input 'x' is missing"):
            frame.run("listen")
        with pytest.raises(UsageError, match="unknown input 'z'"):
            frame.run("listen", {"x": zeros, "z": zeros})


def test_a_state_over_a_hundred_frames_is_that_of_a_loop_on_the_host(fleet: Fleet) -> None:
    inputs = [
        [bytes((7 * k + 3 * n + c) % 64 for k in range(64)) for n in range(100)] for c in (0, 1)
    ]
    wanted: list[list[dict[str, bytes]]] = [[], []]
    for channel in (0, 1):
        state = bytes(64)
        for sound in inputs[channel]:
            outputs = _alone(fleet, "listener@audio", x=sound, h=state)
            state = outputs["hn"]
            wanted[channel].append(outputs)
    for number in range(100):
        for channel in (0, 1):
            with fleet.frame(f"microphone[{channel}]") as frame:
                found = frame.run("listen", inputs[channel][number])
            assert _bytes(found) == wanted[channel][number], (channel, number)
    assert len({outputs["hn"] for outputs in wanted[0]}) > 50, "the state goes on"


def test_a_state_starts_from_zeros_again_when_told(fleet: Fleet) -> None:
    sound = IMAGE[:64]
    with fleet.frame("microphone[1]") as frame:
        first = _bytes(frame.run("listen", sound))
        assert _bytes(frame.run("listen", sound)) != first, "the second run goes on"
    fleet.reset_states("microphone[1]")
    with fleet.frame("microphone[1]") as frame:
        assert _bytes(frame.run("listen", sound)) == first


def test_states_are_reset_of_channels_that_exist(fleet: Fleet) -> None:
    with pytest.raises(GuardError) as of_frame:
        fleet.frame("microphones")
    with pytest.raises(GuardError, match="unknown channel 'microphones', expected") as of_states:
        fleet.reset_states("microphones")
    assert str(of_states.value) == str(of_frame.value)


def test_a_state_may_be_given(fleet: Fleet) -> None:
    sound, state = IMAGE[:64], OTHER[:64]
    wanted = _alone(fleet, "listener@audio", x=sound, h=state)
    after = _alone(fleet, "listener@audio", x=sound, h=wanted["hn"])
    with fleet.frame("microphone[0]") as frame:
        assert _bytes(frame.run("listen", {"x": sound, "h": state})) == wanted
        assert _bytes(frame.run("listen", {"x": sound})) == after


@pytest.mark.parametrize("device", BUILDERS)
def test_frames_in_flight_have_tensors_of_their_own(device: str, folder: Path) -> None:
    spec = BUILDERS[device](folder, 2)
    with plan_and_load(spec, device=device, base=folder) as fleet:
        names = [row.name for row in fleet.plan.buffers if row.step == "detect"]
        assert names == ["camera[0].detect.y slot 0", "camera[0].detect.y slot 1"]
        wanted = [_by_hand(fleet, image) for image in (IMAGE, OTHER)]
        with fleet.frame("camera") as one, fleet.frame("camera") as two:
            one.run("detect", IMAGE)
            two.run("detect", OTHER)
            found = {step: _bytes(two.run(step))["y"] for step in ("read", "track", "store")}
            assert found == {step: wanted[1][step] for step in found}
            assert _bytes(one.run("read"))["y"] == wanted[0]["read"], "the first keeps its own"


@pytest.mark.parametrize(
    ("cross_stream", "io"),
    [
        (CrossStream.HOST, IoPlace.OUTSIDE),
        (CrossStream.EVENTS, IoPlace.OUTSIDE),
        (CrossStream.HOST, IoPlace.ARENA),
    ],
)
@pytest.mark.parametrize("device", BUILDERS)
@pytest.mark.parametrize("frames_in_flight", [1, 2])
def test_driving_hard_finds_no_mismatch(
    device: str, cross_stream: CrossStream, io: IoPlace, frames_in_flight: int, folder: Path
) -> None:
    spec = BUILDERS[device](folder, frames_in_flight)
    spec = replace(spec, device=replace(spec.device, cross_stream=cross_stream, io=io))
    with plan_and_load(spec, device=device, base=folder, race_check=True) as fleet:
        outcome = exercise(fleet, 25, threads=3)
        again = exercise(fleet, 5, threads=2)
    assert (outcome.executions, outcome.mismatches) == (25 * 6, 0)
    assert (again.executions, again.mismatches) == (5 * 6, 0)


@pytest.mark.parametrize("device", BUILDERS)
def test_any_lane_of_a_pool_finds_what_is_handed_on(device: str, folder: Path) -> None:
    spec = BUILDERS[device](folder, 2)
    camera, microphone = spec.pipelines
    pool = LanePool("ocr", 2)
    steps = tuple(
        replace(step, lane=pool) if step.id in ("detect", "read") else step for step in camera.steps
    )
    listen = replace(microphone.steps[0], lane=LanePool("audio", 2))
    pipelines = (replace(camera, steps=steps), replace(microphone, steps=(listen,)))
    fleet = replace(spec, pipelines=pipelines)
    with plan_and_load(fleet, device=device, base=folder, race_check=True) as loaded:
        outcome = exercise(loaded, 25, threads=3)
    assert (outcome.executions, outcome.mismatches) == (25 * 6, 0)


def test_without_the_guard_what_is_handed_on_is_still_driven(folder: Path) -> None:
    with plan_and_load(twin_fleet(folder), device="twin") as fleet:
        outcome = exercise(fleet, 10, threads=3, guarded=False)
    assert outcome.executions == 10 * 6


# ---- failures


@pytest.fixture
def twin() -> Iterator[Device]:
    device = open_device("twin")
    device.open()
    yield device
    device.close()


def test_a_writer_that_failed_leaves_nothing_to_read(twin: Device, folder: Path) -> None:
    faulty = FaultyDevice(twin, fail_call=2, fail_names=("finish",))
    with plan_and_load(twin_fleet(folder), device=faulty) as fleet, fleet.frame("camera") as frame:
        frame.run("detect", IMAGE)
        with pytest.raises(DeviceError, match="injected"):
            frame.run("detect", OTHER)
        with pytest.raises(UsageError, match="'y' of 'detect', which left none"):
            frame.run("read")


def test_a_run_that_failed_leaves_the_state_that_it_read(twin: Device, folder: Path) -> None:
    faulty = FaultyDevice(twin, fail_call=2, fail_names=("finish",))
    sound = IMAGE[:64]
    with plan_and_load(twin_fleet(folder), device=faulty) as fleet:
        with fleet.frame("microphone[0]") as frame:
            first = _bytes(frame.run("listen", sound))
        with (
            fleet.frame("microphone[0]") as frame,
            pytest.raises(DeviceError, match="injected"),
        ):
            frame.run("listen", sound)
        with fleet.frame("microphone[0]") as frame:
            second = _bytes(frame.run("listen", sound))
        assert second == _alone(fleet, "listener@audio", x=sound, h=first["hn"])


def test_zeros_that_cannot_be_written_fail_the_run(twin: Device, folder: Path) -> None:
    faulty = FaultyDevice(twin, fail_call=2, fail_names=("fill",))  # the first clears the arena
    with plan_and_load(twin_fleet(folder), device=faulty) as fleet:
        with (
            fleet.frame("microphone[0]") as frame,
            pytest.raises(DeviceError, match="fill: fault"),
        ):
            frame.run("listen", IMAGE[:64])
        with fleet.frame("microphone[0]") as frame:
            assert frame.run("listen", IMAGE[:64])


def _moved(fleet: Fleet, onto: str) -> Plan:
    """A plan whose boxes lie where an instance works."""
    offset = next(row.work_offset for row in fleet.plan.instances if row.id == onto)
    assert offset is not None
    first, *others = fleet.plan.buffers
    return replace(fleet.plan, buffers=(replace(first, offset=offset), *others))


def test_the_race_check_refuses_to_read_what_was_overwritten(twin: Device, folder: Path) -> None:
    with plan_and_load(twin_fleet(folder), device=twin) as fleet:
        wrong = _moved(fleet, "listener@audio")
    opened = OpenedPlan(wrong, folder)
    with load_opened(opened, device=twin) as fleet, fleet.frame("camera") as frame:
        frame.run("detect", IMAGE)
        frame.run("read")
        with fleet.frame("microphone[0]") as other:
            other.run("listen", IMAGE[:64])
        with pytest.raises(RaceError, match=r"'track'.* reads .*, which listener@audio .* has"):
            frame.run("track")


def test_the_race_check_refuses_unordered_use_of_what_is_handed_on(
    twin: Device, folder: Path
) -> None:
    with plan_and_load(twin_fleet(folder), device=twin) as fleet:
        wrong = _moved(fleet, "listener@audio")
    opened = OpenedPlan(wrong, folder)
    with (
        load_opened(opened, device=twin) as fleet,
        fleet.frame("camera") as frame,
        fleet.frame("microphone[0]") as other,
    ):
        frame.submit("detect", IMAGE).result()
        future = other.submit("listen", IMAGE[:64])
        with pytest.raises(RaceError, match=r"share .*: no stream, event"):
            future.result()


def test_models_of_other_tensors_are_refused(fleet: Fleet) -> None:
    first, *others = fleet.plan.buffers
    wrong = replace(fleet.plan, buffers=(replace(first, size_bytes=64), *others))
    with pytest.raises(
        PlanError, match=r"has 64 bytes for 'y', the loaded model has \{'y': 1728\}"
    ):
        Handover(wrong, fleet.runner.loaded)


# ---- inputs and outputs of instances in the arena


@pytest.mark.parametrize("device", BUILDERS)
def test_planned_inputs_and_outputs_take_nothing_outside(device: str, folder: Path) -> None:
    spec = BUILDERS[device](folder, io=IoPlace.ARENA)
    with plan_and_load(spec, device=device, base=folder) as fleet:
        assert fleet.plan.outside_bytes == 0
        blocks = [row.name for row in fleet.plan.buffers if row.use is BufferUse.INSTANCE]
        assert blocks == [f"{row.id} io" for row in fleet.plan.instances]
        exercise(fleet, 3)
        report = fleet.report()
    assert report.outside_bytes == 0
    assert report.peak_bytes <= report.planned_bytes
    with plan_and_load(BUILDERS[device](folder), device=device, base=folder) as fleet:
        assert fleet.plan.needed_bytes >= report.planned_bytes


def test_host_arguments_lie_in_the_planned_block(fleet: Fleet) -> None:
    rows = {row.step: row for row in fleet.plan.buffers if row.use is BufferUse.INSTANCE}
    for item in fleet.runner.loaded.instances.values():
        places = (*item.input_places, *item.output_places)
        assert len(places) == (len(item.description.inputs) * 2 if rows else 0)
        if rows:
            block = fleet.runner.loaded.arena.buffer(rows[item.instance.id])
            end = block.pointer
            for place in places:
                assert end <= place.pointer
                assert place.pointer % 64 == 0
                end = place.pointer + place.size_bytes + 32
            assert end <= block.pointer + block.size_bytes


def test_models_of_other_sizes_are_refused_at_load(twin: Device, folder: Path) -> None:
    with plan_and_load(twin_fleet(folder, io=IoPlace.ARENA), device=twin) as fleet:
        plan = fleet.plan
    sizes = tuple(
        (name, replace(size, inputs=(replace(size.inputs[0], size_bytes=64), *size.inputs[1:])))
        for name, size in plan.sizes
    )
    wrong = replace(plan, sizes=sizes)
    with pytest.raises(PlanError, match=r"inputs and outputs have .* bytes, the plan has \[64, "):
        load_opened(OpenedPlan(wrong, folder), device=twin)


# ---- applications that execute themselves


def test_a_slot_shows_where_tensors_are(fleet: Fleet) -> None:
    wanted = _by_hand(fleet, IMAGE)
    with fleet.frame("camera") as frame:
        with frame.slot("detect") as slot:
            assert slot.inputs == {}
            _execute(fleet, "first@vision", [IMAGE], [slot.outputs["y"]], slot.stream)
        with frame.slot("read") as slot:
            inputs = [slot.inputs["x"]]
            _execute(fleet, "second@vision", inputs, [slot.outputs["y"]], slot.stream)
        assert _bytes(frame.run("store"))["y"] == wanted["store"]
    with fleet.frame("camera") as frame, frame.slot("read") as slot:
        assert slot.inputs == {}, "nothing was written in this frame"
    sound = IMAGE[:64]
    expected = _alone(fleet, "listener@audio", x=sound, h=bytes(64))
    with fleet.frame("microphone[0]") as frame:
        with frame.slot("listen") as slot:
            outputs = [None, slot.outputs["hn"]]
            _execute(fleet, "listener@audio", [sound, slot.inputs["h"]], outputs, slot.stream)
        after = _alone(fleet, "listener@audio", x=sound, h=expected["hn"])
        assert _bytes(frame.run("listen", sound)) == after


def _execute(fleet: Fleet, instance: str, inputs: Any, outputs: Any, stream: Any) -> None:
    item = next(i for name, i in fleet.runner.loaded.instances.items() if name == instance)
    fleet.device.finish(fleet.device.launch(item.handle, inputs, outputs, stream))
