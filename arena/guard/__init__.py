"""The guard: frames, calls and locks, so that threads keep the order that a plan relies on.

`machine` decides, by the tables of `moves` and the `rules` of the fleet; `blocking` blocks, wakes
and times out, `frames` is what callers see, and `watched` tells traces and metrics. docs/guard.md
is the theory of operation.
"""

from arena.guard.frames import Call, Frame, Guard
from arena.guard.records import CallRecord, FrameRecord
from arena.guard.watched import Watched, Watcher

__all__ = ["Call", "CallRecord", "Frame", "FrameRecord", "Guard", "Watched", "Watcher"]
