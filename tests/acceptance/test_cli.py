"""The command line as docs/design.md section 6 promises it: keys, exit codes, clean stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from arena.cli import execute
from arena.errors import DeviceError
from planner.errors import DecodeError
from planner.units import MiB, format_bytes
from tests.commands import arena
from tests.fleets import write_fleet

PLAN_KEYS = {
    "fits",
    "height_bytes",
    "lower_bound_bytes",
    "status",
    "weight_bytes",
    "total_bytes",
    "private_bytes",
    "outside_bytes",
    "instances",
    "seconds",
    "added",
}
ROW_KEYS = {
    "instance",
    "model",
    "lane",
    "work_offset",
    "work_bytes",
    "weight_offset",
    "weight_bytes",
}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write_fleet(tmp_path / "street")


def test_plan_prints_every_key(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = arena(capsys, "plan", fleet)
    assert plan.keys() >= PLAN_KEYS
    assert [row["instance"] for row in plan["instances"]] == [
        "detector@vision",
        "reader@vision",
        "tracker@tracking",
    ]
    assert all(row.keys() >= ROW_KEYS for row in plan["instances"])
    assert plan["fits"] is True
    assert plan["status"] == "optimal"
    assert plan["height_bytes"] == plan["lower_bound_bytes"]
    assert plan["total_bytes"] == plan["height_bytes"] + plan["weight_bytes"]


def test_the_same_fleet_gives_the_same_plan_file(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.json", "two.json"):
        arena(capsys, "plan", fleet, "-o", tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_plan_file_elsewhere_still_finds_its_models(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plans" / "deep" / "plan.json"
    target.parent.mkdir(parents=True)
    arena(capsys, "plan", fleet, "-o", target)
    files = [model["file"] for model in json.loads(target.read_text())["fleet"]["models"].values()]
    assert files == [f"../../street/models/{name}.om" for name in ("det", "rec", "trk")]
    assert arena(capsys, "run", target, "--frames", "2")["mismatches"] == 0


@pytest.mark.parametrize("missing", [0, 1])
def test_one_byte_too_small_does_not_fit(
    fleet: Path, tmp_path: Path, missing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = arena(capsys, "plan", fleet)["needed_bytes"]
    target = tmp_path / "plan.json"
    plan = arena(
        capsys, "plan", fleet, "--memory", str(needed - missing), "-o", target, code=missing
    )
    assert plan.keys() >= PLAN_KEYS
    assert (plan["fits"], plan["short_bytes"]) == (not missing, missing)
    assert target.is_file()
    outcome = arena(capsys, "run", fleet, "--memory", str(needed - missing), code=missing)
    assert outcome["short_bytes"] == missing


def test_check_accepts_a_plan_and_names_what_is_wrong_with_a_tampered_one(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", target)
    plain = {"valid": True, "violations": [], "fits": True, "short_bytes": 0}
    assert arena(capsys, "check", target) == plain
    text = target.read_text()
    target.write_text(text.replace('"work_offset": 0', '"work_offset": 512', 1))
    assert target.read_text() != text
    verdict = arena(capsys, "check", target, code=1)
    assert verdict["valid"] is False
    assert verdict["violations"]
    assert arena(capsys, "run", target, code=2)["error"]["message"]


def test_check_of_something_else_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"format": "something"}')
    assert "is no plan file" in arena(capsys, "check", other, code=2)["error"]["message"]
    other.write_text("not even JSON")
    assert "error" in arena(capsys, "check", other, code=2)


@pytest.mark.parametrize("command", ["plan", "frontier", "time", "run", "report", "verify"])
def test_what_is_wrong_with_a_fleet_names_its_file(
    command: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = fleet.read_text()
    fleet.write_text(text.replace("pipelines:", "pipelnes:"))
    error = arena(capsys, command, fleet, code=2)["error"]
    assert error["message"].startswith(f"{fleet}: pipelnes: unknown key")
    assert error["fault"] == "the fleet specification"
    fleet.write_text(text.replace("models/rec.om", "models/absent.om"))
    error = arena(capsys, command, fleet, code=2)["error"]
    assert error["message"].startswith(f"{fleet}: models.reader.file: there is no file")


@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_plan_whose_model_is_gone_is_to_blame(
    command: str,
    fleet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arena(capsys, "plan", fleet, "-o", tmp_path / "plan.json")
    model = (fleet.parent / "models" / "rec.om").rename(tmp_path / "moved.om")
    error = arena(capsys, command, tmp_path / "plan.json", code=2)["error"]
    gone = tmp_path / "street" / "models" / "rec.om"
    assert error["fault"] == "the plan"
    assert error["message"] == (
        f"{tmp_path / 'plan.json'}: models.reader.file: there is no file {gone}: bring back the "
        "file that the plan was made of, or plan again"
    )
    monkeypatch.chdir(tmp_path)
    message = arena(capsys, command, "plan.json", code=2)["error"]["message"]
    assert message.startswith("plan.json: models.reader.file: there is no file street/models/rec")
    assert f"(looked for as {gone})" in message
    gone.write_bytes(model.read_bytes() + b" ")
    error = arena(capsys, command, "plan.json", code=2)["error"]
    assert error["fault"] == "the plan"
    assert error["message"].startswith("plan.json: model 'reader': ")


def test_check_against_no_folder_is_wrong_use(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", plan)
    for against, what in ((tmp_path / "absent", "does not exist"), (plan, "is a file")):
        error = arena(capsys, "check", plan, "--against", against, code=2)["error"]
        assert error["fault"] == "the caller"
        assert "--against" in error["message"]
        assert f"'{against}' {what}" in error["message"]


@pytest.mark.parametrize("command", ["plan", "frontier", "time"])
def test_a_plan_is_no_fleet(
    command: str, fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", target)
    error = arena(capsys, command, target, code=2)["error"]
    assert error["message"].startswith(f"{target}: is a plan file, expected a fleet file; plans")
    assert "`arena check`, `run`, `report`, `verify`" in error["message"]
    assert error["fault"] == "the caller"


@pytest.mark.parametrize("words", [["check"], ["export", "--csv"]])
def test_a_fleet_is_no_plan(
    words: list[str], fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = arena(capsys, *words, fleet, code=2)["error"]["message"]
    assert message == (
        f"{fleet}: is no plan file; `arena plan FLEET -o plan.json` makes one of a fleet file"
    )


def test_run_compares_every_output(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = arena(capsys, "run", fleet, "--device", "twin", "--frames", "20", "--threads", "8")
    assert outcome["executions"] == 20 * (3 * 2 + 1)
    assert outcome["mismatches"] == 0
    assert 0 < outcome["peak_bytes"] <= outcome["planned_bytes"] + outcome["outside_bytes"]


def test_run_of_no_frames_compares_nothing_and_is_refused(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--frames" in arena(capsys, "run", fleet, "--frames", "0", code=2)["error"]["message"]


def test_run_without_the_guard_corrupts(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = fleet.parent / "page.html"
    words = ("--frames", "100", "--threads", "8", "--unsafe-no-guard", "--html", page)
    outcome = arena(capsys, "run", fleet, *words, code=1)
    assert outcome["mismatches"] > 0
    assert f"{outcome['mismatches']} differ" in page.read_text()


def test_run_refuses_a_changed_model_file(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    arena(capsys, "plan", fleet, "-o", target)
    model = fleet.parent / "models" / "rec.om"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    message = arena(capsys, "run", target, code=2)["error"]["message"]
    assert "model 'reader'" in message
    assert "has digest" in message


def test_report_of_a_plan_agrees_with_the_plan(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.json"
    plan = arena(capsys, "plan", fleet, "-o", target)
    report = arena(capsys, "report", target)
    assert {key: report[key] for key in PLAN_KEYS - {"seconds"}} == {
        key: plan[key] for key in PLAN_KEYS - {"seconds"}
    }


def test_inspect_needs_no_device(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (facts,) = arena(capsys, "inspect", fleet.parent / "models" / "det.om")["models"]
    assert facts["work_bytes"] == 299_520
    assert facts["weight_bytes"] == 70_000
    assert len(facts["weights_sha256"]) == 64
    assert (facts["format"], facts["dynamic"], facts["soc"]) == ("om", False, "")


def test_inspect_shows_the_files_that_can_be_read(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = fleet.parent / "models"
    cut, gone, other = models / "cut.om", models / "gone.om", models / "junk.onnx"
    cut.write_bytes((models / "det.om").read_bytes()[:300])
    other.write_bytes(b"no network")
    files = (cut, models / "det.om", gone, other, models / "rec.om")
    found = arena(capsys, "inspect", *files, code=2)
    assert [row["file"] for row in found["models"]] == [str(file) for file in files]
    assert [("error" in row, "work_bytes" in row) for row in found["models"]] == [
        (True, False),
        (False, True),
        (True, False),
        (True, False),
        (False, True),
    ]
    assert found["error"] == found["models"][0]["error"]
    assert found["error"]["fault"] == "the model file"
    assert execute(["inspect", *map(str, files)]) == 2
    out, err = capsys.readouterr()
    assert f"{models / 'rec.om'}\n  input  x" in out
    assert "cut.om" not in out
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(str(file) in line for file, line in zip((cut, gone, other), lines, strict=True))
    found = arena(capsys, "inspect", cut, gone, code=2)
    assert all("error" in row for row in found["models"])


def test_inspect_of_one_bad_file_is_an_error(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert arena(capsys, "inspect", fleet, code=2).keys() == {"error"}


def test_inspect_ends_with_the_code_of_the_worst(
    fleet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = {"det.om": DecodeError("cut off"), "rec.om": DeviceError("no runtime")}

    def read(path: Path, **_: object) -> None:
        raise faults[path.name]

    monkeypatch.setattr("arena.sizes.read_facts", read)
    files = [fleet.parent / "models" / name for name in faults]
    found = arena(capsys, "inspect", *files, code=3)
    assert found["error"]["message"] == f"{files[1]}: no runtime"


def test_shapes_are_dealt_around_a_damaged_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.networks import open_batch, saved

    good, bad = saved(open_batch(), tmp_path, "good"), tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    found = arena(capsys, "inspect", bad, good, "--shape", "x=2,16", code=2)
    assert "this is no ONNX model" in found["models"][0]["error"]["message"]
    assert found["models"][1]["work_bytes"] > 0
    found = arena(capsys, "inspect", good, bad, code=2)
    assert "--shape x=n,16" in found["models"][0]["error"]["message"]


def test_inspect_agrees_with_the_manifest(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (shared_data / "om" / "manifest.tsv").read_text().splitlines()
    names = lines[0].split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=False)) for line in lines[1:]]
    files = [shared_data / "om" / row["file"] for row in rows]
    models = arena(capsys, "inspect", *files)["models"]
    for row, model in zip(rows, models, strict=True):
        assert (model["work_bytes"], model["weight_bytes"]) == (
            int(row["work_size"]),
            int(row["weight_size"]),
        )


@pytest.mark.parametrize(("work", "more"), [("2MiB", 4), ("50MiB", 0)])
def test_plan_warns_of_feeds_that_take_more_memory_than_none(
    tmp_path: Path, work: str, more: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # The tensor is dead when the last step runs: where that takes 50 MiB, it lies in its bytes.
    path = tmp_path / "chain.yaml"
    path.write_text(
        f"""version: 1
models:
  a: {{work: 8MiB, weights: 0, outputs: {{y: 4MiB}}}}
  b: {{work: 8MiB, weights: 0, inputs: {{y: 4MiB}}}}
  c: {{work: {work}, weights: 0}}
pipelines:
  p:
    steps:
      one: {{model: a}}
      two: {{model: b, after: [one], feeds: {{y: one.y}}}}
      three: {{model: c, after: [two]}}
"""
    )
    fed = arena(capsys, "plan", path)
    path.write_text(path.read_text().replace(", feeds: {y: one.y}", ""))
    none = arena(capsys, "plan", path)
    assert none["warnings"] == []
    assert fed["planned_bytes"] - none["planned_bytes"] == more << 20
    start = "feeds take 4.00 MiB more device memory than none: they save copies"
    assert [warning.startswith(start) for warning in fed["warnings"]] == [True] * (more > 0)


def test_advise_writes_a_fleet_that_plans(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = sorted((fleet.parent / "models").glob("*.om"))
    target = tmp_path / "start.yaml"
    advice = arena(capsys, "advise", *models, "--threads", "4", "-o", target)
    sizes = {row["name"]: row["bytes"] for row in advice["strategies"]}
    assert list(sizes) == ["private", "shared-weights", "one-max-per-lane", "one-max-per-device"]
    assert sorted(sizes.values(), reverse=True) == list(sizes.values())
    assert advice["warnings"]
    written = yaml.safe_load(target.read_text())
    assert [model["file"] for model in written["models"].values()] == [
        str(model.relative_to(tmp_path)) for model in models
    ]
    assert all(
        step.keys() == {"model", "lane"} for step in written["pipelines"]["serve"]["steps"].values()
    )
    assert advice["written"] == "one-max-per-device"
    comments = [line for line in target.read_text().splitlines() if line.startswith("#")]
    shown = format_bytes(sizes["one-max-per-device"])
    assert comments[0] == (
        f"# strategy one-max-per-device, {shown}: 4 threads take turns on one lane"
    )
    assert max(map(len, comments)) <= 80
    assert 'lane: "thread-{channel}"' in comments[1]
    lanes = tmp_path / "lanes.yaml"
    lanes.write_text(target.read_text().replace("lane: npu", 'lane: "thread-{channel}"'))
    assert arena(capsys, "plan", lanes)["total_bytes"] == sizes["one-max-per-lane"]
    single = tmp_path / "single.yaml"
    assert execute(["advise", *map(str, models), "-o", str(single)]) == 0
    said = capsys.readouterr().out
    assert "\n  strategy one-max-per-device, " in said
    assert "thread-{channel}" not in said + single.read_text()
    plan = arena(capsys, "plan", target)
    reported = arena(capsys, "report", target)["strategies"]
    assert {*sizes} <= {strategy["name"] for strategy in reported}
    assert plan["total_bytes"] == sizes["one-max-per-device"]
    assert plan["private_bytes"] == sizes["private"]


def test_advise_overwrites_no_fleet(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, text = fleet.parent / "models" / "det.om", fleet.read_text()
    error = arena(capsys, "advise", model, "-o", fleet, code=2)["error"]
    assert error["message"].startswith(f"{fleet}: is there already")
    assert error["fault"] == "the caller"
    assert fleet.read_text() == text
    arena(capsys, "advise", model, "-o", "/dev/null")  # there is nothing to lose
    arena(capsys, "advise", model, "-o", tmp_path / "other.yaml")


def test_schema_accepts_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    schema = arena(capsys, "schema")
    root = Path(__file__).parents[2]
    examples = [*(root / "examples").glob("*.yaml"), *(root / "docs" / "fleets").glob("*.yaml")]
    assert len(examples) >= 4
    for example in examples:
        jsonschema.validate(yaml.safe_load(example.read_text()), schema)


def test_doctor_names_every_device(capsys: pytest.CaptureFixture[str]) -> None:
    devices = {row["device"]: row for row in arena(capsys, "doctor")["devices"]}
    assert set(devices) == {"acl", "twin", "cpu"}
    assert devices["twin"]["available"]
    assert devices["acl"]["available"] or "acl" in devices["acl"]["detail"]


@pytest.mark.parametrize(
    ("text", "suffix", "height"),
    [
        ("id,lower,upper,size\na,0,2,4\nb,2,4,3\nc,1,3,5\n", ".csv", 9),
        ('{"sizes": [4, 3, 5], "edges": [[0, 1]]}', ".json", 9),
        ('{"sizes": [4, 3, 5], "conflicts": [[0, 2], [1, 2]]}', ".json", 9),
    ],
)
def test_solve(
    text: str, suffix: str, height: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = tmp_path / f"instance{suffix}"
    instance.write_text(text)
    answer = arena(capsys, "solve", instance)
    assert answer["height_bytes"] == answer["lower_bound_bytes"] == height
    assert answer["status"] == "optimal"
    assert len(answer["offsets"]) == 3
    assert answer["seconds"] >= 0
    tight = arena(capsys, "solve", instance, "--capacity", str(height - 1), code=1)
    assert tight["status"] == "infeasible"


@pytest.mark.parametrize(
    "words",
    [
        ["plan"],
        ["plan", "absent.yaml"],
        ["nonsense"],
        ["plan", "x", "--memory", "many"],
        ["run", "absent.yaml", "--frames", "-1"],
        ["solve", "absent.csv"],
        ["inspect", "absent.om"],
    ],
)
def test_wrong_use_is_exit_2_and_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute([*words, "--json"]) == 2
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == {"error"}
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["plan", "FLEET", "--memory", "many"], "--memory"),
        (["report", "FLEET", "--device-model", "none"], "--device-model"),
        (["plan", "FLEET", "--fit", "1.5B"], "--fit"),
        (["plan", "FLEET", "--fit", str(1 << 63)], "--fit"),
        (["diff", "FLEET", "FLEET", "--budget", "+-5"], "--budget"),
        (["solve", "absent.csv", "--capacity", ""], "--capacity"),
    ],
)
def test_a_wrong_option_is_the_callers_fault_and_named(
    words: list[str], option: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(fleet) if word == "FLEET" else word for word in words]
    error = arena(capsys, *words, code=2)["error"]
    assert error["fault"] == "the caller"
    assert error["message"].startswith(f"{option}: ")


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=r"absent\.yaml"):
        execute(["plan", "absent.yaml", "--debug"])
    capsys.readouterr()


def test_a_missing_device_is_exit_3(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("arena")
    if "acl" in sys.modules:
        pytest.skip("pyACL is installed here")
    assert "acl" in arena(capsys, "run", fleet, "--device", "acl", code=3)["error"]["message"]


def test_text_fits_80_columns(
    fleet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fleet.parent)  # a path is shown as given, however long
    for words in (["plan", fleet.name], ["report", fleet.name], ["inspect", "models/det.om"]):
        assert execute(words) == 0
        out, _ = capsys.readouterr()
        assert max(map(len, out.splitlines())) <= 80


def test_the_installed_command_runs_in_a_process_of_its_own(fleet: Path) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "arena", "plan", str(fleet), "--memory", str(1 * MiB)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 1
    assert "DOES NOT FIT" in " ".join(done.stdout.split())
    assert "\x1b" not in done.stdout


def test_time_measures_models_and_lanes(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "times.json"
    found = arena(capsys, "time", fleet, "--device", "twin", "--repeats", "2", "-o", out)
    assert [row["model"] for row in found["models"]] == ["detector", "reader", "tracker"]
    assert all(0 < row["low_ns"] <= row["median_ns"] <= row["high_ns"] for row in found["models"])
    assert {(row["lane"], row["other"]) for row in found["beside"]} == {
        ("vision", "tracking"),
        ("tracking", "vision"),
    }
    written = json.loads(out.read_text())
    assert written["format"] == "npu-arena times"
    assert written["models"] == found["models"]
    assert execute(["time", str(fleet), "--repeats", "1"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
