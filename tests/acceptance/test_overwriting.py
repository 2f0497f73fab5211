"""No command overwrites what it reads: every output option that the command line has is tried."""

import os
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, get_args, get_type_hints

import pytest
import typer
from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from arena.cli import execute
from arena.cli.app import app
from arena.cli.overwriting import keeping_inputs
from tests.commands import arena
from tests.fleets import write_fleet

READ_OPTIONS: Final = {"--times", "--inputs", "--against"}
"""Options that name a path to read; any other that takes a path is taken to write it."""
INPUTS: Final = {
    "FLEET": ("fleet.yaml",),
    "FLEET_OR_PLAN": ("fleet.yaml", "plan.json"),
    "PLAN": ("plan.json",),
    "OLD": ("plan.json",),
    "NEW": ("fleet.yaml",),
    "FILE...": ("models/det.om",),
    "MODEL.onnx": ("models/det.om",),
    "INSTANCE": ("models/det.om",),
}
"""What tests give for each argument; a command with another one must be added here."""


def _commands() -> dict[str, Callable[..., int]]:
    """Return every command of the command line, as registered."""
    return {
        item.name or item.callback.__name__: item.callback
        for item in app.registered_commands
        if item.callback is not None
    }


def _paths(command: str, kind: str) -> list[tuple[str, str]]:
    """Return (first spelling, metavar) of the paths that a command takes, of one kind."""
    wanted = {"option": OptionInfo, "argument": ArgumentInfo}[kind]
    hints = get_type_hints(_commands()[command], include_extras=True).values()
    paths = [get_args(hint) for hint in hints if "Path" in str(get_args(hint)[:1])]
    infos = [next(x for x in parts if isinstance(x, ParameterInfo)) for parts in paths]
    return [(str(info.default), str(info.metavar)) for info in infos if isinstance(info, wanted)]


def _outputs(command: str) -> list[tuple[str, str]]:
    return [item for item in _paths(command, "option") if item[0] not in READ_OPTIONS]


def _files_over_inputs() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield (command, output option, its inputs, the input that is given as the output too)."""
    for command in _commands():
        inputs = tuple(INPUTS[metavar][0] for _, metavar in _paths(command, "argument"))
        for option, metavar in _outputs(command):
            if metavar == "DIR":
                continue
            for index, (_, argument) in enumerate(_paths(command, "argument")):
                for read in INPUTS[argument]:
                    yield command, option, (*inputs[:index], read, *inputs[index + 1 :]), read


SPELLINGS: Final[dict[str, Callable[[Path], Path]]] = {
    "itself": lambda path: path,
    "dotted": lambda path: path.parent / ".." / path.parent.name / path.name,
    "symlink": lambda path: _linked(path, os.symlink),
    "hard link": lambda path: _linked(path, os.link),
}


def _linked(path: Path, link: Callable[[Path, Path], None]) -> Path:
    target = path.with_name(f"link-to-{path.name}")
    link(path, target)
    return target


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A fleet, its plan and its models."""
    fleet = write_fleet(tmp_path / "street")
    arena(capsys, "plan", fleet, "-o", fleet.parent / "plan.json")
    return fleet.parent


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_command_with_outputs_is_tried() -> None:
    tried = {command for command, *_ in _files_over_inputs()}
    assert tried >= {"plan", "frontier", "run", "time", "report", "diff", "export", "compile"}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("command", "option", "inputs", "read"), list(_files_over_inputs()))
def test_an_output_is_never_an_input(
    command: str,
    option: str,
    inputs: tuple[str, ...],
    read: str,
    spelling: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = SPELLINGS[spelling](folder / read)
    before = _contents(folder)
    words = [folder / name for name in inputs]
    message = arena(capsys, command, *words, option, output, code=2)["error"]["message"]
    assert f"{option} {output}: would overwrite {folder / read}" in message
    assert f"give {option} another name" in message
    assert _contents(folder) == before


@pytest.mark.parametrize(
    ("command", "option", "inputs"),
    [
        (command, option, inputs)
        for command, option, inputs, read in _files_over_inputs()
        if not read.endswith(".om")
    ],
)
def test_an_output_is_no_model_of_the_fleet(
    command: str,
    option: str,
    inputs: tuple[str, ...],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = _contents(folder)
    words = [folder / name for name in inputs]
    output = folder / "models" / "rec.om"
    message = arena(capsys, command, *words, option, output, code=2)["error"]["message"]
    assert f"{option} {output}: would overwrite" in message
    assert f"(model 'reader' of {folder}" in message
    assert _contents(folder) == before


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        (command, first, second)
        for command in _commands()
        for (first, _), (second, _) in combinations(_outputs(command), 2)
    ],
)
def test_two_outputs_are_two_files(
    command: str, first: str, second: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _contents(folder)
    inputs = [folder / INPUTS[metavar][0] for _, metavar in _paths(command, "argument")]
    new, again = folder / "plan-01.json", folder / "models" / ".." / "plan-01.json"
    given = dict.fromkeys((first, second), new) | {second: again}
    folders = {option for option, metavar in _outputs(command) if metavar == "DIR"}
    given |= dict.fromkeys(folders & given.keys(), folder)
    words = [word for item in given.items() for word in item]
    message = arena(capsys, command, *inputs, *words, code=2)["error"]["message"]
    assert "are one file; give each a name of its own" in message
    assert all(f"{option} {path}" in message for option, path in given.items())
    assert _contents(folder) == before


@pytest.mark.parametrize("name", ["plan-01.json", "plan-100.json"])
def test_a_frontier_is_not_saved_over_its_fleet(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = (folder / "fleet.yaml").rename(folder / name)
    message = arena(capsys, "frontier", fleet, "-o", folder, code=2)["error"]["message"]
    assert f"-o {folder}: would overwrite {fleet} (FLEET)" in message
    inside = folder / "plans" / "plan-02.json"
    inside.parent.mkdir()
    inside.symlink_to(fleet)
    message = arena(capsys, "frontier", fleet, "-o", inside.parent, code=2)["error"]["message"]
    assert f"would overwrite {fleet}" in message


def test_a_frontier_is_saved_beside_its_fleet(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = (folder / "fleet.yaml").rename(folder / "plan-a.json")
    assert arena(capsys, "frontier", fleet, "-o", folder)["points"]
    assert (folder / "plan-01.json").is_file()


def test_outputs_may_share_what_is_no_file_and_replace_what_is_not_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, plan = folder / "fleet.yaml", folder / "plan.json"
    assert execute(["report", str(fleet), "--svg", "/dev/null", "--html", "/dev/null"]) == 0
    assert execute(["plan", str(fleet), "-o", str(plan)]) == 0
    assert execute(["report", str(fleet), "--csv", str(plan)]) == 0
    assert capsys.readouterr().err == ""


def test_times_that_are_read_are_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (folder / "fleet.yaml", "--times", folder / "t.json", "-o", folder / "t.json")
    message = arena(capsys, "plan", *words, code=2)["error"]["message"]
    assert f"would overwrite {folder / 't.json'} (--times)" in message


def test_a_command_cannot_forget_to_say_what_a_path_is_for() -> None:
    def forgetful(
        number: Annotated[int, typer.Argument()],
        target: Annotated[Path | None, typer.Option("--target")] = None,
    ) -> int:
        return 0

    with pytest.raises(TypeError, match=r"forgetful: path 'target' is not marked"):
        keeping_inputs(forgetful)


def test_a_damaged_fleet_is_named_by_the_command_itself(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, output = folder / "fleet.yaml", folder / "plan.json"
    fleet.write_text("[")
    before = output.read_bytes()
    error = arena(capsys, "plan", fleet, "-o", output, code=2)["error"]
    assert error["fault"] == "the fleet specification"
    assert output.read_bytes() == before
