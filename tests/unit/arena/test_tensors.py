"""Inputs are checked by name, size, type and shape; outputs are arrays with or without numpy."""

import sys
from typing import Any

import numpy as np
import pytest

from arena.device.base import DeviceRange, ModelDescription, Placed
from arena.tensors import as_arguments, as_array, name_outputs
from planner.errors import UsageError
from planner.model import TensorSpec

X = TensorSpec("x", "float32", (2, 3), 24)
N = TensorSpec("n", "int64", (), 8)
RAW = TensorSpec("raw", "bytes", (), 4)
ONE = ModelDescription(inputs=(X,), outputs=(X,))
TWO = ModelDescription(
    inputs=(X, N, TensorSpec("gear", "int32", (1,), 4)), outputs=(X,), hidden=("gear",)
)


def argument_bytes(values: object, description: ModelDescription) -> list[bytes]:
    found = []
    for item in as_arguments(values, description, "det@vision"):
        assert not isinstance(item, DeviceRange | Placed)
        found.append(bytes(item))
    return found


def test_a_bare_array_serves_a_model_with_one_input() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert argument_bytes(image, ONE) == [image.tobytes()]


def test_inputs_go_in_the_devices_order_without_the_hidden_ones() -> None:
    image = np.ones((2, 3), np.float32)
    count = np.array(7, np.int64)
    assert argument_bytes({"n": count, "x": image}, TWO) == [image.tobytes(), count.tobytes()]


def test_raw_bytes_and_device_memory_are_checked_by_size_alone() -> None:
    assert argument_bytes(bytes(24), ONE) == [bytes(24)]
    place = DeviceRange(4096, 24)
    assert as_arguments({"x": place}, ONE, "det@vision") == [place]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"y": b""}, "det@vision: unknown input 'y', expected x"),
        ({}, "det@vision: input 'x' is missing"),
        (np.zeros((3, 2), np.float32), r"input 'x': found shape \[3, 2\], expected \[2, 3\]"),
        (np.zeros((2, 3), np.float64), "input 'x': found type float64, expected float32"),
        (bytes(23), "input 'x': found 23 bytes, expected 24"),
        (DeviceRange(4096, 25), "input 'x': found 25 bytes, expected 24"),
        (np.zeros((3, 2), np.float32).T, "input 'x': not C-contiguous"),
        ([1.0, 2.0], "input 'x': list is no buffer; pass a numpy array"),
    ],
)
def test_a_wrong_input_is_the_callers_fault(values: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_arguments(values, ONE, "det@vision")


def test_a_bare_input_is_not_enough_for_two() -> None:
    with pytest.raises(UsageError, match="found one bare input, expected a mapping with 'x', 'n'"):
        as_arguments(b"", TWO, "det@vision")


def test_64_bit_integers_by_either_name() -> None:
    spec = ModelDescription(inputs=(TensorSpec("n", "int64", (2,), 16),), outputs=())
    assert argument_bytes(np.array([1, 2], np.int64), spec) == [np.array([1, 2]).tobytes()]
    assert argument_bytes(np.array([1, 2], np.longlong), spec) == [np.array([1, 2]).tobytes()]


def test_an_empty_input_passes() -> None:
    spec = ModelDescription(inputs=(TensorSpec("n", "float32", (0, 4), 0),), outputs=())
    assert argument_bytes(np.zeros((0, 4), np.float32), spec) == [b""]


def test_outputs_are_numpy_arrays_where_numpy_is_imported() -> None:
    data = bytearray(np.arange(6, dtype=np.float32).tobytes())
    (array,) = name_outputs([data], ONE).values()
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert name_outputs([None], ONE) == {}


@pytest.mark.parametrize(
    ("spec", "data", "expected"),
    [
        (X, np.arange(6, dtype=np.float32).tobytes(), [[0, 1, 2], [3, 4, 5]]),
        (N, np.array(7, np.int64).tobytes(), 7),
        (RAW, b"\1\2\3\4", [1, 2, 3, 4]),
        (
            TensorSpec("open", "int32", (-1, 2), 0),
            np.arange(4, dtype=np.int32).tobytes(),
            [0, 1, 2, 3],
        ),
        (TensorSpec("none", "float32", (0,), 0), b"", []),
        (TensorSpec("half", "float16", (1,), 2), b"\0\x3c", [0, 0x3C]),
    ],
)
def test_outputs_without_numpy_are_memoryviews(
    spec: TensorSpec, data: bytes, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "numpy")
    array = as_array(bytearray(data), spec)
    assert isinstance(array, memoryview)
    assert array.tolist() == expected


def test_an_output_that_its_type_does_not_divide_is_bytes() -> None:
    array = as_array(bytearray(b"1234567"), TensorSpec("y", "float32", (2,), 7))
    assert array.dtype == np.uint8
    assert array.shape == (7,)
