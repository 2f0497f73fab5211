"""`arena plan --fit`: the plan fits, says what it added and at what price, and runs as it is."""

from pathlib import Path

import pytest

from arena.cli import execute
from arena.planning import plan_file
from arena.session import plan_and_load
from tests.commands import arena
from tests.fleets import FLEET_YAML, write_fleet

ROOT = Path(__file__).parents[2]
STREET = ROOT / "docs" / "fleets" / "street-corner.yaml"


@pytest.mark.parametrize("name", ["demo", "demo-camera-lanes", "demo-two-frames"])
def test_the_demo_runs_in_a_fifth_less(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    fleet, plan = ROOT / "examples" / f"{name}.yaml", tmp_path / "plan.json"
    free = arena(capsys, "plan", fleet)
    budget = free["total_bytes"] - free["height_bytes"] // 5
    fitted = arena(capsys, "plan", fleet, "--fit", str(budget), "-o", plan)
    assert fitted["total_bytes"] <= budget == fitted["fit_bytes"]
    assert fitted["added"]
    assert fitted["price"]["makespan_unit"] == "ns"
    assert fitted["price"]["is_proven"]
    assert arena(capsys, "check", plan)["valid"]
    frames = 50 if name == "demo" else 5
    for device in ("cpu", "twin"):
        ran = arena(capsys, "run", plan, "--device", device, "--frames", str(frames))
        assert (ran["mismatches"], ran["executions"]) == (0, 14 * frames)


def test_a_fleet_of_om_files_runs_on_the_twin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_fleet(tmp_path / "street")
    free = arena(capsys, "plan", path)
    budget = free["total_bytes"] - free["height_bytes"] // 5
    plan = path.parent / "plan.json"
    fitted = arena(capsys, "plan", path, "--fit", str(budget), "-o", plan)
    assert {item["kind"] for item in fitted["added"]} == {"exclusive"}  # two frames in flight
    ran = arena(capsys, "run", plan, "--device", "twin", "--frames", "20", "--threads", "6")
    assert ran["mismatches"] == 0
    assert arena(capsys, "verify", plan, "--device", "twin")["mismatches"] == 0


def test_the_fleet_file_asks_and_the_option_goes_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_fleet(tmp_path / "street")
    path.write_text(FLEET_YAML + "schedule: {fit: 600KiB}\n")
    assert plan_file(path).plan.total_bytes <= 600 * 1024
    with plan_and_load(path, device="twin") as fleet, fleet.frame("camera[0]") as frame:
        frame.run("detect", bytes(64))
        frame.run("track", bytes(64))
    assert not arena(capsys, "plan", path, "--fit", "1GiB")["added"]
    error = arena(capsys, "plan", path, "--fit", "-1", code=2)["error"]
    assert "--fit" in error["message"]


def test_what_can_never_fit_says_who_is_too_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    found = arena(capsys, "plan", STREET, "--fit", "50MiB", "-o", plan, code=1)
    assert not found["fits"]
    assert found["explanation"]["culprits"]
    assert found["explanation"]["culprits_proven"]
    assert found["explanation"]["culprits_lower_bound_bytes"] > 50 << 20
    larger, *others = found["explanation"]["ways_out"]
    assert larger["changes"][0] == {"kind": "fit", "names": [], "count": found["total_bytes"]}
    assert larger["limit_bytes"] == found["total_bytes"]
    assert all(row["limit_bytes"] == 50 << 20 for row in others)
    assert arena(capsys, "check", plan)["valid"]
    assert execute(["check", str(plan)]) == 0
    assert "does not fit the 50.00 MiB that its schedule asks for" in capsys.readouterr().out
    assert arena(capsys, "run", plan, "--device", "twin", code=1)["executions"] == 0


def test_the_text_names_what_was_added_and_its_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["plan", str(STREET), "--fit", "70MiB"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "detector@vision never beside tracker@tracking" in text
    assert "68.0 ms (+6.2%), 64.0 ms with nothing added; no plan of this size is faster" in text
    assert "86.0 ms if a second lane gained nothing" in text
    assert execute(["plan", str(STREET), "--fit", "1GiB"]) == 0
    assert "nothing was added to the order: it fits as it is" in capsys.readouterr().out
    assert execute(["plan", str(STREET), "--fit", "50MiB"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "DOES NOT FIT the 50.00 MiB asked for" in text
    assert "added to the order for the least memory that was found (2):" in text
    assert "so that it fits" not in text


def test_nothing_added_says_whether_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "one.yaml"
    fleet.write_text(
        "version: 1\n"
        "models: {m: {work: 2MiB, weights: 1MiB}}\n"
        "pipelines: {p: {steps: {s: {model: m}}}}\n"
    )
    assert execute(["plan", str(fleet), "--fit", "1MiB"]) == 1
    out = capsys.readouterr().out
    assert "nothing was added to the order: none that takes less memory was found" in out
