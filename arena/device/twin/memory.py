"""Device memory of the twin: an address space of its own, backed by host memory, accounted by page.

Device addresses are not host addresses: they count up from a window that no host pointer lies in
and are never used twice, so that a stale or foreign pointer is found by looking it up, and the same
calls give the same addresses. Host memory behind a freed block stays mapped while an execution
still holds it: a use after free is an error code, not a crash.
"""

import ctypes
import mmap
import threading
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import Final

from arena.device.acl_codes import AclCode
from arena.device.acl_types import MallocPolicy, MemoryAttribute
from arena.device.twin.binding import CallFailed
from arena.device.twin.config import MemoryKind, TwinConfig
from planner.units import GiB, align_up

__all__ = ["Block", "DeviceMemory", "Span", "is_device_pointer"]

_WINDOW_BYTES: Final = 1 << 43
"""Addresses of device d are those from (d + 1) * 8 TiB: below every host pointer of a 47- or 48-bit
address space and above all of a 39-bit one, for up to 8 devices."""
_WINDOWS: Final = 8

_HUGE_FIRST: Final = (MallocPolicy.HUGE_FIRST, MallocPolicy.HUGE_FIRST_P2P)
_HUGE_ONLY: Final = (MallocPolicy.HUGE_ONLY, MallocPolicy.HUGE_ONLY_P2P)
_NORMAL_ONLY: Final = (MallocPolicy.NORMAL_ONLY, MallocPolicy.NORMAL_ONLY_P2P)
_HUGE_1G: Final = (MallocPolicy.HUGE1G_ONLY, MallocPolicy.HUGE1G_ONLY_P2P)
_ATTRIBUTES: Final = {
    MemoryKind.DDR: (MemoryAttribute.DDR, MemoryAttribute.DDR_HUGE, MemoryAttribute.DDR_NORMAL),
    MemoryKind.HBM: (MemoryAttribute.HBM, MemoryAttribute.HBM_HUGE, MemoryAttribute.HBM_NORMAL),
}
_ATTRIBUTES_MAX: Final = 17


def is_device_pointer(pointer: int) -> bool:
    """Return whether an address lies in the window of any device."""
    return _WINDOW_BYTES <= pointer < (_WINDOWS + 1) * _WINDOW_BYTES


@dataclass(slots=True)
class Block:
    """One allocation: device addresses [pointer, pointer + size_bytes) over host memory."""

    pointer: int
    size_bytes: int
    reserved_bytes: int
    huge: bool
    view: memoryview
    address: int
    live: bool = True
    anchor: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one block."""

    block: Block
    offset: int
    size_bytes: int

    @property
    def pointer(self) -> int:
        """Device address."""
        return self.block.pointer + self.offset

    @property
    def address(self) -> int:
        """Host address of the memory behind it."""
        return self.block.address + self.offset

    @property
    def view(self) -> memoryview:
        """The bytes, writable."""
        return self.block.view[self.offset : self.offset + self.size_bytes]


class DeviceMemory:
    """Memory of one device.

    Attributes
    ----------
    used_bytes, peak_bytes : int
        Bytes taken now and at most so far, rounded up to pages as the device counts them.
    bus : threading.Lock
        Held while a stamp or a chunk is written to or compared with memory, so that these are
        indivisible for one another.
    """

    def __init__(self, config: TwinConfig, device_id: int) -> None:
        self._config = config
        self._next = (device_id + 1) * _WINDOW_BYTES
        self._end = self._next + _WINDOW_BYTES
        self._blocks: dict[int, Block] = {}
        self._pointers: list[int] = []
        self._huge_bytes = 0
        self._lock = threading.Lock()
        self.bus = threading.Lock()
        self.used_bytes = 0
        self.peak_bytes = 0

    @property
    def n_blocks(self) -> int:
        """Allocations that have not been released."""
        return len(self._blocks)

    def allocate(self, size_bytes: int, policy: int, *, tail_bytes: int) -> Block:
        """Reserve a block of `size_bytes`, whose length becomes ALIGN_UP(size, 32) + tail."""
        if size_bytes == 0:
            raise CallFailed(AclCode.INVALID_PARAM, "size is 0")
        length = align_up(size_bytes, 32) + tail_bytes
        with self._lock:
            reserved, huge = self._pages(length, policy)
            block = self._map(length, reserved, huge)
            self._blocks[block.pointer] = block
            insort(self._pointers, block.pointer)
            self.used_bytes += reserved
            self._huge_bytes += reserved if huge else 0
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return block

    def release(self, pointer: int) -> None:
        """Give back a block by the pointer that `allocate` returned."""
        with self._lock:
            block = self._blocks.pop(pointer, None)
            if block is None:
                raise CallFailed(
                    AclCode.RT_PARAM_INVALID, f"{pointer:#x} is not a live allocation of the device"
                )
            self._pointers.remove(pointer)
            self.used_bytes -= block.reserved_bytes
            self._huge_bytes -= block.reserved_bytes if block.huge else 0
            block.live = False

    def find(self, pointer: int, size_bytes: int) -> Span | None:
        """Return the part of a live block that holds the whole range, if there is one."""
        with self._lock:
            index = bisect_right(self._pointers, pointer) - 1
            if index < 0:
                return None
            block = self._blocks[self._pointers[index]]
        offset = pointer - block.pointer
        if offset + size_bytes > block.size_bytes:
            return None
        return Span(block, offset, size_bytes)

    def require(self, pointer: int, size_bytes: int, code: AclCode, what: str) -> Span:
        """Return the live part that holds the range, or fail with `code`."""
        span = self.find(pointer, size_bytes)
        if span is None:
            raise CallFailed(
                code,
                f"{what} [{pointer:#x}, {pointer + size_bytes:#x}) does not lie in one live "
                "allocation of the device",
            )
        return span

    def info(self, attribute: int) -> tuple[int, int]:
        """Return (free, total) bytes of an attribute; the other kind of memory has total 0."""
        if not 0 <= attribute <= _ATTRIBUTES_MAX:
            raise CallFailed(AclCode.INVALID_PARAM, f"memory attribute is {attribute}")
        if attribute not in _ATTRIBUTES[self._config.memory_kind]:
            return 0, 0
        return self._config.memory_bytes - self.used_bytes, self._config.memory_bytes

    def _pages(self, length: int, policy: int) -> tuple[int, bool]:
        """Return (bytes in whole pages, whether they are huge) for a block, or fail: 207001."""
        config = self._config
        huge_page = GiB if policy in _HUGE_1G else config.huge_page_bytes
        small = (align_up(length, config.small_page_bytes), False)
        huge = (align_up(length, huge_page), True)
        if policy in _HUGE_FIRST:
            choices = [huge, small] if length > config.huge_above_bytes else [small]
        elif policy in _HUGE_ONLY or policy in _HUGE_1G:
            choices = [huge]
        elif policy in _NORMAL_ONLY:
            choices = [small]
        else:  # the vendor: huge pages from 2 MiB on
            choices = [huge] if length >= config.huge_page_bytes else [small]
        free = config.memory_bytes - self.used_bytes
        huge_memory = config.huge_memory_bytes
        huge_free = free if huge_memory is None else min(free, huge_memory - self._huge_bytes)
        for reserved, is_huge in choices:
            if reserved <= (huge_free if is_huge else free):
                return reserved, is_huge
        raise CallFailed(
            AclCode.RT_MEMORY_ALLOCATION,
            f"cannot allocate {length} bytes by policy {policy}: {free} bytes are free, "
            f"{huge_free} of them in huge pages",
        )

    def _map(self, length: int, reserved: int, huge: bool) -> Block:
        config = self._config
        page = config.huge_page_bytes if huge else config.small_page_bytes
        lead = 0 if huge else config.small_offset_bytes
        pointer = align_up(self._next, page) + lead
        if pointer + length > self._end:
            raise CallFailed(AclCode.RT_MEMORY_ALLOCATION, "the address window is used up")
        try:
            host = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise CallFailed(
                AclCode.RT_MEMORY_ALLOCATION, f"the host cannot back {length} bytes: {error}"
            ) from None
        self._next = pointer + length
        anchor = ctypes.c_char.from_buffer(host)
        address = ctypes.addressof(anchor)
        ctypes.memset(address, config.garbage, length)
        return Block(
            pointer, length, reserved, huge, memoryview(host), address, anchor=(host, anchor)
        )
