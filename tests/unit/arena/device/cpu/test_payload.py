"""The runtime's model format in one order: the same model, the same bytes, and it still loads."""

import ctypes
import struct
from pathlib import Path

import pytest

from arena.device.cpu.payload import _read_operators, _write_front, in_one_order
from arena.device.cpu.runtime import runtime
from arena.errors import DeviceError
from tests.networks import convolutions


def saved_model(folder: Path, name: str = "m") -> bytes:
    path = folder / f"{name}.ort"
    runtime().optimise(convolutions().SerializeToString(), level=2, destination=str(path))
    return path.read_bytes()


def operators(model: bytes) -> "list[tuple[bytes, tuple[tuple[bytes, object], ...]]]":
    root = struct.unpack_from("<I", model, 0)[0]
    vtable = root - struct.unpack_from("<i", model, root)[0]
    field = root + struct.unpack_from("<H", model, vtable + 4 + 2 * 3)[0]
    return list(_read_operators(model, field + struct.unpack_from("<I", model, field)[0]))


def test_operators_are_sorted_and_nothing_else_changes(tmp_path: Path) -> None:
    before = saved_model(tmp_path)
    after = in_one_order(before)
    assert operators(after) == operators(before)
    names = [name for name, _ in operators(after)]
    assert names == sorted(names)
    assert any(b"Conv" in name for name in names)
    rest = len(before) // 2
    assert after[-rest:] == before[-rest:]
    assert in_one_order(after) == after


def test_what_was_put_in_order_loads(tmp_path: Path) -> None:
    model = in_one_order(saved_model(tmp_path))
    buffer = ctypes.create_string_buffer(model, len(model))
    session = runtime().open_session(ctypes.addressof(buffer), len(model))
    assert [spec.name for spec in session.tensors("Input")] == ["x"]
    session.close()


def test_two_savings_are_equal_once_in_order(tmp_path: Path) -> None:
    models = [in_one_order(saved_model(tmp_path, str(k))) for k in range(4)]
    assert len(set(models)) == 1


def test_texts_are_written_once_with_their_end() -> None:
    table = ((b"Op:1", ((b"T", ((0, 0), (1, 2))), (b"U", ()))), (b"Op:22", ((b"T", ((0, 1),)),)))
    front = bytes(_write_front(table))
    assert front.count(b"\x01\0\0\0T\0") == 1
    assert operators(front) == list(table)


@pytest.mark.parametrize("content", [b"", bytes(64), b"\x14\0\0\0ORTM", b"\x14\0\0\0ORTM" * 8])
def test_another_layout_is_refused(content: bytes) -> None:
    with pytest.raises(DeviceError, match=r"the runtime saved a model of unknown layout"):
        in_one_order(content)
