"""``acl.rt``: devices, contexts, streams, events and memory."""

import ctypes
from typing import Any, Final

from arena.device.acl_codes import AclCode
from arena.device.acl_types import CopyKind, RunMode
from arena.device.twin.binding import CallFailed, acl_call
from arena.device.twin.memory import is_device_pointer
from arena.device.twin.process import Process
from arena.device.twin.streams import Event, Stream

__all__ = ["RuntimeCalls"]

_PADDING_BYTES: Final = 32
_LOWEST_POINTER: Final = 4096


class RuntimeCalls:
    """The functions of ``acl.rt`` over one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._host_blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}

    # ------------------------------------------------------------------ devices and contexts

    @acl_call("i")
    def set_device(self, number: int) -> None:
        """Give this thread the device's default context."""
        process = self._process
        process.require_initialised(AclCode.UNINITIALIZE)
        device = process.device(number)
        with process.lock:
            if device.primary is None:
                device.primary = process.open_context(device)
            device.n_set += 1
            process.set_current(device.primary)

    @acl_call("i")
    def reset_device(self, number: int) -> None:
        """Give up the device; the last of as many calls as `set_device` ends its context."""
        self._reset(number, force=False)

    @acl_call("i")
    def reset_device_force(self, number: int) -> None:
        """End the device's default context however often it was set."""
        self._reset(number, force=True)

    def _reset(self, number: int, *, force: bool) -> None:
        process = self._process
        device = process.device(number)
        with process.lock:
            if device.primary is None:
                raise CallFailed(AclCode.RT_PARAM_INVALID, f"device {number} is not set")
            device.n_set = 0 if force else device.n_set - 1
            if device.n_set == 0:
                process.close_context(device.primary)
                device.primary = None

    @acl_call(failed=(0,))
    def get_device(self) -> int:
        """Return the number of this thread's device."""
        return self._process.current().device.number

    @acl_call(failed=(0,))
    def get_device_count(self) -> int:
        """Return how many devices there are."""
        return len(self._process.devices)

    @acl_call(failed=(0,))
    def get_run_mode(self) -> int:
        """Return where the application runs: 0 on the device, 1 on a host."""
        return int(self._process.config.run_mode)

    @acl_call("i", failed=(0,))
    def create_context(self, number: int) -> int:
        """Create a context, make it this thread's, and return it."""
        process = self._process
        process.require_initialised(AclCode.UNINITIALIZE)
        with process.lock:
            context = process.open_context(process.device(number))
        process.set_current(context)
        return context.handle

    @acl_call("k")
    def set_context(self, handle: int) -> None:
        """Make a context this thread's."""
        process = self._process
        process.set_current(
            process.get(process.contexts, handle, AclCode.RT_PARAM_INVALID, "context")
        )

    @acl_call(failed=(0,))
    def get_context(self) -> int:
        """Return this thread's context."""
        return self._process.current().handle

    @acl_call("k")
    def destroy_context(self, handle: int) -> None:
        """Destroy a context that `create_context` made."""
        process = self._process
        with process.lock:
            context = process.get(process.contexts, handle, AclCode.RT_PARAM_INVALID, "context")
            if any(device.primary is context for device in process.devices):
                raise CallFailed(
                    AclCode.RT_PARAM_INVALID, "a default context ends with reset_device"
                )
            process.close_context(context)

    # ------------------------------------------------------------------ streams

    @acl_call(failed=(0,))
    def create_stream(self) -> int:
        """Create a stream in this thread's context."""
        process = self._process
        with process.lock:
            context = process.current()
            context.device.take_streams(1)
            handle = process.new_handle()
            process.streams[handle] = Stream(context.handle, f"twin-stream-{handle:x}")
            return handle

    @acl_call("ii", failed=(0,))
    def create_stream_with_config(self, _priority: int, _flag: int) -> int:
        """Create a stream; the twin's streams are all equal."""
        handle: int = RuntimeCalls.create_stream(self)
        return handle

    @acl_call("k")
    def destroy_stream(self, handle: int) -> None:
        """Wait for a stream's tasks and destroy it."""
        self._destroy_stream(handle, force=False)

    @acl_call("k")
    def destroy_stream_force(self, handle: int) -> None:
        """Destroy a stream without waiting for its tasks."""
        self._destroy_stream(handle, force=True)

    def _destroy_stream(self, handle: int, *, force: bool) -> None:
        process = self._process
        if handle == 0:
            raise CallFailed(AclCode.RT_PARAM_INVALID, "the default stream cannot be destroyed")
        stream = process.stream(handle)
        process.streams.pop(handle, None)
        stream.destroy(force=force)
        process.contexts[stream.context].device.give_streams(1)

    @acl_call("k", failed=(0,))
    def stream_query(self, handle: int) -> int:
        """Return 0 if a stream has nothing left to do, else 1."""
        return 0 if self._process.stream(handle).idle else 1

    @acl_call(failed=(0,))
    def get_stream_available_num(self) -> int:
        """Return how many streams the device can still give."""
        device = self._process.current().device
        return self._process.config.streams_max - device.n_streams

    @acl_call(failed=(0,))
    def ctx_get_current_default_stream(self) -> int:
        """Return the default stream: 0 stands for it in every call."""
        self._process.current()
        return 0

    @acl_call("k")
    def synchronize_stream(self, handle: int) -> None:
        """Wait for a stream; returns the first failure there."""
        self._process.stream(handle).synchronize()

    @acl_call("ki")
    def synchronize_stream_with_timeout(self, handle: int, milliseconds: int) -> None:
        """Wait for a stream, -1 for ever; 507046 when the time is over."""
        self._process.stream(handle).synchronize(_seconds(milliseconds))

    @acl_call()
    def synchronize_device(self) -> None:
        """Wait for every stream of the device."""
        process = self._process
        device = process.current().device
        for stream in [
            *process.streams.values(),
            *(context.default_stream for context in process.contexts.values()),
        ]:
            context = process.contexts.get(stream.context)
            if context is not None and context.device is device:
                stream.synchronize()

    # ------------------------------------------------------------------ events

    @acl_call(failed=(0,))
    def create_event(self) -> int:
        """Create an event."""
        self._process.current()
        return self._process.keep(self._process.events, Event())

    def _event(self, handle: int) -> Event:
        return self._process.get(self._process.events, handle, AclCode.RT_PARAM_INVALID, "event")

    @acl_call("k")
    def destroy_event(self, handle: int) -> None:
        """Destroy an event; streams that wait for it still do."""
        self._process.drop(self._process.events, handle, AclCode.RT_PARAM_INVALID, "event")

    @acl_call("kk")
    def record_event(self, event: int, stream: int) -> None:
        """Record an event (first argument) in a stream (second)."""
        self._event(event).record(self._process.stream(stream))

    @acl_call("kk")
    def stream_wait_event(self, stream: int, event: int) -> None:
        """Let a stream (first argument) wait for an event (second)."""
        ticket = self._event(event).ticket
        self._process.stream(stream).submit(lambda waiting: waiting.wait_for(ticket))

    @acl_call("kk")
    def reset_event(self, event: int, stream: int) -> None:
        """Make an event unrecorded."""
        self._process.stream(stream)
        self._event(event).reset()

    @acl_call("k", failed=(0,))
    def query_event(self, event: int) -> int:
        """Return 0 if an event is complete, else 1."""
        return 0 if self._event(event).ticket.done.is_set() else 1

    @acl_call("k", failed=(0,))
    def query_event_status(self, event: int) -> int:
        """Return 1 if an event is complete, else 0: the other way round than `query_event`."""
        return 1 if self._event(event).ticket.done.is_set() else 0

    @acl_call("k")
    def synchronize_event(self, event: int) -> None:
        """Wait for an event."""
        self._event(event).ticket.done.wait()

    @acl_call("ki")
    def synchronize_event_with_timeout(self, event: int, milliseconds: int) -> None:
        """Wait for an event, -1 for ever; 507047 when the time is over."""
        timeout_s = _seconds(milliseconds)
        if not self._event(event).ticket.done.wait(None if timeout_s < 0 else timeout_s):
            raise CallFailed(
                AclCode.RT_EVENT_SYNC_TIMEOUT, f"event not complete after {milliseconds} ms"
            )

    @acl_call("kk", failed=(0.0,))
    def event_elapsed_time(self, start: int, end: int) -> float:
        """Return the milliseconds between two complete events."""
        first, second = self._event(start).ticket, self._event(end).ticket
        if not (first.done.is_set() and second.done.is_set()):
            raise CallFailed(AclCode.RT_EVENT_TIMESTAMP_INVALID, "an event is not complete")
        return (second.time_ns - first.time_ns) * 1e-6

    # ------------------------------------------------------------------ memory

    @acl_call("ki", failed=(0,))
    def malloc(self, size: int, policy: int) -> int:
        """Allocate device memory: ALIGN_UP(size, 32) + 32 bytes, in pages."""
        return self._allocate(size, policy, _PADDING_BYTES)

    @acl_call("ki", failed=(0,))
    def malloc_cached(self, size: int, policy: int) -> int:
        """Allocate device memory as `malloc` does."""
        return self._allocate(size, policy, _PADDING_BYTES)

    @acl_call("ki", failed=(0,))
    def malloc_align32(self, size: int, policy: int) -> int:
        """Allocate device memory: ALIGN_UP(size, 32) bytes, in pages."""
        return self._allocate(size, policy, 0)

    @acl_call("kiO", failed=(0,))
    def malloc_with_cfg(self, size: int, policy: int, _config: Any) -> int:
        """Allocate device memory as `malloc` does."""
        return self._allocate(size, policy, _PADDING_BYTES)

    def _allocate(self, size: int, policy: int, tail_bytes: int) -> int:
        memory = self._process.current().device.memory
        return memory.allocate(size, policy, tail_bytes=tail_bytes).pointer

    @acl_call("k")
    def free(self, pointer: int) -> None:
        """Free device memory."""
        if pointer == 0:
            raise CallFailed(AclCode.INVALID_PARAM, "pointer is 0")
        self._process.current().device.memory.release(pointer)

    @acl_call("k", failed=(0,))
    def malloc_host(self, size: int) -> int:
        """Allocate host memory."""
        if size == 0:
            raise CallFailed(AclCode.INVALID_PARAM, "size is 0")
        block = ctypes.create_string_buffer(size)
        pointer = ctypes.addressof(block)
        self._host_blocks[pointer] = block
        return pointer

    @acl_call("k")
    def free_host(self, pointer: int) -> None:
        """Free host memory."""
        self._process.drop(self._host_blocks, pointer, AclCode.RT_PARAM_INVALID, "host allocation")

    @acl_call("i", failed=(0, 0))
    def get_mem_info(self, attribute: int) -> tuple[int, int]:
        """Return free and total bytes of a kind of memory (0 DDR, 1 HBM, ...)."""
        return self._process.current().device.memory.info(attribute)

    @acl_call("kkik")
    def memset(self, pointer: int, most: int, value: int, count: int) -> None:
        """Set `count` bytes of device memory."""
        if count > most:
            raise CallFailed(AclCode.INVALID_PARAM, f"{count} bytes into {most}")
        ctypes.memset(self._device_address(pointer, count), value & 0xFF, count)

    @acl_call("kkkki")
    def memcpy(self, target: int, most: int, source: int, count: int, kind: int) -> None:
        """Copy `count` bytes; `kind` says which side is the device."""
        self._copy(target, most, source, count, kind)

    @acl_call("kkkkik")
    def memcpy_async(
        self, target: int, most: int, source: int, count: int, kind: int, stream: int
    ) -> None:
        """Copy in a stream's order."""
        context = self._process.current()

        def copy(_stream: Stream) -> None:
            self._process.set_current(context)
            self._copy(target, most, source, count, kind)

        self._process.stream(stream).submit(copy)

    def _copy(self, target: int, most: int, source: int, count: int, kind: int) -> None:
        if count > most:
            raise CallFailed(AclCode.INVALID_PARAM, f"{count} bytes into {most}")
        if not 0 <= kind <= CopyKind.DEFAULT:
            raise CallFailed(AclCode.INVALID_PARAM, f"copy kind is {kind}")
        on_board = self._process.config.run_mode is RunMode.DEVICE
        if on_board and kind in (CopyKind.HOST_TO_DEVICE, CopyKind.DEVICE_TO_HOST):
            raise CallFailed(
                AclCode.RT_PARAM_INVALID,
                "an application on the device copies device to device: see get_run_mode",
            )
        to_device = kind in (CopyKind.HOST_TO_DEVICE, CopyKind.DEVICE_TO_DEVICE)
        from_device = kind in (CopyKind.DEVICE_TO_HOST, CopyKind.DEVICE_TO_DEVICE)
        if on_board or kind == CopyKind.DEFAULT:  # one memory, or sides told by the addresses
            to_device, from_device = is_device_pointer(target), is_device_pointer(source)
        place = self._device_address if to_device else self._host_address
        origin = self._device_address if from_device else self._host_address
        ctypes.memmove(place(target, count), origin(source, count), count)

    def _device_address(self, pointer: int, count: int) -> int:
        memory = self._process.current().device.memory
        return memory.require(pointer, count, AclCode.RT_PARAM_INVALID, "device memory").address

    @staticmethod
    def _host_address(pointer: int, count: int) -> int:
        if pointer < _LOWEST_POINTER or is_device_pointer(pointer):
            raise CallFailed(
                AclCode.RT_PARAM_INVALID,
                f"host memory [{pointer:#x}, {pointer + count:#x}) is no host memory",
            )
        return pointer


def _seconds(milliseconds: int) -> float:
    if milliseconds == -1:
        return -1
    if milliseconds <= 0:
        raise CallFailed(AclCode.RT_PARAM_INVALID, f"timeout is {milliseconds} ms")
    return milliseconds * 1e-3
