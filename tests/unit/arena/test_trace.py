"""Traces: the format's rules, and that they say what happened on the twin."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.device.acl import AclDevice
from arena.device.twin import Twin, TwinConfig
from arena.errors import GuardTimeoutError
from arena.exercise import exercise
from arena.fleet import Fleet
from arena.session import plan_and_load
from arena.trace import Trace
from planner.fleet import CrossStream, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import AddedKind, AddedOrder
from planner.problem import SolveStatus
from planner.units import align_up
from tests.failing import fail_then_withdraw, failing_once
from tests.fleets import small_fleet
from tests.trace_format import assert_trace_format, by_phase, nanoseconds, track_names

X = bytes(64)
SLOW = TwinConfig(step_ns=2_000_000)


def traced(trace: Trace) -> dict[str, Any]:
    return assert_trace_format(json.dumps(trace.to_dict()))


def slices(trace: Mapping[str, Any], category: str) -> list[Mapping[str, Any]]:
    return [event for event in by_phase(trace, "X") if event["cat"] == category]


@pytest.mark.parametrize("mode", list(CrossStream))
def test_a_busy_fleet_keeps_every_law(mode: CrossStream) -> None:
    spec = small_fleet(mode, channels=3, frames_in_flight=2)
    device = AclDevice(acl=Twin(SLOW).acl, name="twin")
    with device_open(device), plan_and_load(spec, device=device) as fleet:
        trace = fleet.trace()
        outcome = exercise(fleet, 6, threads=6)
        found = traced(trace)
    names = track_names(found)
    runs = slices(found, "execution")
    assert len(runs) == outcome.executions == 6 * 3 * 3
    for run in runs:  # whose it is, on the track of its lane
        model, _, lane = run["args"]["instance"].partition("@")
        assert (run["name"], names[run["pid"], run["tid"]]) == (model, lane)
    assert Counter((run["args"]["channel"], run["args"]["frame"]) for run in runs) == {
        (f"p[{channel}]", frame): 3 for channel in range(3) for frame in range(6)
    }
    assert_waits_end_where_executions_begin(found)
    assert_counters_follow_from_slices(found, fleet)
    arrows = Counter(event["name"] for event in by_phase(found, "s"))
    assert arrows == {"after": 2 * 18, "frames in flight": 3 * 4}
    assert len(slices(found, "frame")) == 18
    assert slices(found, "wait")  # six threads, two lanes
    assert found["otherData"] == {"fleet": "small", "device": "twin", "events_dropped": 0}


def device_open(device: Any) -> Any:
    device.open()
    return closing(device)


def assert_waits_end_where_executions_begin(trace: Mapping[str, Any]) -> None:
    key = ("channel", "frame", "step")
    starts = {
        tuple(run["args"][name] for name in key): nanoseconds(run["ts"])
        for run in slices(trace, "execution")
    }
    for wait in slices(trace, "wait"):
        end = nanoseconds(wait["ts"]) + nanoseconds(wait["dur"])
        assert end == starts[tuple(wait["args"][name] for name in key)]
        assert "waited for" in wait["args"]


def assert_counters_follow_from_slices(trace: Mapping[str, Any], fleet: Fleet) -> None:
    """At every change the counter is the sum over what executes then, inside the reservation."""
    plan = fleet.plan
    sizes = {row.id: plan.rule.reserved_bytes(row.work_bytes) for row in plan.instances}
    runs = [
        (nanoseconds(e["ts"]), nanoseconds(e["ts"]) + nanoseconds(e["dur"]), e["args"]["instance"])
        for e in slices(trace, "execution")
    ]
    counters = [e for e in by_phase(trace, "C") if e["name"] == "work reservation"]
    for event in counters:
        now = nanoseconds(event["ts"])
        live = sum(sizes[instance] for start, end, instance in runs if start <= now < end)
        assert event["args"]["in use"] == live <= plan.height_bytes
        assert event["args"]["reserved"] == align_up(plan.height_bytes, plan.page_bytes)
    assert max(event["args"]["in use"] for event in counters) > 0
    assert counters[-1]["args"]["in use"] == 0
    weights = [e for e in by_phase(trace, "C") if e["name"] == "weights reservation"]
    assert max(event["args"]["in use"] for event in weights) <= plan.weight_bytes
    assert weights[-1]["args"]["in use"] == 0


def test_order_that_planning_added_has_arrows_of_its_own() -> None:
    models = tuple(ModelSpec(ModelId(name), work_bytes=4096, weight_bytes=0) for name in "ab")
    steps = (StepSpec("one", ModelId("a"), "x"), StepSpec("two", ModelId("b"), "y"))
    spec = FleetSpec("pair", models, (PipelineSpec("p", steps),))
    plan = plan_fleet(spec, {model.id: ModelSize(4096, 0) for model in models})
    ids = [row.id for row in plan.instances]
    plan = replace(
        plan,
        witness=(ids[0],),
        lower_bound_bytes=plan.rule.reserved_bytes(4096),
        status=SolveStatus.FEASIBLE,
        added=(
            AddedOrder(ids[0], ids[1], AddedKind.ORDER),
            AddedOrder(ids[0], ids[1], AddedKind.EXCLUSIVE),
        ),
    )
    with plan_and_load(plan, device="twin") as fleet:
        trace = fleet.trace()
        exercise(fleet, 3)
        found = traced(trace)
    arrows = Counter(event["name"] for event in by_phase(found, "s"))
    assert arrows == {"added order": 3, "frames in flight": 2}
    (first, *_) = slices(found, "execution")
    assert " | " in first["args"]["locks"]


def test_a_step_may_run_many_times_or_never() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        trace = fleet.trace()
        for count in (0, 3):
            with fleet.frame("p") as frame:
                for _ in range(count):
                    frame.run("first", X)
                frame.run("second", X)
        found = traced(trace)
    assert [run["args"]["step"] for run in slices(found, "execution")] == [
        "second",
        *["first"] * 3,
        "second",
    ]
    assert Counter(event["name"] for event in by_phase(found, "s")) == {
        "after": 1,
        "frames in flight": 1,
    }


@pytest.mark.parametrize("mode", list(CrossStream))
def test_failures_and_withdrawn_calls_are_marked(mode: CrossStream) -> None:
    with failing_once(small_fleet(mode)) as fleet:
        trace = fleet.trace()
        fail_then_withdraw(fleet)
        found = traced(trace)
    runs = slices(found, "execution")
    assert [run["args"].get("failed", False) for run in runs] == [True, False]
    (withdrawn,) = slices(found, "wait")
    assert withdrawn["args"]["withdrawn"] is True
    assert withdrawn["args"]["step"] == "first"


def test_a_trace_may_be_taken_while_the_fleet_runs() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        with fleet.frame("p") as early:
            with early.slot("first"):
                trace = fleet.trace()
            with early.slot("second"):
                pass
        with fleet.frame("p") as frame:
            late: list[BaseException] = []
            thread = threading.Thread(target=lambda: late.append(place_in_vain(fleet)))
            thread.start()
            thread.join()
            with frame.slot("first"):
                found = traced(trace)
    assert isinstance(late[0], GuardTimeoutError)
    runs = slices(found, "execution")
    assert [run["args"]["step"] for run in runs] == ["second", "first"]
    assert [run["args"].get("unfinished", False) for run in runs] == [False, True]
    assert [place["name"] for place in slices(found, "place")] == ["frame of p[0]"]
    assert [frame["name"] for frame in slices(found, "frame")] == ["frame 1"]


def test_a_wait_for_a_place_ends_where_its_frame_begins() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        trace = fleet.trace()
        with fleet.frame("p"):
            thread = threading.Thread(target=lambda: fleet.run("p.first", X))
            thread.start()
            while not slices(trace.to_dict(), "place"):
                time.sleep(0.001)
        thread.join()
        found = traced(trace)
    (place,), (_, second) = slices(found, "place"), slices(found, "frame")
    assert place["name"] == "p[0] frame 1"
    assert nanoseconds(place["ts"]) + nanoseconds(place["dur"]) == nanoseconds(second["ts"])
    assert nanoseconds(place["dur"]) > 0


def place_in_vain(fleet: Fleet) -> BaseException:
    with pytest.raises(GuardTimeoutError) as caught:
        fleet.frame("p", timeout_s=0.01)
    return caught.value


def test_two_traces_at_once_and_a_limit() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        whole, short = fleet.trace(), Trace(fleet.plan, "twin", events_max=3)
        fleet.runner.watch(short.watch)
        for _ in range(4):
            fleet.run("p.first", X)
        assert len(slices(traced(whole), "execution")) == 4
        assert len(slices(traced(short), "execution")) == 1
        assert traced(short)["otherData"]["events_dropped"] == short.dropped == 13


def test_an_empty_trace_is_one(tmp_path: Path) -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        fleet.trace().write(tmp_path / "out.json")
    trace = assert_trace_format((tmp_path / "out.json").read_text())
    assert by_phase(trace, "X") == []
    assert set(track_names(trace).values()) == {"main", "other"}
