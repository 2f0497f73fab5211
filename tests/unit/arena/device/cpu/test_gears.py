"""Gears on the CPU device: one file and one session, a plan for each gear, bits of the runtime."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from arena.device.base import ModelSource
from arena.device.cpu.compile import compile_model, compiled_demo, compiled_path
from arena.errors import FormatError
from arena.formats import read_model_facts
from arena.formats.arena_file import encode, read_model
from arena.formats.arena_header import CompiledModel
from planner.errors import SpecError, UsageError
from tests.networks import (
    OPEN_BATCH,
    Loaded,
    demo_onnx,
    inputs_for,
    network,
    open_batch,
    open_device,
    read_arena,
    saved,
)

Shapes = Mapping[str, Sequence[int]]


@pytest.fixture(scope="module")
def geared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("geared")
    compile_model(saved(open_batch(), folder), folder / "net.arena", gears=OPEN_BATCH)
    return folder / "net.arena"


def reference(path: Path) -> ort.InferenceSession:
    """The runtime's own Python session on the graph of a .arena file."""
    _, graph = read_arena(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def compare_every_gear(path: Path, rounds: int) -> int:
    """Run all gears in turn in one poisoned work memory; return how many outputs were equal."""
    session = reference(path)
    count = 0
    with open_device() as device, Loaded(device, path) as net:
        for number in range(rounds):
            for gear in net.description.gears:
                if net.work is not None:
                    device.fill(net.work, (0x00, 0xFF, 0x7F)[number % 3])
                inputs = inputs_for(gear.inputs, seed=number)
                launch = device.launch(
                    net.handle,
                    [array.data for array in inputs],
                    [None] * len(gear.outputs),
                    net.stream,
                    gear=gear.choice,
                )
                found = [bytes(data or b"") for data in device.finish(launch)]
                feed = {spec.name: a for spec, a in zip(gear.inputs, inputs, strict=True)}
                names = [spec.name for spec in gear.outputs]
                assert found == [a.tobytes() for a in session.run(names, feed)], str(gear)
                count += 1
    return count


def test_every_gear_computes_the_bits_of_the_runtime(geared: Path) -> None:
    assert compare_every_gear(geared, 3) == 9


def test_a_demo_model_computes_the_bits_of_the_runtime_in_every_gear() -> None:
    demo_onnx("ocr-rec")  # or skip, where it cannot be fetched
    shapes = ((1, 3, 48, 320), (4, 3, 48, 320), (1, 3, 48, 160))
    path = compiled_demo("ocr-rec", gears=[{"x": shape} for shape in shapes])
    model = read_model(path)
    assert [gear.choice for gear in model.gears] == [(1, 320), (4, 320), (1, 160)]
    fixed = read_model(compiled_demo("ocr-rec", {"x": (4, 3, 48, 320)}))
    assert model.weight_bytes < 1.1 * fixed.weight_bytes, "weights lie in the file once"
    assert compare_every_gear(path, 1) == 3


def test_the_work_size_is_that_of_the_largest_gear_and_nothing_is_added(geared: Path) -> None:
    model = read_model(geared)
    assert [gear.choice for gear in model.gears] == [(2,), (1,), (5,)]
    works = [gear.work_bytes for gear in model.gears]
    assert model.work_bytes == max(works) == works[2] > works[1] > 0
    assert model.inputs == model.gears[2].inputs
    assert model.allocations.sizes == ()
    assert [gear.outputs[0].shape for gear in model.gears] == [(2, 32), (1, 32), (5, 32)]
    size = read_model_facts(geared).size
    assert size is not None
    assert (size.gears, size.gear_choices) == ("gears: 2, 1, 5", ((2,), (1,), (5,)))
    assert dict(read_model_facts(geared).details)["gears"] == "gears: 2, 1, 5"


def test_instances_of_one_file_share_its_session_and_run_in_gears_of_their_own(
    geared: Path,
) -> None:
    with (
        open_device() as device,
        Loaded(device, geared) as one,
        Loaded(device, geared, weights=one.weights) as other,
    ):
        mine, theirs = (device._models.instances[net.handle] for net in (one, other))
        assert mine.resident is theirs.resident
        assert mine.ways[(5,)].network is theirs.ways[(5,)].network
        small, large = (inputs_for(one.description.at(g).inputs)[0] for g in ((1,), (5,)))
        launches = [
            device.launch(one.handle, [small.data], [None], one.stream, gear=(1,)),
            device.launch(other.handle, [large.data], [None], other.stream, gear=(5,)),
        ]
        sizes = [len(data or b"") for x in launches for data in device.finish(x)]
        assert sizes == [1 * 32 * 4, 5 * 32 * 4]


def test_a_launch_chooses_a_gear_and_its_input_fits(geared: Path) -> None:
    with open_device() as device, Loaded(device, geared) as net:
        data = np.zeros((2, 16), np.float32).data

        def launch(gear: tuple[int, ...]) -> object:
            return device.launch(net.handle, [data], [None], net.stream, gear=gear)

        for gear, found in (((), "none"), ((3,), "3")):
            with pytest.raises(UsageError, match=f"gear {found}: expected one of 2, 1, 5"):
                launch(gear)
        with pytest.raises(UsageError, match=r"input 'x'"):
            launch((5,))


def test_files_without_gears_are_of_the_first_version(tmp_path: Path, geared: Path) -> None:
    compile_model(saved(open_batch(), tmp_path), tmp_path / "one.arena", {"x": (2, 16)})
    assert (tmp_path / "one.arena").read_bytes()[8] == 1
    assert geared.read_bytes()[8] == 2
    data = bytearray(geared.read_bytes())
    data[8] = 1
    with pytest.raises(FormatError, match="format version 1, but 3 gears"):
        read_model(bytes(data))


def altered(path: Path, **fields: Any) -> bytes:
    """The file with another second gear."""
    model, graph = read_arena(path)
    first, second, third = model.gears
    changed: CompiledModel = replace(model, gears=(first, replace(second, **fields), third))
    return encode(changed, graph)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choice": (2,)}, r"gears: found \[\(2,\), \(2,\), \(5,\)\], expected two or more gears"),
        ({"choice": ()}, "gears: found .*, expected two or more gears with choices that differ"),
        ({"work_bytes": 1 << 40}, r"gears\[1\].work_bytes: found 1099511627776, expected at most"),
        ({"work_bytes": 0}, r"gears\[1\].allocations.offsets\[0\]: found"),
        ({"lower_bound_bytes": 1 << 40}, r"gears\[1\].lower_bound_bytes: found"),
    ],
)
def test_the_plan_of_every_gear_is_judged(
    geared: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read_model(altered(geared, **fields))


@pytest.mark.parametrize(
    ("shapes", "gears", "message"),
    [
        ({}, [{"x": (1, 16)}, {"x": (2, 15)}], r"inputs.x: found shape \[2, 15\], but the file"),
        ({}, [{"z": (1, 16)}, {"z": (2, 16)}], "inputs.z: the model has no such input"),
        ({}, [{"x": (1, 16, 1)}, {"x": (2, 16, 1)}], "of 3 axes, the file has 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_for_every_gear(
    shapes: Shapes, gears: Sequence[Shapes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        compile_model(saved(open_batch(), tmp_path), tmp_path / "m.arena", shapes, gears)


def test_several_inputs_are_chosen_together_and_others_stay_fixed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Mul", ["s", "c"], ["y"])]
    model = network(nodes, {"a": ["n", "k"], "b": ["n", "k"], "c": ["m"]}, {"y": ["n", "k"]})
    gears = [{"a": (1, 4), "b": (1, 4)}, {"a": (3, 4), "b": (3, 4)}]
    source = saved(model, tmp_path)
    found = compile_model(source, tmp_path / "m.arena", {"c": (4,)}, gears)
    assert [gear.choice for gear in found.gears] == [(1, 1), (3, 3)]
    assert [t.shape for t in found.gears[1].inputs] == [(3, 4), (3, 4), (4,)]
    assert compare_every_gear(tmp_path / "m.arena", 2) == 4
    with pytest.raises(SpecError, match=r"inputs\.c: the file leaves axes open"):
        compile_model(source, tmp_path / "m.arena", {}, gears)


def test_the_cache_knows_gears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path / "cache"))
    source = saved(open_batch(), tmp_path)
    paths = {compiled_path(source, gears=OPEN_BATCH[:n]) for n in (2, 3)}
    paths.add(compiled_path(source, {"x": (2, 16)}))
    assert len(paths) == 3
    assert compiled_path(source, gears=OPEN_BATCH[:2]) in paths
    assert ModelSource("m", min(paths)).path is not None
