"""Who answers when the runtime asks for memory: the plan, a trace, or the heap.

    time -->   |-- k = 0: 100 bytes --|         A run with one thread and fixed shapes makes the
                    |-- k = 1: 60 --|           same allocations in the same order every time, so
                              |-- k = 2 --|     the k-th one has a place: base + offsets[k].

Nothing here may raise or return 0: the runtime does not look, and the process would end. What goes
wrong is kept and told when the run is over.
"""

import ctypes
from collections.abc import Sequence
from typing import Final, Protocol

from arena.device.cpu.answering import PlannedAnswers
from planner.units import align_up

__all__ = ["ALIGN_BYTES", "HeapPlacement", "Placement", "PlannedPlacement", "TracedPlacement"]

ALIGN_BYTES: Final = 64
"""Every allocation starts at a multiple: the runtime's own allocators promise a cache line."""

_libc = ctypes.CDLL(None)
_libc.aligned_alloc.restype = ctypes.c_void_p
_libc.aligned_alloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
_libc.free.restype = None
_libc.free.argtypes = (ctypes.c_void_p,)


def _heap_allocate(size_bytes: int) -> int:
    return _libc.aligned_alloc(ALIGN_BYTES, align_up(size_bytes, ALIGN_BYTES)) or 0


class Placement(Protocol):
    """Answers the allocations of one call into the runtime, on one thread."""

    @property
    def answers_pointer(self) -> int:
        """Where machine code finds the next answers (`PlannedAnswers`); 0: `place` gives all."""
        ...

    def place(self, size_bytes: int) -> int:
        """Return the address of a new block of `size_bytes` (> 0)."""
        ...

    def freed(self, pointer: int) -> None:
        """Take note that the runtime gave a block back."""
        ...


class HeapPlacement:
    """Blocks from the heap, kept until `release`: the small objects of a session."""

    __slots__ = ("_blocks",)
    answers_pointer = 0

    def __init__(self) -> None:
        self._blocks: list[int] = []

    def place(self, size_bytes: int) -> int:
        """Return a heap block."""
        pointer = _heap_allocate(size_bytes)
        self._blocks.append(pointer)
        return pointer

    def freed(self, pointer: int) -> None:
        """Do nothing: the block goes with the others."""

    def release(self) -> None:
        """Free every block."""
        while self._blocks:
            _libc.free(self._blocks.pop())


class PlannedPlacement:
    """The k-th block lies at its planned offset from `base`; serves one run after another.

    A block that the plan does not know comes from the heap, and so do all after it: the run can end
    without harm, and `finish` says where it left the plan.
    """

    __slots__ = ("_answers", "_departure", "_heap", "answers_pointer")

    def __init__(self, base: int, sizes: Sequence[int], offsets: Sequence[int]) -> None:
        self._answers = PlannedAnswers(base, sizes, offsets)
        self._departure = ""
        self._heap = HeapPlacement()
        self.answers_pointer = self._answers.pointer

    def place(self, size_bytes: int) -> int:
        """Return the planned address of the next block."""
        answer = self._answers.next(size_bytes)
        if answer is not None:
            return answer
        if not self._departure:
            k, sizes = self._answers.count, self._answers.sizes
            wanted = f"{sizes[k]} bytes" if k < len(sizes) else "no more"
            self._departure = f"allocation {k} asks for {size_bytes} bytes, the plan has {wanted}"
            self._answers.stop()
        return self._heap.place(size_bytes)

    def freed(self, pointer: int) -> None:
        """Do nothing: the plan knows how long every block lives."""

    def finish(self) -> str:
        """End a run: free what came from the heap, and return where it left its plan, if it did."""
        self._heap.release()
        departure, made, planned = self._departure, self._answers.count, len(self._answers.sizes)
        self._departure = ""
        self._answers.restart()
        if not departure and made != planned:
            return f"the run made {made} of {planned} planned allocations"
        return departure


class TracedPlacement:
    """Blocks from the heap, with a record of sizes and lifetimes.

    Attributes
    ----------
    sizes : list of int, bytes
        In the order of allocation.
    lifetimes : list of (start, end)
        Half-open, in events: every allocation and every release counts one. A block that was never
        given back ends after the last event.
    """

    __slots__ = ("_clock", "_open", "lifetimes", "sizes")
    answers_pointer = 0

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.lifetimes: list[tuple[int, int]] = []
        self._open: dict[int, int] = {}
        self._clock = 0

    def place(self, size_bytes: int) -> int:
        """Return a heap block and note its birth."""
        pointer = _heap_allocate(size_bytes)
        self._open[pointer] = len(self.sizes)
        self.sizes.append(size_bytes)
        self.lifetimes.append((self._clock, self._clock))
        self._clock += 1
        return pointer

    def freed(self, pointer: int) -> None:
        """Note the end of a block and free it."""
        k = self._open.pop(pointer, None)
        if k is not None:
            self._end(k)
            _libc.free(pointer)

    def finish(self) -> None:
        """End and free every block that is still out."""
        for pointer, k in list(self._open.items()):
            del self._open[pointer]
            self._end(k)
            _libc.free(pointer)

    def _end(self, k: int) -> None:
        self.lifetimes[k] = (self.lifetimes[k][0], self._clock)
        self._clock += 1
