"""One contract for every device: what a caller may rely on, whatever lies behind the port."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.device.base import (
    Device,
    DeviceRange,
    LoadBy,
    LoadOptions,
    ModelHandle,
    ModelSource,
    Placed,
    StreamId,
)
from arena.errors import DeviceError
from planner.errors import ArenaError, UsageError
from planner.units import BYTES_MAX, MiB, align_up
from tests.device_rigs import RIGS, Rig

SMALL = 1 * MiB


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.npu) if name == "npu" else name for name in RIGS]
)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


@pytest.fixture
def device(rig: Rig) -> Iterator[Device]:
    """An open device; afterwards it has the memory it had before, and closes."""
    device = rig.make()
    device.open()
    before = device.memory_info().used_bytes
    yield device
    assert device.memory_info().used_bytes == before
    device.close()
    device.close()


@pytest.fixture
def stream(device: Device) -> Iterator[StreamId]:
    stream = device.create_stream()
    yield stream
    device.destroy_stream(stream)


class Loaded:
    """A model in memory of the caller's, until the test ends."""

    def __init__(
        self,
        device: Device,
        source: ModelSource,
        work: DeviceRange | None = None,
        options: LoadOptions | None = None,
    ) -> None:
        self.device = device
        work_bytes, weight_bytes = device.query_size(source)
        self.own = [] if work else [device.alloc(work_bytes)]
        self.weights = device.alloc(weight_bytes)
        self.own.append(self.weights)
        self.work = work or self.own[0]
        self.handle = device.load(
            source, work=self.work, weights=self.weights, options=options or LoadOptions()
        )
        spec = device.describe(self.handle).visible_inputs[0]
        self.input_bytes = spec.size_bytes
        self.output_bytes = device.describe(self.handle).outputs[0].size_bytes

    def run(self, stream: StreamId, value: int) -> bytes:
        """Execute with an input of equal bytes."""
        return run(self.device, self.handle, stream, bytes([value]) * self.input_bytes)

    def close(self) -> None:
        self.device.unload(self.handle)
        for memory in self.own:
            self.device.free(memory)


def run(device: Device, model: ModelHandle, stream: StreamId, data: bytes) -> bytes:
    (result,) = device.finish(device.launch(model, [data], [None], stream))
    assert result is not None
    return bytes(result)


@pytest.fixture
def first(device: Device, rig: Rig) -> Iterator[Loaded]:
    loaded = Loaded(device, rig.models[0])
    yield loaded
    loaded.close()


@pytest.fixture
def second(device: Device, rig: Rig) -> Iterator[Loaded]:
    loaded = Loaded(device, rig.models[1])
    yield loaded
    loaded.close()


# ---------------------------------------------------------------------- open, close, memory


def test_a_closed_device_refuses_work_and_opens_again(rig: Rig) -> None:
    device = rig.make()
    with pytest.raises(UsageError):
        device.alloc(SMALL)
    device.open()
    device.open()
    device.free(device.alloc(SMALL))
    device.close()
    with pytest.raises(UsageError):
        device.alloc(SMALL)
    device.open()
    device.free(device.alloc(SMALL))
    device.close()


def test_it_has_a_name_and_rules(device: Device) -> None:
    assert device.name in ("acl", "twin", "cpu")
    assert device.page_bytes >= device.align_bytes >= 1
    assert device.page_bytes % device.align_bytes == 0


@pytest.mark.parametrize("size_bytes", [1, 511, 4096, SMALL, SMALL + 1, 5 * MiB])
def test_a_block_has_its_size_its_alignment_and_its_account(
    device: Device, size_bytes: int
) -> None:
    before = device.memory_info()
    block = device.alloc(size_bytes)
    after = device.memory_info()
    assert block.size_bytes == size_bytes
    assert block.pointer % device.align_bytes == 0
    assert after.total_bytes == before.total_bytes
    assert size_bytes <= after.used_bytes - before.used_bytes
    assert after.used_bytes - before.used_bytes <= align_up(size_bytes, device.page_bytes)
    device.fill(block, 0x5A)
    device.free(block)
    assert device.memory_info() == before


def test_blocks_do_not_overlap(device: Device) -> None:
    blocks = sorted((device.alloc(10_000) for _ in range(8)), key=lambda block: block.pointer)
    for block, following in itertools.pairwise(blocks):
        assert block.pointer + block.size_bytes <= following.pointer
    for block in blocks:
        device.free(block)


@pytest.mark.parametrize("size_bytes", [0, -1, BYTES_MAX])
def test_impossible_sizes_are_the_callers_fault(device: Device, size_bytes: int) -> None:
    with pytest.raises((UsageError, DeviceError)) as caught:
        device.alloc(size_bytes)
    assert size_bytes == BYTES_MAX or isinstance(caught.value, UsageError)


def test_exhausted_memory_says_how_much_is_free(device: Device) -> None:
    info = device.memory_info()
    with pytest.raises(DeviceError) as caught:
        device.alloc(info.total_bytes + 1)
    assert str(info.free_bytes) in str(caught.value)


def test_freeing_twice_or_the_unknown_is_the_callers_fault(device: Device) -> None:
    block = device.alloc(SMALL)
    with pytest.raises(UsageError):
        device.free(DeviceRange(block.pointer + device.align_bytes, SMALL))
    device.free(block)
    with pytest.raises(UsageError):
        device.free(block)


def test_closing_is_refused_while_memory_is_out(device: Device) -> None:
    block = device.alloc(SMALL)
    with pytest.raises(UsageError):
        device.close()
    device.free(block)


@pytest.mark.parametrize("value", [-1, 256])
def test_fill_takes_a_byte(device: Device, value: int) -> None:
    block = device.alloc(SMALL)
    with pytest.raises(UsageError):
        device.fill(block, value)
    device.free(block)


# ---------------------------------------------------------------------- models


def test_sizes_are_the_same_from_file_and_from_bytes(device: Device, rig: Rig) -> None:
    for source in rig.models:
        assert source.path is not None
        work_bytes, weight_bytes = device.query_size(source)
        assert work_bytes > 0 < weight_bytes
        as_bytes = ModelSource("bytes", read=source.path.read_bytes)
        assert device.query_size(as_bytes) == (work_bytes, weight_bytes)


def test_a_missing_file_is_an_error_with_its_name(device: Device, tmp_path: Path) -> None:
    missing = ModelSource("missing", path=tmp_path / "missing.om")
    for call in (device.query_size, lambda source: device.load(source, work=None, weights=None)):
        with pytest.raises((ArenaError, OSError), match="missing"):
            call(missing)


@pytest.mark.parametrize("by", list(LoadBy))
@pytest.mark.parametrize("from_bytes", [False, True])
@pytest.mark.parametrize(
    ("own_work", "own_weights"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_every_way_to_load_computes_the_same(
    device: Device,
    rig: Rig,
    stream: StreamId,
    first: Loaded,
    by: LoadBy,
    from_bytes: bool,
    own_work: bool,
    own_weights: bool,
) -> None:
    source = rig.models[0]
    assert source.path is not None
    if from_bytes:
        source = ModelSource("bytes", read=source.path.read_bytes)
    work_bytes, weight_bytes = device.query_size(source)
    work = device.alloc(work_bytes) if own_work else None
    weights = device.alloc(weight_bytes) if own_weights else None
    before = device.memory_info().used_bytes
    model = device.load(source, work=work, weights=weights, options=LoadOptions(by=by))
    assert device.describe(model) == device.describe(first.handle)
    data = bytes(first.input_bytes)
    assert run(device, model, stream, data) == first.run(stream, 0)
    device.unload(model)
    assert device.memory_info().used_bytes == before
    for memory in (work, weights):
        if memory is not None:
            device.free(memory)


def test_priority_is_accepted_by_config_loads(
    device: Device, rig: Rig, stream: StreamId, first: Loaded
) -> None:
    options = LoadOptions(by=LoadBy.CONFIG, priority=7, reuse_zero_copy=True)
    other = Loaded(device, rig.models[0], options=options)
    assert other.run(stream, 3) == first.run(stream, 3)
    other.close()


@pytest.mark.parametrize("short", ["work", "weights"])
def test_memory_that_is_too_small_is_refused_without_a_trace(
    device: Device, rig: Rig, short: str
) -> None:
    source = rig.models[0]
    sizes = dict(zip(("work", "weights"), device.query_size(source), strict=True))
    blocks = {name: device.alloc(size) for name, size in sizes.items()}
    before = device.memory_info()
    given = dict(blocks)
    given[short] = DeviceRange(blocks[short].pointer, sizes[short] // 2)
    with pytest.raises(DeviceError):
        device.load(source, work=given["work"], weights=given["weights"])
    assert device.memory_info() == before
    for block in blocks.values():
        device.free(block)


@pytest.mark.parametrize("part", ["work", "weights"])
def test_misaligned_memory_is_refused(device: Device, rig: Rig, part: str) -> None:
    if device.align_bytes == 1:
        pytest.skip("the device wants no alignment")
    source = rig.models[0]
    sizes = dict(zip(("work", "weights"), device.query_size(source), strict=True))
    blocks = {name: device.alloc(size + 512) for name, size in sizes.items()}
    given = dict(blocks)
    given[part] = DeviceRange(blocks[part].pointer + device.align_bytes // 2, sizes[part])
    with pytest.raises((UsageError, DeviceError)):
        device.load(source, work=given["work"], weights=given["weights"])
    for block in blocks.values():
        device.free(block)


def test_placed_arguments_go_through_their_place_and_stay_there(
    device: Device, rig: Rig, stream: StreamId, first: Loaded
) -> None:
    """One model's output is the next one's input: copied to the host, and left on the device."""
    second = Loaded(device, rig.models[1])
    data = bytes(k % 200 for k in range(first.input_bytes))
    middle = device.alloc(first.output_bytes)
    place = device.alloc(first.input_bytes)
    try:
        alone = device.finish(device.launch(first.handle, [data], [None], stream))[0]
        assert alone is not None
        launch = device.launch(first.handle, [Placed(place, data)], [Placed(middle)], stream)
        assert device.finish(launch) == (alone,)
        filled = bytearray(first.output_bytes)
        launch = device.launch(first.handle, [place], [Placed(middle, filled)], stream)
        assert device.finish(launch) == (None,)
        assert filled == alone
        wanted = device.finish(device.launch(second.handle, [bytes(alone)], [None], stream))
        assert device.finish(device.launch(second.handle, [middle], [None], stream)) == wanted
    finally:
        device.synchronize(stream)
        second.close()
        device.free(place)
        device.free(middle)


def test_places_of_other_sizes_and_without_data_are_the_callers_fault(
    device: Device, stream: StreamId, first: Loaded
) -> None:
    data = bytes(first.input_bytes)
    short = DeviceRange(first.own[0].pointer, first.input_bytes - 1)
    whole = DeviceRange(first.own[0].pointer, first.input_bytes)
    for inputs, outputs in (
        ([Placed(short, data)], [None]),
        ([Placed(whole, data[1:])], [None]),
        ([Placed(whole)], [None]),
        ([data], [Placed(short)]),
    ):
        with pytest.raises(UsageError):
            device.launch(first.handle, inputs, outputs, stream)


def test_memory_of_a_loaded_model_cannot_be_freed(device: Device, first: Loaded) -> None:
    for memory in first.own:
        with pytest.raises(UsageError):
            device.free(memory)


def test_unknown_models_streams_and_events_are_the_callers_fault(
    device: Device, rig: Rig, stream: StreamId
) -> None:
    loaded = Loaded(device, rig.models[0])
    loaded.close()
    event = device.record_event(stream)
    device.destroy_event(event)
    for call in (
        lambda: device.unload(loaded.handle),
        lambda: device.describe(loaded.handle),
        lambda: device.io_bytes(loaded.handle),
        lambda: device.launch(loaded.handle, [b""], [None], stream),
        lambda: device.destroy_event(event),
        lambda: device.wait_event(stream, event),
        lambda: device.synchronize(StreamId(stream + 1_000_003)),
        lambda: device.destroy_stream(StreamId(stream + 1_000_003)),
    ):
        with pytest.raises(UsageError):
            call()


def test_instances_of_one_model_share_weights_and_serial_ones_share_work(
    device: Device, rig: Rig, stream: StreamId, first: Loaded, second: Loaded
) -> None:
    alone = [first.run(stream, 5), second.run(stream, 5)]
    sizes = [device.query_size(source) for source in rig.models]
    work = device.alloc(max(work_bytes for work_bytes, _ in sizes))
    sharers = [
        device.load(source, work=work, weights=owner.weights)
        for source, owner in zip(rig.models, (first, second), strict=False)
    ]
    for _ in range(3):
        for model, owner, expected in zip(sharers, (first, second), alone, strict=True):
            assert run(device, model, stream, bytes([5]) * owner.input_bytes) == expected
    for model in sharers:
        device.unload(model)
    device.free(work)


def test_loading_and_unloading_leaves_nothing(device: Device, rig: Rig) -> None:
    before = device.memory_info()
    for _ in range(20):
        loaded = Loaded(device, rig.models[0])
        loaded.close()
    assert device.memory_info() == before


# ---------------------------------------------------------------------- executions


def test_outputs_depend_on_input_and_model_and_on_nothing_else(
    stream: StreamId, first: Loaded, second: Loaded
) -> None:
    outputs = [model.run(stream, value) for model in (first, second) for value in (1, 2)]
    again = [model.run(stream, value) for model in (first, second) for value in (1, 2)]
    assert outputs == again
    assert len(set(outputs)) == 4


def test_outputs_arrive_as_bytes_in_a_buffer_or_on_the_device(
    device: Device, stream: StreamId, first: Loaded, second: Loaded
) -> None:
    data = bytes([9]) * first.input_bytes
    expected = first.run(stream, 9)
    mine = bytearray(first.output_bytes)
    assert device.finish(device.launch(first.handle, [data], [mine], stream)) == (None,)
    assert bytes(mine) == expected
    between = device.alloc(first.output_bytes)
    assert device.finish(device.launch(first.handle, [data], [between], stream)) == (None,)
    chained = device.finish(device.launch(second.handle, [between], [None], stream))
    assert chained == (bytearray(run(device, second.handle, stream, expected)),)
    device.free(between)


def test_one_stream_runs_in_order_without_waiting(
    device: Device, stream: StreamId, first: Loaded, second: Loaded
) -> None:
    expected = run(device, second.handle, stream, first.run(stream, 4))
    between = device.alloc(first.output_bytes)
    for _ in range(20):
        device.fill(between, 0)
        device.launch(first.handle, [bytes([4]) * first.input_bytes], [between], stream)
        launch = device.launch(second.handle, [between], [None], stream)
        assert device.finish(launch) == (bytearray(expected),)
        device.synchronize(stream)
    device.free(between)


def test_events_order_two_streams(
    device: Device, stream: StreamId, first: Loaded, second: Loaded
) -> None:
    expected = run(device, second.handle, stream, first.run(stream, 6))
    other = device.create_stream()
    between = device.alloc(first.output_bytes)
    for _ in range(20):
        device.fill(between, 0)
        device.launch(first.handle, [bytes([6]) * first.input_bytes], [between], stream)
        event = device.record_event(stream)
        device.wait_event(other, event)
        launch = device.launch(second.handle, [between], [None], other)
        assert device.finish(launch) == (bytearray(expected),)
        device.synchronize(stream)
        device.destroy_event(event)
    device.free(between)
    device.destroy_stream(other)


def test_host_inputs_may_be_reused_after_launch(
    device: Device, stream: StreamId, first: Loaded
) -> None:
    expected = first.run(stream, 8)
    data = bytearray([8]) * first.input_bytes
    launch = device.launch(first.handle, [data], [None], stream)
    data[:] = bytes(len(data))
    assert device.finish(launch) == (bytearray(expected),)


def test_wrong_arguments_are_the_callers_fault_and_change_nothing(
    device: Device, stream: StreamId, first: Loaded
) -> None:
    good = bytes(first.input_bytes)
    expected = run(device, first.handle, stream, good)
    block = device.alloc(max(first.input_bytes, first.output_bytes))
    short = DeviceRange(block.pointer, 1)
    for inputs, outputs in (
        ([], [None]),
        ([good, good], [None]),
        ([good], []),
        ([good[:-1]], [None]),
        ([good + b"x"], [None]),
        ([good], [bytearray(first.output_bytes + 1)]),
        ([good], [bytes(first.output_bytes)]),
        ([memoryview(good + good)[::2]], [None]),
        ([short], [None]),
        ([good], [short]),
    ):
        with pytest.raises(UsageError):
            device.launch(first.handle, inputs, outputs, stream)
    assert run(device, first.handle, stream, good) == expected
    device.free(block)


def test_any_thread_may_use_the_device(device: Device, rig: Rig) -> None:
    results: list[bytes] = []

    def work() -> None:
        stream = device.create_stream()
        loaded = Loaded(device, rig.models[0])
        results.extend(loaded.run(stream, 1) for _ in range(5))
        loaded.close()
        device.destroy_stream(stream)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    assert len(set(results)) == 1
