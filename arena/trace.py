"""A fleet at work as a trace that Perfetto opens: lanes, waits, channels and reservations.

    lanes         a track a lane       what executes, named by its model
    waits         tracks a lane        what the guard let wait, ending where its execution begins
    channels      tracks a channel     frames, and waits for a place
    reservations  a counter each       bytes in use by what executes, beside what is reserved

Arrows join executions that the plan's order joins: `after`, order that planning added, and frames
in flight. The format is the JSON of Chrome's trace events.

References
----------
.. [1] Google, "Trace Event Format", 2016: complete events (X), flow events (s, f), counters (C),
   metadata (M); times in microseconds.
.. [2] Perfetto documentation, "Visualizing external trace formats": JSON trace events.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from arena.files import write_atomically
from arena.guard import CallRecord, FrameRecord, Watched
from arena.reservations import Holders, reservations_of
from arena.timeline import Event, RunSpan, Timeline, timeline_of
from planner.fleet import PipelineSpec, channel_name, instance_id
from planner.plan import AddedKind, Plan

__all__ = ["Trace"]

EVENTS_MAX: Final = 1_000_000
"""Recorded before a trace stops recording: some hundred megabytes of a process."""

_LANES: Final = "lanes"
_WAITS: Final = "waits for the guard"
_CHANNELS: Final = "channels"
_RESERVATIONS: Final = "reservations"
_GROUPS: Final = (_LANES, _WAITS, _CHANNELS, _RESERVATIONS)

_Json: TypeAlias = dict[str, Any]


class Trace:
    """Records what the guard of one fleet tells, from when it was made.

    Made by `Fleet.trace`. Recording appends to a list; everything else happens when the trace is
    asked for, which may be while the fleet runs.

    Parameters
    ----------
    plan : Plan
    device : str
    events_max : int
        Events recorded at most, > 0; what comes later is counted and left out.

    Attributes
    ----------
    dropped : int
        Events left out.
    """

    def __init__(self, plan: Plan, device: str, *, events_max: int = EVENTS_MAX) -> None:
        self.dropped = 0
        self._plan = plan
        self._device = device
        self._events: list[Event] = []
        self._events_max = events_max
        self._began_ns = time.perf_counter_ns()

    def watch(self, event: Watched, record: CallRecord | FrameRecord, time_ns: int) -> None:
        """Record one event: what the guard calls."""
        if len(self._events) < self._events_max:
            self._events.append((event, record, time_ns))
        else:
            self.dropped += 1

    def to_dict(self) -> _Json:
        """Return the trace so far in the trace-event format."""
        timeline = timeline_of(tuple(self._events))
        tracks = _Tracks(self._plan, self._began_ns)
        slices = [*_runs(timeline), *_unstacked((*_waits(timeline), *_frames(timeline)))]
        events = [
            *map(tracks.complete, slices),
            *_arrows(self._plan, timeline, tracks),
            *_counters(self._plan, timeline, tracks),
        ]
        events.sort(key=_time)  # Stable: at one time slices come before the arrows on them.
        return {
            "traceEvents": [*tracks.names(), *events],
            "displayTimeUnit": "ms",
            "otherData": {
                "fleet": self._plan.fleet.name,
                "device": self._device,
                "events_dropped": self.dropped,
            },
        }

    def write(self, path: str | Path) -> None:
        """Write the trace so far as JSON, for https://ui.perfetto.dev or chrome://tracing."""
        text = json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)
        write_atomically(Path(path), text.encode())


def _time(event: _Json) -> float:
    time_us: float = event["ts"]
    return time_us


class _Tracks:
    """Numbers of groups and tracks, and times from when the trace began."""

    def __init__(self, plan: Plan, began_ns: int) -> None:
        self._began_ns = began_ns
        lanes = dict.fromkeys(row.lane for row in plan.instances)
        self._numbers = {(_LANES, lane): number for number, lane in enumerate(lanes, 1)}

    def at(self, time_ns: int, group: str, track: str) -> _Json:
        """Return when and where an event is: microseconds since the trace began, and its track."""
        number = self._numbers.setdefault((group, track), len(self._numbers) + 1)
        return {
            "pid": _GROUPS.index(group) + 1,
            "tid": number,
            "ts": (time_ns - self._began_ns) / 1000,
        }

    def complete(self, item: "_Slice") -> _Json:
        """Return the event of a slice."""
        return {
            "ph": "X",
            "name": item.name,
            "cat": item.category,
            **self.at(item.start_ns, item.group, item.track),
            "dur": (item.end_ns - item.start_ns) / 1000,
            "args": dict(item.args),
        }

    def names(self) -> Iterator[_Json]:
        """Yield the names of all groups and tracks, in the order in which they are shown."""
        for pid, group in enumerate(_GROUPS, 1):
            event = {"ph": "M", "pid": pid, "tid": 0, "ts": 0}
            yield {**event, "name": "process_name", "args": {"name": group}}
            yield {**event, "name": "process_sort_index", "args": {"sort_index": pid}}
        lanes = [key for key in self._numbers if key[0] == _LANES]
        others = sorted(key for key in self._numbers if key[0] != _LANES)
        for position, (group, track) in enumerate((*lanes, *others)):
            event = {"ph": "M", **self.at(self._began_ns, group, track)}
            yield {**event, "name": "thread_name", "args": {"name": track}}
            yield {**event, "name": "thread_sort_index", "args": {"sort_index": position}}


@dataclass(frozen=True, slots=True)
class _Slice:
    """Something that lasted, on a track of a group."""

    group: str
    track: str
    start_ns: int
    end_ns: int
    name: str
    category: str
    args: Mapping[str, object]


def _runs(timeline: Timeline) -> Iterator[_Slice]:
    for run in timeline.runs:
        if run.start_ns is not None:
            args = _owner(run.record)
            if not run.is_over:
                args["unfinished"] = True
            if run.failed:
                args["failed"] = True
            lane = run.record.choice.lane
            yield _Slice(_LANES, lane, run.start_ns, run.end_ns, _model(run), "execution", args)


def _waits(timeline: Timeline) -> Iterator[_Slice]:
    for run in timeline.runs:
        if run.waits_ns is not None:
            args = _owner(run.record)
            if run.waited_for is not None:
                args["waited for"] = str(run.waited_for.record)
            if run.start_ns is None:
                args["withdrawn" if run.is_over else "unfinished"] = True
            end_ns = run.end_ns if run.start_ns is None else run.start_ns
            track = f"{run.record.choice.lane}, waiting"
            yield _Slice(_WAITS, track, run.waits_ns, end_ns, _model(run), "wait", args)
    for frame in timeline.frames:
        if frame.waits_ns is not None:
            end_ns = frame.end_ns if frame.start_ns is None else frame.start_ns
            channel = frame.record.channel.rules.name
            track = f"{channel}, waiting for a place"
            args = {"thread": frame.record.owner}
            yield _Slice(_WAITS, track, frame.waits_ns, end_ns, str(frame.record), "place", args)


def _frames(timeline: Timeline) -> Iterator[_Slice]:
    for frame in timeline.frames:
        if frame.start_ns is not None:
            channel = frame.record.channel.rules.name
            args: dict[str, object] = {"thread": frame.record.owner}
            if frame.record.failed:
                args["failed"] = True
            name = f"frame {frame.record.number}"
            yield _Slice(_CHANNELS, channel, frame.start_ns, frame.end_ns, name, "frame", args)


def _owner(call: CallRecord) -> dict[str, object]:
    """Return whose a slice is."""
    return {
        "instance": call.choice.instance,
        "channel": call.frame.channel.rules.name,
        "frame": call.frame.number,
        "step": call.rule.id,
        "locks": ", ".join(call.choice.locks),
        "thread": call.owner,
    }


def _model(run: RunSpan) -> str:
    return run.record.choice.instance.partition("@")[0]


def _unstacked(slices: Iterable[_Slice]) -> Iterator[_Slice]:
    """Spread what overlaps on one track over several, each the first that is free."""
    ends: dict[tuple[str, str], list[int]] = {}
    for item in sorted(slices, key=lambda item: (item.start_ns, item.end_ns)):
        rows = ends.setdefault((item.group, item.track), [])
        row = next((i for i, end_ns in enumerate(rows) if end_ns <= item.start_ns), len(rows))
        rows[row : row + 1] = [item.end_ns]
        yield replace(item, track=f"{item.track} ({row + 1})") if row else item


def _arrows(plan: Plan, timeline: Timeline, tracks: _Tracks) -> Iterator[_Json]:
    """Yield the arrows of every frame: from the last run of one step to the first of another."""
    steps: dict[tuple[FrameRecord, str], list[RunSpan]] = {}
    frames: dict[tuple[str, int], list[RunSpan]] = {}
    for run in timeline.runs:
        if run.start_ns is not None:
            frame = run.record.frame
            steps.setdefault((frame, run.record.rule.id), []).append(run)
            frames.setdefault((frame.channel.rules.name, frame.number), []).append(run)
    edges = {
        channel_name(pipeline.id, channel): tuple(dict.fromkeys(_edges(plan, pipeline, channel)))
        for pipeline in plan.fleet.pipelines
        for channel in range(pipeline.channels)
    }
    pairs: list[tuple[str, list[RunSpan], list[RunSpan]]] = []
    for (channel, number), runs in frames.items():
        frame = runs[0].record.frame
        before = frames.get((channel, number - frame.channel.rules.frames_in_flight), [])
        pairs.append(("frames in flight", before, runs))
        pairs += [
            (name, steps.get((frame, first), []), steps.get((frame, second), []))
            for first, second, name in edges[channel]
        ]
    joined = ((name, a, b) for name, a, b in pairs if a and b)
    for number, (name, before, after) in enumerate(joined, 1):
        source = max(before, key=lambda run: run.end_ns)
        target = min(after, key=lambda run: run.start_ns or 0)
        event = {"name": name, "cat": "order", "id": number}
        # Inside its slice, at the end: an arrow belongs to the slice that is open at its time.
        leaves_ns = max(source.start_ns or 0, source.end_ns - 1)
        lanes = source.record.choice.lane, target.record.choice.lane
        yield {"ph": "s", **event, **tracks.at(leaves_ns, _LANES, lanes[0])}
        arrives = tracks.at(target.start_ns or 0, _LANES, lanes[1])
        yield {"ph": "f", "bp": "e", **event, **arrives}


def _edges(plan: Plan, pipeline: PipelineSpec, channel: int) -> Iterator[tuple[str, str, str]]:
    """Yield the order between two steps of a channel: (first, second, whose it is)."""
    for step in pipeline.steps:
        yield from ((before, step.id, "after") for before in step.after)
    at: dict[str, list[str]] = {}
    for step in pipeline.steps:
        for lane in step.lanes_of(channel):
            at.setdefault(instance_id(step.model, lane), []).append(step.id)
    for row in plan.added:
        if row.kind is AddedKind.ORDER:
            for first in at.get(row.first, ()):
                yield from ((first, second, "added order") for second in at.get(row.second, ()))


def _counters(plan: Plan, timeline: Timeline, tracks: _Tracks) -> Iterator[_Json]:
    """Yield what each reservation holds for what executes, whenever that changes.

    What ends at a time is gone before what starts.
    """
    moments = sorted(
        (time_ns, change, run.record.choice.instance)
        for run in timeline.runs
        if run.start_ns is not None
        for time_ns, change in ((run.start_ns, 1), (run.end_ns, -1))
    )
    for reservation in reservations_of(plan):
        holders = Holders(reservation)
        for index, (time_ns, change, instance) in enumerate(moments):
            in_use = holders.change(instance, change)
            if index + 1 == len(moments) or moments[index + 1][0] != time_ns:
                yield {
                    "ph": "C",
                    "name": f"{reservation.kind} reservation",
                    **tracks.at(time_ns, _RESERVATIONS, "bytes"),
                    "args": {"in use": in_use, "reserved": reservation.reserved_bytes},
                }
