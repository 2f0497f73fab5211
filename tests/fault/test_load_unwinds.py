"""The n-th device call fails, n = 1, 2, 3, ...: nothing is left behind and the error says who."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from arena.device import open_device
from arena.device.adaptors import FaultyDevice, LimitedDevice, TrackingDevice
from arena.device.base import Device, ModelDescription, ModelHandle
from arena.errors import DeviceError, LoadError
from arena.session import plan_and_load
from planner.errors import PlanError
from planner.units import MiB
from tests.fleets import small_fleet, write_fleet
from tests.handing import IMAGE_BYTES, twin_fleet


@contextmanager
def twin() -> Iterator[TrackingDevice]:
    device = TrackingDevice(open_device("twin"))
    device.open()
    try:
        yield device
    finally:
        device.close()


def run_once(device: Device, fleet: Path) -> None:
    with plan_and_load(fleet, device=device) as loaded:
        for _ in range(2):
            with loaded.frame("camera[0]") as frame:
                for step in ("detect", "read", "track"):
                    frame.run(step, bytes(64))


def test_every_call_may_fail_once(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    failures = []
    for n in count(1):
        with twin() as device:
            faulty = FaultyDevice(device, fail_call=n)
            try:
                run_once(faulty, fleet)
            except DeviceError as error:
                failures.append(error)
            assert device.outstanding == {}, (n, device.outstanding)
            assert device.memory_info().used_bytes == device.usage.current_bytes == 0, n
            if faulty.n_failed == 0:
                break
    loads = [error for error in failures if isinstance(error, LoadError)]
    assert all(
        "have been undone" in str(error) or "nothing was loaded" in str(error) for error in loads
    )
    named = [str(error) for error in loads if str(error).startswith("instance '")]
    assert [text.split("'")[1] for text in named] == [
        "tracker@tracking",  # largest weights first
        "reader@vision",
        "detector@vision",
    ]
    assert all("work [0x" in text and "507000" in text for text in named)


def test_every_call_may_fail_once_where_tensors_are_handed_on(tmp_path: Path) -> None:
    fleet = twin_fleet(tmp_path)
    image = bytes(IMAGE_BYTES)
    for n in count(1):
        with twin() as device:
            faulty = FaultyDevice(device, fail_call=n)
            try:
                with plan_and_load(fleet, device=faulty) as loaded:
                    with loaded.frame("camera") as frame:
                        frame.run("detect", image)
                        for step in ("read", "track", "store"):
                            frame.run(step)
                    with loaded.frame("microphone[1]") as frame:
                        frame.run("listen", bytes(64))
            except DeviceError:
                assert faulty.n_failed
            assert device.outstanding == {}, (n, device.outstanding)
            assert device.memory_info().used_bytes == 0, n
            if faulty.n_failed == 0:
                break
    assert n > 20


def test_a_load_that_always_fails_says_what_was_undone(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    with twin() as device:
        faulty = FaultyDevice(device, fail_names=("load",), fail_call=2, times=99)
        with pytest.raises(LoadError, match="1 of 3 instances were loaded and have been undone"):
            plan_and_load(fleet, device=faulty)
        assert device.outstanding == {}


def test_what_cannot_be_unloaded_is_named_and_its_memory_stays(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    with twin() as device:
        faulty = FaultyDevice(device, fail_names=("unload",), fail_call=1, times=2)
        loaded = plan_and_load(fleet, device=faulty)
        with pytest.raises(DeviceError, match=r"stays loaded: .*so the reservations stay as well"):
            loaded.close()
        for handle in tuple(device._out["model"]):
            device.unload(handle)  # type: ignore[arg-type]  # the tracker keeps what load returned
        for block in device.outstanding_memory:
            device.free(block)
        assert device.outstanding == {}


def test_an_interrupt_while_loading_undoes_everything(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")

    class Interrupting(TrackingDevice):
        def describe(self, model: ModelHandle) -> ModelDescription:
            if self.usage.n_loads == 2:
                raise KeyboardInterrupt
            return super().describe(model)

    device = Interrupting(open_device("twin"))
    with pytest.raises(KeyboardInterrupt):
        plan_and_load(fleet, device=device)
    assert device.outstanding == {}
    device.close()


def test_a_device_too_small_says_free_needed_and_missing(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    with twin() as device:
        limited = LimitedDevice(device, limit_bytes=1 * MiB)
        limited.open()
        with pytest.raises(DeviceError, match=r"the plan needs .* bytes short"):
            plan_and_load(fleet, device=limited)
        assert device.outstanding == {}


def test_a_plan_above_its_own_limit_is_not_loaded() -> None:
    from dataclasses import replace

    fleet = small_fleet()
    small = replace(fleet, device=replace(fleet.device, memory_bytes=1))
    with twin() as device, pytest.raises(PlanError, match="does not fit"):
        plan_and_load(small, device=device)


def test_a_thousand_cycles_leave_nothing(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street", weights=512)
    with twin() as device:
        with plan_and_load(fleet, device=device) as loaded:
            plan = loaded.plan
        for _ in range(1_000):
            plan_and_load(plan, device=device, base=fleet.parent).close()
        assert device.outstanding == {}
        assert device.memory_info().used_bytes == 0
        assert device.usage.n_loads == 3 * 1_001
