import dataclasses
import io
import re
import struct
from pathlib import Path

import pytest

from arena.errors import FormatError
from arena.formats.digest import Digests
from arena.formats.om import (
    MemorySegment,
    OmFile,
    OmKind,
    OmSizes,
    model_size,
    read_om,
    read_om_sizes,
)
from arena.formats.om_tensors import Gears, GearsKind
from planner.model import ModelSize, TensorSpec
from planner.units import GiB
from tests.om_files import (
    INOUT,
    MODEL_DEF,
    NEW,
    OLD,
    TASK,
    TBE,
    WEIGHTS,
    attr,
    field,
    header,
    model_def,
    op,
    plain_om,
    static_om,
    table,
    task_info,
    tensor_desc,
    tensors_block,
    varint,
)


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("wide", [True, False])
def test_sizes_of_static_models(version: int, wide: bool) -> None:
    data = static_om(b"w" * 77, 90_624, version=version, wide=wide)
    assert read_om_sizes(data) == OmSizes(90_624, 77, dynamic=False)
    om = read_om(data)
    assert (om.kind, om.work_bytes, om.weight_bytes) == (OmKind.STATIC, 90_624, 77)
    assert not om.dynamic
    assert not om.system_managed
    ((start, end),) = om.weight_spans
    assert data[start:end] == b"w" * 77


@pytest.mark.parametrize(
    ("tasks", "work"),
    [
        (field(11, 512) + field(11, 1024), 1024),  # protobuf: the last one counts
        (field(11, b"512"), 0),  # another wire type is an unknown field
        (field(10, field(11, 99)), 0),  # inside a task
        (field(1, "1"), 0),
        (b"", 0),
    ],
)
def test_work_is_field_11_of_the_tasks(tasks: bytes, work: int) -> None:
    rows = [(MODEL_DEF, model_def()), (TASK, tasks), (TBE, b"k")]
    assert read_om_sizes(plain_om(rows)).work_bytes == work
    assert read_om(plain_om(rows)).work_bytes == work


def test_absent_partitions_are_zero() -> None:
    assert read_om_sizes(plain_om([(MODEL_DEF, model_def()), (TBE, b"k")])) == OmSizes(0, 0, False)


def test_the_first_partition_of_a_type_counts() -> None:
    rows = [(TASK, field(11, 5)), (WEIGHTS, b"abc"), (TASK, field(11, 6)), (WEIGHTS, b"defgh")]
    assert read_om_sizes(plain_om(rows)) == OmSizes(5, 3, False)


def test_dynamic_models_sum_weights_and_have_no_work() -> None:
    root = [(MODEL_DEF, model_def()), (TASK, task_info(512))]
    data = plain_om(root, [(WEIGHTS, b"abc"), (TASK, b"\xff")], [(WEIGHTS, b"de")], model_num=3)
    assert read_om_sizes(data) == OmSizes(0, 5, dynamic=True)
    om = read_om(data)
    assert (om.kind, om.dynamic, om.system_managed) == (OmKind.DYNAMIC, True, True)
    assert [data[start:end] for start, end in om.weight_spans] == [b"abc", b"de"]


def test_a_single_model_of_unknown_shapes_is_dynamic() -> None:
    """And then a single partition is fine."""
    data = plain_om([(MODEL_DEF, model_def())], unknown=1)
    assert read_om_sizes(data) == OmSizes(0, 0, dynamic=True)
    assert read_om(data).system_managed


MODEL_ATTRIBUTES = b"".join(
    (
        attr(11, "soc_version", field(2, "Ascend310B4")),
        attr(11, "arch_type", field(2, "m300")),
        attr(11, "atc_version", field(2, "8.0.0")),
        attr(11, "opp_version", field(2, "7.9")),
        *(
            attr(11, name, field(3, value))
            for name, value in {
                "zero_copy_memory_size": 512,
                "p2p_memory_size": 1,
                "session_scope_memory_size": 2,
                "variable_size": 3,
                "stream_num": 4,
                "event_num": 5,
                "label_num": 6,
            }.items()
        ),
        attr(
            11,
            "sub_memory_info",
            field(
                14,
                b"".join(
                    field(1, field(1, b"".join(map(varint, row))))
                    for row in ((2, 0, 1024, 1), (2, 1024, 512, 0), (2, 1536, 512), (2, 0))
                ),
            ),
        ),
    )
)


def test_what_the_model_says_of_itself() -> None:
    rows = [
        (MODEL_DEF, model_def(attrs=MODEL_ATTRIBUTES, name="street")),
        (TBE, b"kernel"),
        (TASK, task_info()),
    ]
    om = read_om(plain_om(rows))
    assert (om.name, om.soc, om.arch, om.compiler) == ("street", "Ascend310B4", "m300", "8.0.0")
    assert (om.zero_copy_bytes, om.p2p_bytes, om.session_scope_bytes) == (512, 1, 2)
    assert (om.variable_bytes, om.kernel_bytes) == (3, 6)
    assert (om.stream_count, om.event_count, om.label_count) == (4, 5, 6)
    assert om.segments == (
        MemorySegment(2, 0, 1024, fixed=True),
        MemorySegment(2, 1024, 512, fixed=False),
        MemorySegment(2, 1536, 512, fixed=False),
    )
    assert om.fixed_segments == om.segments[:1]
    assert om.header is not None
    assert om.file_bytes == len(plain_om(rows))
    assert om.note == ""


def test_sub_models_add_up() -> None:
    row = (MODEL_DEF, model_def(attrs=MODEL_ATTRIBUTES))
    om = read_om(
        plain_om([(MODEL_DEF, model_def(name="root"))], [row], [row, (TBE, b"k")], model_num=3)
    )
    assert (om.name, om.soc, om.stream_count, om.p2p_bytes) == ("root", "Ascend310B4", 8, 2)
    assert om.zero_copy_bytes == 0  # of the root model alone
    assert om.segments == ()


def test_the_compiler_falls_back_to_the_operator_library() -> None:
    rows = [(MODEL_DEF, model_def(attrs=attr(11, "opp_version", field(2, "7.9")))), (TBE, b"k")]
    assert read_om(plain_om(rows)).compiler == "7.9"


def test_the_name_falls_back_to_the_header() -> None:
    assert read_om(plain_om([(TBE, b"k"), (TASK, b"")])).name == "net"


def test_its_own_partition_describes_better_than_the_graph() -> None:
    data_op = op("from graph", "Data", field(33, tensor_desc(1, (1,), 4)))
    inout = tensors_block(0, ("from partition", 0, (2,), 8))
    rows = [(INOUT, inout), (MODEL_DEF, model_def(data_op)), (TASK, task_info())]
    assert read_om(plain_om(rows)).inputs == (TensorSpec("from partition", "float32", (2,), 8),)
    assert read_om(plain_om(rows[1:])).inputs == (TensorSpec("from graph", "float32", (1,), 4),)


def test_gears_are_named_even_where_only_their_input_is_known() -> None:
    inout = tensors_block(0, ("x", 0, (-1, 4), 16), ("ascend_mbatch_shape_data", 9, (1,), 8))
    om = read_om(plain_om([(INOUT, inout), (TASK, task_info())]))
    assert om.gears == Gears(GearsKind.UNKNOWN)
    assert om.hidden_inputs == ("ascend_mbatch_shape_data",)
    assert om.choices == "dynamic unknown"


def test_dynamic_preprocessing_is_a_choice_too() -> None:
    inout = tensors_block(0, ("x", 0, (4,), 16), ("ascend_dynamic_aipp_data", 4, (9,), 9))
    gears = struct.pack("<IIIq", 2, 12, 1, 8)
    om = read_om(plain_om([(INOUT, inout + gears), (TASK, task_info())]))
    assert om.choices == "dynamic batch: 8; dynamic preprocessing (AIPP)"
    assert om.hidden_inputs == ("ascend_dynamic_aipp_data",)


def test_flow_models_have_no_sizes() -> None:
    data = plain_om([(MODEL_DEF, model_def(name="flow")), (6, b"f"), (7, b"s")], model_type=3)
    om = read_om(data)
    assert (om.kind, om.work_bytes, om.weight_bytes) == (OmKind.FLOW, 0, 0)
    assert om.system_managed
    assert not om.dynamic
    assert "no memory of its own" in om.note
    assert read_om_sizes(data) == OmSizes(0, 0, False)
    assert model_size(om).system_managed


def bundle() -> bytes:
    body = table([(25, bytes(8)), (24, static_om())], wide=True, base=8 + 2 * 24)
    return header(256 + len(body), version=0, model_type=5, magic=bytes(4)) + body


UNSIZED = {
    OmKind.BUNDLE: bundle(),
    OmKind.OM2: b"PK\x03\x04" + bytes(9),
    OmKind.ENCRYPTED: static_om(encrypted=1),
}


@pytest.mark.parametrize("kind", UNSIZED)
def test_kinds_without_sizes_are_recognised_and_not_planned(kind: OmKind) -> None:
    om = read_om(UNSIZED[kind])
    assert (om.kind, om.work_bytes, om.weight_bytes, om.weight_spans) == (kind, 0, 0, ())
    assert om.note
    with pytest.raises(FormatError, match=re.escape(om.note)):
        model_size(om)
    with pytest.raises(FormatError, match=re.escape(om.note)):
        read_om_sizes(UNSIZED[kind])


def test_the_partitions_of_a_bundle_are_listed() -> None:
    ((variables, model),) = read_om(bundle()).tables
    assert (variables.name, model.size_bytes) == ("BUNDLE_MODEL_VAR_INFO", len(static_om()))


def test_bundles_with_magic_are_bundles_too() -> None:
    """A writer that filled the magic in would count like all others."""
    body = table([(25, bytes(8))], wide=True, base=8 + 24)
    assert read_om(header(len(body), model_type=5) + body).kind is OmKind.BUNDLE


GOOD = static_om()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n"


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"", 0, "the file has 0 bytes, expected a header of 256 and a model"),
        (GOOD[:255], 0, "the file has 255 bytes"),
        (LFS, 0, "found a Git LFS pointer, expected the model itself: run git lfs pull"),
        (LFS + bytes(400), 0, "Git LFS pointer"),
        (b"<!DOCTYPE html>" + bytes(400), 0, "found b'<!DO', expected b'IMOD': not an .om file"),
        (GOOD[:4] + b"\xff" + GOOD[5:], 4, "header of 511 bytes, expected 256"),
        (GOOD[:-1], 184, "truncated or damaged"),
        (GOOD + b"x", 184, "truncated or damaged"),
        (static_om(wide=False) + b"x", 76, "truncated or damaged"),
        (GOOD[:256], 184, "expected 0: truncated or damaged"),
        (header(0, wide=False, unknown=1, model_num=0), 156, "the header counts 0 models"),
        (plain_om([(MODEL_DEF, model_def())]), 256, "the only partition is MODEL_DEF:.*simulate"),
        (static_om(memory=2**62 + 1), None, r"work memory of 4611686018427387905 bytes"),
        (plain_om([(TASK, b"\x0b"), (TBE, b"k")]), None, "field 1 has wire type 3"),
        (plain_om([(MODEL_DEF, b"\x0a\xff"), (TASK, b"")]), None, "ends inside a varint"),
        (plain_om([(MODEL_DEF, field(1, b"\xff")), (TASK, b"")]), None, "expected UTF-8"),
        (plain_om([(INOUT, b"\0"), (TASK, b"")]), None, "block type needs 4 bytes"),
    ],
)
def test_damage_is_refused_by_name(data: bytes, offset: int | None, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        read_om(data)
    assert offset is None or error.value.offset == offset
    assert 0 <= error.value.offset <= len(data)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.om"
    path.write_bytes(GOOD[:300])
    with pytest.raises(FormatError, match=rf"{path}: at byte 184: the header claims"):
        read_om(path)
    with pytest.raises(FormatError, match="camera model: at byte 184"):
        read_om_sizes(GOOD[:300], "camera model")


def test_all_kinds_of_input_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.om"
    path.write_bytes(GOOD)
    expected = read_om(GOOD)
    assert read_om(path) == read_om(str(path)) == read_om(io.BytesIO(GOOD)) == expected


def test_what_the_planner_gets() -> None:
    om = read_om(GOOD)
    tensors = (
        (TensorSpec("x", "float32", (1, 4), 16),),
        (TensorSpec("output_0", "float32", (1, 2), 8),),
    )
    size = ModelSize(4096, 100, inputs=tensors[0], outputs=tensors[1])
    assert model_size(om) == size
    with_digests = dataclasses.replace(size, file_digest="f", weights_digest="w")
    assert model_size(om, Digests("f", "w")) == with_digests
    om = dataclasses.replace(om, stream_count=3, gears=Gears(GearsKind.BATCH, ((1,), (2,))))
    assert model_size(om).stream_count == 3
    assert model_size(om).gears == "dynamic batch: 1, 2"


def test_a_dynamic_model_is_managed_by_the_system() -> None:
    data = plain_om([(MODEL_DEF, model_def())], [(WEIGHTS, b"abc")], model_num=2)
    size = model_size(read_om(data))
    assert (size.work_bytes, size.weight_bytes, size.system_managed) == (0, 3, True)


def test_a_task_list_beyond_the_vendors_parser_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.om"
    tasks = 1 << 31
    rows = struct.pack("<II", 2, 0) + struct.pack("<IIQQIIQQ", 0, 0, 0, 1, 2, 0, 1, tasks)
    with path.open("wb") as file:
        file.write(header(len(rows) + 1 + tasks) + rows + b"x")
        file.truncate(256 + len(rows) + 1 + tasks)
    with pytest.raises(FormatError, match="TASK_INFO:2147483648, expected at most 2147483647"):
        read_om_sizes(path)


class CountingFile(io.FileIO):
    """Remembers which ranges were read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[tuple[int, int]] = []

    def readinto(self, buffer: object) -> int | None:
        start = self.tell()
        count = super().readinto(buffer)  # type: ignore[arg-type]
        self.reads.append((start, start + (count or 0)))
        return count


def test_a_gigabyte_of_weights_stays_unread(tmp_path: Path) -> None:
    path = tmp_path / "gigabyte.om"
    edge = field(33, tensor_desc(1, (1, 4), 16))
    definition = model_def(op("x", "Data", edge), op("y", "NetOutput", edge))
    rows = struct.pack("<II", 3, 0)
    offset = 0
    tasks = task_info(11 << 20)
    for kind, size in ((MODEL_DEF, len(definition)), (WEIGHTS, GiB), (TASK, len(tasks))):
        rows += struct.pack("<IIQQ", kind, 0, offset, size)
        offset += size
    with path.open("wb") as file:
        file.write(header(len(rows) + offset) + rows + definition)
        file.seek(GiB, io.SEEK_CUR)
        file.write(tasks)
    with CountingFile(path) as file:
        om = read_om(file)
        assert (om.work_bytes, om.weight_bytes) == (11 << 20, GiB)
        ((start, end),) = om.weight_spans
        assert all(high <= start or end <= low for low, high in file.reads)
        assert sum(high - low for low, high in file.reads) < 4096
        file.reads.clear()
        assert read_om_sizes(file) == OmSizes(11 << 20, GiB, False)
        assert all(high <= start or end <= low for low, high in file.reads)


def test_files_are_values() -> None:
    assert read_om(GOOD) == read_om(GOOD)
    assert isinstance(hash(read_om(GOOD)), int)
    assert OmFile(OmKind.OM2, 13).note == read_om(UNSIZED[OmKind.OM2]).note
