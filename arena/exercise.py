"""Drive a loaded fleet hard and compare every output: what `arena run` does.

    reference    every instance alone, before anything runs beside it, for a few inputs, and what
                 steps hand on passed by hand (`references`)
    drive        feeders open frames, as many of every channel as may be in flight, and submit steps
                 in topological order without waiting: only the guard makes them wait
    compare      an output that differs from the reference for the same input is a mismatch

A feeder is one thread with many frames in progress: futures tell it which of them are over. So all
channels keep their frames in flight, however few threads there are.

Without the guard (twin only) threads execute at once on streams of their own: memory that
instances share is then overwritten, which shows that the comparison can fail.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import TracebackType

from arena.device.adaptors import RaceCheck
from arena.device.base import StreamId
from arena.errors import DeviceError
from arena.fleet import Fleet
from arena.frames import Frame
from arena.references import Case, FrameCase, References, execute_once
from arena.running import Submission
from planner.errors import UsageError
from planner.fleet import PipelineSpec, channel_name
from planner.model import InstanceId

__all__ = ["Outcome", "exercise"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drive did and found.

    Attributes
    ----------
    executions : int
    mismatches : int
        Executions whose output differs from that of the same input alone in the same memory.
    """

    executions: int
    mismatches: int


def exercise(
    fleet: Fleet,
    frames: int,
    *,
    threads: int = 1,
    guarded: bool = True,
    on_frame: Callable[[str], None] | None = None,
) -> Outcome:
    """Run `frames` frames of every channel, every step once in each, and compare all outputs.

    Parameters
    ----------
    fleet : Fleet
        Loaded; nothing else may run on it.
    frames : int
        Of each channel, >= 0.
    threads : int
        Feeders that share the channels, >= 1; without the guard, threads that execute.
    guarded : bool
        False: no places, order or locks. Only for the twin, where corruption harms nobody.
    on_frame : callable
        Called with the channel's name after each frame, by any thread.

    Raises
    ------
    UsageError
        Unguarded on a device that is not the twin. Caused by the caller.
    """
    if not guarded and fleet.device.name != "twin":
        raise UsageError(
            f"without the guard, memory would be corrupted on device {fleet.device.name!r}; only "
            "the twin may run so"
        )
    drive = _Drive(fleet, frames, References(fleet, frames), threads, on_frame or _nothing)
    workers = _feeders(drive) if guarded else _unguarded_workers(drive)
    with ThreadPoolExecutor(len(workers), thread_name_prefix="arena-exercise") as pool:
        try:
            futures = [pool.submit(worker) for worker in workers]
            outcomes = [future.result() for future in as_completed(futures)]
        except BaseException:
            drive.stop.set()  # Interrupted, or a thread failed: the others open no more frames.
            raise
    return Outcome(sum(o.executions for o in outcomes), sum(o.mismatches for o in outcomes))


def _nothing(_channel: str) -> None:
    """Do what `on_frame` does where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class _Drive:
    """What all workers of a drive share; once `stop` is set they open no more frames."""

    fleet: Fleet
    frames: int
    references: References
    threads: int
    on_frame: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _InProgress:
    """One open frame: what was submitted on which case, and how much of it is not over yet."""

    frame: Frame
    submitted: list[tuple[Submission, Mapping[InstanceId, Case]]] = field(default_factory=list)
    pending: int = 0


@dataclass(slots=True)
class _Channel:
    """A channel that a feeder drives: its open frames, oldest first, and the next number."""

    pipeline: PipelineSpec
    index: int
    frames: deque[_InProgress] = field(default_factory=deque)
    number: int = 0

    @property
    def name(self) -> str:
        return channel_name(self.pipeline.id, self.index)


class _Feeder:
    """Keeps as many frames of each of its channels in progress as may be in flight.

    Frames of a channel are left oldest first, since frame t + d starts when frame t has ended.
    Its thread alone opens frames of these channels: a place is free whenever it opens one.
    """

    def __init__(self, drive: _Drive, channels: Sequence[_Channel]) -> None:
        self._drive = drive
        self._channels = channels
        self._over: SimpleQueue[tuple[_Channel, _InProgress]] = SimpleQueue()
        self._executions = 0
        self._mismatches = 0

    def __call__(self) -> Outcome:
        """Run all frames of all channels."""
        with ExitStack() as stack:
            stack.push(self._leave_all)
            for channel in self._channels:
                for _ in range(channel.pipeline.frames_in_flight):
                    self._open_next(channel)
            while any(channel.frames for channel in self._channels):
                channel, frame = self._over.get()
                frame.pending -= 1
                while channel.frames and channel.frames[0].pending == 0:
                    self._leave_first(channel)
                    self._open_next(channel)
        return Outcome(self._executions, self._mismatches)

    def _open_next(self, channel: _Channel) -> None:
        if channel.number == self._drive.frames or self._drive.stop.is_set():
            return
        job = FrameCase(channel.pipeline, channel.index, channel.number)
        channel.number += 1
        opened = _InProgress(self._drive.fleet.frame(channel.name, timeout_s=None))
        channel.frames.append(opened)
        for step, cases in self._drive.references.of(job):
            # Instances that may serve one step have one model, hence the same inputs.
            case = next(iter(cases.values()))
            submission = opened.frame.submit(step, case.inputs, gear=case.gear or None)
            opened.submitted.append((submission, cases))
        opened.pending = len(opened.submitted)
        for submission, _ in opened.submitted:
            submission.add_done_callback(lambda _: self._over.put((channel, opened)))

    def _leave_first(self, channel: _Channel) -> None:
        first = channel.frames[0]
        for submission, cases in first.submitted:
            outputs = tuple(memoryview(y).tobytes() for y in submission.result().values())
            assert submission.call is not None
            self._mismatches += not cases[submission.call.instance].is_met_by(outputs)
            self._executions += 1
        channel.frames.popleft().frame.__exit__(None, None, None)
        self._drive.on_frame(channel.name)

    def _leave_all(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave what is open as failed: nothing is, unless an exception ends the feeder."""
        for channel in self._channels:
            while channel.frames:
                channel.frames.pop().frame.__exit__(kind, error, traceback)


def _feeders(drive: _Drive) -> Sequence[Callable[[], Outcome]]:
    """Return feeders that share the channels of a fleet evenly."""
    channels = [
        _Channel(pipeline, index)
        for pipeline in drive.fleet.plan.fleet.pipelines
        for index in range(pipeline.channels)
    ]
    n = min(drive.threads, len(channels))
    return [_Feeder(drive, channels[i::n]) for i in range(n)]


def _unguarded_workers(drive: _Drive) -> Sequence[Callable[[], Outcome]]:
    """Return workers that take one frame after another and execute its steps at once."""
    lock = threading.Lock()
    handles = {instance: threading.Lock() for instance in drive.references.cases}
    device = drive.fleet.device
    jobs = (
        FrameCase(pipeline, channel, number)
        for number in range(drive.frames)
        for pipeline in drive.fleet.plan.fleet.pipelines
        for channel in range(pipeline.channels)
    )

    def work() -> Outcome:
        executions = mismatches = 0
        stream = device.create_stream()
        try:
            while True:
                with lock:
                    job = None if drive.stop.is_set() else next(jobs, None)
                if job is None:
                    return Outcome(executions, mismatches)
                mismatches += _unguarded(drive, job, stream, handles)
                executions += len(job.pipeline.steps)
                drive.on_frame(channel_name(job.pipeline.id, job.channel))
        finally:
            device.destroy_stream(stream)

    return [work] * drive.threads


def _unguarded(
    drive: _Drive,
    job: FrameCase,
    stream: StreamId,
    handles: Mapping[InstanceId, threading.Lock],
) -> int:
    """Execute at once; a lock for each handle alone, since a device takes one call of a model."""
    # The race check would refuse what this is to show.
    device = drive.fleet.device
    device = device.inner if isinstance(device, RaceCheck) else device
    mismatches = 0
    for _, instances, number in job.steps():
        instance = instances[(job.number + job.channel) % len(instances)]
        case = drive.references.case(instance, number)
        item = drive.fleet.runner.loaded.instances[instance]
        try:
            with handles[instance]:
                outputs = execute_once(device, item, list(case.inputs.values()), stream, case.gear)
        except DeviceError:
            outputs = ()
        mismatches += outputs != case.outputs
    return mismatches
