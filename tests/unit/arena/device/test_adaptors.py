"""Adaptors: limits, faults and accounting around a device, in any order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.device.acl import AclDevice
from arena.device.adaptors import Adaptor, FaultyDevice, LimitedDevice, TrackingDevice, Usage
from arena.device.base import Device, MemoryInfo, ModelSource
from arena.device.twin import Twin, TwinConfig
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.model import page_rounded
from planner.units import MiB
from tests.device_rigs import CHAINED_BYTES, chained_spec, om_source

DATA = bytes(CHAINED_BYTES)
MODEL_BYTES = page_rounded(90_624) + page_rounded(32_768) + page_rounded(2 * 1088)


@pytest.fixture
def twin() -> Twin:
    return Twin(TwinConfig(memory_bytes=64 * MiB))


@pytest.fixture
def inner(twin: Twin) -> Iterator[Device]:
    device = AclDevice(acl=twin.acl, name="twin")
    yield device
    device.close()
    assert twin.devices[0].memory.used_bytes == 0


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    return om_source(tmp_path, chained_spec("m", 1))


def exercise(device: Device, source: ModelSource) -> bytes:
    """Use every call of the port once and give everything back."""
    device.open()
    assert device.memory_info().used_bytes == 0
    assert device.query_size(source) == (90_624, 32_768)
    work = device.alloc(90_624)
    device.fill(work, 0)
    model = device.load(source, work=work, weights=None)
    (spec,) = device.describe(model).inputs
    assert device.io_bytes(model) == 2 * 1088
    stream = device.create_stream()
    (output,) = device.finish(device.launch(model, [bytes(spec.size_bytes)], [None], stream))
    event = device.record_event(stream)
    device.wait_event(stream, event)
    device.synchronize(stream)
    device.destroy_event(event)
    device.destroy_stream(stream)
    device.unload(model)
    device.free(work)
    device.close()
    assert output is not None
    return bytes(output)


def test_adaptors_stack_and_keep_the_name(inner: Device, source: ModelSource) -> None:
    alone = exercise(inner, source)
    limited = LimitedDevice(inner, limit_bytes=32 * MiB)
    stack = TrackingDevice(FaultyDevice(limited))
    assert (stack.name, stack.page_bytes, stack.align_bytes) == ("twin", 2 * MiB, 512)
    assert exercise(stack, source) == alone
    assert stack.inner.inner is limited  # type: ignore[attr-defined]  # the stack is known
    assert exercise(Adaptor(inner), source) == alone


# ---------------------------------------------------------------------- limits


def test_a_limit_counts_pages_and_what_others_hold_does_not_count(
    twin: Twin, inner: Device
) -> None:
    twin.acl.init()
    twin.acl.rt.set_device(0)
    others, _ = twin.acl.rt.malloc(8 * MiB, 0)
    device = LimitedDevice(inner, limit_bytes=5 * MiB)
    device.open()
    device.open()
    assert device.memory_info() == MemoryInfo(5 * MiB, 5 * MiB)
    block = device.alloc(2 * MiB)
    assert device.memory_info() == MemoryInfo(3 * MiB, 5 * MiB)
    with pytest.raises(DeviceError, match=r"2097152 bytes are used, 3145728 free of the limit"):
        device.alloc(3 * MiB + 1)
    with pytest.raises(DeviceError, match=r"takes 4194304 bytes in pages"):
        device.alloc(2 * MiB + 1)
    assert device.memory_info() == MemoryInfo(3 * MiB, 5 * MiB)
    device.free(block)
    device.close()
    assert twin.acl.rt.set_device(0) == 0
    twin.acl.rt.free(others)


def test_a_limit_unloads_what_went_beyond_it(inner: Device, source: ModelSource) -> None:
    device = LimitedDevice(inner, limit_bytes=MODEL_BYTES)
    device.open()
    model = device.load(source, work=None, weights=None)
    with pytest.raises(DeviceError, match=rf"model 'm': loading: takes {MODEL_BYTES} bytes"):
        device.load(source, work=None, weights=None)
    assert device.memory_info() == MemoryInfo(0, MODEL_BYTES)
    device.unload(model)
    device.close()


def test_a_limit_above_the_device_is_the_devices(inner: Device) -> None:
    device = LimitedDevice(inner, limit_bytes=1 << 50)
    device.open()
    assert device.memory_info().total_bytes == 64 * MiB
    device.close()
    with pytest.raises(UsageError, match="memory limit is -1"):
        LimitedDevice(inner, limit_bytes=-1)


def test_a_device_that_cannot_tell_its_memory_is_closed_or_left_as_it_was(
    twin: Twin, inner: Device, source: ModelSource
) -> None:
    for adaptor in (lambda device: LimitedDevice(device, limit_bytes=MiB), TrackingDevice):
        faulty = FaultyDevice(inner, fail_names=["memory_info"])
        with pytest.raises(DeviceError):
            adaptor(faulty).open()
        assert twin.devices[0].n_streams == 0  # closed again
    for fail_call in (2, 3):  # before, after
        faulty = FaultyDevice(inner, fail_names=["memory_info"], fail_call=fail_call)
        limited = LimitedDevice(faulty, limit_bytes=8 * MiB)
        limited.open()
        with pytest.raises(DeviceError):
            limited.alloc(4096)
        limited.close()
    faulty = FaultyDevice(inner, fail_names=["memory_info"], fail_call=2)
    limited = LimitedDevice(faulty, limit_bytes=8 * MiB)
    limited.open()
    with pytest.raises(DeviceError):
        limited.load(source, work=None, weights=None)
    limited.close()
    tracking = TrackingDevice(FaultyDevice(inner, fail_names=["memory_info"], fail_call=2))
    tracking.open()
    block = tracking.alloc(4096)  # reaches the caller, observed or not
    tracking.free(block)
    tracking.close()


# ---------------------------------------------------------------------- faults


def test_the_nth_call_fails_once_and_changes_nothing(
    twin: Twin, inner: Device, source: ModelSource
) -> None:
    counting = FaultyDevice(inner)
    alone = exercise(counting, source)
    assert (counting.n_calls, counting.n_failed) == (17, 0)
    for number in range(1, counting.n_calls + 1):
        faulty = FaultyDevice(inner, fail_call=number, code=507_033)
        with pytest.raises(DeviceError) as caught:
            exercise(faulty, source)
        assert caught.value.code == 507_033
        assert f"injected at call {number}" in str(caught.value)
        assert faulty.n_failed == 1
        release(twin, inner)
    assert exercise(FaultyDevice(inner, fail_call=18), source) == alone


def release(twin: Twin, device: Device) -> None:
    """Give back what an interrupted exercise left, through the device's own tables."""
    assert isinstance(device, AclDevice)
    for model in list(device._models):
        for stream in list(device._streams._queues):
            device._streams._queues[stream].failed = True
        launch = device._models[model].launch
        if launch is not None and not launch.over:
            device.finish(launch)
        device.unload(model)
    for event in list(device._streams._events):
        device.destroy_event(event)
    for stream in list(device._streams._queues):
        device.destroy_stream(stream)
    for block in list(device._blocks):
        device.free(block)
    device.close()
    assert twin.devices[0].memory.used_bytes == 0


def test_faults_by_name_in_a_row_and_by_chance(inner: Device) -> None:
    by_name = FaultyDevice(inner, fail_names=["alloc"])
    by_name.open()
    for _ in range(3):
        with pytest.raises(DeviceError, match="alloc: fault"):
            by_name.alloc(1)
    row = FaultyDevice(inner, fail_call=2, times=2, fail_names=["alloc"])
    outcomes = []
    for _ in range(4):
        try:
            row.free(row.alloc(100))
        except DeviceError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    assert outcomes == [True, False, False, True]

    def chances(seed: int) -> list[bool]:
        device = FaultyDevice(inner, probability=0.5, seed=seed, fail_names=["memory_info"])
        found = []
        for _ in range(40):
            try:
                device.memory_info()
            except DeviceError:
                found.append(False)
            else:
                found.append(True)
        return found

    assert chances(1) == chances(1) != chances(2)
    assert 5 < sum(chances(1)) < 35


def test_finish_fails_after_the_execution_ended(inner: Device, source: ModelSource) -> None:
    device = FaultyDevice(inner, fail_names=["finish", "synchronize"], hang_s=0.001)
    device.open()
    model = device.load(source, work=None, weights=None)
    stream = device.create_stream()
    launch = device.launch(model, [DATA], [None], stream)
    with pytest.raises(DeviceError, match="finish: fault 1, injected at call 1"):
        device.finish(launch)
    with pytest.raises(DeviceError, match="synchronize: fault 2"):
        device.synchronize(stream)
    device.unload(model)
    device.destroy_stream(stream)


@pytest.mark.parametrize(
    "arguments", [{"fail_call": 0}, {"probability": 1.5}, {"fail_names": ["aloc"]}]
)
def test_impossible_faults_are_refused(inner: Device, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FaultyDevice(inner, **arguments)  # type: ignore[arg-type]  # a table of bad ones


# ---------------------------------------------------------------------- accounting


def test_tracking_counts_bytes_calls_and_what_is_out(inner: Device, source: ModelSource) -> None:
    device = TrackingDevice(inner)
    device.open()
    device.open()
    assert (device.usage, device.outstanding) == (Usage(), {})
    blocks = [device.alloc(size) for size in (3 * MiB, 100)]
    assert device.outstanding_memory == tuple(sorted(blocks, key=lambda block: block.pointer))
    model = device.load(source, work=None, weights=None)
    stream = device.create_stream()
    event = device.record_event(stream)
    assert device.outstanding == {"block": 2, "event": 1, "model": 1, "stream": 1}
    device.finish(device.launch(model, [DATA], [None], stream))
    peak = 4 * MiB + 4096 + MODEL_BYTES
    device.free(blocks[0])
    assert device.usage == Usage(
        current_bytes=peak - 4 * MiB,
        peak_bytes=peak,
        allocated_bytes=3 * MiB + 100,
        n_allocations=2,
        n_loads=1,
        n_launches=1,
    )
    device.destroy_event(event)
    device.destroy_stream(stream)
    device.unload(model)
    device.free(blocks[1])
    assert device.outstanding == {}
    assert device.usage.current_bytes == 0
    device.close()


def test_tracking_counts_nothing_for_calls_that_fail(inner: Device, source: ModelSource) -> None:
    device = TrackingDevice(FaultyDevice(inner, fail_names=["alloc", "load"]))
    device.open()
    with pytest.raises(DeviceError):
        device.alloc(100)
    with pytest.raises(DeviceError):
        device.load(source, work=None, weights=None)
    assert (device.usage, device.outstanding) == (Usage(), {})
