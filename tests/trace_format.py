"""Is it a trace? The rules of Google's "Trace Event Format", and what ours must mean besides."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["assert_trace_format", "by_phase", "nanoseconds", "track_names"]

Event = Mapping[str, Any]
PHASES = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "M": {"name", "pid", "tid", "ts", "args"},
    "C": {"name", "pid", "tid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
}
NAMES = {"process_name": str, "thread_name": str}
ORDERS = {"process_sort_index", "thread_sort_index"}


def nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1000)


def by_phase(trace: Mapping[str, Any], phase: str) -> list[Event]:
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def track_names(trace: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    return {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in by_phase(trace, "M")
        if event["name"] == "thread_name"
    }


def assert_trace_format(text: str) -> dict[str, Any]:
    """Read a trace and assert all that the format asks for; return it."""
    trace: dict[str, Any] = json.loads(text)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events: Sequence[Event] = trace["traceEvents"]
    for event in events:
        phase = event["ph"]
        assert phase in PHASES
        assert event.keys() - {"ph"} == PHASES[phase]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["ts"], int | float)
        assert event["ts"] >= 0
        if phase == "X":
            assert event["dur"] >= 0
        if phase == "C":
            assert event["args"]
            assert all(isinstance(value, int) for value in event["args"].values())
        if phase == "M":
            if event["name"] in NAMES:
                assert isinstance(event["args"]["name"], NAMES[event["name"]])
            else:
                assert event["name"] in ORDERS
                assert isinstance(event["args"]["sort_index"], int)
        if phase == "f":
            assert event["bp"] == "e"
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    _assert_named(trace)
    _assert_flows(trace)
    _assert_nested(trace)
    return trace


def _assert_named(trace: Mapping[str, Any]) -> None:
    processes = {e["pid"] for e in by_phase(trace, "M") if e["name"] == "process_name"}
    for event in trace["traceEvents"]:
        assert event["pid"] in processes
        if event["ph"] != "M":
            assert (event["pid"], event["tid"]) in track_names(trace)


def _assert_flows(trace: Mapping[str, Any]) -> None:
    """Each id is one arrow: it leaves one slice, arrives where another starts, and goes forward."""
    starts = {event["id"]: event for event in by_phase(trace, "s")}
    ends = {event["id"]: event for event in by_phase(trace, "f")}
    assert len(starts) == len(by_phase(trace, "s"))
    assert len(ends) == len(by_phase(trace, "f"))
    assert starts.keys() == ends.keys()
    slices = defaultdict(list)
    for event in by_phase(trace, "X"):
        begin = nanoseconds(event["ts"])
        slices[event["pid"], event["tid"]].append((begin, begin + nanoseconds(event["dur"])))
    for number, start in starts.items():
        end = ends[number]
        assert (start["name"], start["cat"]) == (end["name"], end["cat"])
        leaves, arrives = nanoseconds(start["ts"]), nanoseconds(end["ts"])
        assert leaves <= arrives
        sources = [
            (a, b) for a, b in slices[start["pid"], start["tid"]] if a <= leaves < max(b, a + 1)
        ]
        assert sources
        assert any(b <= arrives for _, b in sources)
        assert arrives in {a for a, _ in slices[end["pid"], end["tid"]]}


def _assert_nested(trace: Mapping[str, Any]) -> None:
    """Slices of one track never overlap."""
    tracks = defaultdict(list)
    for event in by_phase(trace, "X"):
        begin = nanoseconds(event["ts"])
        tracks[event["pid"], event["tid"]].append((begin, begin + nanoseconds(event["dur"])))
    for slices in tracks.values():
        slices.sort()
        for (_, end), (begin, _) in itertools.pairwise(slices):
            assert end <= begin
