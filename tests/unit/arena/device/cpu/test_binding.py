"""The binding trusts no table: version, entries and a round trip are checked before use."""

import ctypes
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from arena.device.cpu import binding
from arena.device.cpu.binding import Api, OrtApiBase, load_api, runtime_library
from arena.errors import DeviceError

N_ENTRIES = 200


def fake_base(version: bytes, table: "ctypes.Array[ctypes.c_void_p] | None") -> OrtApiBase:
    text = ctypes.create_string_buffer(version)
    get_api, get_version = (prototype for _name, prototype in OrtApiBase._fields_)
    return OrtApiBase(
        get_api(lambda _version: table and ctypes.addressof(table)),
        get_version(lambda: ctypes.addressof(text)),
    )


def real_table() -> "ctypes.Array[ctypes.c_void_p]":
    """Return a copy of the running library's table that may be harmed."""
    copy = (ctypes.c_void_p * N_ENTRIES)()
    ctypes.memmove(copy, load_api()._table, ctypes.sizeof(copy))
    return copy


def test_the_installed_library_is_found_and_new_enough() -> None:
    api = load_api()
    assert tuple(int(part) for part in api.version.split(".")[:2]) >= (1, 20)
    assert runtime_library().is_file()


def test_a_call_that_fails_raises_with_name_code_and_message() -> None:
    api = load_api()
    options = api.create("CreateSessionOptions")
    with pytest.raises(
        DeviceError, match=r"SetSessionGraphOptimizationLevel failed with code"
    ) as e:
        api["SetSessionGraphOptimizationLevel"](options, 12345)
    api["ReleaseSessionOptions"](options)
    assert e.value.call == "SetSessionGraphOptimizationLevel"
    assert e.value.code != 0


@pytest.mark.parametrize("version", [b"1.19.2", b"0.9.0", b"unreleased"])
def test_an_old_library_is_refused(version: bytes) -> None:
    with pytest.raises(DeviceError, match=r"expected 1\.20 or later; install it with: pip"):
        Api(fake_base(version, real_table()))


def test_a_library_without_our_table_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"offers no function table of version 20"):
        Api(fake_base(b"1.20.0", None))


def test_an_empty_entry_is_refused() -> None:
    table = real_table()
    table[9] = None
    with pytest.raises(DeviceError, match=r"entry 9 of the function table \(Run\) is empty"):
        Api(fake_base(b"1.20.0", table))


def test_a_table_of_another_order_is_refused() -> None:
    table = real_table()
    broken = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _status: 77)
    table[1] = ctypes.cast(broken, ctypes.c_void_p).value
    with pytest.raises(DeviceError, match=r"a status made of .* reads"):
        Api(fake_base(b"1.20.0", table))


def test_a_sound_table_is_accepted() -> None:
    assert Api(fake_base(b"1.99.0", real_table())).version == "1.99.0"


def test_without_the_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "find_spec", lambda _name: None)
    with pytest.raises(DeviceError, match=r"needs ONNX Runtime 1\.20 or later; install it with"):
        runtime_library()


def test_a_package_without_library_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = ModuleSpec("onnxruntime", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(binding, "find_spec", lambda _name: spec)
    with pytest.raises(DeviceError, match=r"holds no ONNX Runtime library"):
        runtime_library()
