"""Bounded reads, atomic writes, and paths that survive a move."""

import os
import threading
from pathlib import Path

import pytest

from arena.files import read_bytes, read_text, rebase_path, write_atomically
from planner.errors import DecodeError, UsageError


def test_write_then_read(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert read_bytes(target) == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"absent\.yaml: cannot be read: No such file"):
        read_bytes(tmp_path / "absent.yaml")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    target = tmp_path / "big"
    target.write_bytes(b"12345")
    with pytest.raises(DecodeError, match="5 B, expected at most 4 B"):
        read_bytes(target, bytes_max=4)


def test_a_missing_folder_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "absent" / "plan.json", b"")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_atomically(folder, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("m/a.om", "../fleets/m/a.om"),
        ("../a.om", "../a.om"),
        ("/abs/a.om", "/abs/a.om"),
        ("demo:ocr-det", "demo:ocr-det"),
        ("", ""),
    ],
)
def test_rebase(file: str, expected: str) -> None:
    assert rebase_path(file, old=Path("/srv/fleets"), new=Path("/srv/plans")) == expected


def test_a_link_to_a_folder_does_not_mislead(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er" / "plans").mkdir(parents=True)
    (tmp_path / "fleets").mkdir()
    link = tmp_path / "plans"
    link.symlink_to(tmp_path / "deep" / "er" / "plans")
    moved = rebase_path("a.om", old=tmp_path / "fleets", new=link)
    assert (link.resolve() / moved).resolve() == (tmp_path / "fleets" / "a.om").resolve()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"plan")
    reader.join()
    assert received == [b"plan"]
    assert pipe.is_fifo()


def test_text_must_be_utf_8(tmp_path: Path) -> None:
    target = tmp_path / "fleet.yaml"
    target.write_bytes(b"name: \xff")
    with pytest.raises(DecodeError, match="byte 6 is not UTF-8 text"):
        read_text(target)
