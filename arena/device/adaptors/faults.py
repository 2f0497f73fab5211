"""A device whose calls fail when they are told to."""

import random
import threading
import time
from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from arena.device.adaptors.adaptor import Adaptor
from arena.device.base import Device
from arena.errors import DeviceError
from planner.errors import UsageError

__all__ = ["FaultyDevice"]

P = ParamSpec("P")
R = TypeVar("R")


class FaultyDevice(Adaptor):
    """A device whose calls fail when they are told to.

    A call that fails has not reached the wrapped device, so a caller that tries again finds
    everything as it was. `finish` and `synchronize` fail after they have waited: the execution is
    over, and its result is lost.

    Parameters
    ----------
    inner : Device
    fail_call : int or None
        Which of the counted calls fails, from 1 on.
    fail_names : collection of str
        The port's methods that count; empty: all but `describe` and `io_bytes`, which ask no
        device. With names and neither `fail_call` nor `probability`, every such call fails.
    probability : float
        0 to 1: each counted call fails with it, as `seed` decides.
    seed : int
    times : int
        How many counted calls in a row fail from `fail_call` on.
    hang_s : float
        How long a failing call takes.
    code : int
        The error's.

    Attributes
    ----------
    n_calls, n_failed : int
        Counted calls, and how many of them failed.
    """

    def __init__(
        self,
        inner: Device,
        *,
        fail_call: int | None = None,
        fail_names: Collection[str] = (),
        probability: float = 0.0,
        seed: int = 0,
        times: int = 1,
        hang_s: float = 0.0,
        code: int = 507_000,
    ) -> None:
        if fail_call is not None and fail_call < 1:
            raise UsageError(f"fail_call is {fail_call}, expected 1 or more")
        if not 0 <= probability <= 1:
            raise UsageError(f"fault probability is {probability}, expected 0 to 1")
        unknown = [name for name in fail_names if not callable(getattr(Adaptor, name, None))]
        if unknown:
            raise UsageError(f"fail_names: the device port has no {', '.join(unknown)}")
        super().__init__(inner)
        self._first = fail_call
        self._times = times
        self._names = frozenset(fail_names)
        self._probability = probability
        self._random = random.Random(seed)
        self._hang_s = hang_s
        self._code = code
        self._lock = threading.Lock()
        self.n_calls = 0
        self.n_failed = 0

    def around(self, name: str, call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Make one call, or fail."""
        if not self._fails(name):
            return call(*arguments, **named)
        if self._hang_s:
            time.sleep(self._hang_s)
        if name in ("finish", "synchronize"):
            call(*arguments, **named)
        raise DeviceError(
            f"{name}: fault {self.n_failed}, injected at call {self.n_calls}",
            call=name,
            code=self._code,
        )

    def _fails(self, name: str) -> bool:
        if name not in self._names and (self._names or name in ("describe", "io_bytes")):
            return False
        with self._lock:
            self.n_calls += 1
            if self._first is not None:
                fails = self._first <= self.n_calls < self._first + self._times
            elif self._probability:
                fails = self._random.random() < self._probability
            else:
                fails = bool(self._names)
            self.n_failed += fails
        return fails
