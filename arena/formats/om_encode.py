"""The contents of partitions that describe a model: what `om_io`, `om_graph` and `om` read.

Protobuf and blocks are encoded by hand: a few fields, written as compilers write them.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from arena.formats.om_dtypes import numbers_of
from arena.formats.om_io import TENSOR_HEAD, InOutType
from arena.formats.om_spec import OmSpec
from arena.formats.om_tensors import GearsKind
from planner.model import TensorSpec
from planner.units import align_up

__all__ = ["encode_inout", "encode_model_definition", "encode_tasks"]

_EDGE_GRANULE_BYTES: Final = 32
_EDGE_TAIL_BYTES: Final = 32
_LAYOUT_ND: Final = 2
_GEARS: Final = {
    GearsKind.BATCH: (1, InOutType.BATCH),
    GearsKind.HW: (2, InOutType.HW),
    GearsKind.DIMS: (3, InOutType.DIMS),
}


def encode_tasks(spec: OmSpec, weight_bytes: int) -> bytes:
    """Return a ModelTaskDef without tasks."""
    return b"".join(
        (
            _bytes(1, b"npu-arena"),
            _integer(11, spec.work_bytes),
            _integer(12, spec.stream_count),
            _integer(13, spec.event_count),
            _integer(14, weight_bytes),
        )
    )


def encode_model_definition(spec: OmSpec, weight_bytes: int) -> bytes:
    """Return a ModelDef: name, a graph of inputs, outputs and gears, attributes."""
    numbers = {
        "memory_size": spec.work_bytes,
        "weight_size": weight_bytes,
        "zero_copy_memory_size": spec.zero_copy_bytes,
        "p2p_memory_size": spec.p2p_bytes,
        "session_scope_memory_size": spec.session_scope_bytes,
        "variable_size": spec.variable_bytes,
        "stream_num": spec.stream_count,
        "event_num": spec.event_count,
        "label_num": spec.label_count,
    }
    texts = {"soc_version": spec.soc, "arch_type": spec.arch, "atc_version": spec.compiler}
    attributes = [(name, _integer(3, value)) for name, value in numbers.items()]
    attributes += [(name, _bytes(2, text.encode())) for name, text in texts.items() if text]
    if spec.outputs:
        names = [tensor.name for tensor in spec.outputs]
        attributes.append(("attr_model_out_nodes_name", _text_list(names)))
    if spec.segments:
        rows = [
            (item.memory_type, item.offset_bytes, item.size_bytes, int(item.fixed))
            for item in spec.segments
        ]
        encoded = b"".join(_bytes(1, _packed(1, row)) for row in rows)
        attributes.append(("sub_memory_info", _bytes(14, encoded)))
    return b"".join(
        (
            _bytes(1, spec.name.encode()),
            _bytes(7, _graph(spec)),
            *(_attribute(11, name, value) for name, value in attributes),
        )
    )


def _graph(spec: OmSpec) -> bytes:
    """Return a GraphDef of Data, NetOutput and Case operators."""
    operators = []
    for index, tensor in enumerate(spec.inputs):
        edges = _bytes(33, _edge(tensor, tensor.size_bytes))
        edges += _bytes(34, _edge(tensor, _padded(tensor.size_bytes)))
        index_attribute = _attribute(10, "index", _integer(3, index))
        operators.append(_operator(tensor.name, "Data", index_attribute + edges))
    if spec.gears is not None:
        gears = [("_batch_num", _integer(3, len(spec.gears.choices)))]
        gears.append(("mbatch_dynamic_type", _integer(3, _GEARS[spec.gears.kind][0])))
        gears.append(("user_designate_shape_order", _text_list(spec.gears.order)))
        for index, choice in enumerate(spec.gears.choices):
            gears.append((f"_pred_value_{index}", _bytes(1, _packed(3, choice))))
        encoded = b"".join(_attribute(10, name, value) for name, value in gears)
        operators.append(_operator("gears", "Case", encoded))
    if spec.outputs:
        edges = b"".join(
            _bytes(33, _edge(tensor, _padded(tensor.size_bytes))) for tensor in spec.outputs
        )
        operators.append(_operator("Node_Output", "NetOutput", edges))
    return _bytes(1, spec.name.encode()) + b"".join(_bytes(6, item) for item in operators)


def _operator(name: str, kind: str, rest: bytes) -> bytes:
    return _bytes(1, name.encode()) + _bytes(2, kind.encode()) + rest


def _edge(tensor: TensorSpec, size_bytes: int) -> bytes:
    """Return a TensorDescriptor."""
    numbers = numbers_of(tensor.dtype)
    assert numbers is not None  # OmSpec refused it
    shape = _packed(1, tensor.shape)
    return _integer(2, numbers[0]) + _bytes(3, shape) + _integer(10, size_bytes)


def _padded(size_bytes: int) -> int:
    """Return the stored size of an edge: rounded up to 32, and 32 more."""
    return align_up(size_bytes, _EDGE_GRANULE_BYTES) + _EDGE_TAIL_BYTES if size_bytes else 0


def encode_inout(spec: OmSpec) -> bytes:
    """Return a MODEL_INOUT_INFO partition."""
    blocks = [
        (InOutType.INPUTS, _tensors(spec.inputs)),
        (InOutType.OUTPUTS, _tensors(spec.outputs)),
    ]
    if spec.gears is not None:
        choices = spec.gears.choices
        values = b"".join(struct.pack(f"<{len(row)}q", *row) for row in choices)
        is_batch = spec.gears.kind is GearsKind.BATCH
        lengths = () if is_batch else tuple(map(len, choices))
        head = struct.pack(f"<{1 + len(lengths)}I", len(choices), *lengths)
        blocks.append((_GEARS[spec.gears.kind][1], head + values))
        names = [name.encode() for name in spec.gears.order]
        head = struct.pack(f"<{1 + len(names)}I", len(names), *map(len, names))
        blocks.append((InOutType.ORDER, head + b"".join(names)))
    return b"".join(struct.pack("<II", kind, len(value)) + value for kind, value in blocks)


def _tensors(tensors: Sequence[TensorSpec]) -> bytes:
    encoded = [struct.pack("<I", len(tensors))]
    for tensor in tensors:
        numbers = numbers_of(tensor.dtype)
        assert numbers is not None  # OmSpec refused it
        name = tensor.name.encode()
        dims = struct.pack(f"<{len(tensor.shape)}q", *tensor.shape)
        encoded.append(
            TENSOR_HEAD.pack(
                tensor.size_bytes, _LAYOUT_ND, numbers[1], len(name), len(dims), len(dims), 0
            )
        )
        encoded += (name, dims, dims)
    return b"".join(encoded)


def _attribute(number: int, name: str, value: bytes) -> bytes:
    """Return one entry of a map of AttrDefs."""
    return _bytes(number, _bytes(1, name.encode()) + _bytes(2, value))


def _text_list(texts: Iterable[str]) -> bytes:
    """Return an AttrDef that holds a list of strings."""
    return _bytes(1, b"".join(_bytes(2, text.encode()) for text in texts))


def _bytes(number: int, value: bytes) -> bytes:
    """Return a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _integer(number: int, value: int) -> bytes:
    """Return a varint field; negative numbers as int64."""
    return _varint(number << 3) + _varint(value % (1 << 64))


def _packed(number: int, values: Iterable[int]) -> bytes:
    """Return a packed repeated int64."""
    return _bytes(number, b"".join(_varint(value % (1 << 64)) for value in values))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
