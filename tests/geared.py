"""Models with gears: .om files of every kind."""

from pathlib import Path

from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, write_om
from planner.model import TensorSpec

__all__ = ["HIDDEN", "geared_om", "geared_spec"]

HIDDEN = TensorSpec("ascend_mbatch_shape_data", "int32", (4,), 16)
_KINDS = {
    GearsKind.BATCH: (Gears(GearsKind.BATCH, ((1,), (8,), (2,))), (-1, 3), 8 * 3 * 4, (8, 5)),
    GearsKind.HW: (Gears(GearsKind.HW, ((4, 8), (16, 8))), (1, -1, -1), 16 * 8 * 4, (1, 5)),
    GearsKind.DIMS: (Gears(GearsKind.DIMS, ((3, 7), (6, 2))), (2, -1, -1), 2 * 21 * 4, (1, 5)),
}


def geared_spec(kind: GearsKind, name: str = "geared", seed: int = 1) -> OmSpec:
    """Return a model with gears of one kind: an input with open axes, the hidden one, an output."""
    gears, shape, size, out = _KINDS[kind]
    image = TensorSpec("x", "float32", shape, size)
    rows, columns = out
    output = TensorSpec("y:0", "float32", out, rows * columns * 4)
    return OmSpec(
        name=name,
        seed=seed,
        work_bytes=65_536,
        weight_bytes=8_192,
        inputs=(image, HIDDEN),
        outputs=(output,),
        gears=gears,
    )


def geared_om(path: Path, kind: GearsKind = GearsKind.BATCH, seed: int = 1) -> Path:
    """Write such a model."""
    write_om(path, geared_spec(kind, path.stem, seed))
    return path
