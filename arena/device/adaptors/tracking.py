"""A device that counts what goes through it, and observes the peak."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

from arena.device.adaptors.adaptor import Adaptor, used_or_close
from arena.device.base import Device, DeviceRange
from arena.errors import DeviceError

__all__ = ["TrackingDevice", "Usage"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Usage:
    """What went through a device.

    Attributes
    ----------
    current_bytes, peak_bytes : int
        Taken from the device since it was opened, by anyone: now (as of the last call that can
        change it) and at most.
    allocated_bytes : int
        Sum of all blocks that were ever allocated.
    n_allocations, n_loads, n_launches : int
        Calls that succeeded.
    """

    current_bytes: int = 0
    peak_bytes: int = 0
    allocated_bytes: int = 0
    n_allocations: int = 0
    n_loads: int = 0
    n_launches: int = 0


class TrackingDevice(Adaptor):
    """A device that counts what it gives and remembers what is still out.

    The peak is observed in one place: after each call that can take memory, free memory is asked
    for again. What a device takes and gives back within one call stays unseen.

    Parameters
    ----------
    inner : Device
    """

    _TAKES: Final = frozenset({"alloc", "load", "launch", "finish", "create_stream"})
    _GIVES: Final = frozenset({"free", "unload", "destroy_stream"})

    def __init__(self, inner: Device) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._base_bytes: int | None = None
        self._usage = Usage()
        self._out: dict[str, set[object]] = {}

    @property
    def usage(self) -> Usage:
        """What went through the device so far."""
        return self._usage

    @property
    def outstanding(self) -> dict[str, int]:
        """How many blocks, models, streams and events are out; without the zeros."""
        with self._lock:
            return {kind: len(things) for kind, things in sorted(self._out.items()) if things}

    @property
    def outstanding_memory(self) -> tuple[DeviceRange, ...]:
        """Blocks that were allocated and not freed, by pointer."""
        with self._lock:
            blocks = [
                block for block in self._out.get("block", ()) if isinstance(block, DeviceRange)
            ]
        return tuple(sorted(blocks, key=lambda block: block.pointer))

    def open(self) -> None:
        """Acquire the device, and take what is used now as not ours."""
        super().open()
        if self._base_bytes is None:
            self._base_bytes = used_or_close(self.inner)

    def around(self, name: str, call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Make one call and count it."""
        result = call(*arguments, **named)
        kind, is_new = _KINDS.get(name, ("", False))
        with self._lock:
            if kind and is_new:
                self._out.setdefault(kind, set()).add(result)
            elif kind:
                self._out.get(kind, set()).discard(arguments[0])
            self._count(name, result)
        if name in self._TAKES or name in self._GIVES:
            self._observe()
        return result

    def _count(self, name: str, result: object) -> None:
        usage = self._usage
        if name == "alloc" and isinstance(result, DeviceRange):
            usage = replace(
                usage,
                allocated_bytes=usage.allocated_bytes + result.size_bytes,
                n_allocations=usage.n_allocations + 1,
            )
        elif name == "load":
            usage = replace(usage, n_loads=usage.n_loads + 1)
        elif name == "launch":
            usage = replace(usage, n_launches=usage.n_launches + 1)
        self._usage = usage

    def _observe(self) -> None:
        try:
            used = self.inner.memory_info().used_bytes - (self._base_bytes or 0)
        except DeviceError:
            return  # what the call gave must reach the caller, observed or not
        with self._lock:
            peak = max(self._usage.peak_bytes, used)
            self._usage = replace(self._usage, current_bytes=used, peak_bytes=peak)


_KINDS: Final = {
    "alloc": ("block", True),
    "free": ("block", False),
    "load": ("model", True),
    "unload": ("model", False),
    "create_stream": ("stream", True),
    "destroy_stream": ("stream", False),
    "record_event": ("event", True),
    "destroy_event": ("event", False),
}
"""Port method -> what it gives (True) or takes back as its first argument (False)."""
