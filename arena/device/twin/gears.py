"""What a model's tensors are at a gear, as the twin has it.

Files tell the largest sizes, and which input axes are open. How outputs shrink with a smaller gear
is not read from them: an output whose first axis is the largest batch has as many rows as the
batch; all others stay as large as they are.
"""

from math import prod

from arena.device.acl_types import GEARS_INPUT
from arena.formats.om import OmFile
from arena.formats.om_tensors import GearsKind
from planner.model import TensorSpec

__all__ = ["choices_of", "input_bytes", "input_shapes", "output_bytes", "output_shape"]


def choices_of(om: OmFile, kind: GearsKind) -> tuple[tuple[int, ...], ...]:
    """Return the gears of a model if they are of that kind; none otherwise."""
    return om.gears.choices if om.gears is not None and om.gears.kind is kind else ()


def input_shapes(om: OmFile, choice: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of the inputs at a gear, the hidden one left out."""
    assert om.gears is not None
    visible = (spec for spec in om.inputs if spec.name != GEARS_INPUT)
    return om.gears.kind.filled(choice, visible)


def input_bytes(om: OmFile, choice: tuple[int, ...]) -> list[int]:
    """Return what each input needs at a gear, the hidden one included."""
    assert om.gears is not None
    at_gears = {gear: input_shapes(om, gear) for gear in om.gears.choices}
    needed = []
    position = 0
    for spec in om.inputs:
        if spec.name == GEARS_INPUT:
            needed.append(spec.size_bytes)
            continue
        largest = max(prod(shapes[position]) for shapes in at_gears.values())
        needed.append(spec.size_bytes * prod(at_gears[choice][position]) // max(1, largest))
        position += 1
    return needed


def output_shape(om: OmFile, spec: TensorSpec, choice: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an output at a gear."""
    largest = max((batch for (batch,) in choices_of(om, GearsKind.BATCH)), default=0)
    if choice and largest and spec.shape[:1] == (largest,):
        return (choice[0], *spec.shape[1:])
    return spec.shape


def output_bytes(om: OmFile, choice: tuple[int, ...]) -> list[int]:
    """Return what each output needs at a gear."""
    return [
        spec.size_bytes * prod(output_shape(om, spec, choice)) // max(1, prod(spec.shape))
        for spec in om.outputs
    ]
