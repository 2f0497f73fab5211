"""Ctrl-C ends every long command as interrupted, whatever the way out runs into."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from arena.cli import execute
from arena.device.acl_streams import AclStreams
from arena.fleet import Fleet
from planner.errors import UsageError
from tests.fleets import write_fleet

PROGRAM: Final = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from arena.device.acl_streams import AclStreams
from arena.cli import main

wait, number = AclStreams.wait, int(sys.argv.pop(1))

def interrupted(streams, stream):
    global number
    number -= 1
    if number == 0:
        os.kill(os.getpid(), signal.SIGINT)
    wait(streams, stream)

AclStreams.wait = interrupted
main()
"""
"""The command line, with a SIGINT while the device is waited for the n-th time."""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "street")


@pytest.mark.parametrize("number", [1, 4, 40])
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--frames", "200", "--trace", "trace.json"),
        ("verify",),
        ("time", "--repeats", "50"),
    ],
    ids=lambda words: words[0],
)
def test_an_interrupted_command_says_so(
    words: tuple[str, ...], number: int, fleet: Path, tmp_path: Path
) -> None:
    command, *options = words
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(number), command, str(fleet), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert (done.stderr, done.returncode, done.stdout) == ("interrupted\n", 130, "")
    if command == "run":
        assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def _interrupt_then_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let waiting be interrupted, and whatever closes the fleet fail."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def refused(*_: object) -> None:
        raise UsageError("stream 0x1 cannot be destroyed")

    monkeypatch.setattr(AclStreams, "wait", interrupted)
    monkeypatch.setattr(AclStreams, "destroy", refused)


@pytest.mark.parametrize("command", ["run", "verify", "time"])
def test_what_fails_on_the_way_out_is_no_news(
    command: str, fleet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _interrupt_then_refuse(patched)
        assert execute([command, str(fleet)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_after_an_interrupt_is_no_news(
    fleet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Fleet, *_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise UsageError("raised on the way out")

    monkeypatch.setattr(Fleet, "report", failing)
    assert execute(["run", str(fleet), "--frames", "1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
