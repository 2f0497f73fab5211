"""First fit of many buffers on a timeline, without a list of who meets whom.

What is placed is kept by offset in chunks of bounded length; a buffer scans them from the bottom
up, passes over what does not meet it in time, and stops at the first gap that holds it. Chunks make
an insertion cost a chunk instead of everything above.
"""

from typing import Final, NamedTuple

import numpy as np

from planner.solvers.kernels.jit import jit
from planner.solvers.kernels.space import Ints, Space, lift

__all__ = ["Shelf", "fresh", "place"]

_CHUNK: Final = 512


class Shelf(NamedTuple):
    """The buffers placed so far, by offset; made by `fresh`, filled by `place`.

    Attributes
    ----------
    offsets : int64 array, shape (n,), granules
        -1 where not placed.
    counts, turn : int64 array, shape (number of chunks,)
        Entries of each chunk, and the chunks from the bottom up.
    lows, ends, lowers, uppers : int64 array, axes: chunk, entry
        Offset, end and life of each entry.
    used : int64 array, shape (1,)
        Chunks in use.
    """

    offsets: Ints
    counts: Ints
    turn: Ints
    lows: Ints
    ends: Ints
    lowers: Ints
    uppers: Ints
    used: Ints


@jit
def _insert(shelf: Shelf, low: int, end: int, lower: int, upper: int) -> None:
    """Put an entry into the last chunk that begins at most at its offset; halve a full one."""
    k = shelf.used[0] - 1
    while k > 0 and shelf.lows[shelf.turn[k], 0] > low:
        k -= 1
    c = shelf.turn[k]
    if shelf.counts[c] == _CHUNK:
        new = shelf.used[0]
        half = _CHUNK // 2
        for array in (shelf.lows, shelf.ends, shelf.lowers, shelf.uppers):
            array[new, :half] = array[c, half:]
        shelf.counts[c] = shelf.counts[new] = half
        for j in range(new, k + 1, -1):
            shelf.turn[j] = shelf.turn[j - 1]
        shelf.turn[k + 1] = new
        shelf.used[0] = new + 1
        if shelf.lows[new, 0] <= low:
            c = new
    i = shelf.counts[c]
    while i > 0 and shelf.lows[c, i - 1] > low:
        shelf.lows[c, i] = shelf.lows[c, i - 1]
        shelf.ends[c, i] = shelf.ends[c, i - 1]
        shelf.lowers[c, i] = shelf.lowers[c, i - 1]
        shelf.uppers[c, i] = shelf.uppers[c, i - 1]
        i -= 1
    shelf.lows[c, i], shelf.ends[c, i] = low, end
    shelf.lowers[c, i], shelf.uppers[c, i] = lower, upper
    shelf.counts[c] += 1


@jit
def _gap(space: Space, shelf: Shelf, v: int, lower: int, upper: int) -> int:
    """Return the lowest offset where `v` meets nothing placed; above capacity: no place."""
    size = space.sizes[v]
    is_plain = space.is_plain == 1
    offset = 0 if is_plain else lift(space, v, 0)
    if lower >= upper:
        return offset
    for k in range(shelf.used[0]):
        c = shelf.turn[k]
        lows, ends = shelf.lows[c], shelf.ends[c]
        starts, stops = shelf.lowers[c], shelf.uppers[c]
        for i in range(shelf.counts[c]):
            if ends[i] > offset and starts[i] < upper and lower < stops[i]:
                if lows[i] - offset >= size:
                    return offset
                offset = ends[i] if is_plain else lift(space, v, ends[i])
    return offset


@jit
def place(
    space: Space, shelf: Shelf, lowers: Ints, uppers: Ints, order: Ints, begin: int, end: int
) -> bool:
    """Place order[begin:end], each in its lowest gap; return whether all found one."""
    for k in range(begin, end):
        v = order[k]
        offset = _gap(space, shelf, v, lowers[v], uppers[v])
        if offset > space.capacity - space.sizes[v]:
            return False
        shelf.offsets[v] = offset
        if lowers[v] < uppers[v]:
            _insert(shelf, offset, offset + space.sizes[v], lowers[v], uppers[v])
    return True


def fresh(n: int) -> Shelf:
    """Return an empty shelf for `n` buffers."""
    n_chunks = 2 * (n // (_CHUNK // 2) + 1)

    def entries() -> Ints:
        return np.zeros((n_chunks, _CHUNK), np.int64)

    return Shelf(
        offsets=np.full(n, -1, np.int64),
        counts=np.zeros(n_chunks, np.int64),
        turn=np.zeros(n_chunks, np.int64),
        lows=entries(),
        ends=entries(),
        lowers=entries(),
        uppers=entries(),
        used=np.ones(1, np.int64),
    )
