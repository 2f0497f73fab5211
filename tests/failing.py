"""One execution that fails and one call that is withdrawn, for all that watches a fleet."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from arena.device import open_device
from arena.device.adaptors import FaultyDevice
from arena.errors import DeviceError
from arena.fleet import Fleet
from arena.session import plan_and_load
from planner.fleet import FleetSpec

__all__ = ["fail_then_withdraw", "failing_once"]


@contextmanager
def failing_once(spec: FleetSpec) -> Iterator[Fleet]:
    """Yield `tests.fleets.small_fleet` on a twin whose first execution fails."""
    inner = open_device("twin")
    inner.open()
    device = FaultyDevice(inner, fail_names=("finish",), fail_call=1)
    with closing(device), plan_and_load(spec, device=device) as fleet:
        yield fleet


def fail_then_withdraw(fleet: Fleet) -> None:
    """Let a call of `first` fail; then one of another frame withdraw while a slot is held."""
    with pytest.raises(DeviceError), fleet.frame("p[0]") as frame:
        frame.submit("first", bytes(64)).result(timeout=10)
    with fleet.frame("p[0]") as frame, frame.slot("first"), ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: frame.submit("first", bytes(64)).cancel()).result()
