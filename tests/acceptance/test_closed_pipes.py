"""A reader that goes away, as `head` does, is no failure of any command."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.every_command import WORDS, commands, write_inputs

ROOT: Final = Path(__file__).resolve().parents[2]
NEEDS_NETWORK: Final = "demo"
"""Says nothing on stdout before it has its models."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("pipes"))


def _run(words: Sequence[str], folder: Path, unbuffered: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose reader has gone before it writes."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "arena", *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "at once"])
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([name, *WORDS[name][0]] for name in commands() if name != NEEDS_NETWORK),
        ["schema", "--json"],
        ["plan", "absent.yaml", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_may_go_away(words: list[str], unbuffered: str, folder: Path) -> None:
    done = _run(words, folder, unbuffered)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr


def test_nobody_may_read_at_all(folder: Path) -> None:
    program = f"{sys.executable} -m arena check absent.json 2>&1 | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.strip() in ("0", "2")  # 2: it had spoken before the pipe was closed
    assert done.stderr == ""
