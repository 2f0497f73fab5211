"""The CPU device keeps the port's word: memory, loads, executions, streams, guards."""

import ctypes
import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from arena.device.base import DeviceRange, LoadBy, LoadOptions, ModelHandle, ModelSource, StreamId
from arena.device.cpu import device as device_module
from arena.device.cpu import loading
from arena.device.cpu.device import CpuDevice
from arena.device.cpu.streams import Task
from arena.errors import DeviceError, FormatError
from arena.formats.arena_file import encode, read_header
from arena.formats.source import ByteSource
from planner.errors import UsageError
from planner.units import MiB
from tests.networks import (
    Loaded,
    compiled,
    convolutions,
    inputs_for,
    network,
    open_device,
    read_arena,
)

node = helper.make_node


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a compiled image network."""
    return compiled(convolutions(), tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another compiled image network of the same shapes."""
    return compiled(convolutions(seed=7), tmp_path_factory.mktemp("networks"), "other")


def changed(path: Path, folder: Path, **fields: Any) -> Path:
    """Return a copy of a .arena file with other members in its header."""
    model, payload = read_arena(path)
    copy = folder / "changed.arena"
    copy.write_bytes(encode(replace(model, **fields), payload))
    return copy


def held_by(gate: threading.Event) -> Task:
    """Return a task that keeps its stream busy until the gate opens."""

    def wait() -> None:
        gate.wait()

    return Task(wait)


def test_a_closed_device_does_nothing(arena: Path) -> None:
    device = CpuDevice()
    for call in (
        lambda: device.alloc(1),
        lambda: device.create_stream(),
        lambda: device.load(ModelSource("m", arena), work=None, weights=None),
    ):
        with pytest.raises(UsageError, match=r"on device 'cpu', which is closed: call open first"):
            call()
    device.close()


def test_sizes_are_known_without_opening_the_device(arena: Path) -> None:
    model, _ = read_arena(arena)
    from_file = CpuDevice().query_size(ModelSource("m", arena))
    assert from_file == (model.work_bytes, model.weight_bytes)
    assert CpuDevice().query_size(ModelSource("m", read=arena.read_bytes)) == from_file


def test_closing_names_what_is_out(arena: Path) -> None:
    device = CpuDevice()
    device.open()
    loaded = Loaded(device, arena)
    with pytest.raises(UsageError, match=r"1 models loaded \(model\) and 2 blocks of memory out"):
        device.close()
    with loaded:
        pass
    device.close()


def test_outputs_go_where_they_are_wanted(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        inputs = inputs_for(net.description.inputs)
        (wanted,) = net.run(inputs)
        size = net.description.outputs[0].size_bytes
        mine = np.zeros((1, 8, 24, 24), np.float32)
        launch = device.launch(net.handle, [inputs[0].data], [mine.data], net.stream)
        assert (launch.model, launch.stream) == (net.handle, net.stream)
        assert device.finish(launch) == (None,)
        assert mine.tobytes() == wanted
        block = device.alloc(size)
        source = device.alloc(inputs[0].nbytes)
        ctypes.memmove(source.pointer, inputs[0].ctypes.data, inputs[0].nbytes)
        assert device.finish(device.launch(net.handle, [source], [block], net.stream)) == (None,)
        assert ctypes.string_at(block.pointer, size) == wanted
        device.free(source)
        device.free(block)


def test_host_inputs_may_change_after_launch(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        inputs = inputs_for(net.description.inputs)
        wanted = net.run(inputs)
        gate = threading.Event()
        device._lane(net.stream).stream.submit(held_by(gate))
        launch = device.launch(net.handle, [inputs[0].data], [None], net.stream)
        inputs[0][:] = 0
        gate.set()
        assert [bytes(output or b"") for output in device.finish(launch)] == wanted


def test_every_activation_lies_in_the_work_memory(arena: Path) -> None:
    """Poisoned beforehand, the planned bytes are overwritten, and not one byte beside them."""
    with open_device() as device:
        work_bytes, _ = device.query_size(ModelSource("m", arena))
        block = device.alloc(work_bytes + 2 * 4096)
        device.fill(block, 0xA5)
        work = DeviceRange(block.pointer + 4096, work_bytes)
        with Loaded(device, arena, work=work) as net:
            net.run(inputs_for(net.description.inputs))
        content = ctypes.string_at(block.pointer, block.size_bytes)
        assert content[:4096] == content[-4096:] == b"\xa5" * 4096
        used = content[4096:-4096]
        assert used.count(0xA5) < len(used) / 4
        device.free(block)


def test_memory_of_the_devices_own(arena: Path) -> None:
    with open_device() as device:
        before = device.memory_info().used_bytes
        handle = device.load(ModelSource("m", arena), work=None, weights=None)
        assert device.memory_info().used_bytes == before + 4 * MiB
        with Loaded(device, arena) as net:
            inputs = inputs_for(net.description.inputs)
            wanted = net.run(inputs)
            launch = device.launch(handle, [inputs[0].data], [None], net.stream)
            assert [bytes(output or b"") for output in device.finish(launch)] == wanted
        device.unload(handle)
        assert device.memory_info().used_bytes == before


def test_load_options_change_nothing(arena: Path) -> None:
    with open_device() as device:
        options = LoadOptions(by=LoadBy.CONFIG, priority=3)
        source = ModelSource("m", arena)
        device.unload(device.load(source, work=None, weights=None, options=options))


def test_a_network_without_work(tmp_path: Path) -> None:
    path = compiled(network([node("Identity", ["x"], ["y"])], {"x": [4]}, {"y": [4]}), tmp_path)
    with open_device() as device:
        assert device.query_size(ModelSource("m", path))[0] == 0
        with Loaded(device, path) as net:
            (output,) = net.run([np.arange(4, dtype=np.float32)])
            assert output == np.arange(4, dtype=np.float32).tobytes()
            other = device.load(net.source, work=DeviceRange(64, 0), weights=net.weights)
            device.unload(other)


def test_empty_tensors_and_scalars(tmp_path: Path) -> None:
    model = network(
        [node("Neg", ["x"], ["y"]), node("Concat", ["e", "e"], ["f"], axis=0)],
        {"x": [], "e": [0]},
        {"y": [], "f": [0]},
    )
    path = compiled(model, tmp_path, e=[0])
    with open_device() as device, Loaded(device, path) as net:
        outputs = net.run([np.array(2, np.float32), np.zeros(0, np.float32)])
        assert outputs == [np.float32(-2).tobytes(), b""]
        empty = DeviceRange(64, 0)
        inputs: list[Any] = [np.float32(2).data, empty]
        result = device.finish(device.launch(net.handle, inputs, [None, empty], net.stream))
        assert result == (bytearray(np.float32(-2).tobytes()), None)


@pytest.mark.parametrize("part", ["work", "weights"])
def test_wrong_memory_is_refused(arena: Path, part: str) -> None:
    with open_device() as device:
        source = ModelSource("street", arena)
        sizes = dict(zip(("work", "weights"), device.query_size(source), strict=True))
        blocks = {name: device.alloc(size + 128) for name, size in sizes.items()}
        what = {"work": "work", "weights": "weight"}[part]
        start = blocks[part].pointer
        for memory, error, message in (
            (DeviceRange(start, sizes[part] - 1), DeviceError, f"{sizes[part] - 1} bytes"),
            (DeviceRange(start + 32, sizes[part]), DeviceError, "expected a multiple of 64"),
            (DeviceRange(start + 192, sizes[part]), UsageError, "is not inside one block"),
            (DeviceRange(64, sizes[part]), UsageError, "is not inside one block"),
        ):
            given: Any = {**blocks, part: memory}
            with pytest.raises(error, match=rf"model 'street': {what} memory.*{message}"):
                device.load(source, **given)
        for block in blocks.values():
            device.free(block)


def test_a_misaligned_or_foreign_file_is_never_run(arena: Path, tmp_path: Path) -> None:
    model, _ = read_arena(arena)
    with open_device() as device:
        for wrong in (
            {"runtime": "1.19.0"},
            {"machine": "s390x"},
            {"threads": 2},
        ):
            target = replace(model.compiled_for, **wrong)
            path = changed(arena, tmp_path, compiled_for=target)
            with pytest.raises(DeviceError, match=r"is compiled for .*, this is .*: compile it ag"):
                device.load(ModelSource("m", path), work=None, weights=None)


def test_an_altered_payload_is_refused(arena: Path, tmp_path: Path) -> None:
    content = bytearray(arena.read_bytes())
    content[-1] ^= 1
    path = tmp_path / "altered.arena"
    path.write_bytes(content)
    with open_device() as device:
        with pytest.raises(
            DeviceError, match=r"the payload is altered, its SHA-256 is not the one"
        ):
            device.load(ModelSource("m", path), work=None, weights=None)
        assert device.memory_info().used_bytes == 0


def test_a_payload_that_is_no_network_is_refused(arena: Path, tmp_path: Path) -> None:

    model, _ = read_arena(arena)
    junk = bytes(model.payload_bytes)
    path = tmp_path / "junk.arena"
    digest = hashlib.sha256(junk).hexdigest()
    path.write_bytes(encode(replace(model, payload_sha256=digest), junk))
    with open_device() as device, Loaded(device, arena) as net:
        with pytest.raises(DeviceError, match=r"model 'm': CreateSessionFromArray failed"):
            device.load(ModelSource("m", path), work=None, weights=None)
        block = device.alloc(model.weight_bytes)
        with pytest.raises(DeviceError, match=r"CreateSessionFromArray failed"):
            device.load(ModelSource("m", path), work=net.work, weights=block)
        device.fill(block, 1)  # writable again
        device.free(block)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(convolutions().SerializeToString())
    with open_device() as device:
        with pytest.raises(FormatError, match=r"this is no \.arena file"):
            device.load(ModelSource("m", path), work=None, weights=None)
        with pytest.raises(DeviceError, match=r"model 'gone': cannot read .*: No such file"):
            device.query_size(ModelSource("gone", tmp_path / "gone"))


def test_a_file_that_shrinks_under_the_reader_is_told(
    arena: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.arena"
    path.write_bytes(arena.read_bytes())

    def read_then_cut(file: ByteSource) -> Any:
        found = read_header(file)
        path.write_bytes(path.read_bytes()[:-100])
        return found

    monkeypatch.setattr(loading, "read_header", read_then_cut)
    with (
        open_device() as device,
        pytest.raises(FormatError, match=r"m: at byte .*the file ends here, it had"),
    ):
        device.load(ModelSource("m", path), work=None, weights=None)


def test_a_file_without_a_network_is_refused(arena: Path, tmp_path: Path) -> None:
    model, _ = read_arena(arena)
    empty = replace(model, payload_bytes=0, payload_sha256=hashlib.sha256().hexdigest())
    path = tmp_path / "empty.arena"
    path.write_bytes(encode(empty, b""))
    with open_device() as device, pytest.raises(DeviceError, match=r"the file holds no network"):
        device.load(ModelSource("m", path), work=None, weights=None)


def test_weights_are_shared_and_read_only_while_in_use(arena: Path, other: Path) -> None:
    with open_device() as device:
        block = device.alloc(300_000)
        weights = DeviceRange(block.pointer, device.query_size(ModelSource("m", arena))[1])
        with Loaded(device, arena, weights=weights) as net:
            shared = device.load(net.source, work=None, weights=weights)
            instances = [device._models.instances[handle] for handle in (net.handle, shared)]
            networks = {instance.ways[()].network for instance in instances}
            assert len(networks) == 1
            load_other = partial(device.load, ModelSource("other", other))
            with pytest.raises(DeviceError, match=r"fill at .* meets weights in use at"):
                device.fill(block, 0)
            with pytest.raises(DeviceError, match=r"weight memory at .* meets weights in use"):
                load_other(work=None, weights=weights)
            with pytest.raises(DeviceError, match=r"work memory at .* meets weights in use"):
                load_other(work=block, weights=None)
            with pytest.raises(DeviceError, match=r"meets the work memory of model 'model'"):
                load_other(work=None, weights=net.work)
            out = DeviceRange(weights.pointer, net.description.outputs[0].size_bytes)
            (image,) = inputs_for(net.description.inputs)
            with pytest.raises(DeviceError, match=r"output 'y' at .* meets weights in use"):
                device.launch(net.handle, [image.data], [out], net.stream)
            device.unload(net.handle)
            with pytest.raises(DeviceError, match=r"meets weights in use"):
                device.fill(block, 0)
            net.handle = shared
        device.fill(block, 255)
        device.free(block)


def test_sharers_of_weights_need_the_same_payload_not_the_same_file(
    arena: Path, tmp_path: Path
) -> None:
    """Another plan of the same network gets offsets of its own over the one session."""
    model, _ = read_arena(arena)
    wider = changed(arena, tmp_path, work_bytes=model.work_bytes + 64)
    with open_device() as device, Loaded(device, arena) as net:
        handle = device.load(ModelSource("wider", wider), work=None, weights=net.weights)
        ours, theirs = (device._models.instances[each] for each in (net.handle, handle))
        assert ours.resident is theirs.resident
        assert ours.ways[()].network is not theirs.ways[()].network
        device.unload(handle)


def test_memory_in_use_cannot_be_freed(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        assert net.work is not None
        for block in (net.work, net.weights):
            with pytest.raises(
                UsageError, match=r"model 'model' lies in it, at .*unload the model"
            ):
                device.free(block)


def test_arguments_are_checked_by_name(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        (good,) = inputs_for(net.description.inputs)
        block = device.alloc(100)

        def launch(inputs: list[Any], outputs: list[Any]) -> None:
            device.launch(net.handle, inputs, outputs, net.stream)

        for inputs, outputs, message in (
            ([], [None], "model 'model': 0 inputs, expected 1: x"),
            ([good.data], [], "model 'model': 0 outputs, expected 1: y"),
            ([good.reshape(3, 24, 24).data], [None], "input 'x': found float32 .3, 24, 24"),
            ([good.astype(np.float64).data], [None], "input 'x': found float64"),
            ([b"1234"], [None], "input 'x': found 4 bytes, expected 6912"),
            ([block], [None], "input 'x': .* has 100 bytes, expected 6912"),
            ([DeviceRange(block.pointer, 6912)], [None], "input 'x': .* is not inside one block"),
            ([good.data], [bytearray(7)], "output 'y': found 7 bytes, expected 18432"),
            ([good.data], [block], "output 'y': .* has 100 bytes"),
        ):
            with pytest.raises(UsageError, match=message):
                launch(inputs, outputs)
        device.free(block)
        net.run([good])


def test_handles_that_are_gone_are_the_callers_fault(arena: Path) -> None:
    with open_device() as device:
        with Loaded(device, arena) as net:
            handle, stream = net.handle, net.stream
            event = device.record_event(stream)
            device.destroy_event(event)
            calls: list[Callable[[], object]] = [
                lambda: device.wait_event(stream, event),
                lambda: device.destroy_event(event),
            ]
            for call in calls:
                with pytest.raises(UsageError, match=rf"device 'cpu' has no event {event}"):
                    call()
        calls = [
            lambda: device.unload(handle),
            lambda: device.describe(handle),
            lambda: device.io_bytes(handle),
            lambda: device.launch(handle, [], [], stream),
        ]
        for call in calls:
            with pytest.raises(UsageError, match=rf"device 'cpu' has no model {handle}"):
                call()
        calls = [
            lambda: device.synchronize(stream),
            lambda: device.destroy_stream(stream),
            lambda: device.record_event(stream),
        ]
        for call in calls:
            with pytest.raises(UsageError, match=rf"device 'cpu' has no stream {stream}"):
                call()
        with pytest.raises(UsageError, match=r"not a launch of device 'cpu'"):
            device.finish(Foreign())


class Foreign:
    model = ModelHandle(1)
    stream = StreamId(1)


@pytest.mark.parametrize("value", [-1, 256])
def test_fill_wants_a_byte(value: int) -> None:
    with open_device() as device:
        block = device.alloc(64)
        with pytest.raises(UsageError, match=rf"fill with {value}: expected 0 to 255"):
            device.fill(block, value)
        device.free(block)


def test_what_executes_cannot_be_taken_away(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        inputs = [array.data for array in inputs_for(net.description.inputs)]
        gate = threading.Event()
        device._lane(net.stream).stream.submit(held_by(gate))
        launch = device.launch(net.handle, inputs, [None], net.stream)
        with pytest.raises(UsageError, match=r"launch of model 'model' while it executes: finish"):
            device.launch(net.handle, inputs, [None], net.stream)
        with pytest.raises(UsageError, match=r"unload of model 'model' while it executes"):
            device.unload(net.handle)
        with pytest.raises(UsageError, match=r"while it executes: synchronize it first"):
            device.destroy_stream(net.stream)
        gate.set()
        device.finish(launch)


def test_events_order_two_streams(arena: Path) -> None:
    with open_device() as device:
        first, second = device.create_stream(), device.create_stream()
        gate, seen = threading.Event(), []
        device._lane(first).stream.submit(held_by(gate))
        device._lane(first).stream.submit(Task(lambda: seen.append("first")))
        event = device.record_event(first)
        device.wait_event(second, event)
        device._lane(second).stream.submit(Task(lambda: seen.append("second")))
        device.destroy_event(event)
        assert not seen
        gate.set()
        for stream in (second, first):
            device.synchronize(stream)
            device.destroy_stream(stream)
        assert seen == ["first", "second"]


def test_one_thread_keeps_two_lanes_busy(arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2, timeout=20)

    def meet(_instance: object, _way: object, _pointers: object) -> None:
        meeting.wait()

    with open_device() as device, Loaded(device, arena) as a, Loaded(device, arena) as b:
        inputs = [array.data for array in inputs_for(a.description.inputs)]
        monkeypatch.setattr(device_module, "_execute", meet)

        def work() -> None:
            for _ in range(20):
                launches = [device.launch(net.handle, inputs, [None], net.stream) for net in (a, b)]
                for launch in launches:
                    device.finish(launch)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not meeting.broken


def test_closing_ends_streams_that_are_left(arena: Path) -> None:
    with open_device() as device:
        device.record_event(device.create_stream())
    assert not [thread for thread in threading.enumerate() if "npu-arena" in thread.name]


def gather(folder: Path) -> Path:
    """Return a network that fails while it runs: an index beyond its table."""
    model = network(
        [node("Relu", ["t"], ["u"]), node("Gather", ["u", "i"], ["y"])],
        {"i": [2], "t": [3, 4]},
        {"y": [2, 4]},
        types={"i": TensorProto.INT64},
    )
    return compiled(model, folder, "gather")


TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)
GOOD, BAD = np.array([0, 2]), np.array([0, 99])


def test_a_failing_execution_raises_and_the_next_one_runs(tmp_path: Path) -> None:
    with open_device() as device, Loaded(device, gather(tmp_path)) as net:
        with pytest.raises(
            DeviceError, match=r"model 'gather': Run failed with code .* out of data"
        ) as e:
            net.run([BAD, TABLE])
        assert e.value.call == "Run"
        assert net.run([GOOD, TABLE]) == [TABLE[[0, 2]].tobytes()]
        device.synchronize(net.stream)  # raised once already


def test_synchronize_raises_what_nobody_asked_for(tmp_path: Path) -> None:
    with open_device() as device, Loaded(device, gather(tmp_path)) as net:
        launch = device.launch(net.handle, [BAD.data, TABLE.data], [None], net.stream)
        with pytest.raises(DeviceError, match=r"model 'gather': Run failed"):
            device.synchronize(net.stream)
        device.synchronize(net.stream)
        with pytest.raises(DeviceError, match=r"model 'gather': Run failed"):
            device.finish(launch)


def test_a_run_that_leaves_its_plan_is_an_error_and_the_device_goes_on(
    arena: Path, tmp_path: Path
) -> None:
    model, _ = read_arena(arena)
    plan = model.allocations
    cases = {
        "asks for .* bytes, the plan has": replace(
            plan, sizes=(plan.sizes[0] - 4, *plan.sizes[1:])
        ),
        "the plan has no more": replace(
            plan,
            **{name: getattr(plan, name)[:-1] for name in ("sizes", "starts", "ends", "offsets")},
        ),
        "the run made .* planned allocations": replace(
            plan,
            sizes=(*plan.sizes, 64),
            starts=(*plan.starts, 10_000),
            ends=(*plan.ends, 10_001),
            offsets=(*plan.offsets, 0),
        ),
    }
    with open_device() as device, Loaded(device, arena) as net:
        inputs = inputs_for(net.description.inputs)
        wanted = net.run(inputs)
        for message, allocations in cases.items():
            path = changed(arena, tmp_path, allocations=allocations)
            with (
                Loaded(device, path, work=net.work, weights=net.weights) as wrong,
                pytest.raises(
                    DeviceError, match=rf"model 'changed' left its plan: .*{message}.* are void"
                ),
            ):
                wrong.run(inputs)
            assert net.run(inputs) == wanted


def test_arguments_take_no_memory_of_the_device(arena: Path) -> None:
    with open_device() as device, Loaded(device, arena) as net:
        assert device.io_bytes(net.handle) == 0
