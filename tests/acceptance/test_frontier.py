"""`arena frontier` as its users see it: points, files, texts, exit codes."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from arena.cli import execute
from planner.codec import decode_plan
from planner.frontier import point_of
from tests.commands import arena

ROOT = Path(__file__).parents[2]
KEYS = {
    "points", "makespan_unit", "knee", "concurrent", "serial", "lanes_assumed_independent",
    "advice", "seconds", "warnings", "fleet",
}  # fmt: skip
POINT_KEYS = {
    "height_bytes", "total_bytes", "needed_bytes", "fits", "makespan", "added", "rates", "lanes",
    "knee", "plan",
}  # fmt: skip

FLEET = """\
version: 1
name: lanes
models:
  big: {work: 8MiB, weights: 1MiB}
  small: {work: 3MiB, weights: 1MiB}
pipelines:
  camera:
    channels: 3
    rate: 20fps
    lane: "cam-{channel}"
    steps:
      detect: {model: big, time: 20ms}
      read: {model: small, after: [detect], time: 10ms}
  door:
    steps:
      look: {model: small, time: 5ms}
"""


TIGHT = """\
version: 1
name: tight
models:
  a: {work: 16MiB, weights: 1MiB}
  b: {work: 20MiB, weights: 1MiB}
  c: {work: 7MiB, weights: 1MiB}
  d: {work: 31MiB, weights: 1MiB}
  e: {work: 10MiB, weights: 1MiB}
pipelines:
  left:
    steps:
      s0: {model: a, lane: x, time: 13ms}
      s1: {model: a, lane: y, time: 8ms}
      s2: {model: a, lane: y, time: 9ms, after: [s0, s1]}
      s3: {model: c, lane: z, time: 26ms, after: [s1]}
  right:
    channels: 2
    steps:
      s0: {model: b, lane: z, time: 10ms}
      s1: {model: e, lane: "own-{channel}", time: 28ms}
      s2: {model: e, lane: "own-{channel}", time: 13ms, after: [s0]}
      s3: {model: d, lane: z, time: 27ms, after: [s0, s2]}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def test_points_are_not_dominated_and_every_plan_reproduces_its_point(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, svg = tmp_path / "plans" / "here", tmp_path / "frontier.svg"
    found = arena(capsys, "frontier", fleet, "-o", out, "--svg", svg)
    assert found.keys() >= KEYS
    points = found["points"]
    assert len(points) >= 3
    assert all(point.keys() >= POINT_KEYS for point in points)
    for more, less in pairwise(points):
        assert less["total_bytes"] < more["total_bytes"]
        assert less["makespan"] > more["makespan"]
    assert points[0]["makespan"] == found["concurrent"]["makespan"]
    assert points[-1]["total_bytes"] == found["serial"]["total_bytes"]
    assert found["makespan_unit"] == "ns"
    assert found["serial"]["makespan"] == 95_000_000
    for point in points:
        assert execute(["check", point["plan"]]) == 0
        plan = decode_plan(Path(point["plan"]).read_bytes())
        assert plan.total_bytes == point["total_bytes"]
        assert plan.height_bytes == point["height_bytes"]
        assert point_of(plan, {}).makespan == point["makespan"]
        assert execute(["run", point["plan"], "--device", "twin", "--frames", "3"]) == 0
    ElementTree.fromstring(svg.read_text())


def test_a_fit_of_the_same_size_is_as_fast_as_the_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points are searched for in haste, and once more with care when they are points."""
    fleet = tmp_path / "tight.yaml"
    fleet.write_text(TIGHT)
    points = arena(capsys, "frontier", fleet, "--points", "8")["points"]
    assert len(points) >= 4
    for point in points:
        fitted = arena(capsys, "plan", fleet, "--fit", str(point["total_bytes"]))
        assert fitted["price"]["makespan"] == point["makespan"]


def test_text_fits_80_columns(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["frontier", str(fleet), "--points", "6"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert "camera (20fps)" in text
    assert "taken to be independent" in text


def test_fewer_points(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(arena(capsys, "frontier", fleet, "--points", "2")["points"]) == 2
    assert execute(["frontier", str(fleet), "--points", "1"]) == 2


def test_measured_times_and_slowdowns_count(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = tmp_path / "times.json"
    assert (
        execute(["time", str(fleet), "--device", "twin", "--repeats", "1", "-o", str(times)]) == 0
    )
    capsys.readouterr()
    written = json.loads(times.read_text())
    for row in written["models"]:
        row |= {"median_ns": 7_000_000, "low_ns": 0, "high_ns": 9_000_000}
    for row in written["beside"]:
        row["slowdown_permille"] = 4000
    times.write_text(json.dumps(written))
    found = arena(capsys, "frontier", fleet, "--times", times)
    assert found["serial"]["makespan"] == 7 * 7_000_000
    assert found["lanes_assumed_independent"] == []
    assert "one lane for everything costs no time" in found["advice"]
    price = arena(capsys, "plan", fleet, "--fit", "14MiB", "--times", times)["price"]
    assert price["makespan_serial"] == found["serial"]["makespan"]
    written["beside"][0]["slowdown_permille"] = 700
    times.write_text(json.dumps(written))
    for words in (("frontier",), ("plan",)):
        noise = arena(capsys, *words, fleet, "--times", times)["warnings"][-1]
        assert "measure again on a quiet device" in noise
    times.write_text("{}")
    assert execute(["frontier", str(fleet), "--times", str(times)]) == 2
    assert str(times) in capsys.readouterr().err


def test_a_device_without_room_for_the_smallest_plan_is_exit_1(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = arena(capsys, "frontier", fleet, "--memory", "8MiB", code=1)
    assert not any(point["fits"] for point in found["points"])
    some = arena(capsys, "frontier", fleet, "--memory", "20MiB")
    assert [point["fits"] for point in some["points"]].count(True) in range(1, len(some["points"]))


def test_a_schedule_that_is_to_fit_is_no_matter_of_the_frontier(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = arena(capsys, "frontier", fleet)
    fleet.write_text(FLEET + "schedule: {fit: 20MiB}\n")
    assert arena(capsys, "frontier", fleet)["points"] == free["points"]


def test_the_demo_with_a_lane_for_each_camera_has_five_points(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = arena(capsys, "frontier", ROOT / "examples" / "demo-camera-lanes.yaml")
    assert len(found["points"]) >= 5
