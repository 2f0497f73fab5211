"""What a MODEL_DEF partition tells: the model's attributes, and the root graph's ends.

    ModelDef ── attr ──► name: AttrDef        sizes, streams, soc, versions
       └── graph[0] ── op ──► Data, AippData, AnnData: inputs     NetOutput: outputs     Case: gears

Other operators, other graphs and other attributes are skipped unread. Sizes and partitions are not
known here.

References
----------
.. [1] hicann/ge @ffdcbc9f7, graph_metadef/proto/ge_ir.proto (field numbers),
       base/common/model/model_introduction.cc (which operators and sizes the run time uses).
.. [2] Measured on compiled files of 2021: an edge of `n` bytes is stored as ALIGN_UP(n, 32) + 32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from arena.formats.om_attributes import Attributes, NameTable
from arena.formats.om_dtypes import ElementType, element_of_proto
from arena.formats.om_tensors import Gears, GearsKind, shape_of, tensor
from arena.formats.protobuf import BYTES, VARINT, WireReader, as_signed
from arena.formats.source import Span
from planner.model import TensorSpec
from planner.units import align_up

__all__ = ["GraphEnds", "ModelDefinition", "read_model_definition"]

_INPUT_TYPES: Final = frozenset({"Data", "AippData", "AnnData"})
_OUTPUT_TYPE: Final = "NetOutput"
_CASE_TYPE: Final = "Case"
_TYPE_BYTES_MAX: Final = 9
_OPERATOR_ATTRIBUTES: Final = (
    "index",
    "_dynamic_aipp_input_dims",
    "_mbatch_origin_input_dims",
    "_batch_num",
    "_pred_value_",
    "mbatch_dynamic_type",
    "user_designate_shape_order",
)
_MODEL_ATTRIBUTES: Final = (
    "soc_version",
    "arch_type",
    "atc_version",
    "opp_version",
    "stream_num",
    "event_num",
    "label_num",
    "zero_copy_memory_size",
    "p2p_memory_size",
    "session_scope_memory_size",
    "variable_size",
    "sub_memory_info",
    "attr_model_out_nodes_name",
    "om_compress_version",
    "attr_name_enum",
    "attr_value_enum",
    "attrs_use_string_value",
)
_EDGE_GRANULE_BYTES: Final = 32
_EDGE_TAIL_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ModelDefinition:
    """A MODEL_DEF partition: its name and attributes; the root graph waits to be read."""

    name: str
    attributes: Attributes
    graph: Span | None
    wire: WireReader

    def name_table(self) -> NameTable:
        """Return the tables of compressed names."""
        if self.attributes.integer("om_compress_version") == 0:
            return NameTable()
        return NameTable(
            self.attributes.texts("attr_name_enum"),
            self.attributes.flags("attrs_use_string_value"),
            self.attributes.texts("attr_value_enum"),
        )

    def ends(self) -> "GraphEnds":
        """Return inputs, outputs and gears of the root graph."""
        if self.graph is None:
            return GraphEnds((), (), None)
        return _read_ends(self.wire, self.graph, self.name_table(), self.attributes)


def read_model_definition(wire: WireReader) -> ModelDefinition:
    """Return the definition that fills the range of `wire`.

    Raises
    ------
    FormatError
        Not a ModelDef message. The model file is at fault.
    """
    name = ""
    graph = None
    attributes = Attributes(wire, NameTable(), _MODEL_ATTRIBUTES)
    for number, kind, a, b in wire.fields(*wire.span):
        if kind != BYTES:
            continue
        if number == 1:
            name = wire.text(a, b)
        elif number == 7 and graph is None:
            graph = (a, b)
        elif number == 11:
            attributes.add(a, b)
    return ModelDefinition(name, attributes, graph, wire)


@dataclass(frozen=True, slots=True)
class GraphEnds:
    """Inputs, outputs and gears as the root graph has them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gears: Gears | None


@dataclass(frozen=True, slots=True)
class _Edge:
    """A TensorDescriptor: `size_bytes` as stored, 0 where absent."""

    element: ElementType
    shape: tuple[int, ...]
    size_bytes: int
    at: int

    def needed_bytes(self) -> int:
        """Return the bytes of the buffer behind an edge whose size is stored padded.

        The padded size confirms what type and shape say; where they disagree (formats that pad
        inside, types without a size) the stored size counts, less its tail.
        """
        dense = self.element.tensor_bytes(self.shape)
        padded = align_up(dense, _EDGE_GRANULE_BYTES) + _EDGE_TAIL_BYTES
        if self.size_bytes in (0, padded):
            return dense
        return max(self.size_bytes - _EDGE_TAIL_BYTES, 0)


@dataclass(frozen=True, slots=True)
class _Operator:
    """What is read of an operator at an end of the graph."""

    name: str
    attributes: Attributes
    inputs: tuple[_Edge, ...]
    outputs: tuple[_Edge, ...]
    source_names: tuple[str, ...]
    source_indices: tuple[int, ...]


def _read_ends(wire: WireReader, graph: Span, table: NameTable, model: Attributes) -> GraphEnds:
    """Walk the root graph once."""
    inputs: list[tuple[int, TensorSpec]] = []
    outputs: list[TensorSpec] = []
    gears = None
    for number, kind, a, b in wire.fields(*graph):
        if (number, kind) != (6, BYTES):
            continue
        operator_type = _operator_type(wire, a, b)
        if operator_type in _INPUT_TYPES:
            operator = _read_operator(wire, a, b, table)
            has_index = "index" in operator.attributes
            place = operator.attributes.integer("index") if has_index else len(inputs)
            inputs.append((place, _input_tensor(wire, operator)))
        elif operator_type == _OUTPUT_TYPE:
            operator = _read_operator(wire, a, b, table)
            outputs.extend(_output_tensors(wire, operator, model))
        elif operator_type == _CASE_TYPE:
            gears = _read_gears(_read_operator(wire, a, b, table).attributes, wire, a) or gears
    inputs.sort(key=lambda item: item[0])  # stable: equal indices stay in graph order
    return GraphEnds(tuple(spec for _, spec in inputs), tuple(outputs), gears)


def _operator_type(wire: WireReader, start: int, end: int) -> str:
    """Return the type of an operator if it can be one of those that are read, else ""."""
    for number, kind, a, b in wire.fields(start, end):
        if (number, kind) == (2, BYTES):  # written before the long fields: the walk stops here
            return wire.text(a, b) if b - a <= _TYPE_BYTES_MAX else ""
    return ""


def _read_operator(wire: WireReader, start: int, end: int, table: NameTable) -> _Operator:
    """Return the parts of an OpDef that describe an end of the graph."""
    name = ""
    attributes = Attributes(wire, table, _OPERATOR_ATTRIBUTES)
    edges: Mapping[int, list[_Edge]] = {33: [], 34: []}
    source_names = []
    source_indices: list[int] = []
    for field in wire.fields(start, end):
        number, kind, a, b = field
        if number == 25:
            source_indices += wire.integers(field)
        elif kind != BYTES:
            continue
        elif number == 1:
            name = wire.text(a, b)
        elif number == 10:
            attributes.add(a, b)
        elif number == 24:
            source_names.append(wire.text(a, b))
        elif number in edges:
            edges[number].append(_read_edge(wire, a, b))
    return _Operator(
        name,
        attributes,
        tuple(edges[33]),
        tuple(edges[34]),
        tuple(source_names),
        tuple(source_indices),
    )


def _read_edge(wire: WireReader, start: int, end: int) -> _Edge:
    """Return the parts of a TensorDescriptor that size a buffer."""
    element, size_bytes = 0, 0
    dims: list[int] = []
    for number, kind, a, b in wire.fields(start, end):
        if (number, kind) == (2, VARINT):
            element = a
        elif (number, kind) == (3, BYTES):
            for field in wire.fields(a, b):
                if field[0] == 1:
                    dims += wire.integers(field)
        elif (number, kind) == (10, VARINT):
            size_bytes = max(as_signed(a), 0)
    return _Edge(element_of_proto(element), shape_of(dims, wire.source, start), size_bytes, start)


def _input_tensor(wire: WireReader, operator: _Operator) -> TensorSpec:
    """Return the input that a Data operator stands for.

    Its own input edge stores the exact size, and the run time uses that; files without one leave
    the padded size of its output edge.
    """
    if operator.inputs and operator.inputs[0].size_bytes > 0:
        edge = operator.inputs[0]
        size_bytes = edge.size_bytes
    elif operator.outputs or operator.inputs:
        edge = (operator.outputs or operator.inputs)[0]
        size_bytes = edge.needed_bytes()
    else:
        raise wire.source.refuse(wire.start, f"input {operator.name!r} has no tensor")
    shape = edge.shape
    for name in ("_dynamic_aipp_input_dims", "_mbatch_origin_input_dims"):
        if name in operator.attributes:  # the shape as the user gave it, open axes and all
            shape = shape_of(operator.attributes.integers(name), wire.source, edge.at)
            break
    return tensor(operator.name, edge.element.name, shape, size_bytes, wire.source, edge.at)


def _output_tensors(wire: WireReader, operator: _Operator, model: Attributes) -> list[TensorSpec]:
    """Return the outputs that a NetOutput operator gathers, named as the run time names them."""
    given = model.texts("attr_model_out_nodes_name")
    outputs = []
    for index, edge in enumerate(operator.inputs):
        source_index = operator.source_indices[index] if index < len(operator.source_indices) else 0
        if len(given) == len(operator.inputs):
            name = given[index] if ":" in given[index] else f"{given[index]}:{source_index}"
        elif index < len(operator.source_names):
            name = f"output_{index}_{operator.source_names[index]}_{source_index}"
        else:
            name = f"output_{index}"
        outputs.append(
            tensor(name, edge.element.name, edge.shape, edge.needed_bytes(), wire.source, edge.at)
        )
    return outputs


def _read_gears(case: Attributes, wire: WireReader, at: int) -> Gears | None:
    """Return the gears that a Case operator chooses between; None for a plain branch."""
    if "_batch_num" not in case:
        return None
    count = case.integer("_batch_num")
    choices = []
    for index in range(count):
        name = f"_pred_value_{index}"
        if name not in case:
            raise wire.source.refuse(at, f"{count} gears, but the operator has no {name}")
        choices.append(case.integers(name))
    return Gears(
        GearsKind.of_number(case.integer("mbatch_dynamic_type")),
        tuple(choices),
        case.texts("user_designate_shape_order"),
    )
