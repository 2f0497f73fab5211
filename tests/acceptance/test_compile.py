"""`arena compile`, and ONNX and .arena files where model files are read."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from arena.cli import execute
from arena.formats.arena_file import read_model
from tests.networks import convolutions

ROOT = Path(__file__).parents[2]


def arena(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    found = execute([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert found == code, (found, out, err)
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


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
    assert "--shape x=" in error["message"]
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
    assert arena(capsys, "compile", source, "-o", target, *words, code=2)["error"]["message"]
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
