"""Blocks of host memory, accounted in pages like a device's; weights that cannot be written.

A block is anonymous private memory, so an untouched page costs nothing; the account counts whole
pages of 2 MiB all the same, as a plan does.
"""

import ctypes
import mmap
import os
import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from arena.device.base import DeviceRange, MemoryInfo
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.model import PAGE_BYTES
from planner.units import align_up, format_bytes

__all__ = ["HostMemory", "overlaps", "protect"]

_PROTECT: Final = ctypes.CDLL(None, use_errno=True).mprotect
_PROTECT.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@dataclass(slots=True)
class _Block:
    """One reservation."""

    memory: DeviceRange
    mapping: mmap.mmap = field(repr=False)


class HostMemory:
    """The memory of one CPU device; safe from several threads.

    Parameters
    ----------
    memory_bytes : int or None
        What the device has; None: the machine's physical memory.
    """

    def __init__(self, memory_bytes: int | None) -> None:
        if memory_bytes is None:
            memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._total_bytes = memory_bytes
        self._taken_bytes = 0
        self._blocks: list[_Block] = []
        self._lock = threading.Lock()

    def info(self) -> MemoryInfo:
        """Return what is free and what there is, bytes; taken memory counts whole pages."""
        return MemoryInfo(self._total_bytes - self._taken_bytes, self._total_bytes)

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Return a new block of zeros, `size_bytes` > 0 long, at a page of the machine.

        Raises
        ------
        DeviceError
            More than is free.
        UsageError
            The size is not positive.
        """
        if size_bytes <= 0:
            raise UsageError(f"alloc of {size_bytes} bytes: expected a size > 0")
        with self._lock:
            free = self.info().free_bytes
            if align_up(size_bytes, PAGE_BYTES) > free:
                raise DeviceError(
                    f"alloc of {size_bytes} bytes ({format_bytes(size_bytes)}, in pages of 2 MiB) "
                    f"refused: {free} of {self._total_bytes} bytes ({format_bytes(free)}) are free",
                    call="alloc",
                )
            try:
                mapping = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except OSError as error:
                raise DeviceError(
                    f"alloc of {size_bytes} bytes ({format_bytes(size_bytes)}): the operating "
                    f"system refuses: {error.strerror}",
                    call="mmap",
                    code=error.errno or 0,
                ) from error
            memory = DeviceRange(ctypes.addressof(ctypes.c_char.from_buffer(mapping)), size_bytes)
            self._blocks.insert(self._index(memory.pointer), _Block(memory, mapping))
            self._taken_bytes += align_up(size_bytes, PAGE_BYTES)
        return memory

    def free(self, memory: DeviceRange) -> None:
        """Give a block back.

        Raises
        ------
        UsageError
            `memory` is not a block that is out.
        """
        with self._lock:
            i = self._index(memory.pointer) - 1
            if i < 0 or self._blocks[i].memory != memory:
                raise UsageError(
                    f"free of {memory}: not a block that alloc returned, or freed already"
                )
            self._blocks.pop(i).mapping.close()
            self._taken_bytes -= align_up(memory.size_bytes, PAGE_BYTES)

    def require(self, memory: DeviceRange, purpose: str) -> None:
        """Raise unless `memory` lies inside one block.

        Raises
        ------
        UsageError
            It does not; the message says for what `purpose` it was meant.
        """
        with self._lock:
            i = self._index(memory.pointer) - 1
            block = self._blocks[i].memory if i >= 0 else None
        if block is None or memory.pointer + memory.size_bytes > block.pointer + block.size_bytes:
            raise UsageError(
                f"{purpose}: {memory} is not inside one block that this device allocated"
            )

    @property
    def blocks(self) -> tuple[DeviceRange, ...]:
        """Everything that is out, ascending."""
        return tuple(block.memory for block in self._blocks)

    def _index(self, pointer: int) -> int:
        return bisect_right(self._blocks, pointer, key=lambda block: block.memory.pointer)


def overlaps(first: DeviceRange, second: DeviceRange) -> bool:
    """Return whether two ranges share a byte.

    Examples
    --------
    >>> overlaps(DeviceRange(64, 64), DeviceRange(127, 1)), overlaps(
    ...     DeviceRange(64, 64), DeviceRange(128, 1)
    ... )
    (True, False)
    """
    return (
        first.pointer < second.pointer + second.size_bytes
        and second.pointer < first.pointer + first.size_bytes
        and first.size_bytes > 0
        and second.size_bytes > 0
    )


def protect(memory: DeviceRange, *, writable: bool) -> None:
    """Make every page that lies wholly inside `memory` read-only, or writable again.

    The first and the last page may hold a neighbour's bytes; they stay as they are.

    Raises
    ------
    DeviceError
        The operating system refuses.
    """
    start = align_up(memory.pointer, mmap.PAGESIZE)
    end = (memory.pointer + memory.size_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    if start < end and _PROTECT(start, end - start, access) != 0:
        code = ctypes.get_errno()
        raise DeviceError(
            f"pages [{start:#x}, {end:#x}) cannot be made "
            f"{'writable' if writable else 'read-only'}: {os.strerror(code)}",
            call="mprotect",
            code=code,
        )
