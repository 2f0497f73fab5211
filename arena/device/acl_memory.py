"""Device memory and host memory of the `acl` device: allocate, free, fill, copy.

References
----------
.. [1] CANN documentation, aclrtMalloc and aclrtMallocAlign32: a block that the caller divides is
       best allocated by the latter, which adds no 32 bytes; starts are promised to be multiples of
       64, no more.
.. [2] Copies by run mode: an application on a host copies between host and device, one on the
       device's own CPU (RC boards) from device to device.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import AclCode
from arena.device.acl_types import CopyKind, MallocPolicy, MemoryAttribute, RunMode
from arena.device.base import HostBuffer, MemoryInfo
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.units import align_up, format_bytes

__all__ = ["AclMemory", "flat_view"]


class AclMemory:
    """Memory calls of one device, after it was opened.

    Parameters
    ----------
    calls : AclCalls
        Of a thread that has the device's context, in all methods.
    """

    def __init__(self, calls: AclCalls) -> None:
        self._calls = calls
        self.run_mode = RunMode(calls.call("rt.get_run_mode", what="run mode"))
        self._attribute = self._probe()
        # Older bindings lack the call that adds nothing; then a block may cost one page more.
        aligned = calls.has("rt.malloc_align32")
        self._malloc = "rt.malloc_align32" if aligned else "rt.malloc"

    def _probe(self) -> MemoryAttribute:
        """Return the kind of memory that the chip has: it answers with a total."""
        codes = []
        for attribute in (MemoryAttribute.DDR, MemoryAttribute.HBM):
            code, value = self._calls.attempt("rt.get_mem_info", attribute)
            if code == AclCode.SUCCESS and value[1] > 0:
                return attribute
            codes.append(code)
        raise self._calls.error(
            "rt.get_mem_info", max(codes), "neither DDR nor HBM of the device has a size"
        )

    def info(self) -> MemoryInfo:
        """Return free and total memory."""
        free, total = self._calls.call("rt.get_mem_info", self._attribute, what="memory info")
        return MemoryInfo(free_bytes=free, total_bytes=total)

    def allocate(self, size_bytes: int, *, align_bytes: int) -> tuple[int, int]:
        """Return (aligned pointer, pointer to free) of a new block.

        The vendor promises starts at multiples of 64. Where more is wanted and not given, the block
        is allocated again with room to start later.
        """
        pointer = self._allocate(size_bytes)
        if pointer % align_bytes == 0:
            return pointer, pointer
        if self._calls.attempt("rt.free", pointer)[0] != AclCode.SUCCESS:
            self.free(pointer)  # nobody else knows this pointer: once more, then loudly
        pointer = self._allocate(size_bytes + align_bytes)
        return align_up(pointer, align_bytes), pointer

    def _allocate(self, size_bytes: int) -> int:
        code, pointer = self._calls.attempt(self._malloc, size_bytes, MallocPolicy.HUGE_FIRST)
        if code != AclCode.SUCCESS:
            error = self._calls.error(
                self._malloc, code, f"allocating {size_bytes} bytes ({format_bytes(size_bytes)})"
            )
            info = self.info()
            raise DeviceError(
                f"{error}; free on the device: {info.free_bytes} of {info.total_bytes} bytes "
                f"({format_bytes(info.free_bytes)})",
                call=error.call,
                code=error.code,
            )
        return int(pointer)

    def free(self, pointer: int) -> None:
        """Free a block by the pointer that was allocated."""
        self._calls.call("rt.free", pointer, what=f"freeing {pointer:#x}")

    def fill(self, pointer: int, size_bytes: int, value: int) -> None:
        """Set every byte of a part of device memory."""
        what = f"filling [{pointer:#x}, {pointer + size_bytes:#x})"
        self._calls.call("rt.memset", pointer, size_bytes, value, size_bytes, what=what)

    def copy_in(self, pointer: int, data: HostBuffer) -> None:
        """Copy host memory to the device."""
        view = flat_view(data)
        if view.nbytes == 0:
            return
        address, keep_alive = self._host_address(view)
        self._copy(pointer, address, view.nbytes, CopyKind.HOST_TO_DEVICE)
        del keep_alive

    def copy_out(self, data: bytearray | memoryview, pointer: int) -> None:
        """Copy device memory to the host."""
        view = flat_view(data)
        if view.nbytes == 0:
            return
        address, keep_alive = self._host_address(view)
        self._copy(address, pointer, view.nbytes, CopyKind.DEVICE_TO_HOST)
        del keep_alive

    def _copy(self, target: int, source: int, size_bytes: int, kind: CopyKind) -> None:
        if self.run_mode is RunMode.DEVICE:
            kind = CopyKind.DEVICE_TO_DEVICE
        what = f"copying {size_bytes} bytes from {source:#x} to {target:#x}"
        self._calls.call("rt.memcpy", target, size_bytes, source, size_bytes, kind, what=what)

    @contextmanager
    def model_bytes(self, data: bytes) -> Iterator[int]:
        """Have a model's bytes where loads want them, and yield their address.

        On a host that is where they are; on the device's own CPU it is device memory.
        """
        if self.run_mode is RunMode.HOST:
            yield self._host_address(memoryview(data))[0]  # `data` outlives the block
            return
        pointer = self._allocate(len(data))
        try:
            self.copy_in(pointer, data)
            yield pointer
        finally:
            self.free(pointer)

    def _host_address(self, view: memoryview) -> tuple[int, object]:
        """Return the address of host memory, and what keeps it valid."""
        if not view.readonly:
            anchor = ctypes.c_char.from_buffer(view)
            return ctypes.addressof(anchor), anchor
        whole = view.obj
        if not isinstance(whole, bytes) or len(whole) != view.nbytes:
            whole = bytes(view)  # the binding gives addresses of bytes objects alone
        return self._calls.plain("util.bytes_to_ptr", whole), whole


def flat_view(data: HostBuffer) -> memoryview:
    """Return a view of the bytes of a host buffer.

    Raises
    ------
    UsageError
        The memory is not C-contiguous. Caused by the caller.
    """
    view = memoryview(data)
    if not view.c_contiguous:
        raise UsageError("host memory is not C-contiguous: pass a contiguous copy")
    return view.cast("B") if view.nbytes else memoryview(b"")
