"""A device adaptor that proves order instead of hoping for it: the happens-before checker.

Two executions whose models share work memory must be ordered by something that will order them
every time: a stream, an event that is waited for, a synchronisation, or a host thread that saw the
one end before it started the other, perhaps after the guard handed it the word of another thread.
That they happened not to overlap this time is no proof. The checker keeps vector clocks
(`happens_before`) and, at every launch, looks for an earlier execution of a sharer that the launch
does not follow.

What the host's threads tell one another is told by stamps: a thread that finished an execution
takes one (`end`), the guard hands it to the calls that follow (`Call.follows`), and the thread that
executes such a call shows it (`begin`).

Tensors in watched memory (`watch`: what a plan places) are checked like work memory, with reads
that race only with writes; and a read of what another launch has overwritten meanwhile is refused
though all of it be ordered: the tensor was not kept until its reader (`uses`).
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from arena.device.adaptors.adaptor import Adaptor
from arena.device.adaptors.happens_before import Clock, Epoch, HappensBefore, join
from arena.device.adaptors.uses import Place, Places, Record, Use
from arena.device.base import (
    Argument,
    Device,
    DeviceRange,
    EventId,
    Launch,
    LoadOptions,
    ModelHandle,
    ModelSource,
    Placed,
    StreamId,
)
from arena.errors import DeviceError, RaceError
from planner.errors import UsageError

__all__ = ["Race", "RaceCheck", "Stamp"]

_DEFAULT_OPTIONS: Final = LoadOptions()


@dataclass(frozen=True, slots=True)
class Race:
    """Two executions that share memory, and nothing orders the first before the second.

    Attributes
    ----------
    first, second : str
        The executions, in order of being launched.
    shared : DeviceRange
        The bytes that both use, and at least one writes.
    overwritten : bool
        They are ordered, but the second reads what the first wrote over.
    """

    first: str
    second: str
    shared: DeviceRange
    overwritten: bool = False

    def __str__(self) -> str:
        if self.overwritten:
            return (
                f"{self.second} reads {self.shared}, which {self.first} has overwritten since it "
                "was written for it"
            )
        return (
            f"{self.first} and {self.second} share {self.shared}: no stream, event, wait or "
            "synchronisation orders the first before the second"
        )


class Stamp:
    """What one host thread knew to be over at one moment; opaque."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = dict(clock)

    def show(self, clock: Clock) -> None:
        """Make `clock` count what the stamp counts."""
        join(clock, self._clock)


class RaceCheck(Adaptor):
    """A device that refuses, or reports, executions of memory sharers that nothing orders.

    Parameters
    ----------
    inner : Device
    races : list of Race, or None
        Filled with what was found, and the executions take place; None: the launch that would race
        raises `RaceError` and does not take place.

    Notes
    -----
    Checked are work memory that the caller gave (`load`), against that of the other loaded models
    and the model's own on other streams, and tensors in memory that is watched. Weights are read
    only; tensors elsewhere in device memory are the caller's. A launch costs O(sharers + streams).
    Sound and complete for the launches it saw: what it reports has no order, whatever the timing,
    and what it passes has one.
    """

    def __init__(self, inner: Device, races: list[Race] | None = None) -> None:
        super().__init__(inner)
        self._races = races
        self._mutex = threading.Lock()
        self._order = HappensBefore()
        self._models: dict[ModelHandle, _Model] = {}
        self._places = Places()
        self._threads = _Threads()

    # ---- the word between host threads

    def begin(self, label: str, follows: Iterable[object] = ()) -> None:
        """Tell that this thread's next launches execute `label`, after what the stamps stand for.

        Parameters
        ----------
        label : str
            For messages, such as ``detector@vision ('detect' of camera[0] frame 7)``.
        follows : iterable of Stamp
            As `end` returned them in other threads.
        """
        self._threads.label = label
        for stamp in follows:
            if not isinstance(stamp, Stamp):
                raise UsageError(f"found {stamp!r} among the stamps, expected what `end` returned")
            stamp.show(self._threads.clock)

    def end(self) -> Stamp:
        """Return the stamp of all that this thread knows to be over."""
        self._threads.label = ""
        return Stamp(self._threads.clock)

    # ---- the device

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = _DEFAULT_OPTIONS,
    ) -> ModelHandle:
        """Load a model and note whose work memory it shares."""
        handle = self.inner.load(source, work=work, weights=weights, options=options)
        with self._mutex:
            place = self._places.add(work) if work is not None and work.size_bytes else None
            self._models[handle] = _Model(source.name, place)
        return handle

    def unload(self, model: ModelHandle) -> None:
        """Unload a model and forget its executions."""
        self.inner.unload(model)
        with self._mutex:
            if (place := self._models.pop(model).work) is not None:
                self._places.remove(place)

    def watch(self, memory: DeviceRange) -> None:
        """Check tensors inside `memory`, a block of this device, from now on until it is freed."""
        with self._mutex:
            self._places.watch(memory)

    def free(self, memory: DeviceRange) -> None:
        """Give back a block, and forget the tensors in it."""
        self.inner.free(memory)
        with self._mutex:
            self._places.free(memory)

    def fill(self, memory: DeviceRange, value: int) -> None:
        """Set every byte of `memory`: a tensor that lies there is the host's."""
        self.inner.fill(memory, value)
        with self._mutex:
            self._places.filled(memory)

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        """Check one execution against its memory's sharers, and start it."""
        with self._mutex:
            record = self._models.get(model)
            if record is None:
                raise UsageError(f"unknown model handle {model}, expected what `load` returned")
            read = [one for one in inputs if isinstance(one, DeviceRange)]
            # The host writes a placed input: for all others it is written like an output.
            written = [one.memory for one in (*inputs, *outputs) if isinstance(one, Placed)]
            written += [one for one in outputs if isinstance(one, DeviceRange)]
            uses = self._places.uses(record.work, read, written)
            epoch, entered = self._check(record, uses, stream)
        try:
            launch = self.inner.launch(model, inputs, outputs, stream, gear=gear)
        except Exception as error:
            if not (isinstance(error, DeviceError) and error.unsettled):
                with self._mutex:
                    self._order.cancel(epoch)
                    entered.take_back()
            raise
        return _CheckedLaunch(launch, epoch)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        """Wait for one execution: what this thread does from now on comes after it."""
        if not isinstance(launch, _CheckedLaunch):
            raise UsageError(f"found {launch!r}, expected what `launch` of this device returned")
        try:
            data = self.inner.finish(launch.inner)
        except DeviceError as error:
            if not error.unsettled:
                self._finished(launch.epoch)
            raise
        self._finished(launch.epoch)
        return data

    def synchronize(self, stream: StreamId) -> None:
        """Wait for a stream: what this thread does from now on comes after all of it."""
        # Read before waiting: what others launch meanwhile need not be over.
        with self._mutex:
            seen: Clock = {}
            self._order.synchronize(seen, stream)
        try:
            self.inner.synchronize(stream)
        except DeviceError as error:
            if not error.unsettled:
                join(self._threads.clock, seen)
            raise
        join(self._threads.clock, seen)

    def record_event(self, stream: StreamId) -> EventId:
        """Return an event that stands for all earlier work of `stream`."""
        with self._mutex:
            event = self.inner.record_event(stream)
            self._order.record(self._threads.clock, stream, event)
        return event

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        """Order what the event stands for before later work of `stream`."""
        with self._mutex:
            self.inner.wait_event(stream, event)
            self._order.wait(self._threads.clock, stream, event)

    def destroy_event(self, event: EventId) -> None:
        """Release an event."""
        with self._mutex:
            self.inner.destroy_event(event)
            self._order.forget(event)

    # ---- the check

    def _check(
        self, model: "_Model", uses: Sequence[Use], stream: StreamId
    ) -> tuple[Epoch, Record]:
        """Enter one execution into the order; report the sharers that it does not follow."""
        epoch, start = self._order.launch(self._threads.clock, stream)
        label = f"{self._threads.label or model.name} on stream {stream}"
        for race in _races(uses, start, label):
            if self._races is None:
                self._order.cancel(epoch)
                raise RaceError(f"{race}; the second was not started")
            self._races.append(race)
        return epoch, Record(uses, stream, epoch, label)

    def _finished(self, epoch: Epoch) -> None:
        """Order an execution before whatever this thread does from now on."""
        with self._mutex:
            self._order.finish(self._threads.clock, epoch)


@dataclass(frozen=True, slots=True)
class _Model:
    """A loaded model, and its work memory where the caller gave some."""

    name: str
    work: Place | None


def _races(uses: Iterable[Use], start: Clock, label: str) -> Iterator[Race]:
    for use in uses:
        for first, shared in use.unordered(start):
            yield Race(first, label, shared)
        if use.place.overwritten and not use.is_write:
            yield Race(use.place.overwritten, label, use.place.memory, overwritten=True)


@dataclass(frozen=True, slots=True)
class _CheckedLaunch:
    """An execution under way, with its place in the order."""

    inner: Launch
    epoch: Epoch

    @property
    def model(self) -> ModelHandle:
        return self.inner.model

    @property
    def stream(self) -> StreamId:
        return self.inner.stream


class _Threads(threading.local):
    """What the current thread knows to be over, and what it executes."""

    def __init__(self) -> None:
        self.clock: Clock = {}
        self.label = ""
