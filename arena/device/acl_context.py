"""The context of the `acl` device: ours from ``acl.init`` to ``acl.finalize``, or borrowed.

A thread has one current context. Every call of the device enters the device's own and gives the
thread back what it had, so an application may keep another context current in the same thread.
"""

import threading
from collections.abc import MutableMapping
from types import ModuleType, TracebackType
from typing import ClassVar
from weakref import WeakKeyDictionary

from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import AclCode
from arena.errors import DeviceError

__all__ = ["AclContext", "EnteredContext"]


class _Initialisation:
    """Who uses ``acl.init`` of one module in this process; the last one out undoes it.

    Devices are opened and closed independently, AscendCL is initialised once per process: by the
    application, or by the first device, and then not finalised while another device is open.
    """

    _all: ClassVar[MutableMapping[ModuleType, "_Initialisation"]] = WeakKeyDictionary()
    _lock: ClassVar = threading.Lock()

    def __init__(self) -> None:
        self.n_users = 0
        self.ours = False

    @classmethod
    def enter(cls, module: ModuleType, calls: AclCalls) -> None:
        """Initialise, unless somebody has."""
        with cls._lock:
            state = cls._all.setdefault(module, cls())
            if state.n_users == 0:
                code, _ = calls.attempt("init")
                if code not in (AclCode.SUCCESS, AclCode.REPEAT_INITIALIZE):
                    raise calls.error("init", code, "starting AscendCL")
                state.ours = code == AclCode.SUCCESS
            state.n_users += 1

    @classmethod
    def leave(cls, module: ModuleType, calls: AclCalls) -> None:
        """Finalise, if nobody is left and we initialised."""
        with cls._lock:
            state = cls._all[module]
            state.n_users -= 1
            if state.n_users == 0 and state.ours:
                state.ours = False
                calls.call("finalize", what="ending AscendCL")


class EnteredContext:
    """Makes a context the thread's own inside a `with` block, and gives back the one before."""

    __slots__ = ("_calls", "_context", "_previous")

    def __init__(self, calls: AclCalls, context: int) -> None:
        self._calls = calls
        self._context = context
        self._previous = 0

    def __enter__(self) -> None:
        code, current = self._calls.attempt("rt.get_context")
        if code == AclCode.SUCCESS:
            if current == self._context:
                return
            self._previous = current
        self._calls.call("rt.set_context", self._context, what="entering the device's context")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous:
            self._calls.attempt("rt.set_context", self._previous)


class AclContext:
    """A context of our own on one device, or one that the application lends.

    Parameters
    ----------
    module : module
    calls : AclCalls
        Of that module.
    device_id : int
    borrowed : int or None
        The application's context.

    Attributes
    ----------
    handle : int
        0 while closed.
    """

    def __init__(
        self, module: ModuleType, calls: AclCalls, device_id: int, borrowed: int | None
    ) -> None:
        self._module = module
        self._calls = calls
        self._device_id = device_id
        self._borrowed = borrowed
        self.handle = 0

    def open(self) -> None:
        """Initialise AscendCL, take the device and create a context; or borrow what there is."""
        if self._borrowed is not None:
            self.handle = self._borrowed
            return
        number = self._device_id
        _Initialisation.enter(self._module, self._calls)
        try:
            self._calls.call("rt.set_device", number, what=f"device {number}")
            try:
                self.handle = self._calls.call(
                    "rt.create_context", number, what=f"device {number}: creating a context"
                )
            except DeviceError:
                self._calls.attempt("rt.reset_device", number)
                raise
        except DeviceError:
            _Initialisation.leave(self._module, self._calls)
            raise

    def close(self) -> None:
        """Give back what `open` took, all of it even where a call fails."""
        handle, self.handle = self.handle, 0
        if self._borrowed is not None:
            return
        number = self._device_id
        codes = [
            (name, self._calls.attempt(name, argument)[0])
            for name, argument in (("rt.destroy_context", handle), ("rt.reset_device", number))
        ]
        _Initialisation.leave(self._module, self._calls)
        for name, code in codes:
            if code != AclCode.SUCCESS:
                raise self._calls.error(name, code, f"device {number}: closing")

    def entered(self) -> EnteredContext:
        """Return a `with` block inside which this context is the thread's."""
        return EnteredContext(self._calls, self.handle)

    def enter_for_good(self) -> None:
        """Give this context to a thread that ends soon."""
        self._calls.call("rt.set_context", self.handle, what="entering the device's context")
