import pytest

from arena.errors import FormatError
from arena.formats.om_tensors import Gears, GearsKind, shape_of, tensor
from arena.formats.source import ByteSource

SOURCE = ByteSource(memoryview(b""), "x.om")


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ([1, 3, 320, 320], (1, 3, 320, 320)),
        ([], ()),
        ([-1, 4], (-1, 4)),
        ([-2], ()),  # not even the rank is known
        ([-3, 0], (-1, 0)),
        ([1] * 128, (1,) * 128),
    ],
)
def test_shapes(dims: list[int], shape: tuple[int, ...]) -> None:
    assert shape_of(dims, SOURCE, 0) == shape


def test_shapes_of_too_many_axes_are_refused() -> None:
    with pytest.raises(FormatError, match="at byte 9: a tensor of 129 axes, expected at most 128"):
        shape_of([2] * 129, SOURCE, 9)


@pytest.mark.parametrize("size", [-1, 2**62 + 1, 2**200])
def test_tensors_beyond_any_device_are_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"tensor 'x' of {size} bytes, expected at most 2\\^62"):
        tensor("x", "int8", (), size, SOURCE, 5)


@pytest.mark.parametrize(
    ("gears", "text"),
    [
        (Gears(GearsKind.BATCH, ((1,), (8,))), "dynamic batch: 1, 8"),
        (Gears(GearsKind.HW, ((320, 320), (640, 480))), "dynamic hw: 320x320, 640x480"),
        (Gears(GearsKind.UNKNOWN), "dynamic unknown"),
    ],
)
def test_gears_in_words(gears: Gears, text: str) -> None:
    assert str(gears) == text


def test_numbers_of_kinds() -> None:
    kinds = [GearsKind.of_number(number) for number in (1, 2, 3, 0, 4, -1)]
    assert [str(kind) for kind in kinds] == ["batch", "hw", "dims"] + ["unknown"] * 3
