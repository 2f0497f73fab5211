import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.model import (
    DEFAULT_RULE,
    PAGE_BYTES,
    Buffer,
    BufferKind,
    ModelSize,
    RegionRule,
    page_rounded,
)
from planner.units import BYTES_MAX, KiB, MiB


@pytest.mark.parametrize(
    ("length", "reserved"), [(0, 0), (1, 512), (480, 512), (481, 1024), (90_624, 91_136)]
)
def test_a_region_reserves_what_the_vendor_asks(length: int, reserved: int) -> None:
    assert DEFAULT_RULE.reserved_bytes(length) == reserved


@given(st.integers(1, BYTES_MAX))
def test_a_region_is_aligned_and_leaves_room_for_its_tail(length: int) -> None:
    reserved = DEFAULT_RULE.reserved_bytes(length)
    assert reserved % 512 == 0
    assert length + 32 <= reserved < length + 32 + 32 + 512


def test_a_rule_of_bytes_reserves_the_length() -> None:
    assert RegionRule(align_bytes=1, granule_bytes=1, tail_bytes=0).reserved_bytes(77) == 77


@pytest.mark.parametrize(("align", "granule", "tail"), [(0, 32, 32), (512, 0, 32), (512, 32, -1)])
def test_rules_out_of_range_are_refused(align: int, granule: int, tail: int) -> None:
    with pytest.raises(SpecError, match="expected align and granule >= 1, tail >= 0"):
        RegionRule(align_bytes=align, granule_bytes=granule, tail_bytes=tail)


@pytest.mark.parametrize(
    ("size", "rounded"),
    [(0, 0), (1, 4 * KiB), (MiB, MiB), (MiB + 1, PAGE_BYTES), (PAGE_BYTES + 1, 2 * PAGE_BYTES)],
)
def test_small_allocations_take_small_pages(size: int, rounded: int) -> None:
    assert page_rounded(size) == rounded


@pytest.mark.parametrize("value", [-1, BYTES_MAX + 1])
def test_model_sizes_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(SpecError, match=f"work_bytes is {value}, expected 0 to 2\\^62"):
        ModelSize(work_bytes=value, weight_bytes=0)
    with pytest.raises(SpecError, match=f"weight_bytes is {value}, expected 0 to 2\\^62"):
        ModelSize(work_bytes=0, weight_bytes=value)


@pytest.mark.parametrize("value", [-1, BYTES_MAX + 1])
def test_buffers_out_of_range_are_refused(value: int) -> None:
    message = f"buffer 'det@x': size_bytes is {value}, expected 0 to 2\\^62"
    with pytest.raises(SpecError, match=message):
        Buffer("det@x", BufferKind.WORK, value)


def test_sizes_at_the_ends_are_legal() -> None:
    assert ModelSize(0, BYTES_MAX).weight_bytes == BYTES_MAX
    assert Buffer("w", BufferKind.WEIGHTS, BYTES_MAX).size_bytes == BYTES_MAX
