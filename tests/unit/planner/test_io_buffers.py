"""Buffers of a fleet: which there are, what they may share, what their models must tell."""

from dataclasses import replace

import pytest

from planner import io_buffers
from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.fleet import CrossStream, IoPlace
from planner.fleet_file import parse_fleet
from planner.io_buffers import (
    bound_with_buffers,
    buffer_ends,
    channel_buffers,
    count_buffers,
    masks_with_buffers,
)
from planner.masks import mask_indices
from planner.model import ModelId, ModelSize, TensorSpec
from planner.pipeline import plan_fleet, schedule_of
from planner.problem import Bound, SolveStatus
from tests.fleets import declared_sizes
from tests.plans_io import HANDING_YAML, handing_plan

FLEET = parse_fleet(HANDING_YAML)
SIZES = declared_sizes(FLEET)


def test_one_buffer_for_each_frame_in_flight_and_two_for_a_state() -> None:
    names = [buffer.name for buffer in channel_buffers(FLEET, SIZES)]
    assert names == [
        "camera[0].detect.boxes slot 0",
        "camera[0].detect.mask slot 0",
        "camera[0].read.text slot 0",
        "door[0].look.boxes slot 0",
        "door[0].look.boxes slot 1",
        "microphone[0].listen.hn slot 0",
        "microphone[0].listen.hn slot 1",
        "microphone[1].listen.hn slot 0",
        "microphone[1].listen.hn slot 1",
    ]


@pytest.mark.parametrize("io", IoPlace)
def test_buffers_are_counted_without_making_them(io: IoPlace) -> None:
    fleet = replace(FLEET, device=replace(FLEET.device, io=io))
    assert count_buffers(fleet) == len(channel_buffers(fleet, SIZES))


def test_ends_of_a_buffer_are_its_writer_and_its_readers() -> None:
    relation = ConflictRelation.of_schedule(schedule_of(FLEET, ()))
    fleet = replace(FLEET, device=replace(FLEET.device, io=IoPlace.ARENA))
    buffers = channel_buffers(fleet, SIZES)
    ends = dict(zip((row.name for row in buffers), buffer_ends(relation, buffers), strict=True))

    def names(mask: int) -> set[str]:
        return {relation.instances[i] for i in mask_indices(mask)}

    assert names(ends["camera[0].detect.boxes slot 0"]) == {
        "detector@vision",
        "reader@vision",
        "tracker@tracking",
    }
    assert names(ends["microphone[1].listen.hn slot 1"]) == {"listener@microphone-1"}
    assert names(ends["store@vision io"]) == {"store@vision"}


def test_a_block_conflicts_with_its_instance_and_with_what_conflicts_with_that() -> None:
    fleet = replace(FLEET, device=replace(FLEET.device, io=IoPlace.ARENA))
    relation = ConflictRelation.of_schedule(schedule_of(fleet, ()))
    buffers = channel_buffers(fleet, SIZES)
    names = [*relation.instances, *(row.name for row in buffers)]
    masks = masks_with_buffers(relation, buffers)
    for i, instance in enumerate(relation.instances):
        block = names.index(f"{instance} io")
        assert masks[block] >> i & 1
        for j, name in enumerate(names):
            if name not in (instance, f"{instance} io"):
                assert masks[block] >> j & 1 == masks[i] >> j & 1, (instance, name)


def test_models_of_unknown_sizes_and_with_gears_have_no_block() -> None:
    device = replace(FLEET.device, io=IoPlace.ARENA)
    steps = tuple(replace(step, feeds=()) for step in FLEET.pipelines[0].steps)
    plain = replace(FLEET, pipelines=(replace(FLEET.pipelines[0], steps=steps),), device=device)
    store, reader = ModelId("store"), ModelId("reader")
    sizes = {
        **SIZES,
        store: replace(SIZES[store], gears="batch 1, 2"),
        reader: replace(SIZES[reader], outputs=(TensorSpec("text", "uint8", (-1,), 0),)),
    }
    names = [row.name for row in channel_buffers(plain, sizes)]
    assert names == ["detector@vision io", "tracker@tracking io"]


def test_a_buffer_has_all_its_readers() -> None:
    boxes = channel_buffers(FLEET, SIZES)[0]
    assert boxes.readers == (("read", "x"), ("track", "boxes"))
    assert boxes.size_bytes == 5000


def _conflicts(first: str, second: str) -> bool:
    relation = ConflictRelation.of_schedule(schedule_of(FLEET, ()))
    buffers = channel_buffers(FLEET, SIZES)
    names = [*relation.instances, *(buffer.name for buffer in buffers)]
    masks = masks_with_buffers(relation, buffers)
    return bool(masks[names.index(first)] >> names.index(second) & 1)


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        # `store` starts when both readers of the boxes are over.
        ("camera[0].detect.boxes slot 0", "store@vision", False),
        # Between its writer and its last reader; its own writer.
        ("camera[0].detect.boxes slot 0", "tracker@tracking", True),
        ("camera[0].detect.boxes slot 0", "detector@vision", True),
        # `read` writes while `track` may still read.
        ("camera[0].detect.boxes slot 0", "camera[0].read.text slot 0", True),
        # `detect` is over before `read` writes; `track` is not.
        ("camera[0].read.text slot 0", "detector@vision", False),
        ("camera[0].read.text slot 0", "tracker@tracking", True),
        # Two frames in flight; other channels; a state.
        ("door[0].look.boxes slot 0", "door[0].look.boxes slot 1", True),
        ("door[0].look.boxes slot 0", "camera[0].read.text slot 0", True),
        ("microphone[0].listen.hn slot 0", "microphone[0].listen.hn slot 1", True),
        ("microphone[0].listen.hn slot 0", "store@vision", True),
    ],
)
def test_conflicts_follow_from_lives(first: str, second: str, conflict: bool) -> None:
    assert _conflicts(first, second) is conflict
    assert _conflicts(second, first) is conflict


def test_a_plan_lets_what_is_over_share_with_a_buffer() -> None:
    plan = handing_plan()
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.witness
    assert plan.witness_buffers
    store = next(row for row in plan.instances if row.id == "store@vision")
    assert store.work_offset is not None
    boxes = plan.buffers[0]
    assert store.work_offset <= boxes.offset < store.work_offset + store.work_bytes


def test_with_events_every_buffer_is_apart_from_everything() -> None:
    fleet = replace(FLEET, device=replace(FLEET.device, cross_stream=CrossStream.EVENTS))
    plan = plan_fleet(fleet, SIZES)
    assert plan.buffers_own_bytes == sum(
        plan.rule.reserved_bytes(buffer.size_bytes) for buffer in plan.buffers
    )


def _sized(model: str, **tensors: tuple[TensorSpec, ...]) -> dict[ModelId, ModelSize]:
    return {**SIZES, ModelId(model): replace(SIZES[ModelId(model)], **tensors)}  # type: ignore[arg-type]


FLOATS = TensorSpec("x", "float32", (1250,), 5000)
READ = "pipelines.camera.steps.read.feeds.x"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        # The model tells nothing: the way out is a declaration.
        (_sized("detector", outputs=()), "declare them: models.detector.outputs: {boxes: 4KiB}"),
        # No such tensor, or of unknown size.
        (
            _sized("reader", inputs=(replace(FLOATS, name="z"),)),
            "no input 'x', expected one of 'z'",
        ),
        (_sized("reader", inputs=(replace(FLOATS, size_bytes=0),)), "known only when it runs"),
        # Other bytes, another type, another shape.
        (
            _sized("reader", inputs=(replace(FLOATS, size_bytes=4),)),
            f"{READ}: found 'boxes': uint8",
        ),
        (_sized("reader", inputs=(FLOATS,)), "expected 'x': float32 [1250] of 5000 bytes"),
        (
            _sized("reader", inputs=(TensorSpec("x", "uint8", (50, 100), 5000),)),
            "expected 'x': uint8 [50, 100] of 5000 bytes",
        ),
    ],
)
def test_what_cannot_be_handed_on_is_refused(sizes: dict[ModelId, ModelSize], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        channel_buffers(FLEET, sizes)
    assert message in str(caught.value)


def test_bytes_without_a_type_and_open_shapes_fit_by_size() -> None:
    untyped = _sized("reader", inputs=(TensorSpec("x", "bytes", (), 5000),))
    assert channel_buffers(FLEET, untyped)
    open_axis = _sized("reader", inputs=(TensorSpec("x", "uint8", (-1,), 5000),))
    assert channel_buffers(FLEET, open_axis)


def test_too_many_buffers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_buffers, "INSTANCES_MAX", 3)
    with pytest.raises(SpecError, match="instances and buffers, expected at most 3"):
        plan_fleet(FLEET, SIZES)


def test_a_bound_takes_in_what_conflicts_with_all_of_it() -> None:
    masks = (0b110, 0b001, 0b001)
    assert bound_with_buffers(masks, (5, 2, 3), [Bound(5, (0,))]) == Bound(8, (0, 2))
    assert bound_with_buffers(masks, (5, 2, 3), [Bound(9)]) == Bound(9)
