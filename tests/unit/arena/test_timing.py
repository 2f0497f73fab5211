"""Measured times: every model alone, every two kinds of lanes at once; on simulated durations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena import sizes, timing
from arena.device import open_device
from arena.device.base import Device
from arena.device.twin import TwinConfig
from arena.errors import DeviceError
from arena.fleet import Fleet
from arena.formats import ModelFacts
from arena.plan_files import OpenedPlan
from arena.session import load_opened
from arena.sizes import read_facts
from arena.sources import Readers
from arena.timing import measure_times
from planner.errors import PlanError
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.fleet_file import parse_fleet
from planner.model import ModelId
from planner.times import LaneGroup
from planner.units import MiB
from tests.fleets import write_fleet

STEP_NS = {"slow": 6_000_000, "fast": 2_000_000, "side": 0}


def fleet(*, memory_bytes: int | None = None) -> FleetSpec:
    models = tuple(
        ModelSpec(ModelId(name), work_bytes=2 * MiB, weight_bytes=512)
        for name in (*STEP_NS, "unused")
    )
    camera = PipelineSpec(
        "camera",
        (
            StepSpec("a", ModelId("slow"), "cam-{channel}"),
            StepSpec("b", ModelId("fast"), "cam-{channel}", after=("a",)),
            StepSpec("c", ModelId("slow"), "cam-{channel}", after=("b",)),
        ),
        channels=3,
    )
    door = PipelineSpec("door", (StepSpec("look", ModelId("side"), "door"),))
    return FleetSpec("street", models, (camera, door), DeviceSpec(memory_bytes=memory_bytes))


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every twin that is opened by its name take the times above."""

    def load(opened: OpenedPlan, *, device: str, readers: Readers | None) -> Fleet:
        assert device == "twin"
        return load_opened(opened, device=_twin(), readers=readers)

    monkeypatch.setattr(timing, "load_opened", load)


def _twin() -> Device:
    return open_device("twin", twin=TwinConfig(step_ns=lambda model: STEP_NS[model]))


def test_every_model_and_every_kind_of_lanes_is_measured() -> None:
    seen: list[tuple[int, int]] = []
    times, notes = measure_times(
        fleet(), Path(), repeats=5, progress=lambda done, total: seen.append((done, total))
    )
    assert notes == ()
    assert (times.fleet, times.device, times.repeats) == ("street", "twin", 5)
    assert [row.model for row in times.models] == ["slow", "fast", "side"]
    for row in times.models:
        assert STEP_NS[row.model] <= row.low_ns <= row.median_ns <= row.high_ns
    assert times.groups == (
        LaneGroup(("cam-0", "cam-1", "cam-2"), (ModelId("slow"), ModelId("fast"))),
        LaneGroup(("door",), (ModelId("side"),)),
    )
    measured = {(row.lane, row.other) for row in times.beside}
    assert measured == {
        ("cam-0", "door"), ("door", "cam-0"), ("cam-0", "cam-1"), ("cam-1", "cam-0")
    }  # fmt: skip
    assert all(row.slowdown_permille >= 1 for row in times.beside)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_every_file_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_fleet(tmp_path / "street")
    read: list[str] = []

    def noted(path: Path, **named: Any) -> ModelFacts:
        read.append(path.stem)
        return read_facts(path, **named)

    monkeypatch.setattr(sizes, "read_facts", noted)
    monkeypatch.setattr(timing, "load_opened", load_opened)
    times, notes = measure_times(parse_fleet(path.read_bytes()), path.parent, repeats=1)
    assert (len(times.models), len(times.beside), notes) == (3, 2, ())
    assert read == ["det", "rec", "trk"]


def test_what_the_schedule_is_to_fit_keeps_no_two_lanes_apart() -> None:
    spec = replace(fleet(), schedule=ScheduleSpec(3 * MiB))
    times, notes = measure_times(spec, Path(), repeats=1)
    assert (len(times.beside), notes) == (4, ())


def test_a_pair_that_does_not_fit_is_left_out_and_said() -> None:
    times, notes = measure_times(fleet(memory_bytes=7 * MiB), Path(), repeats=1)
    assert len(times.models) == 3
    assert times.beside == ()
    assert len(notes) == 2
    assert "lanes 'cam-0' and 'door' were not measured side by side" in notes[0]


def test_one_lane_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(PlanError, match="does not fit"):
        measure_times(fleet(memory_bytes=MiB), Path(), repeats=1)


def test_a_lane_that_fails_ends_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    run_round = timing._run_round

    def failing(loaded: Fleet, lane: timing._Lane, durations: timing._Durations) -> None:
        if len(durations.get(ModelId("fast"), ())) == 2:
            raise DeviceError("injected")
        run_round(loaded, lane, durations)

    monkeypatch.setattr(timing, "_run_round", failing)
    monkeypatch.setattr(timing, "_run_rounds", _alone)
    times, notes = measure_times(fleet(), Path(), repeats=4)
    assert [row.median_ns for row in times.models] == [7, 7, 7]
    assert times.beside == ()
    assert len(notes) == 2
    assert all("injected" in note for note in notes)


def _alone(_fleet: object, lane: timing._Lane, _repeats: int) -> timing._Durations:
    return {item.instance.model: [7] for item, _ in lane[1]}
