"""Calls of a loaded plan, executed: granted ones at once, submitted ones by a thread a lane.

    execute   launch ── finish ── done         in the thread that waited for the grant
    submit    future ... a thread of its lane takes it once granted, and executes it

The guard decides who may run (docs/guard.md); here the device is told. With `cross_stream: events`
a submitted call is over for the guard as soon as it is launched, and its followers wait on the
device for its recorded event instead of on the host.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from arena.device.adaptors import RaceCheck, Stamp
from arena.device.base import Device, EventId, Launch, StreamId
from arena.errors import DeviceError, GuardError
from arena.guard import Call, Guard, Watched, Watcher
from arena.guard import Frame as GuardFrame
from arena.guard.explain import unknown_channel
from arena.handover import Handover, Request
from arena.loader import LoadedFleet, LoadedInstance
from arena.memory import failure_of
from arena.tensors import HostArray, name_outputs
from planner.errors import UsageError
from planner.fleet import CrossStream
from planner.model import InstanceId
from planner.plan import Plan

__all__ = ["Runner", "Submission"]


class Submission(Future[dict[str, HostArray]]):
    """The future of a submitted call; cancelling it withdraws the call if it still waits.

    Attributes
    ----------
    call : Call or None
        Its `lane` and `instance` say where it runs; of a pool, once it was granted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.call: Call | None = None
        self.retrieved = False

    def cancel(self) -> bool:
        """Withdraw the call if it still waits; return whether it is withdrawn."""
        if self.call is not None and self.call.withdraw():
            self.retrieved = True
            super().cancel()
        return self.cancelled()

    def result(self, timeout: float | None = None) -> dict[str, HostArray]:
        """Wait for the execution and return output name -> array."""
        try:
            return super().result(timeout)
        finally:
            self.retrieved = self.retrieved or self.done()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the execution and return what it raised, or None."""
        try:
            return super().exception(timeout)
        finally:
            self.retrieved = self.retrieved or self.done()


@dataclass(slots=True)
class _Launched:
    """What followers of a call are handed: how to wait for it, and what the race check was told.

    Attributes
    ----------
    stream : StreamId
    event : EventId or None
        Recorded behind the launch; None: it had ended when it was handed on.
    users : int
        Who still needs the event: the launch itself and its followers.
    stamp : Stamp or None
        Of the race check, once it has ended.
    """

    stream: StreamId
    event: EventId | None = None
    users: int = 1
    stamp: Stamp | None = None
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Job:
    """What a lane's thread needs to execute a submitted call."""

    submission: Submission
    request: Request


@dataclass(slots=True)
class _UnderWay:
    """A launched execution that somebody must finish."""

    submission: Submission
    call: Call
    request: Request
    item: LoadedInstance
    launch: Launch
    launched: _Launched
    waits: list[_Launched]


class Runner:
    """Executes the calls of one loaded plan.

    Parameters
    ----------
    plan : Plan
    device : Device
    loaded : LoadedFleet
    streams : mapping of lane to StreamId
    guard : Guard
    on_first_run : callable
        Called with each instance after its first execution: devices fill caches then.

    Notes
    -----
    Threads start with the first submitted call: one a lane, and with `cross_stream: events` a
    second one that finishes what the first launched.
    """

    def __init__(
        self,
        plan: Plan,
        device: Device,
        loaded: LoadedFleet,
        streams: Mapping[str, StreamId],
        guard: Guard,
        on_first_run: Callable[[InstanceId], object] = bool,
    ) -> None:
        self.plan = plan
        self.device = device
        self.loaded = loaded
        self.streams = streams
        self.guard = guard
        self.broken: DeviceError | None = None
        self._by_events = plan.fleet.device.cross_stream is CrossStream.EVENTS
        self._threads: list[threading.Thread] = []
        self._start_lock = threading.Lock()
        self._event_lock = threading.Lock()
        self._on_first_run = on_first_run
        self._ran: set[InstanceId] = set()
        self._last_launch: dict[InstanceId, _Launched] = {}
        self._watched = False
        self._race = device if isinstance(device, RaceCheck) else None
        self._before: Stamp | None = None
        self.handover = Handover(plan, loaded)
        if self._race is not None and plan.buffers and loaded.arena.work is not None:
            self._race.watch(loaded.arena.work)

    def reset_states(self, channel: str) -> None:
        """Let every state of a channel start from zeros again.

        Raises
        ------
        GuardError
            Unknown channel. Caused by the caller.
        """
        if channel not in self.handover.channels:
            raise GuardError(unknown_channel(channel, self.handover.channels))
        self.handover.reset(channel)

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every call and frame from now on."""
        self._watched = True
        self.guard.watch(watcher)

    def _tell(self, event: Watched, call: Call) -> None:
        if self._watched:
            self.guard.tell(event, call)

    def refuse_when_broken(self) -> None:
        """Raise what closed the fleet, if anything did."""
        if self.broken is not None:
            raise DeviceError(
                f"the fleet is closed, because an execution may still be running: {self.broken}",
                call=self.broken.call,
                code=self.broken.code,
            ) from self.broken

    def settle(self) -> None:
        """Tell the race check that all this thread ran is over before anything that follows."""
        if self._race is not None:
            self._before = self._race.end()

    def execute(self, call: Call, request: Request) -> dict[str, HostArray]:
        """Execute a granted call and end it; a failure ends it as failed."""
        launch: Launch | None = None
        try:
            self.wait_on_host(call)
            item = self.loaded.instances[call.instance]
            inputs, outputs = request.arguments(item)
            stream = self.streams[item.instance.lane]
            launch = self.device.launch(item.handle, inputs, outputs, stream, gear=request.gear)
            data = self.device.finish(launch)
            self.note_run(item.instance.id)
            named = name_outputs(request.wanted_of(data), request.description)
            request.launched()
            request.over()
        except BaseException as error:
            self.end_failed(call, error, launch=launch)
            raise
        call.done(token=self.over(call))
        return named

    def over(self, call: Call) -> object:
        """Return the token of a call that has ended: only the race check needs one."""
        if self._race is None:
            return None
        launched = _Launched(self.streams[call.lane], users=0, stamp=self._race.end())
        launched.ended.set()
        return launched

    def wait_on_host(self, call: Call) -> None:
        """Wait until all that a call follows has ended, and tell the race check so."""
        stamps = [self._before] if self._before else []
        for launched in call.follows:
            assert isinstance(launched, _Launched)
            launched.ended.wait()
            if launched.stamp is not None:
                stamps.append(launched.stamp)
        if self._race is not None:
            self._race.begin(f"{call.instance} ({call})", stamps)

    def note_run(self, instance: InstanceId) -> None:
        """Tell who measures that an instance executed, if it is the first time."""
        if instance not in self._ran:
            self._ran.add(instance)
            self._on_first_run(instance)

    def end_failed(
        self,
        call: Call,
        error: BaseException,
        *,
        launch: Launch | None = None,
        started: bool = False,
    ) -> None:
        """End a call that failed, once its execution is over; stop the fleet if that is not known.

        Parameters
        ----------
        call : Call
        error : BaseException
            What failed; anything but a `DeviceError` says nothing of the execution.
        launch : Launch or None
            The execution, where one was launched.
        started : bool
            Whether something else may be under way on the lane's stream.
        """
        is_over = False
        unknown = not isinstance(error, DeviceError)
        try:
            cause = self._settled(call, error, launch, started=started or unknown)
            if isinstance(cause, DeviceError) and cause.unsettled:
                self._stop(cause)
            else:
                is_over = launch is not None or started
        except BaseException as again:
            self._stop(DeviceError(f"{call}: interrupted while waiting for it: {again!r}"))
            raise
        finally:
            call.done(failed=True, token=self.over(call) if is_over else None)

    def _settled(
        self, call: Call, error: BaseException, launch: Launch | None, *, started: bool
    ) -> BaseException:
        """Wait for what nobody waited for; return what says whether it may still run."""
        try:
            if launch is not None:
                self.device.finish(launch)
            elif started:
                self.device.synchronize(self.streams[call.lane])
        except UsageError:
            return error  # It is over already.
        except DeviceError as again:
            return again
        return error

    def _stop(self, error: DeviceError) -> None:
        """Grant nothing from now on: the memory of `error`'s execution must not be used again."""
        self.broken = error
        self.guard.stop(f"an execution may still be running: {error}")

    # ---- submitted calls

    def submit(self, frame: GuardFrame, step: str, request: Request) -> Submission:
        """Hand a call in; the lane's thread executes it when it is granted."""
        self._start_threads()
        submission = Submission()
        submission.call = frame.submit(step, _Job(submission, request))
        return submission

    def _start_threads(self) -> None:
        with self._start_lock:
            if self._threads:
                return
            for lane in self.guard.lanes:
                under_way: SimpleQueue[_UnderWay | None] | None = None
                if self._by_events:
                    under_way = SimpleQueue()
                    self._spawn(f"arena-finish-{lane}", self._finish_all, under_way)
                self._spawn(f"arena-lane-{lane}", self._serve, lane, under_way)

    def _spawn(self, name: str, target: Any, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, lane: str, under_way: "SimpleQueue[_UnderWay | None] | None") -> None:
        while (call := self.guard.take(lane)) is not None:
            job = call.job
            assert isinstance(job, _Job)
            if call.withdrawn:
                Future.cancel(job.submission)
                job.submission.set_running_or_notify_cancel()
            elif under_way is None:
                self._resolve(job.submission, call, job.request)
            else:
                self._launch(call, job, under_way)
        if under_way is not None:
            under_way.put(None)

    def _resolve(self, submission: Submission, call: Call, request: Request) -> None:
        try:
            outputs = self.execute(call, request)
        except Exception as error:
            submission.set_exception(error)
        else:
            submission.set_result(outputs)

    def _launch(self, call: Call, job: _Job, under_way: "SimpleQueue[_UnderWay | None]") -> None:
        item = self.loaded.instances[call.instance]
        launched = _Launched(self.streams[call.lane])
        waits: list[_Launched] = []
        launch: Launch | None = None
        try:
            # An instance has one set of input and output buffers: its last results must be out.
            if last := self._last_launch.get(call.instance):
                last.ended.wait()
            self._wait_on_device(call, launched.stream, waits)
            inputs, outputs = job.request.arguments(item)
            gear = job.request.gear
            launch = self.device.launch(item.handle, inputs, outputs, launched.stream, gear=gear)
            launched.event = self.device.record_event(launched.stream)
        except BaseException as error:
            # Also where nothing was launched: the stream still waits for the events in `waits`.
            self.end_failed(call, error, launch=launch, started=bool(waits))
            self._release(waits)
            job.submission.set_exception(error)
            return
        self._last_launch[call.instance] = launched
        job.request.launched()
        self._tell(Watched.LAUNCHED, call)
        call.done(token=launched)
        entry = _UnderWay(job.submission, call, job.request, item, launch, launched, waits)
        under_way.put(entry)

    def _wait_on_device(self, call: Call, stream: StreamId, waits: list[_Launched]) -> None:
        """Make the stream wait for all that a call follows; what has ended needs no wait."""
        stamps = [self._before] if self._before else []
        for launched in call.follows:
            assert isinstance(launched, _Launched)
            if launched.stream == stream and launched.event is not None:
                continue
            if self._use(launched):
                waits.append(launched)
                assert launched.event is not None
                self.device.wait_event(stream, launched.event)
            else:
                launched.ended.wait()
                if launched.stamp is not None:
                    stamps.append(launched.stamp)
        if self._race is not None:
            self._race.begin(f"{call.instance} ({call})", stamps)

    def _finish_all(self, under_way: "SimpleQueue[_UnderWay | None]") -> None:
        while (entry := under_way.get()) is not None:
            try:
                data = self.device.finish(entry.launch)
                self.note_run(entry.item.instance.id)
                outputs = name_outputs(entry.request.wanted_of(data), entry.request.description)
                entry.request.over()
            except BaseException as error:
                if isinstance(error, DeviceError) and error.unsettled:
                    self._stop(error)
                self._tell(Watched.FAILED, entry.call)
                entry.submission.set_exception(error)
            else:
                self._tell(Watched.FINISHED, entry.call)
                entry.submission.set_result(outputs)
            finally:
                if self._race is not None:
                    entry.launched.stamp = self._race.end()
                entry.launched.ended.set()
                self._release([entry.launched, *entry.waits])

    def _use(self, launched: _Launched) -> bool:
        """Keep an event for one more user; False once it is gone: nothing need be waited for."""
        with self._event_lock:
            if launched.users == 0:
                return False
            launched.users += 1
            return True

    def _release(self, used: list[_Launched]) -> None:
        for launched in used:
            with self._event_lock:
                launched.users -= 1
                last = launched.users == 0
            if last and launched.event is not None:
                # What cannot be destroyed stays with the device, whose close says so.
                failure_of(self.device.destroy_event, launched.event)

    def close(self, timeout_s: float | None = None) -> None:
        """Withdraw what waits, wait for what runs, end the threads."""
        self.guard.close(timeout_s)
        for thread in self._threads:
            thread.join(timeout_s)
