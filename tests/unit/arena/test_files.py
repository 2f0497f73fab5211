"""Bounded reads, atomic writes, and paths that survive a move."""

from pathlib import Path

import pytest

from arena.files import read_bytes, rebase_path, write_atomically
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
