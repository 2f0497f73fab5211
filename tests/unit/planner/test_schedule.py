from dataclasses import replace

import pytest

from planner.errors import SpecError, UsageError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId
from planner.schedule import Boundary, Choice, Execution, OrderEdge, Schedule, order_between

M = ModelId("m")


def fleet(*pipelines: PipelineSpec) -> FleetSpec:
    return FleetSpec("f", (ModelSpec(M, work_bytes=1, weight_bytes=0),), pipelines)


def step(name: str, lane: str, *after: str, locks: tuple[str, ...] = ()) -> StepSpec:
    return StepSpec(name, M, lane, after=after, locks=locks)


CAMERA = PipelineSpec(
    "camera",
    (step("detect", "vision"), step("read", "text", "detect"), step("track", "tracking", "read")),
    channels=2,
)


def execution(name: str, channel: int = 0, frame: int = 0) -> Execution:
    return Execution("camera", channel, name, frame)


def test_one_frame_at_a_time_keeps_a_chain_apart() -> None:
    schedule = Schedule.of_fleet(fleet(CAMERA))
    assert schedule.precedes(execution("detect"), execution("track"))
    assert not schedule.may_overlap(execution("detect"), execution("track"))
    assert not schedule.may_overlap(execution("track"), execution("detect", frame=1))
    assert schedule.may_overlap(execution("detect"), execution("track", channel=1))
    assert not schedule.may_overlap(execution("detect"), execution("detect", channel=1))


def test_two_frames_in_flight_let_the_next_frame_run_beside_this_one() -> None:
    schedule = Schedule.of_fleet(fleet(replace(CAMERA, frames_in_flight=2)))
    assert not schedule.may_overlap(execution("detect"), execution("read"))
    assert schedule.may_overlap(execution("detect", frame=1), execution("read"))
    assert schedule.may_overlap(execution("detect"), execution("read", frame=1))
    assert not schedule.may_overlap(execution("read"), execution("detect", frame=2))
    assert schedule.precedes(execution("track", frame=1), execution("detect", frame=7))


def test_declaration_order_is_no_order() -> None:
    pipeline = PipelineSpec("camera", (step("a", "x"), step("b", "y")))
    schedule = Schedule.of_fleet(fleet(pipeline))
    assert schedule.may_overlap(execution("a"), execution("b"))
    assert not schedule.precedes(execution("a"), execution("b"))


def test_templates_meet_plain_names() -> None:
    pipelines = (
        PipelineSpec("camera", (step("a", "cam-{channel}"),), channels=2),
        PipelineSpec("voice", (step("b", "mic", locks=("cam-1",)),)),
    )
    schedule = Schedule.of_fleet(fleet(*pipelines))
    assert schedule.instances == ("m@cam-0", "m@cam-1", "m@mic")
    assert schedule.may_overlap(execution("a", channel=0), Execution("voice", 0, "b"))
    assert not schedule.may_overlap(execution("a", channel=1), Execution("voice", 0, "b"))
    assert schedule.choices_of(execution("a", channel=1)) == (Choice(1, frozenset({"cam-1"})),)
    assert schedule.instances_of(execution("a", channel=1)) == ("m@cam-1",)
    assert [channel.name for channel in schedule.channels] == ["camera[0]", "camera[1]", "voice[0]"]


def test_channels_of_a_pipeline_share_one_closure() -> None:
    schedule = Schedule.of_fleet(fleet(CAMERA), order=[OrderEdge("camera", "track", "track", 1)])
    first, second = schedule.channels
    assert first.order is second.order
    assert first.choices is second.choices


def test_an_order_over_frames_is_transitive() -> None:
    spec = fleet(replace(CAMERA, frames_in_flight=4))
    schedule = Schedule.of_fleet(spec, order=[OrderEdge("camera", "read", "detect", 1)])
    # detect(0) -> read(0) -> detect(1) -> read(1) -> track(1)
    assert schedule.precedes(execution("detect"), execution("track", frame=1))
    assert schedule.precedes(execution("detect"), execution("detect", frame=3))
    assert schedule.may_overlap(execution("track"), execution("detect", frame=3))
    assert schedule.precedes(execution("track"), execution("detect", frame=4))
    assert not schedule.precedes(execution("detect", frame=1), execution("detect"))


def test_an_order_over_frames_of_one_step_leaves_the_others() -> None:
    pipeline = PipelineSpec(
        "camera", (step("a", "x"), step("b", "y", "a"), step("c", "z")), frames_in_flight=2
    )
    schedule = Schedule.of_fleet(fleet(pipeline), order=[OrderEdge("camera", "c", "c", 1)])
    assert schedule.precedes(execution("c"), execution("c", frame=1))
    assert schedule.precedes(execution("a"), execution("b"))
    assert schedule.may_overlap(execution("a"), execution("b", frame=1))


def test_an_order_of_one_channel_leaves_the_others() -> None:
    pipeline = PipelineSpec("camera", (step("a", "x"), step("b", "y")), channels=2)
    edge = OrderEdge("camera", "b", "a", channel=1)
    schedule = Schedule.of_fleet(fleet(pipeline), order=[edge])
    assert schedule.may_overlap(execution("a"), execution("b"))
    assert schedule.precedes(execution("b", channel=1), execution("a", channel=1))


def test_exclusion_is_a_lock_without_order() -> None:
    pair = (InstanceId("m@vision"), InstanceId("m@tracking"))
    schedule = Schedule.of_fleet(fleet(CAMERA), exclusive=[pair])
    assert not schedule.may_overlap(execution("detect"), execution("track", channel=1))
    (detect,), (read,) = map(schedule.choices_of, map(execution, ("detect", "read")))
    assert detect.locks == {"vision", "m@tracking|m@vision"}
    assert read.locks == {"text"}


def test_graph_has_executions_boundaries_and_attributes() -> None:
    pipeline = PipelineSpec(
        "camera",
        (StepSpec("a", M, "x", time_ns=5), step("b", "y-{channel}", "a", locks=("g",))),
        frames_in_flight=2,
    )
    spec = fleet(pipeline)
    graph = Schedule.of_fleet(spec, order=[OrderEdge("camera", "b", "a", 1)]).as_digraph()
    assert graph.graph["name"] == "f"
    assert graph.nodes[execution("a")] == {
        "instances": ("m@x",), "model": "m", "lanes": ("x",), "locks": (("x",),), "time_ns": 5,
    }  # fmt: skip
    assert graph.nodes[execution("b", frame=2)] == {
        "instances": ("m@y-0",), "model": "m", "lanes": ("y-0",), "locks": (("g", "y-0"),),
        "time_ns": None,
    }  # fmt: skip
    end = Boundary("camera", 0, 0)
    assert str(end) == "end of frame 0 of camera[0]"
    assert {(str(u), str(v), data["kind"]) for u, v, data in graph.edges(data=True)} == {
        ("camera[0].a of frame 0", "camera[0].b of frame 0", "after"),
        ("camera[0].a of frame 1", "camera[0].b of frame 1", "after"),
        ("camera[0].a of frame 2", "camera[0].b of frame 2", "after"),
        ("camera[0].b of frame 0", "camera[0].a of frame 1", "added"),
        ("camera[0].b of frame 1", "camera[0].a of frame 2", "added"),
        ("camera[0].b of frame 0", "end of frame 0 of camera[0]", "frame"),
        ("end of frame 0 of camera[0]", "camera[0].a of frame 2", "frame"),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        Execution("nobody", 0, "detect"),
        Execution("camera", 2, "detect"),
        Execution("camera", -1, "detect"),
        Execution("camera", 0, "nothing"),
        Execution("camera", 0, "detect", -1),
    ],
)
def test_unknown_executions_are_the_callers_fault(wrong: Execution) -> None:
    schedule = Schedule.of_fleet(fleet(CAMERA))
    message = "fleet 'f' has no execution .*: expected a pipeline, a channel and a step"
    for ask in (schedule.may_overlap, schedule.precedes):
        with pytest.raises(UsageError, match=message):
            ask(wrong, execution("detect"))
        with pytest.raises(UsageError, match=message):
            ask(execution("detect"), wrong)


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        (OrderEdge("nobody", "detect", "read"), "pipelines: unknown pipeline 'nobody'"),
        (OrderEdge("camera", "nothing", "read"), "pipelines.camera.steps: unknown step 'nothing'"),
        (OrderEdge("camera", "read", "nothing"), "pipelines.camera.steps: unknown step 'nothing'"),
        (
            OrderEdge("camera", "detect", "read", -1),
            r"order\[0\]: found lag -1, expected frames >= 0",
        ),
        (
            OrderEdge("camera", "detect", "read", 0, 2),
            r"order\[0\]: found channel 2, expected 0 to 1",
        ),
        (
            OrderEdge("camera", "detect", "read", 0, -1),
            r"order\[0\]: found channel -1, expected 0 to 1",
        ),
        (
            OrderEdge("camera", "track", "detect"),
            "pipelines.camera: the added order has a cycle: .* after ",
        ),
        (
            OrderEdge("camera", "read", "read"),
            "pipelines.camera: the added order has a cycle: read after read",
        ),
    ],
)
def test_wrong_orders_are_refused(edge: OrderEdge, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Schedule.of_fleet(fleet(CAMERA), order=[edge])


def test_wrong_exclusions_are_refused() -> None:
    known = InstanceId("m@vision")
    with pytest.raises(SpecError, match=r"exclusive\[0\]: unknown instance 'm@nowhere'"):
        Schedule.of_fleet(fleet(CAMERA), exclusive=[(known, InstanceId("m@nowhere"))])
    with pytest.raises(SpecError, match=r"exclusive\[0\]: 'm@vision' excludes itself already"):
        Schedule.of_fleet(fleet(CAMERA), exclusive=[(known, known)])


def test_order_between_instances_names_steps_and_channels() -> None:
    private = PipelineSpec("own", (step("a", "own-{channel}"), step("b", "vision")), channels=2)
    spec = fleet(CAMERA, private)
    assert order_between(spec, InstanceId("m@vision"), InstanceId("m@text")) == (
        OrderEdge("camera", "detect", "read"),
    )
    assert order_between(spec, InstanceId("m@vision"), InstanceId("m@own-1")) == (
        OrderEdge("own", "b", "a", 0, 1),
    )
    assert order_between(spec, InstanceId("m@own-0"), InstanceId("m@own-0"), lag=1) == (
        OrderEdge("own", "a", "a", 1, 0),
    )
    for first, second in (("m@own-0", "m@own-1"), ("m@own-0", "m@own-0"), ("m@text", "m@own-0")):
        with pytest.raises(SpecError, match=r"no channel uses both .* make them exclusive instead"):
            order_between(spec, InstanceId(first), InstanceId(second))
