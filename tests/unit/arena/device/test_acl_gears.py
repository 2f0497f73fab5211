"""Gears of the `acl` device on the twin: told at load, set at every launch, refused when wrong."""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import pytest

from arena.device.acl import AclDevice
from arena.device.base import DeviceRange, ModelHandle, ModelSource, StreamId
from arena.device.twin import Twin, TwinConfig
from arena.errors import DeviceError
from arena.formats.om_tensors import GearsKind
from planner.errors import UsageError
from planner.model import TensorSpec
from planner.units import MiB
from tests.geared import HIDDEN, geared_om, geared_spec

KINDS = (GearsKind.BATCH, GearsKind.HW, GearsKind.DIMS)
SHAPES: dict[GearsKind, dict[tuple[int, ...], tuple[int, ...]]] = {
    GearsKind.BATCH: {(1,): (1, 3), (8,): (8, 3), (2,): (2, 3)},
    GearsKind.HW: {(4, 8): (1, 4, 8), (16, 8): (1, 16, 8)},
    GearsKind.DIMS: {(3, 7): (2, 3, 7), (6, 2): (2, 6, 2)},
}


class Stage:
    """One model with gears, loaded in memory of ours."""

    def __init__(self, path: Path) -> None:
        self.twin = Twin(TwinConfig(memory_bytes=64 * MiB))
        self.device = AclDevice(acl=self.twin.acl, name="twin", timeout_s=20)
        self.device.open()
        source = ModelSource("geared", path=path)
        work, weights = (self.device.alloc(size) for size in self.device.query_size(source))
        self.blocks = [work, weights]
        self.model: ModelHandle = self.device.load(source, work=work, weights=weights)
        self.stream: StreamId = self.device.create_stream()

    def run(self, data: bytes, gear: tuple[int, ...]) -> bytes:
        launch = self.device.launch(self.model, [data], [None], self.stream, gear=gear)
        (output,) = self.device.finish(launch)
        assert output is not None
        return bytes(output)

    def close(self) -> None:
        self.device.destroy_stream(self.stream)
        self.device.unload(self.model)
        for block in self.blocks:
            self.device.free(block)
        self.device.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(geared_om(tmp_path / "geared.om"))
    yield stage
    stage.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_tells_its_gears_with_their_tensors(kind: GearsKind, tmp_path: Path) -> None:
    stage = Stage(geared_om(tmp_path / "geared.om", kind))
    description = stage.device.describe(stage.model)
    assert description.hidden == (HIDDEN.name,)
    assert {gear.choice: gear.inputs[0].shape for gear in description.gears} == SHAPES[kind]
    for gear in description.gears:
        (image,), (output,) = gear.inputs, gear.outputs
        assert image.size_bytes == 4 * prod(image.shape)
        assert output.size_bytes == 4 * prod(output.shape)
        batch = gear.choice[0] if kind is GearsKind.BATCH else 1
        assert output == TensorSpec("y:0", "float32", (batch, 5), 20 * batch)
        assert description.at(gear.choice).visible_inputs == gear.inputs
    stage.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_gear_executes_and_computes_of_its_own_bytes_alone(
    kind: GearsKind, tmp_path: Path
) -> None:
    stage = Stage(geared_om(tmp_path / "geared.om", kind))
    seen: set[bytes] = set()
    for _ in range(2):
        for gear in stage.device.describe(stage.model).gears:
            size = gear.inputs[0].size_bytes
            data = bytes(k % 251 for k in range(size))
            output = stage.run(data, gear.choice)
            assert len(output) == gear.outputs[0].size_bytes
            assert stage.run(data, gear.choice) == output
            assert stage.run(bytes(size), gear.choice) != output
            seen.add(output)
    assert len(seen) == len(SHAPES[kind]), "each gear computes differently, the same every time"
    stage.close()


def test_an_unknown_gear_and_none_are_refused_before_the_device_is_asked(stage: Stage) -> None:
    for gear, found in (((3,), "3"), ((), "none"), ((8, 8), "8x8")):
        with pytest.raises(UsageError, match=f"'geared': gear {found}: expected one of 1, 8, 2"):
            stage.run(bytes(12), gear)
    assert len(stage.run(bytes(12), (1,))) == 20


def test_sizes_are_those_of_the_gear(stage: Stage) -> None:
    with pytest.raises(UsageError, match="input 'x': found 96 bytes, expected 24"):
        stage.run(bytes(96), (2,))
    with pytest.raises(UsageError, match="output 'y:0': found 160 bytes, expected 20"):
        stage.device.launch(stage.model, [bytes(12)], [bytearray(160)], stage.stream, gear=(1,))
    small = stage.device.alloc(12)
    with pytest.raises(UsageError, match=r"found 12 bytes of device memory, expected at least 24"):
        stage.device.launch(stage.model, [small], [None], stage.stream, gear=(2,))
    launch = stage.device.launch(stage.model, [small], [None], stage.stream, gear=(1,))
    (output,) = stage.device.finish(launch)
    assert output is not None
    assert len(output) == 20
    stage.device.free(small)


def test_outputs_are_written_where_the_caller_says(stage: Stage) -> None:
    wanted = stage.run(bytes(24), (2,))
    mine = bytearray(40)
    launch = stage.device.launch(stage.model, [bytes(24)], [mine], stage.stream, gear=(2,))
    assert stage.device.finish(launch) == (None,)
    assert mine == wanted
    block = stage.device.alloc(160)
    stage.device.fill(block, 7)
    stage.device.launch(stage.model, [bytes(24)], [block], stage.stream, gear=(2,))
    stage.device.synchronize(stage.stream)
    behind = DeviceRange(block.pointer + 40, 120)
    calls = stage.twin.devices[0].memory.find(behind.pointer, behind.size_bytes)
    assert calls is not None
    assert bytes(calls.view) == bytes([7]) * 120, "nothing is written behind the gear's output"
    stage.device.free(block)


def test_a_model_without_gears_takes_none(tmp_path: Path) -> None:
    from tests.device_rigs import CHAINED_BYTES, chained_spec, om_source

    twin = Twin(TwinConfig(memory_bytes=64 * MiB))
    device = AclDevice(acl=twin.acl, name="twin")
    device.open()
    model = device.load(om_source(tmp_path, chained_spec("m", 1)), work=None, weights=None)
    stream = device.create_stream()
    with pytest.raises(UsageError, match="model 'm': gear 8: the model has none"):
        device.launch(model, [bytes(CHAINED_BYTES)], [None], stream, gear=(8,))
    device.unload(model)
    device.destroy_stream(stream)
    device.close()


class OldBinding:
    """A twin that does not tell what outputs are at a gear, or does not know gears at all."""

    def __init__(self, missing: str, code: int) -> None:
        self.twin = Twin(TwinConfig(memory_bytes=64 * MiB))
        value: object = 0 if missing.endswith("count") else {}
        setattr(self.twin.acl.mdl, missing, lambda *_: (value, code))

    def load(self, path: Path) -> tuple[AclDevice, ModelHandle]:
        device = AclDevice(acl=self.twin.acl, name="twin")
        device.open()
        try:
            source = ModelSource("geared", path=path)
            return device, device.load(source, work=None, weights=None)
        except DeviceError:
            assert self.twin.devices[0].memory.used_bytes == 0
            device.close()
            raise


def test_outputs_that_the_device_does_not_tell_are_taken_as_the_largest(tmp_path: Path) -> None:
    path = geared_om(tmp_path / "geared.om")
    device, model = OldBinding("get_cur_output_dims", 200001).load(path)
    description = device.describe(model)
    assert {gear.outputs[0].size_bytes for gear in description.gears} == {160}
    device.unload(model)
    device.close()


def test_gears_that_the_device_does_not_tell_are_an_error_of_loading(tmp_path: Path) -> None:
    path = geared_om(tmp_path / "geared.om", GearsKind.DIMS)
    with pytest.raises(DeviceError, match="get_input_dynamic_gear_count returned 200001"):
        OldBinding("get_input_dynamic_gear_count", 200001).load(path)


def test_a_gear_that_the_device_refuses_is_an_error_of_loading(tmp_path: Path) -> None:
    twin = Twin(TwinConfig(memory_bytes=64 * MiB))
    twin.acl.mdl.set_dynamic_batch_size = lambda *_: 145013
    device = AclDevice(acl=twin.acl, name="twin")
    device.open()
    with pytest.raises(
        DeviceError, match=r"model 'geared': gear 1: acl.mdl.set_dynamic_batch_size"
    ):
        device.load(
            ModelSource("geared", path=geared_om(tmp_path / "geared.om")), work=None, weights=None
        )
    assert twin.devices[0].memory.used_bytes == 0
    device.close()


def test_several_inputs_share_a_batch_and_divide_dims(tmp_path: Path) -> None:
    from dataclasses import replace

    from arena.formats.om_tensors import Gears
    from arena.formats.om_writer import write_om

    base = geared_spec(GearsKind.DIMS)
    inputs = (
        TensorSpec("a", "float32", (1, -1), 16),
        HIDDEN,
        TensorSpec("b", "float32", (-1, 2, -1), 4 * 2 * 3 * 4),
    )
    gears = Gears(GearsKind.DIMS, ((4, 1, 2), (2, 3, 4)))
    write_om(tmp_path / "dims.om", replace(base, inputs=inputs, gears=gears))
    stage = Stage(tmp_path / "dims.om")
    first, second = stage.device.describe(stage.model).gears
    assert [spec.shape for spec in first.inputs] == [(1, 4), (1, 2, 2)]
    assert [spec.shape for spec in second.inputs] == [(1, 2), (3, 2, 4)]
    assert [spec.size_bytes for spec in (*first.inputs, *second.inputs)] == [16, 16, 8, 96]
    data = [bytes(8), bytes(96)]
    launch = stage.device.launch(stage.model, data, [None], stage.stream, gear=(2, 3, 4))
    assert stage.device.finish(launch)[0] is not None
    stage.close()
