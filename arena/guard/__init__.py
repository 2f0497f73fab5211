"""The guard: frames, calls and locks, so that threads keep the order that a plan relies on.

`machine` decides, by the tables of `moves` and the `rules` of the fleet; `blocking` blocks, wakes
and times out, and `frames` is what callers see. docs/guard.md is the theory of operation.
"""

from arena.guard.frames import Call, Frame, Guard

__all__ = ["Call", "Frame", "Guard"]
