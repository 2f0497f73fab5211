"""Values that several partitions describe: tensors with a bounded shape, and gears."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from typing import Final

from arena.formats.source import ByteSource
from planner.model import TensorSpec
from planner.units import BYTES_MAX

__all__ = ["Gears", "GearsKind", "shape_of", "tensor"]

_RANK_MAX: Final = 128  # ACL_MAX_DIM_CNT
_UNKNOWN_RANK: Final = -2


class GearsKind(StrEnum):
    """What is chosen before each execution."""

    BATCH = "batch"
    HW = "hw"
    DIMS = "dims"
    UNKNOWN = "unknown"

    @classmethod
    def of_number(cls, number: int) -> "GearsKind":
        """Return the kind behind the compiler's number (1 batch, 2 image size, 3 dims)."""
        return {1: cls.BATCH, 2: cls.HW, 3: cls.DIMS}.get(number, cls.UNKNOWN)

    def filled(
        self, choice: tuple[int, ...], inputs: Iterable[TensorSpec]
    ) -> list[tuple[int, ...]]:
        """Return the shapes of all inputs but the hidden one, a choice in place of open axes.

        Examples
        --------
        >>> image = TensorSpec("x", "float32", (1, -1, -1), 512)
        >>> GearsKind.HW.filled((4, 8), [image, image])
        [(1, 4, 8), (1, 4, 8)]
        >>> GearsKind.DIMS.filled((4, 8, 2, 6), [image, image])
        [(1, 4, 8), (1, 2, 6)]
        """
        all_axes = iter(choice)
        shapes = []
        for spec in inputs:
            # A batch and an image size hold for every input; dims are given axis by axis.
            axes = all_axes if self is GearsKind.DIMS else cycle(choice)
            shapes.append(tuple(next(axes) if axis == -1 else axis for axis in spec.shape))
        return shapes


@dataclass(frozen=True, slots=True)
class Gears:
    """The shapes that a model was compiled for, one of which is chosen before each execution.

    Attributes
    ----------
    kind : GearsKind
    choices : tuple of tuple of int
        One row a gear: (batch,), (height, width), or the open axes of all inputs in order.
    order : tuple of str
        Inputs that the axes belong to, where the file tells.
    """

    kind: GearsKind
    choices: tuple[tuple[int, ...], ...] = ()
    order: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join("x".join(map(str, choice)) for choice in self.choices)
        return f"dynamic {self.kind}: {shown}" if shown else f"dynamic {self.kind}"


def shape_of(dims: Sequence[int], source: ByteSource, at: int) -> tuple[int, ...]:
    """Return stored dims as a shape: -1 where open, empty where not even the rank is known.

    Raises
    ------
    FormatError
        More than 128 axes. The model file is at fault.
    """
    if len(dims) > _RANK_MAX:
        raise source.refuse(at, f"a tensor of {len(dims)} axes, expected at most {_RANK_MAX}")
    if _UNKNOWN_RANK in dims:
        return ()
    return tuple(max(length, -1) for length in dims)


def tensor(
    name: str, dtype: str, shape: tuple[int, ...], size_bytes: int, source: ByteSource, at: int
) -> TensorSpec:
    """Return a tensor.

    Raises
    ------
    FormatError
        Larger than a device can count. The model file is at fault.
    """
    if not 0 <= size_bytes <= BYTES_MAX:
        raise source.refuse(at, f"tensor {name!r} of {size_bytes} bytes, expected at most 2^62")
    return TensorSpec(name, dtype, shape, size_bytes)
