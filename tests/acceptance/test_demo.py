"""The demo: real networks in shared memory, and every fleet in `examples`.

Tests that need the demo models fetch them once into the user's cache, and skip where they cannot.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from arena import demo as demo_module
from arena.cli import execute
from arena.demo import DemoReport, examples_folder, run_demo
from arena.demo_models import DEMO_MODELS, resolve_settings
from arena.errors import DeviceError
from arena.footprint import private_process_bytes, return_freed_memory
from examples.street_reader import content, signs, sound, text
from planner.errors import SpecError
from planner.fleet_file import parse_fleet
from planner.units import KiB
from tests.commands import arena
from tests.networks import demo_onnx

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def models() -> None:
    """Skip where the demo models cannot be had."""
    for name in DEMO_MODELS:
        demo_onnx(name)


@pytest.fixture(scope="module")
def report(models: None) -> DemoReport:
    return run_demo(frames=3)


# ---- the demo


def test_what_was_drawn_is_read(report: DemoReport) -> None:
    assert report.frames_right == 12
    assert set(report.texts_read) == {"ARENA310", "PLAN 4096", "HELLO 73", "MEMORY8K"}
    lines = {len(reading.read) for reading in report.corner.readings}
    assert lines == {0, 1, 2, 3}  # a step runs as often as a frame has lines


def test_speech_is_told_from_silence_and_tone(report: DemoReport) -> None:
    assert report.corner.heard == {"silence": False, "tone": False, "speech": True}


def test_types_of_files_are_recognised(report: DemoReport) -> None:
    assert report.corner.file_types == {name: name for name in content.samples()}


def test_nothing_differs_and_memory_is_saved(report: DemoReport) -> None:
    assert report.mismatches == 0
    plan = report.plan
    assert plan.planned_bytes < 0.3 * plan.private_bytes
    assert plan.height_bytes == plan.lower_bound_bytes
    assert report.measured_process_bytes > 0.9 * plan.planned_bytes
    assert report.ratio <= 0.30


def test_the_report_fits_80_columns_and_names_the_licences(report: DemoReport) -> None:
    lines = list(report.text())
    assert max(map(len, lines)) <= 80
    said = "\n".join(lines)
    assert "silero-vad 6.2.3, MIT" in said
    assert "12 of 12 frames read as drawn" in said


def test_the_command(
    report: DemoReport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_module, "run_demo", lambda **_: report)
    found = arena(capsys, "demo")
    assert found["texts_read"] == report.texts_read
    assert found["heard"]["speech"] is True
    assert found["file_types"]["png"] == "png"
    assert found["ratio"] == pytest.approx(
        found["measured_process_bytes"] / found["sessions_process_bytes"], rel=1e-5
    )
    assert found["lower_bound_bytes"] == found["height_bytes"]
    assert found["status"] == "optimal"
    assert found["planned_bytes"] < found["private_bytes"]
    assert {row["licence"] for row in found["models"]} == {"MIT", "Apache-2.0"}
    assert execute(["demo"]) == 0
    assert "speech: speech" in capsys.readouterr()[0]


def test_without_models_and_network_it_is_exit_3_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    error = arena(capsys, "demo", code=3)["error"]
    assert error["type"] == "FetchError"
    assert "pip download" in error["message"]
    assert str(tmp_path) in error["message"]


def test_without_its_libraries_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in [name for name in sys.modules if name.startswith("npu_arena_street_reader")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DeviceError, match=r"npu-arena\[demo\]"):
        demo_module._street_reader()


def test_the_child_process_that_dies_is_an_error(
    models: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "measure_sessions", os.execv)
    with pytest.raises(DeviceError, match="plain sessions ended"):
        demo_module._in_a_process_of_its_own("/bin/false", ["false"])  # type: ignore[arg-type]


def test_private_memory_counts_what_is_written_even_where_much_was_freed() -> None:
    freed = [bytearray(64 * KiB) for _ in range(1024)]  # too small to be mapped by themselves
    kept = bytearray(64 * KiB)  # above them: the C library keeps what is freed below it
    freed.clear()
    return_freed_memory()
    before = private_process_bytes()
    blocks = [bytearray(64 * KiB) for _ in range(512)]
    assert private_process_bytes() - before >= 0.95 * sum(map(len, blocks))
    assert kept


# ---- every example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs_on_the_cpu(
    example: Path, models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = arena(capsys, "run", example, "--device", "cpu", "--frames", "3")
    steps = len(list(parse_fleet(example.read_bytes()).channel_steps()))
    assert steps >= 4
    assert outcome["executions"] == 3 * steps
    assert outcome["mismatches"] == 0
    assert outcome["peak_bytes"] <= outcome["planned_bytes"]


@pytest.mark.parametrize(("example", "models_used"), [("demo", 5), ("speech", 1)])
def test_examples_are_verified(
    example: str, models_used: int, models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a model of 0.1 ms beside nobody but itself: the control waits for company."""
    verdict = arena(capsys, "verify", ROOT / "examples" / f"{example}.yaml")
    assert (verdict["mismatches"], verdict["control_detected"]) == (0, True)
    assert verdict["models"] == models_used


def test_the_wheel_carries_the_examples(tmp_path: Path) -> None:
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
    assert {"arena/examples/demo.yaml", "arena/examples/street_reader/app.py"} <= names


def test_examples_lie_beside_the_package_in_a_checkout() -> None:
    assert examples_folder() == ROOT / "examples"


# ---- what an application does around the networks


def test_boxes_of_a_map() -> None:
    score = np.zeros((320, 320), np.float32)
    score[40:60, 50:150] = 0.9
    score[200:220, 30:90] = 0.8
    score[100:120, 30:90] = 0.35  # seen, but not sure enough
    score[300, 300] = 0.9  # a speck
    first, second = text.find_boxes(score)
    assert (first.top < 40, first.bottom > 60, first.left < 50, first.right > 150) == (True,) * 4
    assert second.top > first.bottom
    assert text.find_boxes(np.zeros((320, 320), np.float32)) == []


def test_boxes_stay_inside_the_image() -> None:
    (box,) = text.find_boxes(np.ones((64, 320), np.float32))
    assert (box.left, box.top, box.right, box.bottom) == (0, 0, 320, 64)


def test_a_line_keeps_its_proportions() -> None:
    pixels = np.full((24, 48, 3), 255, np.uint8)
    tensor = text.line_tensor(pixels, text.READER_PIXELS)
    assert tensor.shape == (1, 3, 48, 320)
    assert tensor[..., :96].min() == pytest.approx(1)
    assert not tensor[..., 96:].any()
    assert text.line_tensor(np.zeros((4, 400, 3), np.uint8), text.CLASSIFIER_PIXELS).max() == -1


def test_a_line_on_its_head_is_turned() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert text.upright(pixels, np.array([0.8, 0.2])) is pixels
    turned = text.upright(pixels, np.array([0.02, 0.98]))
    assert turned[0, 0].tolist() == pixels[1, 1].tolist()


def test_repeats_merge_and_blanks_part() -> None:
    steps = np.eye(4)[[0, 1, 1, 0, 1, 2, 3, 3, 0]]
    assert text.decode(steps, ["", "a", "b", " "]) == "aab "


def test_scenes_are_drawn_alike_from_one_seed() -> None:
    scene = signs.Scene(["ARENA310"])
    assert (signs.draw(scene, 3) == signs.draw(scene, 3)).all()
    assert (signs.draw(scene, 3) != signs.draw(signs.Scene([]), 3)).any()
    upside = signs.draw(signs.Scene(["ARENA310"], on_its_head=True), 3)
    assert (upside == signs.draw(scene, 3)[::-1, ::-1]).all()


def test_chunks_overlap_by_the_context() -> None:
    signal = np.arange(1, 1100, dtype=np.float32)
    first, second = sound.chunks(signal)
    assert first.shape == (1, 576)
    assert not first[0, :64].any()
    assert (first[0, 64:] == signal[:512]).all()
    assert (second[0, :64] == first[0, -64:]).all()


def test_settings_belong_to_models_that_have_them(models: None) -> None:
    assert len(content.read_labels(resolve_settings("file-type"))) == 214
    with pytest.raises(SpecError, match="no file of settings"):
        resolve_settings("vad")


def test_plain_sessions_read_the_same_and_take_more(report: DemoReport) -> None:
    taken = demo_module.measure_sessions(report.plan, 1)
    assert taken > report.plan.planned_bytes


def test_where_the_system_tells_no_private_memory_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("arena.footprint.SMAPS", tmp_path / "absent")
    with pytest.raises(DeviceError, match="needs Linux"):
        private_process_bytes()
