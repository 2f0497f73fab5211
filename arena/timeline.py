"""What a fleet did and when: what the guard told is made spans of calls and frames.

    events   waits(detect) granted(detect) over(detect) ...   as they happened, appended and no more
    spans    detect: waited 1.2 ms for 'read' of camera[1], ran 3.4 ms on lane vision

With `cross_stream: events` a call is over for the guard when it is launched, and the host learns
of its end later, in whatever order its threads wake: there a span starts at the earliest when all
that the device makes it wait for has ended, and ends at the earliest when it starts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from arena.guard import CallRecord, FrameRecord, Watched

__all__ = ["Event", "FrameSpan", "RunSpan", "Timeline", "timeline_of"]

Event: TypeAlias = tuple[Watched, CallRecord | FrameRecord, int]
"""What happened to which record, and when: nanoseconds of `time.perf_counter_ns`."""


@dataclass(slots=True)
class RunSpan:
    """One call: its wait and its execution; nanoseconds of one clock.

    Attributes
    ----------
    record : CallRecord
    waits_ns : int or None
        When it began to wait; None: it was granted at once.
    start_ns : int or None
        When it executed; None: it was withdrawn.
    end_ns : int
        When its execution, or its wait, ended.
    failed, is_over : bool
        Whether its execution failed, and whether it has ended at all.
    waited_for : RunSpan or None
        What ended last of all that it had to wait for.
    """

    record: CallRecord
    waits_ns: int | None = None
    start_ns: int | None = None
    end_ns: int = -1
    failed: bool = False
    is_over: bool = False
    waited_for: "RunSpan | None" = field(default=None, repr=False)
    is_launched: bool = field(default=False, repr=False)


@dataclass(slots=True)
class FrameSpan:
    """One frame: its wait for a place, and its time in its channel; nanoseconds of one clock."""

    record: FrameRecord
    waits_ns: int | None = None
    start_ns: int | None = None
    end_ns: int = -1
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans of calls and of frames, each by when it began."""

    runs: tuple[RunSpan, ...]
    frames: tuple[FrameSpan, ...]


def timeline_of(events: Sequence[Event]) -> Timeline:
    """Return the spans of what was recorded; what has not ended lasts until the last event.

    Calls and frames of which only the end was recorded are left out.
    """
    runs: dict[CallRecord, RunSpan] = {}
    frames: dict[FrameRecord, FrameSpan] = {}
    for event, record, time_ns in events:
        if isinstance(record, CallRecord):
            _note_call(runs, event, record, time_ns)
        else:
            _note_frame(frames, event, record, time_ns)
    last_ns = max((time_ns for _, _, time_ns in events), default=0)
    spans: list[RunSpan | FrameSpan] = [*runs.values(), *frames.values()]
    for span in spans:
        if not span.is_over:
            span.end_ns = last_ns
    _settle(runs.values())
    for run in runs.values():
        frame = frames.get(run.record.frame)
        if frame is not None and run.start_ns is not None:
            frame.end_ns = max(frame.end_ns, run.end_ns)
    return Timeline(tuple(sorted(runs.values(), key=_begun)), tuple(frames.values()))


def _begun(span: RunSpan) -> tuple[int, int]:
    begun = span.waits_ns if span.waits_ns is not None else span.start_ns
    return begun or 0, span.record.sequence


def _note_call(
    runs: dict[CallRecord, RunSpan], event: Watched, record: CallRecord, time_ns: int
) -> None:
    if event in (Watched.WAITS, Watched.GRANTED):
        _begin(runs.setdefault(record, RunSpan(record)), event, time_ns)
        return
    found = runs.get(record)
    if found is None:
        return
    if event is Watched.LAUNCHED:
        found.is_launched = True
    elif event is not Watched.OVER or not found.is_launched:
        found.end_ns = time_ns
        found.is_over = True
        found.failed = event is Watched.FAILED


def _note_frame(
    frames: dict[FrameRecord, FrameSpan], event: Watched, record: FrameRecord, time_ns: int
) -> None:
    if event in (Watched.WAITS, Watched.STARTED):
        _begin(frames.setdefault(record, FrameSpan(record)), event, time_ns)
    elif record in frames:
        frames[record].end_ns = time_ns
        frames[record].is_over = True


def _begin(span: RunSpan | FrameSpan, event: Watched, time_ns: int) -> None:
    if event is Watched.WAITS:
        span.waits_ns = time_ns
    else:
        span.start_ns = time_ns


def _settle(runs: Iterable[RunSpan]) -> None:
    """Say what each run waited for, and let none start before all that it follows has ended."""
    holders: dict[str, RunSpan] = {}
    steps: dict[tuple[FrameRecord, int], RunSpan] = {}
    channels: dict[tuple[str, int], RunSpan] = {}
    granted = [(run.start_ns, run) for run in runs if run.start_ns is not None]
    for start_ns, run in sorted(granted, key=lambda item: (item[0], item[1].record.sequence)):
        record = run.record
        last = max(_before(run, holders, steps, channels), key=_end, default=None)
        if last is not None:
            run.waited_for = last if run.waits_ns is not None else None
            run.start_ns = max(start_ns, last.end_ns)
            run.end_ns = max(run.end_ns, run.start_ns)
        for lock in record.choice.locks:
            holders[lock] = run
        step = (record.frame, record.index)
        steps[step] = max(steps.get(step, run), run, key=_end)
        channel = (record.frame.channel.rules.name, record.frame.number)
        channels[channel] = max(channels.get(channel, run), run, key=_end)


def _before(
    run: RunSpan,
    holders: dict[str, RunSpan],
    steps: dict[tuple[FrameRecord, int], RunSpan],
    channels: dict[tuple[str, int], RunSpan],
) -> Iterator[RunSpan]:
    """Yield the runs that this one follows: by a lock, by order, by frames in flight."""
    frame, rules = run.record.frame, run.record.frame.channel.rules
    yield from (holders[lock] for lock in run.record.choice.locks if lock in holders)
    rule = run.record.rule
    before = rule.before_mask | rule.is_pooled << run.record.index
    for index in range(len(rules.steps)):
        if before >> index & 1 and (frame, index) in steps:
            yield steps[frame, index]
    earlier = channels.get((rules.name, frame.number - rules.frames_in_flight))
    if earlier is not None:
        yield earlier


def _end(run: RunSpan) -> int:
    return run.end_ns
