from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given

from planner.errors import SpecError
from planner.fleet import (
    COUNT_MAX,
    DeviceSpec,
    FleetSpec,
    ModelSpec,
    PipelineSpec,
    ScheduleSpec,
    StepSpec,
    channel_name,
    instance_id,
)
from planner.model import ModelId
from planner.units import BYTES_MAX, RATE_MAX
from tests.strategies import fleets

DET, REC = ModelId("det"), ModelId("rec")
STEPS = (StepSpec("detect", DET, "vision"), StepSpec("read", REC, "vision", ("detect",)))
CAMERA = PipelineSpec("camera", STEPS)
MODELS = (ModelSpec(DET, file="det.om"), ModelSpec(REC, work_bytes=1, weight_bytes=2))
FLEET = FleetSpec("street", MODELS, (CAMERA,))
HUGE = 1 << 20_000  # Python refuses to print it in decimal

SIZE = r"expected 0 to 2\^62 bytes"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScheduleSpec(-1), "schedule.fit: found -1, " + SIZE),
        # names
        (lambda: ModelSpec(ModelId(""), file="x"), "models.: name '': expected printable text"),
        (lambda: ModelSpec(ModelId(" a"), file="x"), "models. a: name ' a': .* without blank ends"),
        (
            lambda: ModelSpec(ModelId("a\n"), file="x"),
            r"models.a\\n: name 'a\\n': expected printable text",
        ),
        (lambda: ModelSpec(ModelId("a\0b"), file="x"), r"models.a\\x00b: name 'a\\x00b': expected"),
        (
            lambda: ModelSpec(ModelId("a@b"), file="x"),
            "models.a@b: name 'a@b' has '@', which addresses parts of a fleet",
        ),
        (lambda: StepSpec("a.b", DET, "x"), "steps.a.b: name 'a.b' has '.', which addresses"),
        (lambda: StepSpec("a]", DET, "x"), r"steps.a\]: name 'a\]' has '\]', which addresses"),
        (lambda: StepSpec("a", DET, ""), "steps.a.lane: name ''"),
        (lambda: StepSpec("a", DET, "x@y"), "steps.a.lane: name 'x@y' has '@'"),
        (lambda: StepSpec("a", DET, "x", locks=("g", "")), r"steps.a.locks\[1\]: name ''"),
        (lambda: StepSpec("a", DET, "x", locks=("g@",)), r"steps.a.locks\[0\]: name 'g@' has '@'"),
        (lambda: PipelineSpec("a[0]", STEPS), r"pipelines.a\[0\]: name 'a\[0\]' has '\['"),
        (lambda: PipelineSpec("", STEPS), "pipelines.: name ''"),
        (lambda: replace(FLEET, name=""), "name: name ''"),
        (lambda: replace(FLEET, name="x" * 10_000 + "\t"), r"name: name 'x{56}\.\.\.: expected"),
        # models
        (lambda: ModelSpec(DET), "models.det: found neither, expected `file` or declared `work`"),
        (lambda: ModelSpec(DET, "f", 1, 1), "models.det: found both, expected `file` or declared"),
        (lambda: ModelSpec(DET, "f", 1), "models.det: found both"),
        (lambda: ModelSpec(DET, work_bytes=1), "models.det: `weights` is missing; a declared"),
        (lambda: ModelSpec(DET, weight_bytes=1), "models.det: `work` is missing; a declared model"),
        (lambda: ModelSpec(DET, "", -1, 0), f"models.det.work: found -1, {SIZE}"),
        (lambda: ModelSpec(DET, "", 0, BYTES_MAX + 1), f"models.det.weights: found .*, {SIZE}"),
        (lambda: ModelSpec(DET, "", HUGE, 0), "models.det.work: found an integer of 20001 bits"),
        (
            lambda: ModelSpec(DET, "f", inputs=(("x", (1,)), ("x", (2,)))),
            "models.det.inputs: 'x' is given twice",
        ),
        (
            lambda: ModelSpec(DET, "f", inputs=(("x", (1, 0, 3)),)),
            r"models.det.inputs.x\[1\]: found 0, expected an axis >= 1",
        ),
        (
            lambda: ModelSpec(DET, "", 1, 1, inputs=(("x", (1,)),)),
            "models.det.inputs: a declared model has no shapes to fix",
        ),
        (
            lambda: ModelSpec(DET, "", 1, 1, gears=(("x", ((1,), (2,))),)),
            "models.det.gears: a declared model has no gears",
        ),
        (
            lambda: ModelSpec(DET, "f", gears=(("x", ((1,),)),)),
            "models.det.gears.x: found 1 shapes, expected one for each gear: two or more",
        ),
        (
            lambda: ModelSpec(DET, "f", gears=(("x", ((1,), (2,))), ("y", ((1,), (2,), (3,))))),
            "models.det.gears.y: found 3 shapes, expected one for each gear",
        ),
        (
            lambda: ModelSpec(DET, "f", gears=(("x", ((1, 3), (2,))),)),
            r"models.det.gears.x\[1\]: found 1 axes, expected 2 as in the first gear",
        ),
        (
            lambda: ModelSpec(DET, "f", gears=(("x", ((1,), (0,))),)),
            r"models.det.gears.x\[1\]\[0\]: found 0, expected an axis >= 1",
        ),
        (
            lambda: ModelSpec(DET, "f", gears=(("x", ((1,), (2,), (1,))),)),
            "models.det.gears: two gears have the same shapes",
        ),
        (
            lambda: ModelSpec(DET, "f", inputs=(("x", (1,)),), gears=(("x", ((1,), (2,))),)),
            "models.det.gears: 'x' is given twice",
        ),
        (lambda: ModelSpec(DET, " f"), "models.det.file: name ' f': expected printable text"),
        (lambda: ModelSpec(DET, "f", inputs=(("", (1,)),)), "models.det.inputs: name ''"),
        # steps
        (
            lambda: StepSpec("a", DET, "cam-{chanel}"),
            "steps.a.lane: name 'cam-{chanel}': the only placeholder is {channel}",
        ),
        (
            lambda: StepSpec("a", DET, "x", locks=("g}",)),
            r"steps.a.locks\[0\]: name 'g}': the only",
        ),
        (
            lambda: StepSpec("a", DET, "x", locks=("g", "g")),
            "steps.a.locks: 'g' is given twice",
        ),
        (lambda: StepSpec("a", DET, "x", ("b", "b")), "steps.a.after: 'b' is given twice"),
        (
            lambda: StepSpec("a", DET, "x", time_ns=-1),
            "steps.a.time: found -1, expected 0 to 2\\^62 ns",
        ),
        # pipelines
        (lambda: PipelineSpec("p", ()), "pipelines.p.steps: found no steps, expected at least one"),
        (
            lambda: PipelineSpec("p", STEPS, 0),
            "pipelines.p.channels: found 0, expected 1 to 100000",
        ),
        (
            lambda: PipelineSpec("p", STEPS, COUNT_MAX + 1),
            "pipelines.p.channels: found 100001, expected 1 to 100000",
        ),
        (lambda: PipelineSpec("p", STEPS, HUGE), "pipelines.p.channels: found an integer of"),
        (
            lambda: PipelineSpec("p", STEPS, 1, 0),
            "pipelines.p.frames_in_flight: found 0, expected 1 to 100000",
        ),
        (
            lambda: PipelineSpec("p", STEPS, rate_millihertz=0),
            "pipelines.p.rate: found 0, expected 1 to 1000000000000 frames in 1,000 s",
        ),
        (
            lambda: PipelineSpec("p", STEPS, rate_millihertz=RATE_MAX + 1),
            "pipelines.p.rate: found 1000000000001, expected",
        ),
        (
            lambda: PipelineSpec("p", (STEPS[0], STEPS[0])),
            "pipelines.p.steps: 'detect' is given twice",
        ),
        (
            lambda: PipelineSpec("p", STEPS[1:]),
            r"pipelines.p.steps.read.after\[0\]: unknown step 'detect', expected one of 'read'",
        ),
        (
            lambda: PipelineSpec("p", (StepSpec("a", DET, "x", ("a",)),)),
            "pipelines.p.steps: `after` has a cycle: a after a",
        ),
        (
            lambda: PipelineSpec(
                "p",
                (
                    StepSpec("a", DET, "x", ("b",)),
                    StepSpec("b", DET, "x", ("c",)),
                    StepSpec("c", DET, "x", ("a",)),
                ),
            ),
            "pipelines.p.steps: `after` has a cycle: a after b after c after a",
        ),
        # devices
        (lambda: DeviceSpec(memory_bytes=-1), f"device.memory: found -1, {SIZE}"),
        (lambda: DeviceSpec(memory_bytes=BYTES_MAX + 1), f"device.memory: found .*, {SIZE}"),
        (lambda: DeviceSpec(streams_max=-1), "device.streams: found -1, expected 0 to 100000"),
        (
            lambda: DeviceSpec(reserve=(("a", 1), ("a", 1))),
            "device.reserve: 'a' is given twice",
        ),
        (lambda: DeviceSpec(reserve=(("", 1),)), "device.reserve.: name ''"),
        (lambda: DeviceSpec(reserve=(("a", -1),)), f"device.reserve.a: found -1, {SIZE}"),
        (lambda: DeviceSpec(reserve=(("a", HUGE),)), f"device.reserve.a: found an .*, {SIZE}"),
        # fleets
        (lambda: replace(FLEET, models=MODELS * 2), "models: 'det' is given twice"),
        (lambda: replace(FLEET, pipelines=()), "pipelines: found no pipelines, expected at least"),
        (lambda: replace(FLEET, pipelines=(CAMERA,) * 2), "pipelines: 'camera' is given twice"),
        (
            lambda: replace(FLEET, models=MODELS[:1]),
            "pipelines.camera.steps.read.model: unknown model 'rec', expected one of 'det'",
        ),
        (
            lambda: replace(FLEET, models=()),
            "pipelines.camera.steps.detect.model: unknown model 'det', expected one of none",
        ),
        (
            lambda: replace(
                FLEET, pipelines=(replace(CAMERA, channels=1000, frames_in_flight=1000),)
            ),
            r"pipelines: channels x \(frames in flight \+ 1\) x steps is 2002000, "
            "expected at most 2000000",
        ),
        # look-ups
        (lambda: CAMERA.step("x"), "pipelines.camera.steps: unknown step 'x', expected one of"),
        (lambda: FLEET.model("x"), "models: unknown model 'x'"),
        (
            lambda: FLEET.pipeline("x"),
            "pipelines: unknown pipeline 'x', expected one of 'camera'",
        ),
    ],
)
def test_hostile_values_are_refused_with_their_place(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(SpecError, match=f"^{message}") as caught:
        make()
    assert str(caught.value).isprintable()  # one line


def test_long_lists_of_names_are_cut() -> None:
    models = tuple(ModelSpec(ModelId(f"m{k:02}"), "f") for k in range(11))
    with pytest.raises(SpecError, match=r"'m06', 'm07' and 3 more$"):
        replace(FLEET, models=models)


def test_values_at_the_ends_are_legal() -> None:
    assert ModelSpec(DET, work_bytes=0, weight_bytes=BYTES_MAX).work_bytes == 0
    assert DeviceSpec(0, (("a", 0), ("b", BYTES_MAX)), streams_max=0).reserve_bytes == BYTES_MAX
    most = replace(CAMERA, steps=STEPS[:1], channels=COUNT_MAX, frames_in_flight=19)
    assert replace(FLEET, pipelines=(most,)).pipelines == (most,)
    assert ModelSpec(DET, "f", inputs=(("x", ()), ("y", (1, 3)))).inputs[1] == ("y", (1, 3))
    assert StepSpec("ö b", DET, "lane of {channel}", time_ns=0).lane_of(3) == "lane of 3"


def test_gears_are_shapes_of_all_inputs_one_after_another() -> None:
    gears = (("x", ((1, 3), (8, 3))), ("n", ((1,), (8,))))
    model = ModelSpec(DET, "f", gears=gears)
    assert model.gear_shapes() == ({"x": (1, 3), "n": (1,)}, {"x": (8, 3), "n": (8,)})
    assert ModelSpec(DET, "f").gear_shapes() == ()
    one = ModelSpec(DET, "f", gears=(("x", ((4, 3), (4, 5))), ("n", ((2,), (2,)))))
    assert len(one.gear_shapes()) == 2, "one input may stay the same"


def test_names_of_channels_and_instances() -> None:
    assert channel_name("camera", 0) == "camera[0]"
    assert instance_id("det", "vision") == "det@vision"


def test_templates_stand_for_the_channel_in_lanes_and_locks() -> None:
    step = StepSpec("a", DET, "cam-{channel}", locks=("npu", "{channel}-{channel}"))
    assert step.lane_of(7) == "cam-7"
    assert step.locks_on("cam-7", 7) == {"cam-7", "npu", "7-7"}


def test_look_ups_find_what_is_there() -> None:
    assert FLEET.model("rec") is MODELS[1]
    assert FLEET.pipeline("camera") is CAMERA
    assert CAMERA.step("read") is STEPS[1]
    assert FLEET.unused_models() == ()
    spare = ModelSpec(ModelId("spare"), "f")
    assert replace(FLEET, models=(spare, *MODELS)).unused_models() == ("spare",)


def test_steps_of_channels_come_as_declared() -> None:
    voice = PipelineSpec("voice", (StepSpec("hear", DET, "mic-{channel}"),), channels=2)
    spec = replace(FLEET, pipelines=(voice, CAMERA))
    assert [(p.id, c, s.id) for p, c, s in spec.channel_steps()] == [
        ("voice", 0, "hear"),
        ("voice", 1, "hear"),
        ("camera", 0, "detect"),
        ("camera", 0, "read"),
    ]
    assert spec.instances() == {
        "det@mic-0": ("det", "mic-0"),
        "det@mic-1": ("det", "mic-1"),
        "det@vision": ("det", "vision"),
        "rec@vision": ("rec", "vision"),
    }


@given(fleets())
def test_an_instance_serves_all_steps_of_its_model_on_its_lane(spec: FleetSpec) -> None:
    instances = spec.instances()
    for _, channel, step in spec.channel_steps():
        for lane in step.lanes_of(channel):
            assert instances[instance_id(step.model, lane)] == (step.model, lane)
            assert lane in step.locks_on(lane, channel)
    assert set(spec.unused_models()).isdisjoint(model for model, _ in instances.values())
