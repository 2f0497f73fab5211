"""Laws of .om files: what is written reads back, and rebuilding what was read gives its bytes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors import FormatError
from arena.formats.digest import digest_model, file_digest
from arena.formats.om import model_size, read_om, read_om_sizes
from arena.formats.om_file import MemorySegment
from arena.formats.om_layout import (
    VERSION_NEW,
    VERSION_OLD,
    ModelTable,
    OmHeader,
    decode_header,
    encode_header,
    read_tables,
)
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, SeededBytes, om_bytes, write_layout
from arena.formats.protobuf import Budget
from arena.formats.source import ByteSource
from planner.model import TensorSpec
from tests.om_files import vendor_query

ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1, "int64": 8, "bool": 1, "bfloat16": 2}
text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
amounts = st.integers(0, 1 << 40)


@st.composite
def tensors(draw: st.DrawFn) -> TensorSpec:
    """A tensor whose size follows from type and shape, so that the graph tells it exactly."""
    dtype = draw(st.sampled_from(sorted(ITEM_BYTES)))
    shape = tuple(draw(st.lists(st.integers(1, 20), max_size=4)))
    size = ITEM_BYTES[dtype]
    for length in shape:
        size *= length
    return TensorSpec(draw(text) + ":0", dtype, shape, size)


@st.composite
def specs(draw: st.DrawFn) -> OmSpec:
    """A model of any kind and layout."""
    version = draw(st.sampled_from([VERSION_OLD, VERSION_NEW]))
    submodels = draw(st.lists(st.integers(0, 300), max_size=3)) if version == VERSION_NEW else []
    unknown_shapes = version == VERSION_NEW and draw(st.booleans())
    is_dynamic = bool(submodels) or unknown_shapes
    width = draw(st.integers(1, 3))
    choices = draw(st.lists(st.tuples(*[st.integers(-1, 1 << 40)] * width), min_size=1, max_size=4))
    kinds = [GearsKind.HW, GearsKind.DIMS] + [GearsKind.BATCH] * (width == 1)
    gears = Gears(
        draw(st.sampled_from(kinds)), tuple(choices), tuple(draw(st.lists(text, max_size=2)))
    )
    return OmSpec(
        work_bytes=0 if is_dynamic else draw(st.integers(0, 1 << 62)),
        weight_bytes=0 if submodels else draw(st.integers(0, 3000)),
        submodel_weight_bytes=tuple(submodels),
        unknown_shapes=unknown_shapes,
        seed=draw(st.integers(0, 1 << 70)),
        sparse=draw(st.booleans()),
        version=version,
        wide=draw(st.sampled_from([True, False, None])),
        name=draw(text),
        soc=draw(text),
        arch=draw(text),
        compiler=draw(text),
        stream_count=draw(st.integers(0, 1 << 31)),
        event_count=draw(amounts),
        label_count=draw(amounts),
        zero_copy_bytes=draw(amounts),
        p2p_bytes=draw(amounts),
        session_scope_bytes=draw(amounts),
        variable_bytes=draw(amounts),
        inputs=tuple(draw(st.lists(tensors(), max_size=3))),
        outputs=tuple(draw(st.lists(tensors(), max_size=3))),
        gears=draw(st.sampled_from([None, gears])),
        segments=tuple(
            draw(
                st.lists(
                    st.builds(MemorySegment, st.integers(0, 9), amounts, amounts, st.booleans()),
                    max_size=3,
                )
            )
        ),
    )


@given(specs())
def test_what_is_written_reads_back(spec: OmSpec) -> None:
    data = om_bytes(spec)
    om = read_om(data)
    for name in set(spec.__slots__) & set(om.__slots__) - {"weight_bytes", "name", "compiler"}:
        assert getattr(om, name) == getattr(spec, name), name
    assert om.dynamic == spec.dynamic
    assert om.weight_bytes == spec.weight_bytes + sum(spec.submodel_weight_bytes)
    assert om.name == spec.name
    assert om.compiler == spec.compiler


@given(specs())
def test_sizes_are_those_of_the_vendors_query(spec: OmSpec) -> None:
    data = om_bytes(spec)
    sizes = read_om_sizes(data)
    assert vendor_query(data) == (sizes.work_bytes, sizes.weight_bytes)
    size = model_size(read_om(data))
    assert (size.work_bytes, size.weight_bytes) == (sizes.work_bytes, sizes.weight_bytes)
    assert size.system_managed == sizes.dynamic == spec.dynamic


@given(specs())
def test_rebuilding_gives_the_same_bytes(spec: OmSpec) -> None:
    data = om_bytes(spec)
    om = read_om(data)
    assert om.header is not None
    models = [[(part.type, data[part.start : part.end]) for part in table] for table in om.tables]
    file = io.BytesIO()
    write_layout(file, om.header, models, is_wide=om.header.is_wide)
    assert file.getvalue() == data


@given(specs())
def test_writing_is_deterministic_and_the_weights_follow_the_seed(spec: OmSpec) -> None:
    data = om_bytes(spec)
    assert om_bytes(spec) == data
    digests = digest_model(data, read_om(data).weight_spans)
    assert digests.file_sha256 == file_digest(data)
    assert bool(digests.weights_sha256) == bool(read_om(data).weight_bytes)


@given(st.binary(min_size=256, max_size=256))
def test_headers_survive_but_for_their_padding(raw: bytes) -> None:
    header = decode_header(raw)
    encoded = encode_header(header)
    assert decode_header(encoded) == header
    assert sum(a != b for a, b in zip(raw, encoded, strict=True)) <= 7


@given(st.integers(0, 5000), st.integers(), st.booleans())
def test_seeded_bytes_have_their_size(size: int, seed: int, sparse: bool) -> None:
    content = b"".join(SeededBytes(size, seed, sparse).chunks())
    assert len(content) == (min(size, 4096) if sparse else size)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=8),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_any_partitions_survive(models: list[list[tuple[int, bytes]]], is_wide: bool) -> None:
    """Contents nobody understands travel through tables of both widths."""
    file = io.BytesIO()
    header = OmHeader(model_count=len(models))
    write_layout(file, header, models, is_wide=is_wide)
    data = file.getvalue()
    if not any(content for _, content in models[-1]):
        with pytest.raises(FormatError, match="ends at"):
            tables_of(data)
        return
    found = [
        [(part.type, data[part.start : part.end]) for part in table] for table in tables_of(data)
    ]
    assert found == models


def tables_of(data: bytes) -> tuple[ModelTable, ...]:
    return read_tables(ByteSource(memoryview(data)), decode_header(data), Budget())
