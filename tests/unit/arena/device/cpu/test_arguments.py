"""Arguments are checked by type, shape and bytes; the message names the tensor and both sides."""

import ctypes
from array import array

import numpy as np
import pytest

from arena.device.cpu.arguments import EMPTY_POINTER, input_pointer, output_pointer
from planner.errors import UsageError
from planner.model import TensorSpec

IMAGE = TensorSpec("x", "float32", (2, 3), 24)
WHERE = "model 'm', input 'x'"


def test_bytes_are_used_in_place_and_everything_else_is_copied() -> None:
    data = bytes(range(24))
    pointer, kept = input_pointer(WHERE, IMAGE, data)
    assert kept is data
    assert ctypes.string_at(pointer, 24) == data
    source = bytearray(data)
    pointer, kept = input_pointer(WHERE, IMAGE, source)
    source[0] = 99
    assert ctypes.string_at(pointer, 24) == data
    assert kept is not source


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bool", "int8", "uint8"])
def test_numpy_arrays_pass_by_their_type(dtype: str) -> None:
    value = np.ones((2, 3), dtype)
    spec = TensorSpec("x", dtype, (2, 3), value.nbytes)
    pointer, kept = input_pointer(WHERE, spec, value.data)
    assert ctypes.string_at(pointer, value.nbytes) == value.tobytes()
    assert kept == value.tobytes()


@pytest.mark.parametrize("code", "hHiIlLqQ")
def test_every_c_integer_has_its_width(code: str) -> None:
    value = array(code, [1, 2])
    name = f"{'u' if code.isupper() else ''}int{8 * value.itemsize}"
    spec = TensorSpec("x", name, (2,), 2 * value.itemsize)
    assert input_pointer(WHERE, spec, memoryview(value))[1] == value.tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((2, 3), np.float64).data, r"found float64 \[2, 3\], compiled for float32 \[2, 3"),
        (np.ones((3, 2), np.float32).data, r"found float32 \[3, 2\], compiled for float32 \[2, 3"),
        (np.ones((6,), np.float32).data, r"found float32 \[6\], compiled for float32 \[2, 3"),
        (np.ones((2, 3), ">f4").data, r"found elements of format '>f' \[2, 3\]"),
        (np.ones((2, 3), np.complex64).data, r"found elements of format 'Zf'"),
        (np.ones((2, 12), np.uint8).data, r"found uint8 \[2, 12\]"),
        (np.float32(1).data, r"found float32 \[\]"),
        (bytes(23), r"found 23 bytes, expected 24 \(float32 \[2, 3\]\)"),
        (bytearray(25), "found 25 bytes, expected 24"),
    ],
)
def test_wrong_inputs_are_named(value: memoryview, message: str) -> None:
    with pytest.raises(UsageError, match=rf"model 'm', input 'x': {message}"):
        input_pointer(WHERE, IMAGE, value)


def test_outputs_are_written_in_place() -> None:
    for buffer in (bytearray(24), np.zeros((2, 3), np.float32).data):
        pointer, kept = output_pointer(WHERE, IMAGE, buffer)
        ctypes.memset(pointer, 7, 24)
        assert bytes(buffer) == b"\7" * 24
        assert kept is not None


def test_an_output_in_use_cannot_be_resized() -> None:
    buffer = bytearray(24)
    _, kept = output_pointer(WHERE, IMAGE, buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    del kept
    buffer.append(1)


@pytest.mark.parametrize("buffer", [bytes(24), memoryview(bytes(24))])
def test_outputs_must_be_writable(buffer: memoryview) -> None:
    with pytest.raises(UsageError, match=r"found read-only memory, expected a writable buffer"):
        output_pointer(WHERE, IMAGE, buffer)


@pytest.mark.parametrize(
    "buffer", [np.zeros((2, 6), np.float32)[:, ::2].data, memoryview(bytearray(48))[::2]]
)
def test_gaps_between_elements_are_refused(buffer: memoryview) -> None:
    for pointer_of in (input_pointer, output_pointer):
        with pytest.raises(UsageError, match=r"expected elements in C order; pass a contiguous"):
            pointer_of(WHERE, IMAGE, buffer)


def test_empty_tensors_have_a_pointer_that_is_not_0() -> None:
    empty = TensorSpec("x", "float32", (0, 3), 0)
    assert output_pointer(WHERE, empty, bytearray())[0] == EMPTY_POINTER
    assert input_pointer(WHERE, empty, np.zeros((0, 3), np.float32).data)[0] != 0
