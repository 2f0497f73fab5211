"""Compiling fixes shapes, optimises, traces and places; equal inputs give equal bytes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from arena.device.cpu import compile as compile_module
from arena.device.cpu.compile import (
    _optimised,
    compile_model,
    compiled_demo,
    compiled_path,
    onnx_facts,
)
from arena.device.cpu.loading import this_machine
from arena.errors import DeviceError
from arena.formats import read_model_facts
from arena.formats.arena_file import read_model
from arena.formats.arena_header import CompiledFor
from planner.errors import DecodeError, SpecError
from tests.networks import compiled, convolutions, demo_onnx, network, saved

node = helper.make_node


def test_a_network_becomes_a_file_that_tells_all(tmp_path: Path) -> None:
    source = saved(convolutions(), tmp_path)
    model = compile_model(source, tmp_path / "m.arena")
    assert read_model(tmp_path / "m.arena") == model
    assert [(t.name, t.dtype, t.shape) for t in model.inputs] == [("x", "float32", (1, 3, 24, 24))]
    assert [(t.name, t.shape) for t in model.outputs] == [("y", (1, 8, 24, 24))]
    assert model.compiled_for == this_machine()
    assert model.compiled_from.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert model.compiled_from.optimisation == "extended"
    assert len(model.allocations.sizes) >= 4
    live = max(
        sum(
            -(-size // 64) * 64
            for size, start, end in zip(
                model.allocations.sizes,
                model.allocations.starts,
                model.allocations.ends,
                strict=True,
            )
            if start <= moment < end
        )
        for moment in model.allocations.starts
    )
    assert model.lower_bound_bytes == live
    assert live <= model.work_bytes <= live * 1.001


def test_open_axes_are_fixed(tmp_path: Path) -> None:
    source = saved(
        network([node("Relu", ["x"], ["y"])], {"x": ["n", None]}, {"y": ["n", None]}), tmp_path
    )
    with pytest.raises(SpecError, match=r"inputs.x: the file leaves axes open"):
        compile_model(source, tmp_path / "m.arena")
    model = compile_model(source, tmp_path / "m.arena", {"x": [2, 50]})
    assert model.outputs[0].shape == (2, 50)
    assert model.compiled_from.shapes == (("x", (2, 50)),)


def test_the_same_input_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    source = saved(convolutions(), tmp_path)
    first = compiled(convolutions(), tmp_path, "first").read_bytes()
    program = (
        "import sys; from pathlib import Path; from arena.device.cpu.compile import compile_model;"
        "compile_model(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    for name in ("second", "third"):
        destination = tmp_path / name
        command = [sys.executable, "-c", program, str(source), str(destination)]
        subprocess.run(command, check=True)
        assert destination.read_bytes() == first


def quantised() -> ModelProto:
    """Return a network with int8 weights, which the extended level would turn into floats."""
    random = np.random.default_rng(0)
    return network(
        [
            node("DequantizeLinear", ["w", "scale", "zero"], ["f"]),
            node("MatMul", ["x", "f"], ["y"]),
        ],
        {"x": [1, 256]},
        {"y": [1, 512]},
        {
            "w": random.integers(-128, 127, (256, 512), dtype=np.int8),
            "scale": np.array(0.1, np.float32),
            "zero": np.array(0, np.int8),
        },
    )


def test_of_two_levels_the_one_counts_that_takes_less_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of the runtime differ in which that is."""
    source = saved(quantised(), tmp_path)
    chosen = compile_model(source, tmp_path / "m.arena")
    found: dict[str, int] = {}
    for level in ("basic", "extended"):
        with monkeypatch.context() as patch:
            payloads = [pair for pair in _optimised(quantised()) if pair[0] == level]
            patch.setattr(compile_module, "_optimised", lambda _model, kept=payloads: kept)
            alone = compile_model(source, tmp_path / "alone.arena")
        assert alone.compiled_from.optimisation == level
        found[level] = alone.work_bytes + alone.weight_bytes
    assert chosen.work_bytes + chosen.weight_bytes == min(found.values())
    assert found[chosen.compiled_from.optimisation] == min(found.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff\xff\xff", "this is no ONNX model: "),
        (b"", "this is no ONNX model, or one without nodes"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=rf"m.onnx: {message}"):
        compile_model(path, tmp_path / "m.arena")
    assert not (tmp_path / "m.arena").exists()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"cannot be read: No such file"):
        compile_model(tmp_path / "m.onnx", tmp_path / "m.arena")


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    model = convolutions()
    path = tmp_path / "m.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(DecodeError, match=r"weight 'k1' lies in a file of its own; put all into"):
        compile_model(path, tmp_path / "m.arena")


def test_an_operator_that_nobody_knows_is_the_runtimes_refusal(tmp_path: Path) -> None:
    model = network([node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    model.graph.node[0].op_type = "Unheard"
    with pytest.raises(DeviceError, match=r"Unheard"):
        compile_model(saved(model, tmp_path), tmp_path / "m.arena")


def test_sequences_have_no_place(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [node("SequenceConstruct", ["x", "x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(DeviceError, match=r"output 'y' is no tensor"):
        compile_model(saved(model, tmp_path), tmp_path / "m.arena")


def test_texts_have_no_place(tmp_path: Path) -> None:
    model = network(
        [node("Identity", ["x"], ["y"])],
        {"x": [2]},
        {"y": [2]},
        types={"x": TensorProto.STRING, "y": TensorProto.STRING},
    )
    with pytest.raises(
        DeviceError, match=r"tensor 'x' has element type 8, expected one of float32"
    ):
        compile_model(saved(model, tmp_path), tmp_path / "m.arena")


def test_shapes_that_depend_on_data_are_refused_with_the_reason(tmp_path: Path) -> None:
    model = network(
        [node("NonZero", ["x"], ["y"], name="rows")],
        {"x": [4]},
        {"y": [1, "rows"]},
        types={"y": TensorProto.INT64},
    )
    with pytest.raises(
        DecodeError, match=r"node 'rows' \(NonZero\): the size of its output depend"
    ):
        compile_model(saved(model, tmp_path), tmp_path / "m.arena")


def test_what_the_look_at_the_graph_misses_the_traces_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(
        [
            node("NonZero", ["x"], ["where"]),
            node("Cast", ["where"], ["f"], to=TensorProto.FLOAT),
            node("ReduceSum", ["f"], ["y"]),
        ],
        {"x": [64]},
        {"y": [1, 1]},
        types={"x": TensorProto.INT64},
    )
    monkeypatch.setattr(compile_module, "refuse_data_dependent_shapes", lambda *_: None)
    with pytest.raises(DecodeError, match=r"two runs on different data allocate differently"):
        compile_model(saved(model, tmp_path), tmp_path / "m.arena")


def test_every_element_type_passes(tmp_path: Path) -> None:
    kinds = ["bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"]
    kinds += ["uint8", "uint16", "uint32", "uint64"]
    types = {
        f"{side}{kind}": helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        for kind in kinds
        for side in "xy"
    }
    model = network(
        [node("Reshape", [f"x{kind}", "shape"], [f"y{kind}"]) for kind in kinds],
        {f"x{kind}": [2, 3] for kind in kinds},
        {f"y{kind}": [6] for kind in kinds},
        {"shape": np.array([6])},
        types,
    )
    made = compile_model(saved(model, tmp_path), tmp_path / "m.arena")
    assert [tensor.dtype for tensor in made.inputs] == kinds
    assert all(t.size_bytes == np.dtype(t.dtype).itemsize * 6 for t in made.outputs)


def test_a_network_that_allocates_nothing_needs_no_work(tmp_path: Path) -> None:
    model = network([node("Identity", ["x"], ["y"])], {"x": [4]}, {"y": [4]})
    made = compile_model(saved(model, tmp_path), tmp_path / "m.arena")
    assert (made.work_bytes, made.allocations.sizes) == (0, ())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.arena"))


def test_a_model_is_compiled_once(cache: Path, tmp_path: Path) -> None:
    source = saved(convolutions(), tmp_path)
    path = compiled_path(source)
    written = path.stat().st_mtime_ns
    assert compiled_path(source) == path
    assert path.stat().st_mtime_ns == written
    assert entries(cache) == [path]


def test_entries_are_named_by_content_and_shapes(cache: Path, tmp_path: Path) -> None:
    model = network([node("Relu", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
    source = saved(model, tmp_path)
    paths = {compiled_path(source, {"x": [k]}) for k in (1, 2)}
    saved(convolutions(), tmp_path)
    paths.add(compiled_path(source))
    assert sorted(paths) == entries(cache)
    assert len(paths) == 3


def test_another_runtime_makes_another_entry(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(convolutions(), tmp_path)
    path = compiled_path(source)
    monkeypatch.setattr(compile_module, "this_machine", lambda: CompiledFor("1.99.0", "abacus", 1))
    other = compiled_path(source)
    assert other != path
    assert read_model(other).compiled_for.runtime == "1.99.0"


def test_a_harmed_entry_is_made_again(cache: Path, tmp_path: Path) -> None:
    source = saved(convolutions(), tmp_path)
    path = compiled_path(source)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert compiled_path(source).read_bytes() == whole


def test_an_onnx_file_has_the_facts_of_its_compiled_form(cache: Path, tmp_path: Path) -> None:
    source = saved(convolutions(), tmp_path)
    facts = onnx_facts(source)
    compiled_facts = read_model_facts(compiled_path(source))
    assert (facts.file, facts.format) == (str(source), "onnx")
    assert this_machine().runtime in facts.soc
    assert facts.note == f"sizes as compiled for {facts.soc}"
    assert facts.size == compiled_facts.size
    assert facts.work_bytes == compiled_facts.work_bytes > 0


def test_a_demo_model_is_compiled_for_its_own_shapes_or_for_others() -> None:
    demo_onnx("ocr-cls")
    own, wide = compiled_demo("ocr-cls"), compiled_demo("ocr-cls", {"x": (1, 3, 48, 256)})
    assert read_model(own).inputs[0].shape == (1, 3, 48, 192)
    assert read_model(wide).inputs[0].shape == (1, 3, 48, 256)
    with pytest.raises(SpecError, match=r"found demo model 'none', expected one of ocr-det"):
        compiled_demo("none")


def test_two_processes_at_once_compile_once(cache: Path, tmp_path: Path) -> None:
    source = saved(convolutions(channels=32, size=64), tmp_path)
    program = (
        "import sys; from pathlib import Path; from arena.device.cpu import compile as c\n"
        "made = []\n"
        "inner = c._compile\n"
        "c._compile = lambda *a: (made.append(1), inner(*a))[1]\n"
        "print(c.compiled_path(Path(sys.argv[1])), len(made))\n"
    )
    command = [sys.executable, "-c", program, str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert results[0][0] == results[1][0] == str(entries(cache)[0])
    assert sorted(made for _, made in results) == ["0", "1"]


def test_initializers_stay_weights(tmp_path: Path) -> None:
    """Weights are in the payload once: work holds activations alone."""
    weight = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    model = network(
        [node("MatMul", ["x", "w"], ["y"])], {"x": [1, 300]}, {"y": [1, 400]}, {"w": weight}
    )
    made = compile_model(saved(model, tmp_path), tmp_path / "m.arena")
    assert weight.nbytes <= made.weight_bytes < weight.nbytes + 8192
    assert made.work_bytes < weight.nbytes / 10
    assert numpy_helper.to_array(model.graph.initializer[0]).nbytes == weight.nbytes


def test_without_the_package_onnx_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(DeviceError, match=r"package onnx.*pip install 'npu-arena\[cpu\]'"):
        compile_model(tmp_path / "m.onnx", tmp_path / "m.arena", {})
