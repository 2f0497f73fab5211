"""Entries of the cache appear whole or not at all, and are made once."""

import sys
import threading
from pathlib import Path

import pytest

from arena.cache import cache_folder, made_once
from arena.errors import DeviceError


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_CACHE_DIR", "/chosen")
    assert cache_folder() == Path("/chosen")
    monkeypatch.delenv("ARENA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert cache_folder().name == "npu-arena"


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    path, calls = tmp_path / "deep" / "entry", []

    def make() -> bytes:
        calls.append(1)
        return b"content"

    for _ in range(3):
        made_once(path, is_good=lambda entry: entry.read_bytes() == b"content", make=make)
    assert path.read_bytes() == b"content"
    assert calls == [1]


def test_a_bad_entry_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    path.write_bytes(b"harmed")
    made_once(path, is_good=lambda entry: entry.read_bytes() == b"new", make=lambda: b"new")
    assert path.read_bytes() == b"new"


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    with pytest.raises(ZeroDivisionError):
        made_once(path, is_good=lambda _entry: True, make=lambda: bytes(1 // 0))
    assert not path.exists()
    assert made_once(path, is_good=lambda _entry: True, make=lambda: b"x").read_bytes() == b"x"


def test_who_comes_second_waits_and_finds_it_made(tmp_path: Path) -> None:
    path, inside, calls = tmp_path / "entry", threading.Event(), []

    def slow() -> bytes:
        inside.set()
        calls.append("slow")
        return b"slow"

    def second() -> bytes:
        calls.append("second")
        return b"second"

    thread = threading.Thread(
        target=lambda: made_once(path, is_good=lambda _entry: True, make=slow)
    )
    thread.start()
    inside.wait()
    made_once(path, is_good=lambda _entry: True, make=second)
    thread.join()
    assert path.read_bytes().decode() == calls[0]
    assert len(calls) == 1


@pytest.mark.parametrize("package", ["platformdirs", "filelock"])
def test_a_missing_package_names_its_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delenv("ARENA_CACHE_DIR", raising=False)
    with pytest.raises(DeviceError, match=rf"package {package}, .*'npu-arena\[cpu\]'"):
        made_once(
            tmp_path / "entry" if package == "filelock" else cache_folder() / "entry",
            is_good=lambda _: False,
            make=lambda: b"",
        )
