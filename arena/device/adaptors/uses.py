"""Memory as executions use it: who wrote or read which bytes last, and who shares bytes with whom.

    place A   [=========]            a launch that writes A races with every unordered use of B;
    place B        [=========]       one that reads A, with every unordered write of B

A place is the work memory of one model, or one tensor in device memory. Beside unordered uses, a
read of bytes that an ordered launch has overwritten since they were left there is an error: what
was left for the reader is gone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from arena.device.adaptors.happens_before import Clock, Epoch
from arena.device.base import DeviceRange, StreamId

__all__ = ["Place", "Places", "Record", "Use", "intersection"]

_Last = dict[StreamId, tuple[Epoch, str]]
"""The last launch on each stream: those before it on the same stream follow from it."""


@dataclass(eq=False, slots=True)
class Place:
    """Bytes that executions use as one.

    Attributes
    ----------
    memory : DeviceRange
    sharers : dict of Place to DeviceRange
        Other places, and the bytes that they have in common with this one.
    writes, reads : dict
        Last launches that did.
    overwritten : str
        Who wrote over some of it through another place since it was written; empty: nobody.
    """

    memory: DeviceRange
    sharers: "dict[Place, DeviceRange]" = field(default_factory=dict)
    writes: _Last = field(default_factory=dict)
    reads: _Last = field(default_factory=dict)
    overwritten: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """One place that one launch reads or writes."""

    place: Place
    is_write: bool

    def unordered(self, start: Clock) -> Iterator[tuple[str, DeviceRange]]:
        """Yield the launches that a launch at `start` races with, and the bytes in common."""
        own = (self.place, self.place.memory)
        for place, memory in (own, *self.place.sharers.items()):
            for last in (place.writes, place.reads) if self.is_write else (place.writes,):
                for before, label in last.values():
                    if not before.precedes(start):
                        yield label, memory


class Places:
    """All places of one device.

    Notes
    -----
    A new place is compared with all others, a launch with the sharers of what it uses.
    """

    def __init__(self) -> None:
        self._all: dict[Place, None] = {}
        self._tensors: dict[DeviceRange, Place] = {}
        self._watched: list[DeviceRange] = []

    def watch(self, memory: DeviceRange) -> None:
        """Follow tensors inside `memory` from now on; what lies elsewhere is the caller's."""
        self._watched.append(memory)

    def add(self, memory: DeviceRange) -> Place:
        """Return a new place."""
        place = Place(memory)
        for other in self._all:
            if shared := intersection(memory, other.memory):
                place.sharers[other] = other.sharers[place] = shared
        self._all[place] = None
        return place

    def remove(self, place: Place) -> None:
        """Forget a place that nothing uses any more."""
        del self._all[place]
        for other in place.sharers:
            del other.sharers[place]

    def free(self, memory: DeviceRange) -> None:
        """Forget what lies in freed memory."""
        self._watched = [watched for watched in self._watched if not _holds(memory, watched)]
        for tensor, place in tuple(self._tensors.items()):
            if _holds(memory, tensor):
                self.remove(place)
                del self._tensors[tensor]

    def filled(self, memory: DeviceRange) -> None:
        """Note that the host has written a tensor."""
        if place := self._tensors.get(memory):
            place.overwritten = ""

    def uses(
        self, work: Place | None, inputs: Iterable[DeviceRange], outputs: Iterable[DeviceRange]
    ) -> list[Use]:
        """Return what a launch uses: its work memory, and the watched tensors of its arguments."""
        found = [Use(work, is_write=True)] if work is not None else []
        for ranges, is_write in ((inputs, False), (outputs, True)):
            for memory in ranges:
                if memory.size_bytes and any(_holds(one, memory) for one in self._watched):
                    if memory not in self._tensors:
                        self._tensors[memory] = self.add(memory)
                    found.append(Use(self._tensors[memory], is_write))
        return found


class Record:
    """What one launch changes in the places that it uses, and can take back.

    Parameters
    ----------
    uses : iterable of Use
    stream : StreamId
    epoch : Epoch
    label : str
    """

    def __init__(self, uses: Iterable[Use], stream: StreamId, epoch: Epoch, label: str) -> None:
        self._stream = stream
        self._before: list[tuple[_Last, tuple[Epoch, str] | None]] = []
        self._overwritten: list[tuple[Place, str]] = []
        for use in uses:
            last = use.place.writes if use.is_write else use.place.reads
            self._before.append((last, last.get(stream)))
            last[stream] = epoch, label
            if use.is_write:
                self._overwrite(use.place, "")
                for sharer in use.place.sharers:
                    self._overwrite(sharer, label)

    def _overwrite(self, place: Place, label: str) -> None:
        self._overwritten.append((place, place.overwritten))
        place.overwritten = label

    def take_back(self) -> None:
        """Undo all of it: the launch did not take place."""
        for last, before in reversed(self._before):
            if before is None:
                del last[self._stream]
            else:
                last[self._stream] = before
        for place, label in reversed(self._overwritten):
            place.overwritten = label


def _holds(outer: DeviceRange, inner: DeviceRange) -> bool:
    return (
        outer.pointer <= inner.pointer
        and inner.pointer + inner.size_bytes <= outer.pointer + outer.size_bytes
    )


def intersection(one: DeviceRange, other: DeviceRange) -> DeviceRange | None:
    """Return the bytes that two ranges have in common; None: none."""
    lower = max(one.pointer, other.pointer)
    upper = min(one.pointer + one.size_bytes, other.pointer + other.size_bytes)
    return DeviceRange(lower, upper - lower) if lower < upper else None
