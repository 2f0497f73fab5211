import io
from pathlib import Path

import pytest

from arena.formats.om import OmKind, read_om
from arena.formats.om_file import GEARS_INPUT, MemorySegment
from arena.formats.om_layout import VERSION_NEW, VERSION_OLD, OmHeader
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, SeededBytes, om_bytes, write_layout, write_om
from planner.errors import UsageError
from planner.model import TensorSpec
from planner.units import GiB
from tests.om_files import OLD, vendor_query

SPEC = OmSpec(
    work_bytes=11 << 20,
    weight_bytes=1 << 12,
    name="detector",
    soc="Ascend310P3",
    arch="m200",
    compiler="8.0.0",
    stream_count=2,
    event_count=3,
    label_count=4,
    zero_copy_bytes=512,
    p2p_bytes=64,
    session_scope_bytes=128,
    variable_bytes=256,
    inputs=(
        TensorSpec("x", "float16", (-1, 3, 32, 32), 49_152),
        TensorSpec(GEARS_INPUT, "int64", (1,), 8),
    ),
    outputs=(TensorSpec("boxes:0", "float32", (8, 6), 192),),
    gears=Gears(GearsKind.BATCH, ((1,), (8,)), ("x",)),
    segments=(MemorySegment(2, 0, 1024, fixed=True), MemorySegment(2, 1024, 512, fixed=False)),
)


@pytest.mark.parametrize("version", [VERSION_OLD, VERSION_NEW])
@pytest.mark.parametrize("wide", [True, False, None])
def test_everything_in_the_spec_reads_back(version: int, wide: bool | None) -> None:
    fields = {name: getattr(SPEC, name) for name in SPEC.__slots__}
    spec = OmSpec(**{**fields, "version": version, "wide": wide})
    data = om_bytes(spec)
    assert vendor_query(data) == (11 << 20, 1 << 12)
    om = read_om(data)
    assert om.kind is OmKind.STATIC
    assert om.header is not None
    assert (om.header.version, om.header.is_wide) == (version, bool(wide))
    read_back = set(fields) & set(om.__slots__)
    assert len(read_back) == 17
    assert {name: getattr(om, name) for name in read_back} == {
        name: fields[name] for name in read_back
    }
    assert om.hidden_inputs == (GEARS_INPUT,)


@pytest.mark.parametrize("kind", [GearsKind.HW, GearsKind.DIMS])
@pytest.mark.parametrize("version", [VERSION_OLD, VERSION_NEW])
def test_gears_of_several_numbers(kind: GearsKind, version: int) -> None:
    gears = Gears(kind, ((32, 64), (64, 64)), ("x", "y"))
    inputs = (TensorSpec("x", "int8", (-1,), 64),)
    assert read_om(om_bytes(OmSpec(gears=gears, inputs=inputs, version=version))).gears == gears
    # Without tensors the partition is not written, and the operator tells.
    assert read_om(om_bytes(OmSpec(gears=gears, version=version))).gears == gears


def test_dynamic_files() -> None:
    spec = OmSpec(submodel_weight_bytes=(16, 0, 5000), stream_count=3, name="root")
    data = om_bytes(spec)
    assert vendor_query(data) == (0, 5016)
    om = read_om(data)
    assert (om.kind, om.weight_bytes, om.stream_count) == (OmKind.DYNAMIC, 5016, 3)
    first, second = (data[start:end] for start, end in om.weight_spans)
    assert (len(first), len(second)) == (16, 5000)
    assert first != second[:16]
    assert vendor_query(om_bytes(OmSpec(unknown_shapes=True, weight_bytes=7))) == (0, 7)


def test_weights_follow_their_seed() -> None:
    def weights(seed: int, size: int = 3000, sparse: bool = False) -> bytes:
        return b"".join(SeededBytes(size, seed, sparse).chunks())

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)
    assert weights(1, 100) != weights(2, 100)
    assert len(weights(1, 0)) == 0
    assert [len(weights(1, size)) for size in (1, 7, 8, 9)] == [1, 7, 8, 9]
    assert len(weights(1, 1 << 20, sparse=True)) == 4096
    chunks = list(SeededBytes((2 << 20) + 5, 1).chunks())
    assert [len(chunk) for chunk in chunks] == [1 << 20, 1 << 20, 5]
    assert chunks[0] != chunks[1]


def test_a_gigabyte_file_is_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "gigabyte.om"
    write_om(path, OmSpec(work_bytes=1, weight_bytes=GiB, sparse=True, seed=7))
    assert path.stat().st_size > GiB
    assert path.stat().st_blocks * 512 < 1 << 20
    om = read_om(path)
    assert om.weight_bytes == GiB
    with path.open("rb") as file:
        file.seek(om.weight_spans[0][0])
        assert file.read(4096) == b"".join(SeededBytes(GiB, 7, sparse=True).chunks())
        assert file.read(4096) == bytes(4096)


def test_a_hole_at_the_end_of_the_file() -> None:
    file = io.BytesIO()
    write_layout(file, OmHeader(), [[(0, b""), (1, SeededBytes(9000, sparse=True))]], is_wide=True)
    om = read_om(file.getvalue())
    assert om.weight_bytes == 9000


def test_files_are_written_from_where_they_are() -> None:
    file = io.BytesIO(b"before")
    file.seek(6)
    write_om(file, OmSpec(weight_bytes=9000, sparse=True))
    assert file.getvalue() == b"before" + om_bytes(OmSpec(weight_bytes=9000, sparse=True))


def test_wide_only_where_it_must_be(tmp_path: Path) -> None:
    path = tmp_path / "large.om"
    for size, is_wide in ((1 << 30, False), (5 << 30, True)):
        write_om(path, OmSpec(weight_bytes=size, sparse=True))
        om = read_om(path)
        assert om.header is not None
        assert (om.header.is_wide, om.weight_bytes) == (is_wide, size)


def test_long_names_are_cut_in_the_header_alone() -> None:
    om = read_om(om_bytes(OmSpec(name="模" * 20)))
    assert om.name == "模" * 20
    assert om.header is not None
    assert om.header.name == "模" * 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"work_bytes": -1}, r"size -1, expected 0 to 2\^62 bytes"),
        ({"weight_bytes": 2**62 + 1}, "size 4611686018427387905"),
        ({"submodel_weight_bytes": (1, -2)}, "size -2"),
        ({"submodel_weight_bytes": (1,), "version": OLD}, "the old header knows no dynamic models"),
        ({"unknown_shapes": True, "work_bytes": 5}, "dynamic models have no work size"),
        ({"submodel_weight_bytes": (1,), "weight_bytes": 5}, "a root model has no weights"),
        ({"gears": Gears(GearsKind.UNKNOWN)}, "gears of kind unknown"),
        ({"inputs": (TensorSpec("t", "datetime64", (), 8),)}, "no number for dtype 'datetime64'"),
        ({"outputs": (TensorSpec("t", "object", (), 8),)}, "no number for dtype 'object'"),
    ],
)
def test_impossible_specs_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OmSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1 << 32) - 1, 5 << 30])
def test_a_tiny_table_refuses_what_it_cannot_count(size: int) -> None:
    with pytest.raises(UsageError, match="a tiny table counts to"):
        write_om(io.BytesIO(), OmSpec(weight_bytes=size, sparse=True, wide=False))
