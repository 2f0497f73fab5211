"""First fit on a long timeline of short lives: each buffer looks at its own stretch of time.

offset                        Time is cut into buckets. Each keeps what was placed in it, lowest
  ^  |  d d d | d d  |        first; a buffer looks through the few buckets that it is live in,
  |  |  b b   |   c c|        merged by offset, and stops at the first gap.
  |  |  a a a | a    |
  +--+--------+------+--> time
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from planner.solvers.kernels.jit import jit
from planner.solvers.kernels.space import Ints, Space, lift

__all__ = ["MERGE_MAX", "Shelves", "fresh", "place"]

MERGE_MAX: Final = 8
"""Buckets that are merged; a buffer live in more has its neighbours gathered and sorted."""


class Shelves(NamedTuple):
    """The timeline with what lies on it; made by `fresh`, filled by `place`.

    Attributes
    ----------
    lives : int64 array, shape (n, 3)
        Of each buffer the live range, half-open, lower < upper, and the end once it is placed:
        together, because all three are looked at together.
    first, last : int64 array, shape (n,)
        Buckets that a buffer is live in, both ends included.
    begins : int64 array, shape (n_buckets + 1,)
        Where the places of each bucket begin in the next two: one for each buffer live in it.
    starts : int64 array, ids : int32 array
        Offset and index of what is placed, in each bucket by offset.
    filled : int64 array, shape (n_buckets,)
        How many places of a bucket are taken.
    offsets : int64 array, shape (n,), granules
    heads, stops : int64 array, shape (MERGE_MAX,)
        Scratch: the merge.
    steps : int64 array, shape (1,)
        Entries looked at.
    """

    lives: Ints
    first: Ints
    last: Ints
    begins: Ints
    starts: Ints
    ids: npt.NDArray[np.int32]
    filled: Ints
    offsets: Ints
    heads: Ints
    stops: Ints
    steps: Ints


def fresh(lowers: Ints, uppers: Ints, first: Ints, last: Ints, begins: Ints) -> Shelves:
    """Return empty shelves; the arguments are those of `Shelves`."""
    return Shelves(
        np.stack([lowers, uppers, np.zeros_like(lowers)], axis=1),
        first,
        last,
        begins,
        starts=np.zeros(begins[-1], np.int64),
        ids=np.zeros(begins[-1], np.int32),
        filled=np.zeros(len(begins) - 1, np.int64),
        offsets=np.zeros(len(lowers), np.int64),
        heads=np.zeros(MERGE_MAX, np.int64),
        stops=np.zeros(MERGE_MAX, np.int64),
        steps=np.zeros(1, np.int64),
    )


@jit
def place(space: Space, shelves: Shelves, order: Ints, height_max: int) -> int:
    """Place the buffers of `order`, each in its lowest gap; return how many found one.

    Fewer than asked where one would end above `height_max` or finds no place in `space`.
    """
    for k in range(order.shape[0]):
        v = order[k]
        if shelves.last[v] - shelves.first[v] < MERGE_MAX:
            offset = _lowest_by_merge(space, shelves, v)
        else:
            offset = _lowest_by_sort(space, shelves, v)
        if offset > min(space.capacity, height_max) - space.sizes[v]:
            return k
        shelves.offsets[v] = offset
        shelves.lives[v, 2] = offset + space.sizes[v]
        for bucket in range(shelves.first[v], shelves.last[v] + 1):
            _insert(shelves, bucket, v, offset)
    return int(order.shape[0])


@jit
def _lowest_by_merge(space: Space, shelves: Shelves, v: int) -> int:
    """Return the lowest gap of buffer `v`: walk its buckets upwards together."""
    heads, stops, starts, ids, lives = (
        shelves.heads,
        shelves.stops,
        shelves.starts,
        shelves.ids,
        shelves.lives,
    )
    lower, upper, size = lives[v, 0], lives[v, 1], space.sizes[v]
    is_plain, capacity = space.is_plain, space.capacity
    n_lists = 0
    for bucket in range(shelves.first[v], shelves.last[v] + 1):
        if shelves.filled[bucket] > 0:
            heads[n_lists] = shelves.begins[bucket]
            stops[n_lists] = shelves.begins[bucket] + shelves.filled[bucket]
            n_lists += 1
    cursor = lift(space, v, 0)
    steps = 0
    while n_lists > 1:
        steps += 1
        which, start = 0, starts[heads[0]]
        for k in range(1, n_lists):
            if starts[heads[k]] < start:
                which, start = k, starts[heads[k]]
        if start - cursor >= size or cursor > capacity:
            n_lists = 0
            break
        u = ids[heads[which]]
        end = lives[u, 2]
        if end > cursor and lives[u, 0] < upper and lower < lives[u, 1]:
            cursor = end if is_plain == 1 else lift(space, v, end)
        heads[which] += 1
        if heads[which] == stops[which]:
            n_lists -= 1
            heads[which], stops[which] = heads[n_lists], stops[n_lists]
    if n_lists == 1:
        for k in range(heads[0], stops[0]):
            steps += 1
            if starts[k] - cursor >= size or cursor > capacity:
                break
            u = ids[k]
            end = lives[u, 2]
            if end > cursor and lives[u, 0] < upper and lower < lives[u, 1]:
                cursor = end if is_plain == 1 else lift(space, v, end)
    shelves.steps[0] += steps
    return cursor


@jit
def _lowest_by_sort(space: Space, shelves: Shelves, v: int) -> int:
    """Return the lowest gap of buffer `v`: gather its neighbours, each once, and sort them."""
    lives = shelves.lives
    lower, upper, size = lives[v, 0], lives[v, 1], space.sizes[v]
    first = shelves.first[v]
    count = 0
    for bucket in range(first, shelves.last[v] + 1):
        count += shelves.filled[bucket]
    shelves.steps[0] += count
    found = np.empty(count, np.int64)
    starts = np.empty(count, np.int64)
    count = 0
    for bucket in range(first, shelves.last[v] + 1):
        for k in range(shelves.begins[bucket], shelves.begins[bucket] + shelves.filled[bucket]):
            u = shelves.ids[k]
            is_first_sight = bucket == max(first, shelves.first[u])
            if is_first_sight and lives[u, 0] < upper and lower < lives[u, 1]:
                found[count] = u
                starts[count] = shelves.starts[k]
                count += 1
    cursor = lift(space, v, 0)
    for k in np.argsort(starts[:count]):
        if starts[k] - cursor >= size or cursor > space.capacity:
            break
        end = starts[k] + space.sizes[found[k]]
        if end > cursor:
            cursor = lift(space, v, end)
    return cursor


@jit
def _insert(shelves: Shelves, bucket: int, v: int, offset: int) -> None:
    """Put buffer `v` into a bucket, behind what starts at the same offset."""
    starts, ids = shelves.starts, shelves.ids
    low = shelves.begins[bucket]
    end = low + shelves.filled[bucket]
    high = end
    while low < high:
        middle = (low + high) // 2
        if starts[middle] <= offset:
            low = middle + 1
        else:
            high = middle
    for k in range(end, low, -1):
        starts[k] = starts[k - 1]
        ids[k] = ids[k - 1]
    starts[low] = offset
    ids[low] = v
    shelves.filled[bucket] += 1
