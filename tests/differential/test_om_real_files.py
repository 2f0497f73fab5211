"""The reader against public files: manifest, hashlib, the vendor's steps, their own bytes."""

import hashlib
import io
import re
from pathlib import Path

import pytest

from arena.errors import FormatError
from arena.formats import read_model_facts
from arena.formats.digest import Digests, digest_model
from arena.formats.om import OmKind, OmSizes, read_om, read_om_sizes
from arena.formats.om_writer import write_layout
from planner.model import TensorSpec
from tests.om_files import manifest, vendor_query

NAMES = [
    "a3c_pong_3e6bbc.om",
    "a3c_pong_757f1f.om",
    "ddnet_out.om",
    "dynamic_and_static_graph_without_unfold.om",
    "flow_model.om",
    "root_model.om",
]


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "om"


def test_every_file_of_the_manifest_is_tested(folder: Path) -> None:
    assert [row.path.name for row in manifest(folder)] == NAMES
    assert sorted(path.name for path in folder.glob("*.om")) == NAMES


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_the_manifest(folder: Path, index: int) -> None:
    row = manifest(folder)[index]
    om = read_om(row.path)
    assert om.header is not None
    assert (om.file_bytes, om.header.version) == (row.file_bytes, row.version)
    assert om.header.is_wide == row.is_wide
    assert (om.work_bytes, om.weight_bytes) == (row.work_bytes, row.weight_bytes)
    assert om.zero_copy_bytes == (row.zero_copy_bytes or 0)
    assert tuple(tuple(map(str, table)) for table in om.tables) == row.partitions
    assert (om.soc, om.compiler) == (row.soc, row.compiler)
    assert om.dynamic == (len(row.partitions) > 1)
    sizes = OmSizes(row.work_bytes, row.weight_bytes, om.dynamic)
    assert read_om_sizes(row.path) == sizes


@pytest.mark.parametrize("name", NAMES)
def test_the_vendors_steps_find_the_same_sizes(folder: Path, name: str) -> None:
    sizes = read_om_sizes(folder / name)
    assert vendor_query((folder / name).read_bytes()) == (sizes.work_bytes, sizes.weight_bytes)


@pytest.mark.parametrize("name", NAMES)
def test_rebuilding_gives_the_same_bytes(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    om = read_om(data)
    assert om.header is not None
    models = [[(part.type, data[part.start : part.end]) for part in table] for table in om.tables]
    file = io.BytesIO()
    write_layout(file, om.header, models, is_wide=om.header.is_wide)
    assert file.getvalue() == data


@pytest.mark.parametrize("name", NAMES)
def test_digests_are_hashlibs(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    spans = read_om(data).weight_spans
    weights = b"".join(data[start:end] for start, end in spans)
    expected = Digests(
        hashlib.sha256(data).hexdigest(), hashlib.sha256(weights).hexdigest() if weights else ""
    )
    assert digest_model(folder / name, spans) == expected
    facts = read_model_facts(folder / name)
    assert (facts.file_sha256, facts.weights_sha256) == (
        expected.file_sha256,
        expected.weights_sha256,
    )


def test_two_builds_of_one_network_do_not_share_weights(folder: Path) -> None:
    """Equal sizes, equal constants, laid out in another order."""
    first, second = (read_model_facts(folder / name) for name in NAMES[:2])
    assert (first.work_bytes, first.weight_bytes) == (second.work_bytes, second.weight_bytes)
    assert first.weights_sha256 != second.weights_sha256


ENDS = {
    "a3c_pong_3e6bbc.om": (
        (TensorSpec("s", "float32", (1, 42, 42, 1), 7056),),
        (TensorSpec("out_a:0", "int32", (1,), 4),),
    ),
    "a3c_pong_757f1f.om": (
        (TensorSpec("s", "float32", (1, 42, 42, 1), 7056),),
        (TensorSpec("out_a:0", "float32", (1,), 4),),
    ),
    "ddnet_out.om": (
        (
            TensorSpec("Input", "float32", (1, 32, 105), 13_440),
            TensorSpec("Input_1", "float32", (1, 32, 15, 2), 3840),
        ),
        (TensorSpec("model_1/dense_2/Softmax:0", "float32", (1, 21), 84),),
    ),
    "dynamic_and_static_graph_without_unfold.om": (
        (
            TensorSpec("data_1", "float32", (2, 2), 16),
            TensorSpec("data_2", "float32", (2, 2), 16),
        ),
        (
            TensorSpec("output_0_known_op_0", "float32", (2, 2), 16),
            TensorSpec("output_1_unknown_op_1", "float32", (2, 2), 16),
        ),
    ),
    "root_model.om": (
        (TensorSpec("_arg_0", "int32", (16,), 64),),
        (TensorSpec("output_0_out_0", "int32", (-1,), 0),),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_inputs_and_outputs(folder: Path, name: str) -> None:
    om = read_om(folder / name)
    assert (om.inputs, om.outputs) == ENDS[name]
    assert om.gears is None
    assert om.choices == ""


def test_memory_and_streams_of_the_fixtures(folder: Path) -> None:
    om = read_om(folder / NAMES[3])
    assert (om.kind, om.stream_count, om.event_count) == (OmKind.DYNAMIC, 6, 2)
    assert (om.session_scope_bytes, om.variable_bytes) == (1024, 10_240)
    assert read_om(folder / "flow_model.om").kind is OmKind.FLOW
    assert read_om(folder / "root_model.om").kind is OmKind.STATIC


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_zero_copy_tail_is_the_padded_inputs(folder: Path, name: str) -> None:
    """As compilers of 2021 cut it: what the edges say agrees with what the attributes say."""
    om = read_om(folder / name)
    assert om.zero_copy_bytes == sum(-(-tensor.size_bytes // 512) * 512 for tensor in om.inputs)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_of_the_first_bytes_is_refused_alike(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for length in (0, 1, 255, 256, 257, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError, match=re.compile(r"the file has|truncated or damaged")):
            read_om(data[:length])
