"""Reports, devices, differences and exports as commands: keys, files, exit codes."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from arena import exercise as exercise_module
from arena.cli import execute
from arena.errors import DeviceError
from arena.fleet import Fleet
from planner.units import MiB
from tests.commands import arena
from tests.fleets import write_fleet
from tests.trace_format import assert_trace_format, by_phase

EXAMPLE = Path(__file__).parents[2] / "docs" / "fleets" / "street-corner.yaml"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "street")


def test_report_answers_what_people_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("markdown", "csv", "svg", "html")}
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    report = arena(capsys, "report", EXAMPLE, *words)
    keys = {"channels_fit", "devices_fit", "strategies", "bytes_by_kind", "witness", "instances"}
    assert report.keys() >= keys
    assert sum(report["bytes_by_kind"].values()) == report["needed_bytes"]
    assert report["channels_fit"] == {"camera": None, "microphone": None}
    assert all(path.stat().st_size > 100 for path in files.values())


def test_a_report_of_a_plan_needs_no_model_file(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", target)
    shutil.rmtree(fleet.parent)
    assert arena(capsys, "report", target)["channels_fit"] == {"camera": None, "door": None}
    assert arena(capsys, "diff", target, target)["empty"] is True


def test_a_device_model_is_a_limit_of_usable_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {row["device"]: row for row in arena(capsys, "devices")["devices"]}
    usable = known["Ascend310P3"]["usable_bytes"]
    assert usable < known["Ascend310P3"]["nominal_bytes"]
    for command in ("plan", "report"):
        found = arena(capsys, command, EXAMPLE, "--device-model", "Ascend310P3")
        assert found["limit_bytes"] == usable
    assert execute(["plan", str(EXAMPLE), "--device-model", "Ascend310P3"]) == 0
    assert "device.reserve.system: usable memory of Ascend310P3" in capsys.readouterr().err
    assert execute(["plan", str(EXAMPLE)]) == 0
    assert "counts it twice" not in capsys.readouterr().err
    both = arena(
        capsys, "plan", EXAMPLE, "--memory", "1GiB", "--device-model", "Ascend310P3", code=2
    )
    assert "leave one out" in both["error"]["message"]
    unknown = arena(capsys, "plan", EXAMPLE, "--device-model", "Ascend310P33", code=2)
    assert "did you mean" in unknown["error"]["message"]


def test_diff_and_its_budget(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    arena(capsys, "plan", fleet, "-o", old)
    larger = write_fleet(tmp_path / "larger", weights=MiB)
    arena(capsys, "plan", larger, "-o", new)
    comment = tmp_path / "comment.md"
    found = arena(capsys, "diff", old, new, "--budget", "+64MiB", "--markdown", comment)
    assert found["height_bytes_delta"] == 0
    assert found["total_bytes_delta"] == sum(
        row["delta_bytes"] for row in found["models"] if row["kind"] == "weights"
    )
    assert {row["change"] for row in found["instances"]} == {"resized"}
    assert found["within_budget"] is True
    assert "weights" in comment.read_text()
    assert arena(capsys, "diff", old, new, "--budget", "+1MiB", code=1)["within_budget"] is False
    mirrored = arena(capsys, "diff", new, old, "--budget=-1MiB")
    assert mirrored["total_bytes_delta"] == -found["total_bytes_delta"]
    assert execute(["diff", str(old), str(new), "--budget", "0B"]) == 1
    assert "ABOVE THE BUDGET of 0 B by " in capsys.readouterr().out
    assert execute(["diff", str(old), str(fleet)]) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_check_against_a_folder_names_stale_files(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", target)
    models = fleet.parent / "models"
    for folder in (tmp_path, models):  # as the plan names them, and by name alone
        assert arena(capsys, "check", target, "--against", folder)["stale"] == 0
    data = bytearray((models / "rec.om").read_bytes())
    data[-1] ^= 1
    (models / "rec.om").write_bytes(data)
    (models / "trk.om").unlink()
    found = arena(capsys, "check", target, "--against", models, code=1)
    assert found["valid"] is True
    assert {row["model"]: row["state"] for row in found["files"]} == {
        "detector": "matches",
        "reader": "changed",
        "tracker": "missing",
    }
    assert execute(["check", str(target), "--against", str(models)]) == 1
    assert "2 model files do not match" in capsys.readouterr().out


def test_declared_models_have_no_file_to_match(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", EXAMPLE, "-o", target)
    found = arena(capsys, "check", target, "--against", tmp_path, code=1)
    assert {row["state"] for row in found["files"]} == {"declared"}
    assert (found["valid"], found["compared"], found["stale"]) == (True, 0, 0)
    assert execute(["check", str(target), "--against", str(tmp_path)]) == 1
    assert f"valid, nothing compared with {tmp_path}: all sizes" in capsys.readouterr().out
    target.write_text(target.read_text().replace('"work_offset": 0', '"work_offset": 512', 1))
    found = arena(capsys, "check", target, "--against", tmp_path, code=1)
    assert (found["files"], found["fits"], found["short_bytes"]) == ([], None, None)


def test_check_says_that_a_valid_plan_does_not_fit(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    short = arena(capsys, "plan", fleet, "--memory", "1MiB", "-o", target, code=1)["short_bytes"]
    found = arena(capsys, "check", target)
    assert (found["valid"], found["fits"], found["short_bytes"]) == (True, False, short)
    assert execute(["check", str(target)]) == 0
    assert f"valid, but does not fit in 1.00 MiB: short by {short} bytes" in capsys.readouterr().out
    text = fleet.read_text().replace("memory: 64MiB", "streams: 1")
    fleet.write_text(text)
    arena(capsys, "plan", fleet, "-o", target, code=1)
    found = arena(capsys, "check", target)
    assert (found["fits"], found["short_bytes"]) == (False, 0)
    assert execute(["check", str(target)]) == 0
    assert "valid, but does not fit: 5 streams of 1" in capsys.readouterr().out
    arena(capsys, "plan", EXAMPLE, "-o", target)
    assert arena(capsys, "check", target)["fits"] is True


def test_export(fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, header = tmp_path / "plan.json", tmp_path / "plan.h"
    arena(capsys, "plan", fleet, "-o", target)
    assert "#define ARENA_WORK_BYTES" in arena(capsys, "export", target, "--c-header")["text"]
    assert execute(["export", str(target), "--c-header", "-o", str(header)]) == 0
    assert capsys.readouterr().out == ""
    assert "ARENA_DETECTOR_VISION = 0" in header.read_text()
    assert execute(["export", str(target), "--csv"]) == 0
    assert capsys.readouterr().out.startswith("instance,model,lane,")
    for words in ([], ["--csv", "--c-header"]):
        assert (
            "expected one of" in arena(capsys, "export", target, *words, code=2)["error"]["message"]
        )


def test_text_of_every_report(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["report", str(fleet)], ["devices"]):
        assert execute(words) == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        assert "~" not in out or "~ marks what was not read twice" in out


def test_a_misfit_is_explained_with_prices(capsys: pytest.CaptureFixture[str]) -> None:
    demo = Path(__file__).parents[2] / "examples" / "demo.yaml"
    for limit in ("1MiB", "0B", "20MiB"):
        found = arena(capsys, "plan", demo, "--memory", limit, code=1)
        assert found["fits"] is False
        explanation = found["explanation"]
        assert {*explanation["culprits"]} <= {row["instance"] for row in found["instances"]}
        assert explanation["culprits"]
        assert explanation["culprits_proven"]
        assert explanation["culprits_needed_bytes"] > found["limit_bytes"]
        priced = ("what", "bytes_freed", "time_added", "time_unit", "needed_bytes", "fits")
        assert len(explanation["ways_out"]) >= 3
        assert all(row.keys() >= {*priced} for row in explanation["ways_out"])
        assert arena(capsys, "report", demo, "--memory", limit)["explanation"] == explanation
    for fleet in (demo, EXAMPLE):
        found = arena(capsys, "plan", fleet, "--fit", "1MiB", code=1)
        assert found["explanation"]["culprits"]
        assert len(found["explanation"]["ways_out"]) >= 3
        least = next(row for row in found["explanation"]["ways_out"] if row["fits"])
        assert arena(capsys, "plan", fleet, "--fit", str(least["limit_bytes"]))["fits"]
    assert arena(capsys, "plan", demo)["explanation"] is None
    for command in ("plan", "run"):
        assert execute([command, str(demo), "--memory", "20MiB"]) == 1
        out = capsys.readouterr().out
        assert "Why it does not fit" in out
        assert max(map(len, out.splitlines())) <= 80


def test_reports_keep_their_schema(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = arena(capsys, "schema", "--report")
    jsonschema.Draft202012Validator.check_schema(schema)
    for words in ([EXAMPLE], [fleet], [fleet, "--memory", "1MiB"]):
        jsonschema.validate(arena(capsys, "report", *words), schema)
    assert execute(["schema", "--report"]) == 0
    assert json.loads(capsys.readouterr().out) == schema


def test_run_reports_what_was_measured_beside_what_was_planned(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("markdown", "csv", "svg", "html")}
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    found = arena(capsys, "run", fleet, "--frames", "2", *words)
    report = found["report"]
    jsonschema.validate(report, arena(capsys, "schema", "--report"))
    (measured,) = report["measured"]
    assert measured["planned_bytes"] == report["planned_bytes"] == measured["reserved_bytes"]
    assert measured["peak_bytes"] == found["peak_bytes"] >= measured["loaded_bytes"]
    stages = [row["stage"] for row in measured["readings"]]
    n = len(report["instances"])
    assert stages == ["reserved", *["loaded"] * n, "ready", *["first run"] * n, "asked"]
    assert {row["beyond_bytes"] for row in measured["readings"]} == {0}
    assert f"measured at the peak: running | {measured['peak_bytes'] / MiB:.2f} MiB" in (
        files["markdown"].read_text()
    )
    assert "Measured beside planned: twin" in files["html"].read_text()
    assert files["csv"].read_text().startswith("instance,")
    assert files["svg"].read_text().startswith("<svg")
    assert execute(["run", str(fleet), "--frames", "1", "--report"]) == 0
    text = capsys.readouterr().out
    assert "measured beside planned" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_that_does_not_fit_reports_without_measurements(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = arena(capsys, "run", fleet, "--memory", "1MiB", "--report", code=1)
    assert found["report"]["measured"] == []
    for words in ([], ["--report"]):
        assert execute(["run", str(fleet), "--memory", "1MiB", *words]) == 1
        assert "DOES NOT FIT" in " ".join(capsys.readouterr().out.split())


def test_run_writes_a_trace(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.json"
    found = arena(capsys, "run", fleet, "--frames", "3", "--trace", target)
    trace = assert_trace_format(target.read_text())
    executed = [event for event in by_phase(trace, "X") if event["cat"] == "execution"]
    assert len(executed) == found["executions"]
    for words in (["--trace", str(target)], ["--metrics", "0"]):
        refused = arena(capsys, "run", fleet, *words, "--unsafe-no-guard", code=2)
        assert "record what the guard does" in refused["error"]["message"]


def test_a_run_that_fails_leaves_its_trace(
    fleet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(loaded: Fleet, *_: object, **__: object) -> None:
        loaded.run("camera[0].detect", bytes(64))
        raise DeviceError("the device went away")

    monkeypatch.setattr(exercise_module, "exercise", fail)
    target = tmp_path / "out.json"
    failed = arena(capsys, "run", fleet, "--trace", target, code=3)
    assert "went away" in failed["error"]["message"]
    assert len(by_phase(assert_trace_format(target.read_text()), "X")) == 2  # a frame and a run


def test_run_serves_metrics_only_when_asked(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["run", str(fleet), "--frames", "1", "--metrics", "0"]) == 0
    assert re.search(r"metrics: http://127\.0\.0\.1:[1-9]\d*/metrics", capsys.readouterr().err)
    assert execute(["run", str(fleet), "--frames", "1"]) == 0
    assert "metrics" not in capsys.readouterr().err
