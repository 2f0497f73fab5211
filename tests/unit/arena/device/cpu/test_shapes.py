"""Shapes are fixed as asked; a shape that depends on data is refused with node and reason."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from arena.device.cpu.shapes import fix_shapes, refuse_data_dependent_shapes
from planner.errors import DecodeError, SpecError
from tests.networks import FLOAT, network

INT64 = TensorProto.INT64
BOOL = TensorProto.BOOL
node = helper.make_node


def open_network() -> ModelProto:
    """Return a network with a named, an unnamed and a fixed axis."""
    return network(
        [node("Relu", ["x"], ["h"]), node("Add", ["h", "w"], ["y"])],
        {"x": ["batch", None, 3]},
        {"y": ["batch", None, 3]},
        {"w": np.ones(3, np.float32)},
    )


def axes_of(model: ModelProto, name: str) -> list[int]:
    values = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    return [axis.dim_value for axis in values[name].type.tensor_type.shape.dim]


def test_open_axes_get_what_was_asked_for() -> None:
    model = open_network()
    fix_shapes(model, {"x": [2, 5, 3]})
    assert axes_of(model, "x") == [2, 5, 3]
    assert axes_of(model, "y") == [0, 0, 3]  # inferred again from the inputs


def test_a_fixed_network_needs_no_shapes() -> None:
    model = network([node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    fix_shapes(model, {})
    assert axes_of(model, "x") == [1, 4]


def test_an_input_without_any_shape_gets_one() -> None:
    model = network([node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(SpecError, match=r"`inputs: {x: \[...\]}` with numbers for all of them$"):
        fix_shapes(model, {})
    fix_shapes(model, {"x": [7]})
    assert axes_of(model, "x") == [7]


def test_weights_that_are_listed_as_inputs_are_no_inputs() -> None:
    model = open_network()
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, ["any"]))
    fix_shapes(model, {"x": [1, 1, 3]})
    with pytest.raises(SpecError, match=r"no such input, expected one of x"):
        fix_shapes(model, {"w": [3]})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            {},
            r"inputs.x: .* open: write `inputs: {x: \[batch, \?, 3\]}` with numbers for batch, \?$",
        ),
        ({"z": [1]}, "inputs.z: the model has no such input, expected one of x"),
        ({"x": [1, 2]}, r"inputs.x: found shape \[1, 2\] of 2 axes, the file has 3"),
        ({"x": [1, 2, 4]}, r"found shape \[1, 2, 4\], but the file fixes \['batch', '\?', 3\]"),
        ({"x": [1, -2, 3]}, "expected every axis >= 0"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, list[int]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fix_shapes(open_network(), shapes)


def check(*nodes: Any, weights: dict[str, Any] | None = None, **types: int) -> None:
    model = network(
        nodes,
        {"x": [4], "i": [1], "b": []},
        {"y": ["any"]},
        weights,
        {"i": INT64, "b": BOOL, **types},
    )
    refuse_data_dependent_shapes(model, "model.onnx")


def body(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    def values(named: dict[str, Any]) -> list[Any]:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in named.items()]

    return helper.make_graph(nodes, "body", values(inputs), values(outputs))


def branch(name: str) -> Any:
    return body([node("Identity", ["x"], [name])], {}, {name: (FLOAT, [4])})


LOOP_INPUTS = {"n": (INT64, []), "c": (BOOL, []), "v": (FLOAT, [4])}
ONE = np.array([1], np.int64)


def test_shapes_of_shapes_are_no_data() -> None:
    check(
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["ones"]),
        node("NonZero", ["ones"], ["where"]),
        node("Reshape", ["x", "s"], ["y"]),
    )


def test_values_may_flow_where_they_give_no_shape() -> None:
    check(node("Gather", ["x", "i"], ["g"]), node("Softmax", ["g"], ["y"], axis=0))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("NonZero", ["x"], ["y"], name="rows")], r"node 'rows' \(NonZero\): the size of its"),
        ([node("Unique", ["x"], ["y"])], r"node 'y' \(Unique\): the size of its output depends"),
        ([node("Compress", ["x", "bs"], ["y"])], r"\(Compress\): the size of its output"),
        ([node("Reshape", ["x", "i"], ["y"])], r"\(Reshape\): a shape, by its input 'i', depends"),
        (
            [node("Add", ["i", "one"], ["j"]), node("Tile", ["x", "j"], ["y"])],
            r"\(Tile\): a shape, by its input 'j',",
        ),
    ],
)
def test_data_that_gives_a_shape_is_refused(nodes: list[Any], message: str) -> None:
    with pytest.raises(DecodeError, match=r"model.onnx: .*" + message) as error:
        check(
            node("Greater", ["x", "zeros"], ["bs"]),
            *nodes,
            weights={"one": ONE, "zeros": np.zeros(4, np.float32)},
        )
    assert "cut the network before it" in str(error.value)


def test_a_branch_by_data_is_refused_and_a_constant_one_is_not() -> None:
    branches = {"then_branch": branch("a"), "else_branch": branch("d")}
    with pytest.raises(DecodeError, match=r"\(If\): which way the network goes, by its input 'b',"):
        check(node("If", ["b"], ["y"], **branches))
    with pytest.raises(DecodeError, match=r"\(NonZero\)"):  # the branch hands data on
        check(
            node("If", ["true"], ["h"], **branches),
            node("NonZero", ["h"], ["y"]),
            weights={"true": np.array(True)},
        )


def loop(condition: list[Any], carried: list[Any]) -> Any:
    return node(
        "Loop",
        ["", "true", "w"],
        ["y"],
        name="loop",
        body=body([*condition, *carried], LOOP_INPUTS, {"c2": (BOOL, []), "v2": (FLOAT, [4])}),
    )


WEIGHTS = {"true": np.array(True), "w": np.ones(4, np.float32), "three": np.int64(3)}


def test_a_counted_loop_is_followed_to_its_end() -> None:
    count = [node("Less", ["n", "three"], ["c2"])]
    check(loop(count, [node("Add", ["v", "x"], ["v2"])]), weights=WEIGHTS)
    # What the loop makes of x is data: seen only after a second look at the body.
    with pytest.raises(DecodeError, match=r"\(NonZero\)"):
        check(
            node("Identity", ["w"], ["u"]),
            node(
                "Loop",
                ["three", "true", "w", "u"],
                ["h", "y2"],
                body=body(
                    [
                        node("Identity", ["c"], ["c2"]),
                        node("Identity", ["v"], ["f2"]),
                        node("Add", ["f", "x"], ["v2"]),
                    ],
                    {**LOOP_INPUTS, "f": (FLOAT, [4])},
                    {"c2": (BOOL, []), "v2": (FLOAT, [4]), "f2": (FLOAT, [4])},
                ),
            ),
            node("NonZero", ["y2"], ["y"]),
            weights=WEIGHTS,
        )


def test_a_loop_that_ends_by_data_is_refused() -> None:
    total = [
        node("ReduceSum", ["v"], ["t"], keepdims=0),
        node("Less", ["t", "hundred"], ["c2"]),
    ]
    with pytest.raises(DecodeError, match=r"node 'loop' \(Loop\): how often it repeats depends"):
        check(
            loop(total, [node("Add", ["v", "x"], ["v2"])]),
            weights={**WEIGHTS, "hundred": np.float32(100)},
        )


def test_other_bodies_are_followed_with_all_their_inputs() -> None:
    scan = node(
        "Scan",
        ["w", "x"],
        ["last", "all"],
        num_scan_inputs=1,
        body=body(
            [node("Add", ["s", "e"], ["s2"]), node("Identity", ["e"], ["o"])],
            {"s": (FLOAT, [4]), "e": (FLOAT, [])},
            {"s2": (FLOAT, [4]), "o": (FLOAT, [])},
        ),
    )
    check(scan, node("Identity", ["last"], ["y"]), weights=WEIGHTS)
    with pytest.raises(DecodeError, match=r"\(NonZero\)"):
        check(scan, node("NonZero", ["last"], ["y"]), weights=WEIGHTS)


def test_functions_of_the_model_are_looked_into() -> None:
    function = helper.make_function(
        "local", "Rows", ["a"], ["b"], [node("NonZero", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    model = helper.make_model(
        helper.make_graph(
            [node("Rows", ["x"], ["y"], domain="local")],
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, [4])],
            [helper.make_tensor_value_info("y", INT64, None)],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        functions=[function],
        ir_version=8,
    )
    with pytest.raises(DecodeError, match=r"\(NonZero\)"):
        refuse_data_dependent_shapes(model, "model.onnx")


def test_operators_of_others_hand_data_on() -> None:
    nodes = [node("Shape", ["x"], ["s"], domain="vendor"), node("Expand", ["x", "s"], ["y"])]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, [4])],
            [helper.make_tensor_value_info("y", FLOAT, None)],
        )
    )
    with pytest.raises(DecodeError, match=r"\(Expand\): a shape, by its input 's',"):
        refuse_data_dependent_shapes(model, "model.onnx")
