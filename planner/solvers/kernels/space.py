"""Where a buffer may start: alignment, pinned neighbours and walls between blocks.

All kernels ask one question here: the lowest legal offset not below a given one. Everything is
counted in granules, the common divisor of all sizes and places of a problem.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.solvers.kernels.jit import jit

__all__ = ["Ints", "Space", "lift"]

Ints = npt.NDArray[np.int64]


class Space(NamedTuple):
    """The buffers to place and what restricts each of them alone.

    Attributes
    ----------
    sizes, aligns : int64 array, shape (n,), granules
        Sizes >= 1; offsets are multiples of `aligns` (>= 1).
    fence_start : int64 array, shape (n + 1,)
        Fences of buffer v are `fence_start[v]` to `fence_start[v + 1]` in the next two.
    fence_lows, fence_ends : int64 array, granules
        Byte ranges [low, end) that the buffer must not meet: pinned buffers in conflict with it,
        ascending by low.
    walls : int64 array, granules
        Ends of blocks, ascending: no buffer has a wall inside.
    capacity : int, granules
        No buffer ends above it; at most 2^62.
    is_plain : int
        1 iff no alignment above 1, no fence and no wall exists.
    """

    sizes: Ints
    aligns: Ints
    fence_start: Ints
    fence_lows: Ints
    fence_ends: Ints
    walls: Ints
    capacity: int
    is_plain: int


@jit
def lift(space: Space, v: int, offset: int) -> int:
    """Return the lowest legal offset of buffer `v` not below `offset`; above capacity: no place.

    What is returned where no place exists is capacity + 1.
    """
    size = space.sizes[v]
    last = space.capacity - size
    if space.is_plain == 1:
        return offset if offset <= last else space.capacity + 1
    align = space.aligns[v]
    fence = space.fence_start[v]
    fence_end = space.fence_start[v + 1]
    wall = 0
    while True:
        before = offset
        rest = offset % align
        if rest != 0:
            if offset > last or align - rest > last - offset:
                return space.capacity + 1
            offset += align - rest
        if offset > last:
            return space.capacity + 1
        while wall < space.walls.shape[0] and space.walls[wall] <= offset:
            wall += 1
        if wall < space.walls.shape[0] and space.walls[wall] - offset < size:
            offset = space.walls[wall]
        for k in range(fence, fence_end):
            if space.fence_lows[k] - offset < size and offset < space.fence_ends[k]:
                offset = space.fence_ends[k]
        if offset == before:
            return offset
