"""Devices, contexts, streams, events and memory of the twin."""

import threading
import time
from collections.abc import Callable
from types import ModuleType

import pytest

from arena.device.twin import MemoryKind, RunMode, Twin, TwinConfig
from planner.errors import UsageError
from planner.units import GiB, KiB, MiB

HUGE_FIRST, HUGE_ONLY, NORMAL_ONLY, HUGE_1G = 0, 1, 2, 6


def started(config: TwinConfig | None = None) -> tuple[Twin, ModuleType]:
    twin = Twin(config or TwinConfig(memory_bytes=64 * MiB))
    assert twin.acl.init() == 0
    assert twin.acl.rt.set_device(0) == 0
    return twin, twin.acl


def in_thread(function: Callable[[], object]) -> object:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"memory_bytes": 0}, "memory_bytes"),
        ({"n_devices": 0}, "n_devices"),
        ({"n_devices": 9}, "n_devices"),
        ({"streams_max": 0}, "streams_max"),
        ({"slices": 0}, "slices"),
        ({"garbage": 0}, "garbage"),
        ({"garbage": 256}, "garbage"),
        ({"small_page_bytes": 0}, "small_page_bytes"),
        ({"huge_page_bytes": 1}, "huge_page_bytes"),
        ({"small_offset_bytes": 32}, "small_offset_bytes"),
        ({"small_offset_bytes": 4096}, "small_offset_bytes"),
    ],
)
def test_impossible_twins_are_refused(fields: dict[str, int], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        TwinConfig(**fields)  # type: ignore[arg-type]  # a table of ints


# ---------------------------------------------------------------------- contexts


def test_a_thread_has_no_context_until_it_sets_one() -> None:
    _, acl = started()
    context, ret = acl.rt.get_context()
    assert ret == 0
    assert in_thread(acl.rt.get_context) == (0, 107002)
    for call in (
        lambda: acl.rt.malloc(64, 0)[1],
        lambda: acl.rt.create_stream()[1],
        lambda: acl.rt.create_event()[1],
        lambda: acl.rt.get_device()[1],
        lambda: acl.rt.get_mem_info(0)[2],
        lambda: acl.rt.synchronize_stream(0),
        lambda: acl.rt.get_stream_available_num()[1],
        lambda: acl.rt.ctx_get_current_default_stream()[1],
        lambda: acl.rt.synchronize_device(),
        lambda: acl.mdl.execute(1, 0, 0),
        lambda: acl.mdl.unload(1),
    ):
        assert in_thread(call) == 107002
    assert in_thread(lambda: (acl.rt.set_context(context), acl.rt.get_context())) == (
        0,
        (context, 0),
    )


def test_contexts_are_created_current_and_destroyed() -> None:
    twin, acl = started()
    default, _ = acl.rt.get_context()
    context, ret = acl.rt.create_context(0)
    assert (ret, acl.rt.get_context()) == (0, (context, 0))
    assert twin.devices[0].n_streams == 2  # each context has a default stream
    assert acl.rt.destroy_context(context) == 0
    assert acl.rt.get_context() == (0, 107002)
    assert acl.rt.set_context(context) == 107000
    assert acl.rt.set_context(default) == 0
    assert acl.rt.destroy_context(default) == 107000  # reset_device ends it
    assert twin.devices[0].n_streams == 1


def test_devices_are_reset_as_often_as_set() -> None:
    twin, acl = started(TwinConfig(n_devices=2, memory_bytes=MiB))
    assert acl.rt.get_device_count() == (2, 0)
    assert acl.rt.set_device(0) == 0
    assert acl.rt.reset_device(0) == 0
    assert acl.rt.get_device() == (0, 0)
    assert acl.rt.reset_device(0) == 0
    assert acl.rt.get_device() == (0, 107002)
    assert acl.rt.reset_device(0) == 107000
    assert acl.rt.set_device(1) == 0
    assert acl.rt.set_device(1) == 0
    assert acl.rt.get_device() == (1, 0)
    assert acl.rt.reset_device_force(1) == 0
    assert twin.devices[1].n_streams == 0


def test_streams_belong_to_a_context() -> None:
    _, acl = started()
    stream, _ = acl.rt.create_stream()
    context, _ = acl.rt.create_context(0)
    assert acl.rt.synchronize_stream(stream) == 107003
    assert acl.rt.destroy_context(context) == 0


def test_a_context_takes_its_streams_along() -> None:
    twin, acl = started()
    context, _ = acl.rt.create_context(0)
    stream, _ = acl.rt.create_stream()
    event, _ = acl.rt.create_event()
    acl.rt.stream_wait_event(stream, event)  # it would wait for ever
    assert acl.rt.destroy_context(context) == 0
    assert acl.rt.set_device(0) == 0
    assert acl.rt.synchronize_stream(stream) == 107000
    assert twin.devices[0].n_streams == 1


# ---------------------------------------------------------------------- streams and events


def test_streams_are_limited() -> None:
    twin, acl = started(TwinConfig(streams_max=3))
    assert acl.rt.get_stream_available_num() == (2, 0)
    streams = [acl.rt.create_stream(), acl.rt.create_stream_with_config(0, 1)]
    assert [ret for _, ret in streams] == [0, 0]
    assert acl.rt.create_stream() == (0, 207008)
    assert acl.rt.create_context(0) == (0, 207008)
    assert acl.rt.destroy_stream(streams[0][0]) == 0
    assert acl.rt.get_stream_available_num() == (1, 0)
    assert twin.devices[0].n_streams == 2


def test_the_default_stream_has_number_zero() -> None:
    _, acl = started()
    assert acl.rt.ctx_get_current_default_stream() == (0, 0)
    event, _ = acl.rt.create_event()
    assert acl.rt.record_event(event, 0) == 0
    assert acl.rt.synchronize_stream(0) == 0
    assert acl.rt.query_event(event) == (0, 0)


def test_event_states_are_told_in_two_ways() -> None:
    _, acl = started()
    blocked, _ = acl.rt.create_stream()
    gate, _ = acl.rt.create_event()
    event, _ = acl.rt.create_event()
    assert acl.rt.stream_wait_event(blocked, gate) == 0
    assert acl.rt.record_event(event, blocked) == 0
    assert acl.rt.query_event(event) == (1, 0)
    assert acl.rt.query_event_status(event) == (0, 0)
    assert acl.rt.stream_query(blocked) == (1, 0)
    assert acl.rt.event_elapsed_time(event, event) == (0.0, 107006)
    assert acl.rt.synchronize_event_with_timeout(event, 5) == 507047
    assert acl.rt.synchronize_stream_with_timeout(blocked, 5) == 507046
    assert acl.rt.record_event(gate, 0) == 0
    assert acl.rt.synchronize_event(event) == 0
    assert acl.rt.synchronize_event_with_timeout(event, -1) == 0
    assert acl.rt.synchronize_stream_with_timeout(blocked, -1) == 0
    assert acl.rt.query_event(event) == (0, 0)
    assert acl.rt.query_event_status(event) == (1, 0)
    assert acl.rt.stream_query(blocked) == (0, 0)
    elapsed, ret = acl.rt.event_elapsed_time(gate, event)
    assert ret == 0
    assert elapsed >= 0
    assert acl.rt.destroy_event(event) == 0


def test_events_are_recorded_again_and_reset() -> None:
    _, acl = started()
    event, _ = acl.rt.create_event()
    acl.rt.record_event(event, 0)
    acl.rt.synchronize_stream(0)
    acl.rt.record_event(event, 0)
    assert acl.rt.synchronize_event(event) == 0
    assert acl.rt.reset_event(event, 0) == 0
    assert acl.rt.query_event(event) == (1, 0)


def test_destroying_waits_and_force_does_not() -> None:
    _, acl = started()
    done, forced = (acl.rt.create_stream()[0] for _ in range(2))
    event, _ = acl.rt.create_event()
    acl.rt.record_event(event, done)
    assert acl.rt.destroy_stream(done) == 0
    assert acl.rt.query_event(event) == (0, 0)
    never, _ = acl.rt.create_event()
    acl.rt.stream_wait_event(forced, never)
    acl.rt.record_event(event, forced)
    assert acl.rt.destroy_stream_force(forced) == 0


def test_synchronising_the_device_waits_for_its_streams_alone() -> None:
    _, acl = started(TwinConfig(n_devices=2))
    blocked, _ = acl.rt.create_stream()
    never, _ = acl.rt.create_event()
    acl.rt.stream_wait_event(blocked, never)
    assert acl.rt.set_device(1) == 0
    event, _ = acl.rt.create_event()
    acl.rt.record_event(event, 0)
    assert acl.rt.synchronize_device() == 0
    assert acl.rt.query_event(event) == (0, 0)
    acl.rt.reset_device_force(0)


def test_a_wait_returns_as_soon_as_the_work_is_over() -> None:
    _, acl = started()
    stream, _ = acl.rt.create_stream()
    gate, _ = acl.rt.create_event()
    acl.rt.stream_wait_event(stream, gate)
    context, _ = acl.rt.get_context()

    def open_gate() -> None:
        acl.rt.set_context(context)
        time.sleep(0.02)
        acl.rt.record_event(gate, 0)

    thread = threading.Thread(target=open_gate)
    thread.start()
    assert acl.rt.synchronize_stream_with_timeout(stream, 10_000) == 0
    thread.join()


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("call", "size", "policy", "used"),
    [
        ("malloc", 1, HUGE_FIRST, 4 * KiB),
        ("malloc", 4 * KiB, HUGE_FIRST, 8 * KiB),  # 32 bytes of padding cross the page
        ("malloc_align32", 4 * KiB, HUGE_FIRST, 4 * KiB),
        ("malloc_align32", MiB, HUGE_FIRST, MiB),  # up to 1 MiB: small pages
        ("malloc_align32", MiB + 1, HUGE_FIRST, 2 * MiB),
        ("malloc", 2 * MiB, HUGE_FIRST, 4 * MiB),
        ("malloc_align32", 2 * MiB, HUGE_FIRST, 2 * MiB),
        ("malloc", 1 * KiB, HUGE_ONLY, 2 * MiB),
        ("malloc", 3 * MiB, NORMAL_ONLY, 3 * MiB + 4 * KiB),
        ("malloc_cached", 100, HUGE_FIRST, 4 * KiB),
        ("malloc", 2 * MiB, 99, 4 * MiB),  # unknown policy: huge from 2 MiB on
        ("malloc", MiB, 99, MiB + 4 * KiB),
        ("malloc_align32", 100, HUGE_1G, GiB),
    ],
)
def test_memory_is_taken_in_pages(call: str, size: int, policy: int, used: int) -> None:
    twin, acl = started(TwinConfig(memory_bytes=2 * GiB))
    total = 2 * GiB
    pointer, ret = getattr(acl.rt, call)(size, policy)
    assert ret == 0
    assert acl.rt.get_mem_info(0) == (total - used, total, 0)
    assert acl.rt.free(pointer) == 0
    assert acl.rt.get_mem_info(0) == (total, total, 0)
    assert (twin.devices[0].memory.peak_bytes, twin.devices[0].memory.n_blocks) == (used, 0)


def test_huge_pages_run_out_before_memory_does() -> None:
    _, acl = started(TwinConfig(memory_bytes=8 * MiB, huge_memory_bytes=2 * MiB))
    huge, ret = acl.rt.malloc_align32(2 * MiB, HUGE_ONLY)
    assert ret == 0
    assert acl.rt.malloc_align32(2 * MiB, HUGE_ONLY) == (0, 207001)
    small, ret = acl.rt.malloc_align32(2 * MiB, HUGE_FIRST)  # falls back to small pages
    assert ret == 0
    assert acl.rt.free(huge) == 0
    assert acl.rt.free(small) == 0


def test_the_last_byte_of_memory_can_be_had() -> None:
    _, acl = started(TwinConfig(memory_bytes=4 * MiB))
    assert acl.rt.malloc_align32(4 * MiB + 1, HUGE_FIRST) == (0, 207001)
    assert "4194304 bytes are free" in acl.get_recent_err_msg()
    pointer, ret = acl.rt.malloc_align32(4 * MiB, HUGE_FIRST)
    assert ret == 0
    assert acl.rt.malloc(1, HUGE_FIRST) == (0, 207001)
    assert acl.rt.free(pointer) == 0


def test_what_the_host_cannot_back_is_exhausted_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, acl = started(TwinConfig(memory_bytes=1 << 62))
    assert acl.rt.malloc(1 << 60, HUGE_FIRST) == (0, 207001)
    assert "address window is used up" in acl.get_recent_err_msg()

    def refuse(_fd: int, _length: int, flags: int) -> None:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", refuse)
    assert acl.rt.malloc(MiB, HUGE_FIRST) == (0, 207001)
    assert "the host cannot back 1048608 bytes" in acl.get_recent_err_msg()


@pytest.mark.parametrize(
    ("kind", "asked", "other"), [(MemoryKind.DDR, 0, 1), (MemoryKind.HBM, 1, 0)]
)
def test_one_kind_of_memory_answers(kind: MemoryKind, asked: int, other: int) -> None:
    _, acl = started(TwinConfig(memory_bytes=MiB, memory_kind=kind))
    assert acl.rt.get_mem_info(asked) == (MiB, MiB, 0)
    assert acl.rt.get_mem_info(other) == (0, 0, 0)


def test_small_blocks_are_aligned_to_64_and_no_more() -> None:
    _, acl = started()
    pointers = [acl.rt.malloc(100, HUGE_FIRST)[0] for _ in range(4)]
    assert [pointer % 4096 for pointer in pointers] == [64] * 4
    huge, _ = acl.rt.malloc(2 * MiB, HUGE_FIRST)
    assert huge % (2 * MiB) == 0


def test_addresses_are_never_used_twice() -> None:
    _, acl = started()
    seen = set()
    for _ in range(5):
        pointer, _ = acl.rt.malloc(100, HUGE_FIRST)
        assert pointer not in seen
        seen.add(pointer)
        assert acl.rt.free(pointer) == 0
        assert acl.rt.free(pointer) == 107000


def test_new_memory_is_garbage() -> None:
    _, acl = started()
    pointer, _ = acl.rt.malloc(4096, HUGE_FIRST)
    assert acl.util.ptr_to_bytes(pointer, 64) == b"\xa5" * 64


def test_copies_know_their_sides() -> None:
    _, acl = started()
    device, other = (acl.rt.malloc(64, HUGE_FIRST)[0] for _ in range(2))
    data = bytes(range(64))
    host = acl.util.bytes_to_ptr(data)
    back, _ = acl.rt.malloc_host(64)
    assert acl.rt.memcpy(device, 64, host, 64, 1) == 0
    assert acl.rt.memcpy(other, 64, device, 64, 3) == 0
    assert acl.rt.memset(device, 64, 0x1FF, 8) == 0
    assert acl.rt.memcpy(back, 64, other, 64, 2) == 0
    assert acl.util.ptr_to_bytes(back, 64) == data
    assert acl.rt.memcpy(back, 64, device, 64, 4) == 0  # sides told by the addresses
    assert acl.util.ptr_to_bytes(back, 9) == b"\xff" * 8 + b"\x08"
    assert acl.rt.memcpy(back, 64, host, 64, 0) == 0
    for target, source, kind in (
        (host, device, 1),  # sides exchanged
        (device, host, 2),
        (device, host, 3),
        (device, device, 0),
        (device + 64, host, 1),  # beyond the block
        (device, 8, 1),  # no address
    ):
        assert acl.rt.memcpy(target, 64, source, 64, kind) == 107000
    assert acl.rt.free_host(back) == 0


def test_asynchronous_copies_keep_the_streams_order() -> None:
    _, acl = started()
    stream, _ = acl.rt.create_stream()
    gate, _ = acl.rt.create_event()
    device, _ = acl.rt.malloc(64, HUGE_FIRST)
    data = bytes(range(64))
    host = acl.util.bytes_to_ptr(data)
    acl.rt.stream_wait_event(stream, gate)
    assert acl.rt.memcpy_async(device, 64, host, 64, 1, stream) == 0
    assert acl.util.ptr_to_bytes(device, 1) == b"\xa5"
    acl.rt.record_event(gate, 0)
    assert acl.rt.synchronize_stream(stream) == 0
    assert acl.util.ptr_to_bytes(device, 64) == data
    acl.rt.free(device)
    assert acl.rt.memcpy_async(device, 64, host, 64, 1, stream) == 0
    assert acl.rt.synchronize_stream(stream) == 107000  # told once
    assert acl.rt.synchronize_stream(stream) == 0


def test_on_a_board_memory_is_shared_and_copies_stay_on_the_device() -> None:
    _, acl = started(TwinConfig(run_mode=RunMode.DEVICE))
    assert acl.rt.get_run_mode() == (0, 0)
    device, _ = acl.rt.malloc(64, HUGE_FIRST)
    host = acl.util.bytes_to_ptr(bytes(range(64)))
    assert acl.rt.memcpy(device, 64, host, 64, 1) == 107000
    assert acl.rt.memcpy(device, 64, host, 64, 3) == 0
    assert acl.util.ptr_to_bytes(device, 64) == bytes(range(64))


def test_other_allocators_account_alike() -> None:
    twin, acl = started()
    pointer, ret = acl.rt.malloc_with_cfg(100, HUGE_FIRST, {})
    assert ret == 0
    assert twin.devices[0].memory.used_bytes == 4 * KiB
    assert acl.rt.free(pointer) == 0
