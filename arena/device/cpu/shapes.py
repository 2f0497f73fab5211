"""Input shapes of an ONNX model: fixed as asked, and proof that no shape depends on data.

A plan holds for fixed shapes. Inputs get theirs here; inside, every shape follows from them unless
an operator makes it out of values:

    x ──► NonZero ──► ...            as many rows as x has values other than zero
    x ──► Cast ──► Reshape(y, x')    the new shape is data
    x ──► If(x)                      which way the network goes is data
    x ──► Shape ──► Reshape(y, x')   fine: the shape of a shaped input is no data
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from arena.errors import OpenAxesError
from planner.errors import DecodeError, SpecError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["fix_shapes", "open_gears", "open_inputs", "refuse_data_dependent_shapes"]

_SHAPE_FROM_VALUES: Final = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
_KNOWS_SHAPES_ONLY: Final = frozenset({"Shape", "Size"})
# Operator -> the inputs whose values decide a shape, or the way that the execution takes.
_SHAPE_INPUTS: Final[Mapping[str, tuple[int, ...]]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}


def open_inputs(model: "ModelProto") -> dict[str, bool]:
    """Return input name -> whether the file leaves an axis of it open."""
    return {name: _is_open(value) for name, value in _inputs(model).items()}


def fix_shapes(model: "ModelProto", shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the inputs of `model` the `shapes` that were asked for, in place.

    Parameters
    ----------
    shapes : mapping of input name to axes
        Each axis >= 0; for inputs whose axes the file leaves open. An axis that the file fixes must
        be asked for as it is.

    Raises
    ------
    SpecError
        A name, a rank or a fixed axis differs, or an input stays open: `path` is ``inputs.NAME``.
    """
    inputs = _inputs(model)
    for name in shapes:
        if name not in inputs:
            raise SpecError(
                f"the model has no such input, expected one of {', '.join(sorted(inputs))}",
                f"inputs.{name}",
            )
    for name, value in inputs.items():
        _fix_input(value, shapes.get(name))
    # What the file says of inner and resulting shapes was true for open axes: inferred again.
    del model.graph.value_info[:]
    for value in model.graph.output:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_value < 1:
                axis.Clear()


def open_gears(
    model: "ModelProto",
    shapes: Mapping[str, Sequence[int]],
    gears: Sequence[Mapping[str, Sequence[int]]],
) -> list[tuple[int, ...]]:
    """Fix all axes of the inputs but those that differ between gears, in place.

    Parameters
    ----------
    shapes : mapping of input name to axes
        Of inputs that are the same in all gears.
    gears : sequence of mapping of input name to axes
        Two or more, all of the same inputs.

    Returns
    -------
    list of tuple of int
        The choice that each gear is: the axes that differ, in the order of inputs and axes.

    Raises
    ------
    SpecError
        As `fix_shapes`, for any gear.
    """
    from onnx import ModelProto

    inputs = list(_inputs(model).values())
    for gear in gears:
        probe = ModelProto()
        probe.graph.input.extend(inputs)
        fix_shapes(probe, {**shapes, **gear})
    fix_shapes(model, {**shapes, **gears[0]})
    choices: list[list[int]] = [[] for _ in gears]
    for value in inputs:
        axes = value.type.tensor_type.shape.dim
        for index, found in enumerate(
            zip(*(gear.get(value.name, ()) for gear in gears), strict=True)  # one rank
        ):
            if len(set(found)) > 1:
                axes[index].dim_param = f"gear {value.name} {index}"
                for choice, size in zip(choices, found, strict=True):
                    choice.append(size)
    return [tuple(choice) for choice in choices]


def _fix_input(value: "ValueInfoProto", shape: Sequence[int] | None) -> None:
    tensor = value.type.tensor_type
    axes = tensor.shape.dim
    path = f"inputs.{value.name}"
    found = [axis.dim_value if _is_fixed(axis) else axis.dim_param or "?" for axis in axes]
    if shape is None:
        if _is_open(value):
            raise OpenAxesError(value.name, found)
        return
    if any(size < 0 for size in shape):
        raise SpecError(f"found shape {list(shape)}, expected every axis >= 0", path)
    if not tensor.HasField("shape"):
        for _ in shape:
            axes.add()
    if len(axes) != len(shape):
        raise SpecError(
            f"found shape {list(shape)} of {len(shape)} axes, the file has {len(axes)}: {found}",
            path,
        )
    for axis, size in zip(axes, shape, strict=True):
        if _is_fixed(axis) and axis.dim_value != size:
            raise SpecError(f"found shape {list(shape)}, but the file fixes {found}", path)
        axis.Clear()
        axis.dim_value = size


def _inputs(model: "ModelProto") -> dict[str, "ValueInfoProto"]:
    """Return the inputs by name; weights may be listed among them, and are left out."""
    weights = {weight.name for weight in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in weights}


def _is_open(value: "ValueInfoProto") -> bool:
    tensor = value.type.tensor_type
    return not tensor.HasField("shape") or not all(map(_is_fixed, tensor.shape.dim))


def _is_fixed(axis: object) -> bool:
    # Exporters write 0 and -1 for open axes.
    return getattr(axis, "dim_value", 0) > 0


def refuse_data_dependent_shapes(model: "ModelProto", path: str) -> None:
    """Raise if a shape, or the way through the network, depends on the values of an input.

    Parameters
    ----------
    path : str
        Name of the file, for the message.

    Raises
    ------
    DecodeError
        Names the first such node and the operator.

    Notes
    -----
    Values are followed from the inputs through every operator; of operators outside the ONNX
    standard it is only known that their outputs depend on their inputs. What is missed here differs
    between two traces, or leaves its plan and ends as an error of the execution.
    """
    from onnx.inliner import inline_local_functions

    if model.functions:
        model = inline_local_functions(model)
    weights = {weight.name for weight in model.graph.initializer}
    _Walk(path).graph(
        model.graph, {value.name for value in model.graph.input if value.name not in weights}
    )


class _Walk:
    """Follows the names whose values depend on the inputs of the network."""

    def __init__(self, path: str) -> None:
        self.path = path

    def graph(self, graph: "GraphProto", tainted: set[str]) -> list[bool]:
        """Add to `tainted` what `graph` computes from it; return which of its outputs are."""
        for node in graph.node:  # ONNX wants them in topological order
            self.node(node, tainted)
        return [value.name in tainted for value in graph.output]

    def node(self, node: "NodeProto", tainted: set[str]) -> None:
        data = [name in tainted for name in node.input]
        is_standard = node.domain in ("", "ai.onnx")
        if is_standard:
            self.refuse(node, data)
        outputs: Iterable[bool] = [any(data)] * len(node.output)
        if is_standard and node.op_type in _KNOWS_SHAPES_ONLY:
            outputs = [False] * len(node.output)
        elif is_standard and node.op_type == "If":
            branches = [self.graph(body.g, tainted) for body in node.attribute]
            outputs = [any(pair) for pair in zip(*branches, strict=True)]
        elif is_standard and node.op_type == "Loop":
            outputs = self.loop(node, data, tainted)
        else:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    tainted.update(value.name for value in attribute.g.input)
                    outputs = [any(self.graph(attribute.g, tainted))] * len(node.output)
        tainted.update(name for name, is_data in zip(node.output, outputs, strict=True) if is_data)

    def loop(self, node: "NodeProto", data: list[bool], tainted: set[str]) -> list[bool]:
        """Follow a loop's body until nothing is added; its condition must not become data."""
        body = node.attribute[0].g
        carried = [False, False, *data[2:]]  # iteration number, condition, values
        while True:
            tainted.update(
                value.name for value, is_data in zip(body.input, carried, strict=True) if is_data
            )
            condition, *results = self.graph(body, tainted)
            if condition:
                raise self.error(node, "how often it repeats")
            after = [a or b for a, b in zip(carried[2:], results, strict=False)]
            if after == carried[2:]:
                return results
            carried[2:] = after

    def refuse(self, node: "NodeProto", data: list[bool]) -> None:
        if node.op_type in _SHAPE_FROM_VALUES and any(data):
            raise self.error(node, "the size of its output")
        for k in _SHAPE_INPUTS.get(node.op_type, ()):
            if k < len(data) and data[k]:
                what = "which way the network goes" if node.op_type == "If" else "a shape"
                raise self.error(node, f"{what}, by its input {node.input[k]!r},")

    def error(self, node: "NodeProto", what: str) -> DecodeError:
        name = node.name or (node.output[0] if node.output else "")
        return DecodeError(
            f"node {name!r} ({node.op_type}): {what} depends on the data, so its memory cannot be "
            "planned; cut the network before it and do that part outside",
            self.path,
        )
