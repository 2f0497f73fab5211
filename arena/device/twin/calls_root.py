"""``acl`` itself and ``acl.util``: start and end, data buffers, tensor descriptions, bytes."""

import ctypes
from typing import Any

from arena.device.acl_codes import AclCode
from arena.device.twin.binding import CallFailed, acl_call
from arena.device.twin.memory import is_device_pointer
from arena.device.twin.process import DataBuffer, Process

__all__ = ["RootCalls", "UtilCalls"]

_MASK_32 = (1 << 32) - 1


class RootCalls:
    """The functions of ``acl`` over one process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @acl_call("|s")
    def init(self, _config_path: str = "") -> None:
        """Start AscendCL in this process; 100002 if it runs already."""
        with self._process.lock:
            if self._process.initialised:
                raise CallFailed(AclCode.REPEAT_INITIALIZE, "acl.init was called before")
            self._process.initialised = True

    @acl_call()
    def finalize(self) -> None:
        """End AscendCL in this process."""
        with self._process.lock:
            if not self._process.initialised:
                raise CallFailed(AclCode.REPEAT_FINALIZE, "acl.init was not called, or undone")
            self._process.initialised = False

    @acl_call(bare=True, failed=(None,))
    def get_soc_name(self) -> str | None:
        """Return the chip's name, or None."""
        return self._process.config.soc or None

    @acl_call(failed=(0, 0, 0))
    def get_version(self) -> tuple[int, int, int]:
        """Return the version of AscendCL's interface."""
        return 1, 0, 0

    @acl_call(bare=True, failed=(None,))
    def get_recent_err_msg(self) -> str | None:
        """Return and forget this thread's last error text, or None."""
        return self._process.errors.take()

    @acl_call("kk", bare=True, failed=(0,))
    def create_data_buffer(self, pointer: int, size: int) -> int:
        """Describe device memory; 0 on failure."""
        return self._process.keep(self._process.buffers, DataBuffer(pointer, size))

    def _buffer(self, handle: int) -> DataBuffer:
        return self._process.get(
            self._process.buffers, handle, AclCode.INVALID_PARAM, "data buffer"
        )

    @acl_call("k")
    def destroy_data_buffer(self, handle: int) -> None:
        """Forget a data buffer; the memory stays."""
        self._process.drop(self._process.buffers, handle, AclCode.INVALID_PARAM, "data buffer")

    @acl_call("kkk")
    def update_data_buffer(self, handle: int, pointer: int, size: int) -> None:
        """Let a data buffer describe other memory."""
        buffer = self._buffer(handle)
        buffer.pointer, buffer.size_bytes = pointer, size

    @acl_call("k", bare=True, failed=(0,))
    def get_data_buffer_addr(self, handle: int) -> int:
        """Return the pointer of a data buffer."""
        return self._buffer(handle).pointer

    @acl_call("k", bare=True, failed=(0,))
    def get_data_buffer_size(self, handle: int) -> int:
        """Return the size of a data buffer, modulo 2^32 as the binding does."""
        return self._buffer(handle).size_bytes & _MASK_32

    @acl_call("k", bare=True, failed=(0,))
    def get_data_buffer_size_v2(self, handle: int) -> int:
        """Return the size of a data buffer."""
        return self._buffer(handle).size_bytes

    @acl_call("iOi", bare=True, failed=(0,))
    def create_tensor_desc(self, _data_type: int, dims: Any, _format: int) -> int:
        """Describe a tensor; only its dims count."""
        if not isinstance(dims, list):
            raise TypeError("argument 2 is not list")
        return self._process.keep(self._process.tensors, tuple(dims))

    @acl_call("k", bare=True, failed=(None,))
    def destroy_tensor_desc(self, handle: int) -> None:
        """Forget a tensor description."""
        self._process.tensors.pop(handle, None)


class UtilCalls:
    """The functions of ``acl.util`` over one process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @acl_call("O", bare=True, failed=(0,))
    def bytes_to_ptr(self, data: Any) -> int:
        """Return the address of a bytes object's content, valid while the object lives."""
        if not isinstance(data, bytes):
            raise ValueError("needs an byte as argument")  # noqa: TRY004 - as the binding does
        return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

    @acl_call("kk", bare=True, failed=(b"",))
    def ptr_to_bytes(self, pointer: int, size: int) -> bytes:
        """Return a copy of host memory (of device memory too, where the application runs there)."""
        if is_device_pointer(pointer):
            memory = self._process.current().device.memory
            span = memory.require(pointer, size, AclCode.RT_PARAM_INVALID, "device memory")
            return bytes(span.view)
        return ctypes.string_at(pointer, size)
