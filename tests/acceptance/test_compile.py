"""`arena compile`, and ONNX and .arena files where model files are read."""

from pathlib import Path

import onnx
import pytest

from arena.cli import execute
from arena.formats.arena_file import read_model
from tests.commands import arena
from tests.networks import convolutions, open_batch, saved

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "net.onnx"
    onnx.save(convolutions(), path)
    return path


@pytest.fixture
def open_source(source: Path) -> Path:
    """A model whose batch is left open."""
    model = onnx.load(source)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, source)
    return source


def test_compile_tells_what_it_wrote(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.with_suffix(".arena")
    made = arena(capsys, "compile", source, "-o", target)
    model = read_model(target)
    assert made["file"] == str(target)
    assert made["lower_bound_bytes"] <= made["work_bytes"] == model.work_bytes
    assert made["weight_bytes"] == model.weight_bytes
    assert [row["shape"] for row in made["inputs"]] == [list(t.shape) for t in model.inputs]
    assert made["outputs"][0]["dtype"] == "float32"
    assert made["runtime"] == model.compiled_for.runtime
    assert made["seconds"] > 0
    (facts,) = arena(capsys, "inspect", target)["models"]
    assert facts["format"] == "arena"
    assert facts["work_bytes"] == made["work_bytes"]


def test_the_text_names_sizes_and_tensors(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.with_suffix(".arena")
    assert execute(["compile", str(source), "-o", str(target)]) == 0
    out, _ = capsys.readouterr()
    assert str(read_model(target).work_bytes) in out
    assert "input    x float32" in out


def test_open_axes_want_a_shape(open_source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = open_source.with_suffix(".arena")
    error = arena(capsys, "compile", open_source, "-o", target, code=2)["error"]
    assert "`--shape x=batch,3,24,24` with numbers for batch" in error["message"]
    assert not target.exists()
    axes = [
        d.dim_value or 2 for d in onnx.load(open_source).graph.input[0].type.tensor_type.shape.dim
    ]
    shape = "x=" + ",".join(map(str, axes))
    made = arena(capsys, "compile", open_source, "-o", target, "--shape", shape)
    assert made["inputs"][0]["shape"] == axes


@pytest.mark.parametrize(
    "shapes",
    [
        ["x"],  # no axes
        ["=1,2"],  # no name
        ["x=1,-2"],
        ["x=1,,2"],
        ["x=1", "x=1"],  # given twice
        ["other=1"],  # no such input
    ],
)
def test_wrong_shapes_are_refused(
    shapes: list[str], source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for shape in shapes for word in ("--shape", shape)]
    target = source.with_suffix(".arena")
    error = arena(capsys, "compile", source, "-o", target, *words, code=2)["error"]
    assert error["fault"] == "the caller"  # there is no fleet here
    assert not target.exists()


def test_onnx_files_are_inspected_advised_and_run(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = arena(capsys, "compile", source, "-o", tmp_path / "net.arena")
    (facts,) = arena(capsys, "inspect", source)["models"]
    assert facts["format"] == "onnx"
    assert (facts["work_bytes"], facts["weight_bytes"]) == (
        made["work_bytes"],
        made["weight_bytes"],
    )
    fleet = tmp_path / "fleet.yaml"
    advice = arena(capsys, "advise", source, tmp_path / "net.arena", "-o", fleet)
    assert len(advice["strategies"]) == 4
    outcome = arena(capsys, "run", fleet, "--frames", "3")
    assert (outcome["device"], outcome["mismatches"]) == ("cpu", 0)
    assert outcome["executions"] == 6


def test_a_changed_network_is_named_as_its_fleet_names_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, plan = tmp_path / "fleet.yaml", tmp_path / "plan.json"
    arena(capsys, "advise", source, "-o", fleet)
    arena(capsys, "plan", fleet, "-o", plan)
    onnx.save(convolutions(seed=1), source)
    message = arena(capsys, "run", plan, code=2)["error"]["message"]
    assert message.startswith(f"{plan}: model 'net': {source} (compiled: {tmp_path / 'cache'}")
    assert " has digest " in message


def test_open_axes_are_given_to_inspect_and_advise_too(
    open_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_input = onnx.load(open_source).graph.input[0].type.tensor_type
    axes = [dim.dim_value or 2 for dim in open_input.shape.dim]
    shape = "x=" + ",".join(map(str, axes))
    made = arena(capsys, "compile", open_source, "-o", tmp_path / "net.arena", "--shape", shape)
    fleet = tmp_path / "fleet.yaml"
    fixed = tmp_path / "fixed.onnx"  # has an input of the same name, of another shape: left alone
    onnx.save(convolutions(), fixed)
    calls: list[list[str | Path]] = [
        ["inspect", open_source],
        ["advise", open_source, "-o", fleet],
    ]
    for words in calls:
        error = arena(capsys, *words, code=2)["error"]
        assert error["message"] == (
            f"{open_source}: inputs.x: the file leaves axes open: write "
            "`--shape x=batch,3,24,24` with numbers for batch"
        )
        assert error["fault"] == "the caller"
        error = arena(capsys, *words, "--shape", "y=1", code=2)["error"]
        assert error == {
            "message": "--shape y: no .onnx file has such an input; inputs that they have: x",
            "fault": "the caller",
            "type": "UsageError",
        }
        assert arena(capsys, *words, "--shape", "x=1", code=2)["error"]["message"]
    found = arena(capsys, "inspect", open_source, fixed, "--shape", shape)["models"]
    assert (found[0]["work_bytes"], found[0]["weight_bytes"]) == (
        made["work_bytes"],
        made["weight_bytes"],
    )
    assert found[1] == arena(capsys, "inspect", fixed)["models"][0]
    words = ["advise", open_source, fixed, tmp_path / "net.arena", "-o", fleet]
    assert arena(capsys, *words, "--shape", shape)["strategies"]
    assert arena(capsys, "run", fleet, "--frames", "2")["mismatches"] == 0
    absent = arena(capsys, "inspect", "absent.onnx", "--shape", shape, code=2)["error"]
    assert absent["message"] == "absent.onnx: cannot be read: No such file or directory"


@pytest.mark.parametrize("command", ["plan", "frontier", "time", "run"])
def test_open_axes_in_a_fleet_name_the_model_and_the_file(
    command: str, open_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "version: 1\nmodels: {m: {file: net.onnx}}\npipelines: {p: {steps: {s: {model: m}}}}\n"
    )
    error = arena(capsys, command, fleet, code=2)["error"]
    assert error["message"] == (
        f"{fleet}: models.m.inputs.x: net.onnx: the file leaves axes open: write "
        "`inputs: {x: [batch, 3, 24, 24]}` with numbers for batch"
    )
    assert error["fault"] == "the fleet specification"


def test_gears_are_compiled_inspected_planned_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = saved(open_batch(), tmp_path), tmp_path / "net.arena"
    words = ["--gear", "x=2,16", "--gear", "x=1,16", "--gear", "x=5,16"]
    made = arena(capsys, "compile", source, "-o", target, *words)
    assert [gear["gear"] for gear in made["gears"]] == [[2], [1], [5]]
    assert made["work_bytes"] == max(gear["work_bytes"] for gear in made["gears"])
    assert execute(["compile", str(source), "-o", str(target), *words]) == 0
    assert "gear     5: x [5, 16], work" in capsys.readouterr().out
    (facts,) = arena(capsys, "inspect", target)["models"]
    assert facts["gears"] == [[2], [1], [5]]
    assert execute(["inspect", str(target)]) == 0
    assert "chosen before each execution: gears: 2, 1, 5" in capsys.readouterr().out
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "version: 1\n"
        "models: {m: {file: net.arena}}\n"
        "pipelines: {p: {channels: 2, lane: 'l-{channel}', steps: {s: {model: m}}}}\n"
    )
    planned = arena(capsys, "plan", fleet)
    assert planned["gears"] == [
        {"model": "m", "gears": "gears: 2, 1, 5", "choices": [[2], [1], [5]]}
    ]
    assert execute(["plan", str(fleet)]) == 0
    assert "m: planned at the largest of its gears, gears: 2, 1, 5" in capsys.readouterr().out
    outcome = arena(capsys, "run", fleet, "--frames", "6")
    assert (outcome["executions"], outcome["mismatches"]) == (12, 0)
    assert execute(["report", str(fleet)]) == 0
    assert "planned at the largest of its gears" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gears", "message"),
    [
        (["x=2,16"], "found 1 shapes, expected one for each gear"),
        (["x=2,16", "x=a,16"], "--gear 'x=a,16': expected NAME=1,3,320,320"),
        (["x=2,16", "x=2,15"], "the file"),
    ],
)
def test_wrong_gears_are_refused(
    gears: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for gear in gears for word in ("--gear", gear)]
    source = saved(open_batch(), tmp_path)
    error = arena(capsys, "compile", source, "-o", tmp_path / "m.arena", *words, code=2)["error"]
    assert message in error["message"]
