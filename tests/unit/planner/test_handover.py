"""What a fleet may say of tensors that its steps hand on; the figures of a plan's buffers."""

import pytest

from planner.errors import SpecError
from planner.fleet import FleetSpec
from planner.fleet_file import parse_fleet
from planner.handover import bytes_of_buffers_alone
from tests.plans_io import HANDING_YAML, handing_plan


def _fleet(old: str, new: str) -> FleetSpec:
    assert old in HANDING_YAML
    return parse_fleet(HANDING_YAML.replace(old, new))


def test_feeds_and_state_are_read() -> None:
    fleet = parse_fleet(HANDING_YAML)
    camera = fleet.pipeline("camera")
    assert camera.step("track").feeds == (
        ("boxes", "detect", "boxes"),
        ("mask", "detect", "mask"),
    )
    assert fleet.pipeline("microphone").step("listen").state == (("h", "hn"),)
    assert fleet.model("listener").input_bytes == (("sound", 64), ("h", 256))


def test_an_output_s_name_may_have_dots() -> None:
    fleet = _fleet("text: read.text", "text: read.save_infer_model/scale_0.tmp_0")
    feed = fleet.pipeline("camera").step("store").feeds[0]
    assert (feed.step, feed.output) == ("read", "save_infer_model/scale_0.tmp_0")


READ = "pipelines.camera.steps.read"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # A step that does not exist, with what was meant.
        ("{x: detect.boxes}}", "{x: detct.boxes}}", f"{READ}.feeds.x: unknown step 'detct', "),
        # A step that nothing puts before the reader.
        ("{text: read.text}", "{text: store.done}", "'store' does not precede 'store'"),
        # No output.
        ("{x: detect.boxes}}", "{x: detect}}", f"{READ}.feeds.x: found 'detect', expected a step"),
        ("{x: detect.boxes}}", "{x: detect.}}", f"{READ}.feeds.x: found 'detect.', expected a "),
        # One input from two places.
        ("{h: hn}", "{h: hn}, feeds: {h: listen.speech}", "'listen' does not precede 'listen'"),
        # Two states in one output.
        ("{h: hn}", "{h: hn, sound: hn}", "listen.state: 'hn' is given twice"),
        # No name.
        ("{h: hn}", '{"": hn}', "listen.state: found an empty name of a tensor"),
        # Frames that nothing orders.
        (
            "    channels: 2\n",
            "    channels: 2\n    frames_in_flight: 2\n",
            "found frames_in_flight 2, expected 1",
        ),
        # A state that another step reads as well.
        (
            "model: detector}\n      read",
            "model: detector, state: {image: boxes}}\n      read",
            "output 'boxes' of 'detect' is its state",
        ),
        # Results that are copied out while followers run.
        (
            "name: handing\n",
            "name: handing\ndevice: {io: arena, cross_stream: events}\n",
            "device.io: found arena with cross_stream: events",
        ),
        # Sizes of a declared model.
        ("{image: 600}", "{image: 0}", "models.detector.inputs.image: found 0, expected 1 to 2^62"),
        ("{image: 600}", '{" ": 6}', "models.detector.inputs: name ' ': expected printable text"),
        ("{image: 600}", "{image: [3]}", "models.detector.inputs: a declared model has no shapes"),
        # Sizes of a file.
        (
            "{work: 30000, weights: 500, inputs",
            "{file: a.om, inputs",
            "models.store.inputs.text: found 100, expected a shape, a list of whole numbers",
        ),
        (
            "{work: 30000, weights: 500, inputs: {text: 100}, ",
            "{file: a.om, ",
            "models.store.outputs: a file tells its own sizes",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        _fleet(old, new)
    assert message in str(caught.value)


def test_an_input_is_fed_or_state() -> None:
    with pytest.raises(SpecError, match=r"store\.state: 'text' is given twice"):
        _fleet("feeds: {text: read.text}}", "feeds: {text: read.text}, state: {text: done}}")


def test_figures_say_what_handing_on_saves() -> None:
    plan = handing_plan()
    sizes = {buffer.name: plan.rule.reserved_bytes(buffer.size_bytes) for buffer in plan.buffers}
    boxes, mask, text = (
        sizes[f"camera[0].{name} slot 0"] for name in ("detect.boxes", "detect.mask", "read.text")
    )
    look = sizes["door[0].look.boxes slot 0"]
    state = sizes["microphone[0].listen.hn slot 0"]
    # A dataset of its own at every end: one writer, and one place for each reader.
    assert plan.buffers_private_bytes == (
        3 * boxes + 2 * mask + 2 * text + 2 * (2 * look) + 2 * (2 * state)
    )
    assert 0 < plan.buffers_own_bytes <= sum(sizes.values()) < plan.buffers_private_bytes


def test_bytes_of_buffers_alone_counts_each_byte_once() -> None:
    assert bytes_of_buffers_alone([], [(0, 5)]) == 0
    assert bytes_of_buffers_alone([(0, 4), (2, 6), (6, 6)], [(3, 4), (10, 12)]) == 5
