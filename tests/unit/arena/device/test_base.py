"""Values of the device port keep their own rules."""

from pathlib import Path

import pytest

from arena.device.base import (
    DeviceRange,
    LoadBy,
    LoadOptions,
    MemoryInfo,
    ModelDescription,
    ModelSource,
    io_block_bytes,
)
from planner.errors import UsageError
from planner.model import TensorSpec


@pytest.mark.parametrize(
    ("pointer", "size"), [(0, 1), (-1, 1), (1 << 64, 1), (512, -1), (512, 1 << 62)]
)
def test_a_range_lies_in_64_bits(pointer: int, size: int) -> None:
    with pytest.raises(UsageError, match="device range"):
        DeviceRange(pointer, size)


def test_a_range_shows_its_ends() -> None:
    assert str(DeviceRange(0x1200, 0x100)) == "[0x1200, 0x1300)"


def test_used_is_total_minus_free() -> None:
    assert MemoryInfo(free_bytes=3, total_bytes=10).used_bytes == 7


def test_a_source_has_one_origin() -> None:
    with pytest.raises(UsageError, match="exactly one"):
        ModelSource("none")
    with pytest.raises(UsageError, match="exactly one"):
        ModelSource("both", path=Path("m.om"), read=bytes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": LoadBy.CONFIG, "priority": 8}, r"priority is 8, expected 0 \(highest\) to 7"),
        ({"by": LoadBy.CONFIG, "priority": -1}, "priority is -1"),
        ({"priority": 0}, "priority needs LoadBy.CONFIG"),
        ({"reuse_zero_copy": True}, "reuse_zero_copy needs LoadBy.CONFIG"),
    ],
)
def test_options_that_no_call_can_carry_are_refused(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        LoadOptions(**arguments)  # type: ignore[arg-type]  # a table of bad ones


def test_hidden_inputs_are_not_asked_for() -> None:
    image = TensorSpec("x", "uint8", (3,), 3)
    gear = TensorSpec("ascend_mbatch_shape_data", "int32", (1,), 4)
    description = ModelDescription((image, gear), (), hidden=(gear.name,))
    assert description.visible_inputs == (image,)


def test_tensors_of_unknown_size_take_no_room_in_advance() -> None:
    known, unknown = TensorSpec("x", "uint8", (3,), 3), TensorSpec("y", "uint8", (-1,), 0)
    assert io_block_bytes([known], [unknown]) == 64
