"""How errors become exit codes, and what commands print for people."""

import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import arena.cli.app
from arena.cli import execute
from arena.cli.output import warn
from arena.errors import DeviceError
from planner.errors import SpecError
from tests.fleets import write_fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "street")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SpecError("wrong", "models.a"), 2, "error (the fleet specification): models.a: wrong"),
        (DeviceError("two\nlines"), 3, "error (the device): two lines"),
        (ValueError("surprise"), 70, "internal error: ValueError: surprise"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    line: str,
    fleet: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import arena.planning

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(arena.planning, "plan_file", fail)
    assert execute(["plan", str(fleet)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert len(err.splitlines()) == 1
    if code in (2, 3, 70):
        with pytest.raises(type(error)):
            execute(["plan", str(fleet), "--debug"])


def test_no_summary_of_a_command_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert execute(["--help"]) == 0
    _, _, commands = capsys.readouterr().out.partition("Commands:")
    assert max(map(len, commands.splitlines())) <= 80
    assert "bit for bit" in commands  # the end of a summary that takes two lines
    assert "..." not in commands


def test_warnings_wrap_at_words_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "models.long: " + "several words " * 20
    warn([message])
    assert capsys.readouterr().err == f"warning: {message}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    warn([message])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == f"warning: {message}".strip()


def test_inspect_shows_names_in_its_table(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((fleet.parent / "models").glob("*.om"))
    assert execute(["inspect", *map(str, files)]) == 0
    heading, _, first, *_ = capsys.readouterr().out.splitlines()
    assert heading.startswith("file")
    assert first.startswith("det.om ")


def test_without_words_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([]) == 0
    out, _ = capsys.readouterr()
    for command in ("inspect", "advise", "plan", "check", "run", "solve", "report", "doctor"):
        assert command in out


def test_text_for_people(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.json"
    assert execute(["plan", str(fleet), "-o", str(plan)]) == 0
    assert "optimal for this order" in capsys.readouterr().out
    assert execute(["check", str(plan)]) == 0
    assert "valid" in capsys.readouterr().out
    plan.write_text(plan.read_text().replace('"work_offset": 0', '"work_offset": 512', 1))
    assert execute(["check", str(plan)]) == 1
    assert "violations" in capsys.readouterr().out
    assert execute(["run", str(fleet), "--frames", "1"]) == 0
    assert "0 mismatches" in capsys.readouterr().out
    assert execute(["run", str(fleet), "--frames", "1", "--memory", "1"]) == 1
    assert "DOES NOT FIT" in " ".join(capsys.readouterr().out.split())
    models = [str(path) for path in (fleet.parent / "models").glob("*.om")]
    assert execute(["advise", *models, "-o", str(tmp_path / "start.yaml")]) == 0
    assert "one-max-per-device" in capsys.readouterr().out
    assert execute(["doctor"]) == 0
    assert "twin" in capsys.readouterr().out
    assert execute(["schema"]) == 0
    assert capsys.readouterr().out.startswith("{\n")
    instance = tmp_path / "i.csv"
    instance.write_text("id,lower,upper,size\na,0,2,4\n")
    assert execute(["solve", str(instance)]) == 0
    assert "optimal" in capsys.readouterr().out


def test_progress_and_the_live_line_draw_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from arena.cli.output import live_line, progress

    with progress("reading") as advance, live_line() as report:
        advance(1, 2)
        assert report is None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with live_line() as report:
        report(12, 10)
        report(None, 10)
    err = capsys.readouterr().err
    assert "gap 20.00%" in err
    assert "gap -" in err
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading") as advance:
        advance(1, 2)


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_is_told_of_a_checkout_too(
    installed: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if installed:
            return "1.2.3"
        raise PackageNotFoundError(name)

    monkeypatch.setattr("arena.cli.app.metadata.version", version)
    assert execute(["--version"]) == 0
    told = "1.2.3" if installed else "(not installed: run from its source)"
    assert capsys.readouterr().out == f"npu-arena {told}\n"


def test_another_exit_of_a_command_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(5)

    monkeypatch.setattr("arena.catalogue.device_catalogue", leave)
    with pytest.raises(SystemExit) as found:
        execute(["devices"])
    assert found.value.code == 5


def test_the_process_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["arena", "check", "absent.json"])
    with pytest.raises(SystemExit) as found:
        arena.cli.main()
    assert found.value.code == 2


def test_an_interruption_while_commands_are_imported_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "arena.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "arena.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert execute(["plan", "fleet.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
