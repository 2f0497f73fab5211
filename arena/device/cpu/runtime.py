"""One ONNX Runtime environment per process, with an allocator that asks us where every byte goes.

              thread of the run                                 runtime
    Network.run(placement) ───── answer_from(placement) ──────►  Run
                                                                  │ Alloc(size)
           placement.place(size) ◄── same thread ─────────────────┘
                   │ address
                   └──────────────────────────────────────────►  kernel writes there

The runtime knows one CPU allocator per environment, so it finds the running execution by its
thread: sessions use no threads of their own. Several threads run several executions at once. What
a plan foresees is answered without Python where that is possible (`answering`).

Releasing a block means nothing to a plan. glibc exports an empty function of the right type, which
saves a callback, and with it the interpreter lock, for every block; while a trace is taken, and on
other C libraries, the callback is a real one.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar

from arena.device.cpu.answering import AnsweringAllocator, machine_code, set_answers
from arena.device.cpu.binding import (
    ALLOCATE,
    API_VERSION,
    FREE,
    INFO,
    Api,
    OrtAllocator,
    load_api,
)
from arena.device.cpu.network import Session
from arena.device.cpu.placement import HeapPlacement, Placement
from arena.errors import DeviceError

__all__ = ["THREADS", "Runtime", "runtime", "shielded"]

T = TypeVar("T")

THREADS: Final = 1
"""Threads inside one execution: with more, allocations come from foreign threads, and three of nine
networks want more memory (measured). Parallelism is a matter of lanes."""

_SESSION_SETTINGS: Final = {
    "session.use_env_allocators": "1",
    "session.disable_prepacking": "1",  # packed weights are private copies on the heap
    "session.use_ort_model_bytes_directly": "1",
    "session.use_ort_model_bytes_for_initializers": "1",
}
_OPTIMISED_OFFLINE: Final = 0  # ORT_DISABLE_ALL: rewriting at load would make new weights
_SEQUENTIAL: Final = 0
_LOG_FATAL: Final = 4  # errors are raised, not printed


class _Current(threading.local):
    """What the thread at hand runs."""

    placement: Placement | None = None


class Runtime:
    """The environment and its allocator; one per process, see `runtime`.

    Attributes
    ----------
    api : Api
    environment, memory_info : int
        The runtime's handles of itself and of plain host memory.
    """

    def __init__(self, api: Api) -> None:
        self.api: Api = api
        self._current = _Current()
        self._strays = HeapPlacement()
        self._trace_lock = threading.Lock()
        self.memory_info = api.create("CreateCpuMemoryInfo", 0, 0)
        self.environment = api.create("CreateEnv", _LOG_FATAL, b"npu-arena")
        # The runtime keeps these addresses: they live as long as the process.
        self._freed: Any = FREE(self._on_free)
        self._ignored = _empty_function() or self._freed
        python: Any = ALLOCATE(self._on_allocate)
        self._key: int | None
        allocate, getter, self._key = machine_code() or (python, 0, None)
        info: Any = INFO(lambda _this: self.memory_info)
        self._answering = AnsweringAllocator(
            getter,
            self._key or 0,
            python,
            OrtAllocator(API_VERSION, allocate, self._ignored, info, allocate),
        )
        self._allocator = self._answering.allocator
        api["RegisterAllocator"](self.environment, ctypes.byref(self._allocator))

    @property
    def version(self) -> str:
        """The runtime's version, such as ``1.32.0``."""
        return self.api.version

    def open_session(self, pointer: int, size_bytes: int) -> Session:
        """Return a session over a model that lies at `pointer` and stays there.

        Calls back for memory: where signals may come, call it through `shielded`.

        Raises
        ------
        DeviceError
            The runtime refuses the model.
        """
        options = self.session_options(_OPTIMISED_OFFLINE)
        heap = HeapPlacement()
        try:
            for key, value in _SESSION_SETTINGS.items():
                self.api["AddSessionConfigEntry"](options, key.encode(), value.encode())
            before = self.answer_from(heap)
            try:
                handle = self.api.create(
                    "CreateSessionFromArray", self.environment, pointer, size_bytes, options
                )
            finally:
                self.answer_from(before)
        except DeviceError:
            heap.release()
            raise
        finally:
            self.api["ReleaseSessionOptions"](options)
        return Session(self, handle, heap)

    def optimise(self, model: bytes, *, level: int, destination: str) -> None:
        """Rewrite an ONNX model offline and save it in the runtime's own format.

        Parameters
        ----------
        level : int
            1 (basic) or 2 (extended); above that, nodes would depend on the processor.
        """
        options = self.session_options(level)
        try:
            self.api["AddSessionConfigEntry"](options, b"session.save_model_format", b"ORT")
            self.api["SetOptimizedModelFilePath"](options, destination.encode())
            session = self.api.create(
                "CreateSessionFromArray", self.environment, model, len(model), options
            )
            self.api["ReleaseSession"](session)
        finally:
            self.api["ReleaseSessionOptions"](options)

    def session_options(self, level: int) -> int:
        """Return options for one thread and one allocation per tensor, at an optimisation level."""
        options = self.api.create("CreateSessionOptions")
        self.api["SetIntraOpNumThreads"](options, THREADS)
        self.api["SetInterOpNumThreads"](options, THREADS)
        self.api["SetSessionExecutionMode"](options, _SEQUENTIAL)
        self.api["SetSessionGraphOptimizationLevel"](options, level)
        self.api["DisableCpuMemArena"](options)
        self.api["DisableMemPattern"](options)
        return options

    def answer_from(self, placement: Placement | None) -> Placement | None:
        """Let `placement` answer the thread at hand; return what answered it before."""
        before, self._current.placement = self._current.placement, placement
        if self._key is not None:
            set_answers(self._key, 0 if placement is None else placement.answers_pointer)
        return before

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Let placements hear of released blocks; one thread at a time."""
        with self._trace_lock:
            self._allocator.Free = self._freed
            try:
                yield
            finally:
                self._allocator.Free = self._ignored

    def _on_allocate(self, _this: int, size_bytes: int) -> int | None:
        if not size_bytes:
            return None
        return (self._current.placement or self._strays).place(size_bytes)

    def _on_free(self, _this: int, pointer: int | None) -> None:
        placement = self._current.placement
        if placement is not None and pointer:
            placement.freed(pointer)


_runtime_lock = threading.Lock()


def runtime() -> Runtime:
    """Return the process's runtime, created at first use."""
    with _runtime_lock:
        return _runtime()


@cache
def _runtime() -> Runtime:
    return Runtime(load_api())


def shielded(call: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
    """Return what `call` returns, run where nothing interrupts it: on another than the main thread.

    Signals are handled on the main thread: an interrupt inside a callback would answer the runtime
    with 0, which ends the process. Here it is raised in the waiting main thread at once, the call
    goes on to its end elsewhere, and `undo` takes back what it made.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    def take_back(done: "Future[T]") -> None:
        if undo is not None and done.exception() is None:
            undo(done.result())

    try:
        threading.Thread(target=run, name="npu-arena shielded call").start()
        return result.result()
    except BaseException as error:
        if not (result.done() and result.exception() is error):
            result.add_done_callback(take_back)
        raise


def _empty_function() -> Any:
    """Return glibc's empty function of two pointers, or None on another C library.

    It is the default hook of ``-finstrument-functions``; asked of the C library itself, because a
    profiler may have put its own in front.
    """
    try:
        function = ctypes.CDLL("libc.so.6").__cyg_profile_func_exit
    except (OSError, AttributeError):
        return None
    return ctypes.cast(function, FREE)
