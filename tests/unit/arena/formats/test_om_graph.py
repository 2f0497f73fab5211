import pytest

from arena.errors import FormatError
from arena.formats.om_graph import GraphEnds, ModelDefinition, read_model_definition
from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.protobuf import Budget, WireReader
from arena.formats.source import ByteSource
from planner.model import TensorSpec
from tests.om_files import attr, field, model_def, op, tensor_desc, varint


def definition(data: bytes) -> ModelDefinition:
    return read_model_definition(WireReader(ByteSource(memoryview(data)), 0, len(data), Budget()))


def ends(*ops: bytes, attrs: bytes = b"") -> GraphEnds:
    return definition(model_def(*ops, attrs=attrs)).ends()


def data_op(name: str, rest: bytes, index: int | None = None) -> bytes:
    index_attr = b"" if index is None else attr(10, "index", field(3, index))
    return op(name, "Data", index_attr + rest)


def test_an_input_takes_the_exact_size_of_its_own_edge() -> None:
    edges = field(33, tensor_desc(1, (1, 42, 42, 1), 7056)) + field(34, tensor_desc(1, (9,), 7104))
    assert ends(data_op("s", edges)).inputs == (TensorSpec("s", "float32", (1, 42, 42, 1), 7056),)


@pytest.mark.parametrize(
    ("dtype", "shape", "stored", "needed"),
    [
        (1, (1, 42, 42, 1), 7104, 7056),  # padded to 32, and 32 more: the exact bytes
        (1, (1, 42, 42, 1), 0, 7056),  # not stored
        (1, (1, 42, 42, 1), 8192, 8160),  # a format that pads inside: all but the tail
        (1, (-1, 4), 0, 0),  # open
        (1, (-1, 4), 4128, 4096),
        (13, (2,), 32, 0),  # strings have no size
        (28, (3,), 64, 2),  # int4, two a byte
        (1, (4,), 7, 0),  # less than a tail
    ],
)
def test_sizes_of_padded_edges(
    dtype: int, shape: tuple[int, ...], stored: int, needed: int
) -> None:
    edge = tensor_desc(dtype, shape, stored)
    assert ends(op("out", "NetOutput", field(33, edge))).outputs[0].size_bytes == needed
    assert ends(data_op("x", field(34, edge))).inputs[0].size_bytes == needed


def test_inputs_are_ordered_by_index_then_by_place() -> None:
    edge = field(33, tensor_desc(1, (1,), 4))
    found = ends(
        data_op("third", edge, 2),
        data_op("first", edge, 0),
        op("a", "AippData", edge),
        data_op("last", edge, 9),
    )
    assert [tensor.name for tensor in found.inputs] == ["first", "third", "a", "last"]
    unnumbered = ends(op("b", "AnnData", edge), data_op("a", edge), op("skip", "Const", edge))
    assert [tensor.name for tensor in unnumbered.inputs] == ["b", "a"]


def test_shapes_as_the_user_gave_them() -> None:
    """With gears the edge has the largest shape, an attribute the open one."""
    edge = field(33, tensor_desc(1, (8, 3, 4, 4), 1536))
    origin = attr(10, "_mbatch_origin_input_dims", field(1, field(3, varint(-1) + varint(3))))
    assert ends(data_op("x", origin + edge)).inputs == (TensorSpec("x", "float32", (-1, 3), 1536),)
    aipp = attr(10, "_dynamic_aipp_input_dims", field(1, field(3, 7)))
    assert ends(data_op("x", origin + aipp + edge)).inputs[0].shape == (7,)


@pytest.mark.parametrize("packed", [True, False])
def test_shapes_packed_or_not(packed: bool) -> None:
    edge = tensor_desc(3, (2, 3), packed=packed)
    assert ends(data_op("x", field(33, edge))).inputs == (TensorSpec("x", "int8", (2, 3), 6),)


def names(*given: str) -> bytes:
    texts = b"".join(field(2, name) for name in given)
    return attr(11, "attr_model_out_nodes_name", field(1, texts))


OUT = field(33, tensor_desc(7, (1,), 64))
SOURCES = field(24, "conv") + field(24, "pool") + field(25, varint(0) + varint(1))


@pytest.mark.parametrize(
    ("rest", "attrs", "expected"),
    [
        (OUT, names("out_a:0"), ["out_a:0"]),
        (OUT + OUT + SOURCES, names("a", "b"), ["a:0", "b:1"]),
        (OUT + OUT + SOURCES, names("a"), ["output_0_conv_0", "output_1_pool_1"]),
        (OUT + OUT + field(24, "conv") + field(25, 3), b"", ["output_0_conv_3", "output_1"]),
        (OUT, b"", ["output_0"]),
    ],
)
def test_names_of_outputs(rest: bytes, attrs: bytes, expected: list[str]) -> None:
    found = ends(op("Node_Output", "NetOutput", rest), attrs=attrs).outputs
    assert [tensor.name for tensor in found] == expected
    assert {(tensor.dtype, tensor.shape, tensor.size_bytes) for tensor in found} == {
        ("int32", (1,), 4)
    }


def case_op(*attrs: bytes) -> bytes:
    return op("case", "Case", b"".join(attrs))


def test_gears_of_a_case() -> None:
    found = ends(
        case_op(
            attr(10, "_batch_num", field(3, 2)),
            attr(10, "mbatch_dynamic_type", field(3, 2)),
            attr(10, "_pred_value_0", field(1, field(3, varint(32) + varint(64)))),
            attr(10, "_pred_value_1", field(1, field(3, varint(64) + varint(64)))),
            attr(10, "user_designate_shape_order", field(1, field(2, "x"))),
        )
    )
    assert found.gears == Gears(GearsKind.HW, ((32, 64), (64, 64)), ("x",))


def test_a_plain_branch_has_no_gears() -> None:
    assert ends(case_op(attr(10, "other", field(3, 2)))).gears is None


@pytest.mark.parametrize("count", [2**62, 2])
def test_a_hostile_count_of_gears_is_refused(count: int) -> None:
    first = attr(10, "_pred_value_0", field(1, field(3, 1)))
    with pytest.raises(FormatError, match=f"{count} gears, but the operator has no _pred_value_1"):
        ends(case_op(attr(10, "_batch_num", field(3, count)), first))


def test_no_gears_are_no_choice() -> None:
    found = ends(case_op(attr(10, "_batch_num", field(3, -1))))
    assert found.gears == Gears(GearsKind.UNKNOWN)


def test_an_input_without_a_tensor_is_refused() -> None:
    with pytest.raises(FormatError, match="input 'x' has no tensor"):
        ends(data_op("x", b""))


def test_compressed_names_of_operator_attributes() -> None:
    texts = b"".join(field(2, name) for name in ("index", "user_designate_shape_order"))
    tables = (
        attr(11, "om_compress_version", field(3, 1))
        + attr(11, "attr_name_enum", field(1, texts))
        + attr(11, "attrs_use_string_value", field(1, field(5, b"\0\1")))
        + attr(11, "attr_value_enum", field(1, field(2, "x")))
    )
    edge = field(33, tensor_desc(1, (1,), 4))
    found = ends(
        op("second", "Data", attr(10, "\0\x01", field(3, 1)) + edge),
        op("first", "Data", attr(10, "\0\x01", field(3, 0)) + edge),
        case_op(
            attr(10, "_batch_num", field(3, 1)),
            attr(10, "_pred_value_0", field(1, field(3, 4))),
            attr(10, "\0\x02", field(1, field(3, 0))),
        ),
        attrs=tables,
    )
    assert [tensor.name for tensor in found.inputs] == ["first", "second"]
    assert found.gears == Gears(GearsKind.UNKNOWN, ((4,),), ("x",))


def test_only_the_first_graph_counts() -> None:
    edge = field(33, tensor_desc(1, (1,), 4))
    data = model_def(data_op("x", edge)) + field(7, data_op("y", edge))
    assert [tensor.name for tensor in definition(data).ends().inputs] == ["x"]


def test_a_definition_without_graph_or_with_strange_fields() -> None:
    found = definition(field(1, "net") + field(2, 7) + field(99, b"later"))
    assert found.name == "net"
    assert found.ends() == GraphEnds((), (), None)
    odd = (
        op("x", "", b"")
        + field(6, field(1, "no type"))
        + field(6, field(2, "A" * 300))
        + field(8, 1)
    )
    assert ends(odd) == GraphEnds((), (), None)


def test_odd_fields_inside_operators_are_passed_over() -> None:
    edge = field(33, tensor_desc(1, (1,), 4) + field(99, b"later") + field(3, field(2, 1)))
    assert len(ends(data_op("x", field(21, 4) + field(77, b"?") + edge)).inputs) == 1
