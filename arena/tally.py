"""Counts of a fleet at work by model and lane, kept while the guard is watched: for metrics.

Counting is a few additions inside the guard's mutex; reading takes a copy.
"""

import threading
from bisect import bisect_left
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from arena.guard import CallRecord, FrameRecord, Watched
from arena.reservations import Holders, reservations_of
from planner.plan import Plan

__all__ = ["BOUNDS_S", "Counts", "Durations", "Tally"]

BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper ends of the buckets of durations, seconds; a last one holds what took longer."""
_BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)


@dataclass(slots=True)
class Durations:
    """How often something took how long.

    Attributes
    ----------
    counts : list of int
        One a bucket of `BOUNDS_S`, ends included, and one for what took longer.
    sum_ns : int
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_ns: int = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration, nanoseconds."""
        self.counts[bisect_left(_BOUNDS_NS, duration_ns)] += 1
        self.sum_ns += duration_ns


@dataclass(slots=True)
class Counts:
    """What happened to the calls of one model on one lane.

    Attributes
    ----------
    executions, failures, withdrawn : int
        That ended well; that failed; that never ran, because they timed out or were cancelled.
    waits : Durations
        From when a call was made until it was granted; of each granted call.
    runs : Durations
        From when a call was granted until its execution had ended, well or not.
    """

    executions: int = 0
    failures: int = 0
    withdrawn: int = 0
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)


class Tally:
    """Counts what the guard of one fleet tells.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self._counts: dict[tuple[str, str], Counts] = {
            (row.model, row.lane): Counts() for row in plan.instances
        }
        self._keys = {row.id: (row.model, row.lane) for row in plan.instances}
        self._holders = tuple(map(Holders, reservations_of(plan)))
        self._waiting: dict[CallRecord, int] = {}
        self._running: dict[CallRecord, int] = {}
        self._launched: set[CallRecord] = set()
        self._lock = threading.Lock()

    def watch(self, event: Watched, record: CallRecord | FrameRecord, time_ns: int) -> None:
        """Count one event: what the guard calls."""
        if not isinstance(record, CallRecord):
            return
        with self._lock:
            if event is Watched.WAITS:
                self._waiting[record] = time_ns
            elif event is Watched.GRANTED:
                self._grant(record, time_ns)
            elif event is Watched.WITHDRAWN:
                self._waiting.pop(record, None)
                self._of(record).withdrawn += 1
            elif event is Watched.LAUNCHED:
                self._launched.add(record)
            elif event is not Watched.OVER or record not in self._launched:
                self._end(record, time_ns, failed=event is Watched.FAILED)

    def counts(self) -> dict[tuple[str, str], Counts]:
        """Return (model, lane) -> counts so far, as a copy."""
        with self._lock:
            return deepcopy(self._counts)

    def used_bytes(self) -> dict[str, int]:
        """Return kind of reservation -> bytes that what executes now holds."""
        with self._lock:
            return {item.reservation.kind: item.used_bytes for item in self._holders}

    def _of(self, record: CallRecord) -> Counts:
        return self._counts[self._keys[record.choice.instance]]

    def _grant(self, record: CallRecord, time_ns: int) -> None:
        self._running[record] = time_ns
        self._of(record).waits.add(time_ns - self._waiting.pop(record, time_ns))
        for holders in self._holders:
            holders.change(record.choice.instance, 1)

    def _end(self, record: CallRecord, time_ns: int, *, failed: bool) -> None:
        self._launched.discard(record)
        granted_ns = self._running.pop(record, None)
        if granted_ns is None:
            return  # It was granted before anybody watched.
        counts = self._of(record)
        counts.failures += failed
        counts.executions += not failed
        counts.runs.add(time_ns - granted_ns)
        for holders in self._holders:
            holders.change(record.choice.instance, -1)
