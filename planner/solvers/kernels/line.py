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
    lowers, uppers : int64 array, shape (n,)
        The buffers' lives, half-open.
    offsets : int64 array, shape (n,), granules
        -1 where not placed.
    counts, turn : int64 array, shape (number of chunks,)
        Entries of each chunk, and the chunks from the bottom up.
    lows, ends, starts, stops : int64 array, axes: chunk, entry
        Offset, end and life of each entry.
    used : int64 array, shape (1,)
        Chunks in use.
    steps : int64 array, shape (1,)
        Entries looked at.
    """

    lowers: Ints
    uppers: Ints
    offsets: Ints
    counts: Ints
    turn: Ints
    lows: Ints
    ends: Ints
    starts: Ints
    stops: Ints
    used: Ints
    steps: Ints


@jit
def _insert(shelf: Shelf, low: int, end: int, start: int, stop: int) -> None:
    """Put an entry into the last chunk that begins at most at its offset; halve a full one."""
    k = shelf.used[0] - 1
    while k > 0 and shelf.lows[shelf.turn[k], 0] > low:
        k -= 1
    c = shelf.turn[k]
    if shelf.counts[c] == _CHUNK:
        new = shelf.used[0]
        half = _CHUNK // 2
        for array in (shelf.lows, shelf.ends, shelf.starts, shelf.stops):
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
        shelf.starts[c, i] = shelf.starts[c, i - 1]
        shelf.stops[c, i] = shelf.stops[c, i - 1]
        i -= 1
    shelf.lows[c, i], shelf.ends[c, i] = low, end
    shelf.starts[c, i], shelf.stops[c, i] = start, stop
    shelf.counts[c] += 1


@jit
def _gap(space: Space, shelf: Shelf, v: int) -> int:
    """Return the lowest offset where `v` meets nothing placed; above capacity: no place."""
    size, lower, upper = space.sizes[v], shelf.lowers[v], shelf.uppers[v]
    is_plain = space.is_plain == 1
    offset = 0 if is_plain else lift(space, v, 0)
    if lower >= upper:
        return offset
    steps = 0
    for k in range(shelf.used[0]):
        c = shelf.turn[k]
        lows, ends = shelf.lows[c], shelf.ends[c]
        starts, stops = shelf.starts[c], shelf.stops[c]
        for i in range(shelf.counts[c]):
            if ends[i] > offset and starts[i] < upper and lower < stops[i]:
                if lows[i] - offset >= size:
                    shelf.steps[0] += steps + i
                    return offset
                offset = ends[i] if is_plain else lift(space, v, ends[i])
        steps += shelf.counts[c]
    shelf.steps[0] += steps
    return offset


@jit
def place(space: Space, shelf: Shelf, order: Ints, height_max: int) -> int:
    """Place the buffers of `order`, each in its lowest gap; return how many found one.

    Fewer than asked where one would end above `height_max` or finds no place in `space`.
    """
    for k in range(order.shape[0]):
        v = order[k]
        offset = _gap(space, shelf, v)
        if offset > min(space.capacity, height_max) - space.sizes[v]:
            return k
        shelf.offsets[v] = offset
        if shelf.lowers[v] < shelf.uppers[v]:
            end = offset + space.sizes[v]
            _insert(shelf, offset, end, shelf.lowers[v], shelf.uppers[v])
    return int(order.shape[0])


def fresh(lowers: Ints, uppers: Ints) -> Shelf:
    """Return an empty shelf for buffers of these lives."""
    n = len(lowers)
    n_chunks = 2 * (n // (_CHUNK // 2) + 1)

    def entries() -> Ints:
        return np.zeros((n_chunks, _CHUNK), np.int64)

    return Shelf(
        lowers=lowers,
        uppers=uppers,
        offsets=np.full(n, -1, np.int64),
        counts=np.zeros(n_chunks, np.int64),
        turn=np.zeros(n_chunks, np.int64),
        lows=entries(),
        ends=entries(),
        starts=entries(),
        stops=entries(),
        used=np.ones(1, np.int64),
        steps=np.zeros(1, np.int64),
    )
