"""Branch and bound at a given capacity, with an explicit stack.

    offset                       A solution can be pushed down until every buffer lies on 0 or on
      ^        +---------+       the top of a lower one, and read upward. So the search places
      |   +----+ v       |       buffers by non-decreasing offset, each at its `least` offset:
      |   |    +---------+       the lowest legal one above all placed buffers it conflicts with.
      |   | u  |    |            It ends when everything is placed below the capacity.
      +---+----+----+-->
      group:  0 |  1 |           A group is a set of buffers that pairwise conflict: alive at one
                                 time (a section of a line), or a clique of a cover.

Pruning: a group needs its floor (the least `least` of its unplaced buffers) and the total of their
sizes below the capacity; a buffer is no candidate where another would fit below it as it is
(dominance), or so high that the tallest group does not fit above its offset. Where the unplaced
buffers fall apart into parts without conflict, the parts are solved one after the other, each from
its own floor up; so nothing that meets no unplaced buffer is ever tried twice.

A search is a stack of frames. A frame has a part (its unplaced buffers in preorder, its groups),
candidates, and the marks to which the trails are undone; placing a candidate leaves one child part
or several. All memory is in `State`, so that a search can pause after any number of nodes.

References
----------
.. [1] M. D. Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
   Learning", ASPLOS 2023: canonical solutions, section inference, dominance, decomposition in
   time, the preorders by width, area and total. Here with groups beyond sections,
   floors kept where they change, and a stack that is kept between turns instead of restarts.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from planner.solvers.kernels.jit import inlined, jit
from planner.solvers.kernels.space import Ints, Space, lift

__all__ = [
    "EXHAUSTED",
    "FULL",
    "NODES",
    "N_PREORDERS",
    "PAUSED",
    "SOLVED",
    "Shape",
    "State",
    "fresh",
    "roomier",
    "search",
]

SOLVED: Final = 0
EXHAUSTED: Final = 1
PAUSED: Final = 2
FULL: Final = 3

N_PREORDERS: Final = 4
"""By spread; by the tallest group, then area; by the tallest group, then spread; by size."""

# Columns of a frame.
_PART: Final = 0
_LAST_OFFSET: Final = 1
_LAST_INDEX: Final = 2
_NEXT: Final = 3
_END: Final = 4
_CHILD: Final = 5
_CHILD_END: Final = 6
_PLACED_MARK: Final = 7
_RAISED_MARK: Final = 8
_FLOORED_MARK: Final = 9
_POOL_MARK: Final = 10
_PARTS_MARK: Final = 11
_FRAME_COLUMNS: Final = 12

# Columns of a part: where its members and its groups lie in the pool.
_FIRST: Final = 0
_LAST: Final = 1
_GROUP_FIRST: Final = 2
_GROUP_LAST: Final = 3
_PART_COLUMNS: Final = 4

# Registers: what a paused search remembers beside its arrays.
_DEPTH: Final = 0
_MODE: Final = 1
_PLACED: Final = 2
_RAISED: Final = 3
_FLOORED: Final = 4
_CANDIDATES: Final = 5
_POOL: Final = 6
_PARTS: Final = 7
_STAMP: Final = 8
NODES: Final = 9
_N_REGISTERS: Final = 10

# Modes.
_OPEN: Final = 0
_TRY: Final = 1
_CLOSE: Final = 2


class Shape(NamedTuple):
    """What a search never changes.

    Attributes
    ----------
    space : Space
    spreads : float64 array, shape (n,)
        How much of the rest a buffer meets: length of its life, or number of conflicts.
    noise : float64 array, shape (n,)
        Factors that shake the preorder; 1 for none.
    preorder : int
        Below `N_PREORDERS`.
    group_start : int64 array, shape (n + 1,)
    groups : int64 array
        Groups of buffer v, ascending: group_start[v] to group_start[v + 1]. On a line consecutive.
    member_start : int64 array, shape (m + 1,)
    members : int64 array
        Members of group g, ascending: member_start[g] to member_start[g + 1].
    neighbour_start : int64 array, shape (n + 1,)
    neighbours : int64 array
        Buffers in conflict with buffer v, ascending.
    adjacent : uint8 array, shape (n, n); shape (0, 0) on a line
        1 where two buffers conflict.
    """

    space: Space
    spreads: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    preorder: int
    group_start: Ints
    groups: Ints
    member_start: Ints
    members: Ints
    neighbour_start: Ints
    neighbours: Ints
    adjacent: npt.NDArray[np.uint8]


class State(NamedTuple):
    """A search between two nodes; made by `fresh`, advanced by `search`.

    Attributes
    ----------
    offsets : int64 array, shape (n,), granules
        -1 where not placed: the solution, once solved.
    least : int64 array, shape (n,)
        Lowest legal offset above all placed conflicting buffers.
    stamps : int64 array, shape (n,)
        The last placement that raised each buffer.
    floors, keepers, totals, crossing : int64 array, shape (m,)
        Of each group: least `least` of its unplaced members and who has it, their total size; on a
        line, how many of them also live in the next section.
    marks, marked : int64 array, shape (m,)
        Scratch.
    placed, raised, raised_from, floored, floored_from, kept_by : int64 array
        Trails: what to take back.
    candidates, pool : int64 array
        Stacks of candidates (index in their part) and of the members and groups of parts.
    parts, frames : int64 array, two axes: index, column
    keys : float64 array, shape (n, 3)
        Scratch of the preorder.
    registers : int64 array
    """

    offsets: Ints
    least: Ints
    stamps: Ints
    floors: Ints
    keepers: Ints
    totals: Ints
    crossing: Ints
    marks: Ints
    marked: Ints
    placed: Ints
    raised: Ints
    raised_from: Ints
    floored: Ints
    floored_from: Ints
    kept_by: Ints
    candidates: Ints
    pool: Ints
    parts: Ints
    frames: Ints
    keys: npt.NDArray[np.float64]
    registers: Ints


@jit
def _sort_members(shape: Shape, state: State, begin: int, end: int) -> None:
    """Sort pool[begin:end] by the preorder, most constraining first, ties by index."""
    pool, keys = state.pool, state.keys
    for i in range(begin, end):
        v = pool[i]
        peak = 0
        for k in range(shape.group_start[v], shape.group_start[v + 1]):
            peak = max(peak, state.totals[shape.groups[k]])
        size = float(shape.space.sizes[v])
        spread = shape.spreads[v]
        if shape.preorder == 0:
            keys[v, 0], keys[v, 1], keys[v, 2] = spread, spread * size, peak
        elif shape.preorder == 1:
            keys[v, 0], keys[v, 1], keys[v, 2] = peak, spread * size, spread
        elif shape.preorder == 2:
            keys[v, 0], keys[v, 1], keys[v, 2] = peak, spread, size
        else:
            keys[v, 0], keys[v, 1], keys[v, 2] = size, spread, peak
        keys[v, 0] *= shape.noise[v]
    for i in range(begin + 1, end):
        v = pool[i]
        a, b, c = keys[v, 0], keys[v, 1], keys[v, 2]
        j = i
        while j > begin:
            u = pool[j - 1]
            if keys[u, 0] != a:
                is_before = a > keys[u, 0]
            elif keys[u, 1] != b:
                is_before = b > keys[u, 1]
            elif keys[u, 2] != c:
                is_before = c > keys[u, 2]
            else:
                is_before = v < u
            if not is_before:
                break
            pool[j] = u
            j -= 1
        pool[j] = v


@jit
def _add_part(shape: Shape, state: State, begin: int, end: int, group_end: int) -> None:
    """Make a part of pool[begin:end], its members, and pool[end:group_end], its groups."""
    registers = state.registers
    part = state.parts[registers[_PARTS]]
    part[_FIRST], part[_LAST] = begin, end
    part[_GROUP_FIRST], part[_GROUP_LAST] = end, group_end
    registers[_PARTS] += 1
    registers[_POOL] = group_end
    _sort_members(shape, state, begin, end)


@inlined
def _cut_line(shape: Shape, state: State, part: int, low: int, high: int) -> int:
    """Cut a part of a line where no unplaced buffer crosses, between sections `low` and `high` - 1.

    Return the number of new parts; 0 where nothing is cut. Sections without unplaced buffers go to
    no part.
    """
    cuts = 0
    for s in range(low, high - 1):
        cuts += state.crossing[s] == 0
    if cuts == 0:
        return 0
    pool = state.pool
    first, last = state.parts[part, _FIRST], state.parts[part, _LAST]
    group_first, group_last = state.parts[part, _GROUP_FIRST], state.parts[part, _GROUP_LAST]
    left, right = pool[group_first], pool[group_last - 1] + 1
    made = 0
    for s in range(low, high):
        cut = right if s == high - 1 else s + 1
        if s < high - 1 and state.crossing[s] > 0:
            continue
        begin = state.registers[_POOL]
        end = begin
        for i in range(first, last):
            u = pool[i]
            if state.offsets[u] >= 0:
                continue
            k = shape.group_start[u]
            if shape.groups[k] < cut and left <= shape.groups[shape.group_start[u + 1] - 1]:
                pool[end] = u
                end += 1
        if end > begin:
            for g in range(left, cut):
                pool[end + g - left] = g
            _add_part(shape, state, begin, end, end + cut - left)
            made += 1
        left = cut
    return made


@jit
def _cut_graph(shape: Shape, state: State, part: int) -> int:
    """Cut a part into the components of its unplaced buffers; return their number, 0 if one."""
    pool, registers = state.pool, state.registers
    adjacent = shape.adjacent
    first, last = state.parts[part, _FIRST], state.parts[part, _LAST]
    base = registers[_POOL]
    rest = base
    for i in range(first, last):
        if state.offsets[pool[i]] < 0:
            pool[rest] = pool[i]
            rest += 1
    # pool[base:reached] is the component so far, pool[reached:rest] what is not reached.
    made = 0
    begin = base
    while begin < rest:
        reached = begin + 1
        scan = begin
        while scan < reached and reached < rest:
            row = adjacent[pool[scan]]
            for i in range(reached, rest):
                u = pool[i]
                if row[u] != 0:
                    pool[i] = pool[reached]
                    pool[reached] = u
                    reached += 1
            scan += 1
        if reached == rest and made == 0:
            return 0
        # The rest moves up to make room for the groups of this component.
        n_groups = 0
        registers[_STAMP] += 1
        stamp = registers[_STAMP]
        for i in range(begin, reached):
            v = pool[i]
            for k in range(shape.group_start[v], shape.group_start[v + 1]):
                if state.marks[shape.groups[k]] != stamp:
                    state.marks[shape.groups[k]] = stamp
                    state.marked[n_groups] = shape.groups[k]
                    n_groups += 1
        for i in range(rest - 1, reached - 1, -1):
            pool[i + n_groups] = pool[i]
        for k in range(n_groups):
            pool[reached + k] = state.marked[k]
        _add_part(shape, state, begin, reached, reached + n_groups)
        made += 1
        begin = reached + n_groups
        rest += n_groups
    return made


@inlined
def _open(shape: Shape, state: State, depth: int, last_offset: int, last_index: int) -> int:
    """Fill the frame at `depth` with marks and candidates; return how many buffers are unplaced."""
    registers, pool, candidates = state.registers, state.pool, state.candidates
    offsets, least, sizes = state.offsets, state.least, shape.space.sizes
    row = state.frames[depth]
    row[_LAST_OFFSET], row[_LAST_INDEX] = last_offset, last_index
    row[_PLACED_MARK], row[_RAISED_MARK] = registers[_PLACED], registers[_RAISED]
    row[_FLOORED_MARK] = registers[_FLOORED]
    row[_POOL_MARK], row[_PARTS_MARK] = registers[_POOL], registers[_PARTS]
    part = state.parts[row[_PART]]
    first, last = part[_FIRST], part[_LAST]
    group_first, group_last = part[_GROUP_FIRST], part[_GROUP_LAST]
    tallest = 0
    for k in range(group_first, group_last):
        tallest = max(tallest, state.totals[pool[k]])
    limit = shape.space.capacity - tallest + 1
    unplaced = 0
    for i in range(first, last):
        v = pool[i]
        if offsets[v] < 0:
            unplaced += 1
            if least[v] < limit - sizes[v]:
                limit = least[v] + sizes[v]
    begin = registers[_CANDIDATES]
    end = begin
    for i in range(first, last):
        v = pool[i]
        o = least[v]
        if offsets[v] >= 0 or o >= limit or o < last_offset:
            continue
        if o == last_offset and i - first < last_index:
            continue
        j = end
        while j > begin and least[pool[first + candidates[j - 1]]] > o:
            candidates[j] = candidates[j - 1]
            j -= 1
        candidates[j] = i - first
        end += 1
    row[_NEXT], row[_END] = begin, end
    registers[_CANDIDATES] = end
    return unplaced


@inlined
def _raise(shape: Shape, state: State, v: int, top: int) -> bool:
    """Raise the unplaced neighbours of `v` to `top`; return whether all of them find a place.

    What is raised, and `v`, is stamped.
    """
    space, registers = shape.space, state.registers
    offsets, least, stamps = state.offsets, state.least, state.stamps
    capacity = space.capacity
    registers[_STAMP] += 1
    stamp = registers[_STAMP]
    stamps[v] = stamp
    raised = registers[_RAISED]
    fits = True
    for k in range(shape.neighbour_start[v], shape.neighbour_start[v + 1]):
        u = shape.neighbours[k]
        if offsets[u] >= 0:
            continue
        before = least[u]
        if before >= top:
            continue
        if space.is_plain == 1:  # a call would pass the whole space: three times slower
            after = top if top <= capacity - space.sizes[u] else capacity + 1
        else:
            after = lift(space, u, top)
        stamps[u] = stamp
        state.raised[raised] = u
        state.raised_from[raised] = before
        raised += 1
        least[u] = after
        if after > capacity:
            fits = False
            break
    registers[_RAISED] = raised
    return fits


@inlined
def _settle(shape: Shape, state: State, part: int) -> bool:
    """Mend the floors that stood on a stamped buffer; return whether all groups still fit."""
    registers = state.registers
    offsets, least, stamps, pool = state.offsets, state.least, state.stamps, state.pool
    stamp = registers[_STAMP]
    floored = registers[_FLOORED]
    fits = True
    for k in range(state.parts[part, _GROUP_FIRST], state.parts[part, _GROUP_LAST]):
        g = pool[k]
        keeper = state.keepers[g]
        total = state.totals[g]
        if stamps[keeper] != stamp or total == 0:
            continue
        state.floored[floored] = g
        state.floored_from[floored] = state.floors[g]
        state.kept_by[floored] = keeper
        floored += 1
        floor = shape.space.capacity + 1
        for i in range(shape.member_start[g], shape.member_start[g + 1]):
            u = shape.members[i]
            if offsets[u] < 0 and least[u] < floor:
                floor = least[u]
                keeper = u
        state.floors[g] = floor
        state.keepers[g] = keeper
        if floor > shape.space.capacity - total:
            fits = False
            break
    registers[_FLOORED] = floored
    return fits


@inlined
def _place(shape: Shape, state: State, part: int, v: int) -> bool:
    """Place `v` at its least offset; return whether all that is unplaced may still fit."""
    registers = state.registers
    offset, size = state.least[v], shape.space.sizes[v]
    state.offsets[v] = offset
    state.placed[registers[_PLACED]] = v
    registers[_PLACED] += 1
    group_first, group_last = shape.group_start[v], shape.group_start[v + 1]
    for k in range(group_first, group_last):
        state.totals[shape.groups[k]] -= size
    for k in range(group_first, group_last - 1):
        state.crossing[shape.groups[k]] -= 1
    fits = _raise(shape, state, v, offset + size)
    if fits:
        fits = _settle(shape, state, part)
    return fits


@inlined
def _undo(shape: Shape, state: State, row: Ints) -> None:
    """Take back all that happened since the frame `row` was opened."""
    registers = state.registers
    for k in range(registers[_FLOORED] - 1, row[_FLOORED_MARK] - 1, -1):
        state.floors[state.floored[k]] = state.floored_from[k]
        state.keepers[state.floored[k]] = state.kept_by[k]
    for k in range(registers[_RAISED] - 1, row[_RAISED_MARK] - 1, -1):
        state.least[state.raised[k]] = state.raised_from[k]
    for k in range(registers[_PLACED] - 1, row[_PLACED_MARK] - 1, -1):
        v = state.placed[k]
        size = shape.space.sizes[v]
        group_first, group_last = shape.group_start[v], shape.group_start[v + 1]
        for i in range(group_first, group_last):
            state.totals[shape.groups[i]] += size
        for i in range(group_first, group_last - 1):
            state.crossing[shape.groups[i]] += 1
        state.offsets[v] = -1
    registers[_PLACED], registers[_RAISED] = row[_PLACED_MARK], row[_RAISED_MARK]
    registers[_FLOORED] = row[_FLOORED_MARK]
    registers[_POOL], registers[_PARTS] = row[_POOL_MARK], row[_PARTS_MARK]
    registers[_CANDIDATES] = row[_END]


@inlined
def _has_room(shape: Shape, state: State) -> bool:
    """Return whether one more node fits in the arrays that grow."""
    n, m = shape.spreads.shape[0], state.floors.shape[0]
    return bool(
        state.registers[_CANDIDATES] + n <= state.candidates.shape[0]
        and state.registers[_POOL] + 2 * (n + m) <= state.pool.shape[0]
        and state.registers[_FLOORED] + m <= state.floored.shape[0]
        and state.registers[_PARTS] + n <= state.parts.shape[0]
    )


@inlined
def _enter(shape: Shape, state: State) -> None:
    """Open a frame for the next child of the top frame, or close that frame after its last one."""
    registers = state.registers
    depth = registers[_DEPTH]
    row = state.frames[depth]
    if row[_CHILD] == row[_CHILD_END]:
        registers[_MODE] = _CLOSE
        return
    part = row[_CHILD]
    last_offset, last_index = 0, 0
    if part == row[_PART]:
        # The same part goes on: offsets do not decrease, and of equal ones the index does not.
        last_index = state.candidates[row[_NEXT] - 1]
        last_offset = state.offsets[state.pool[state.parts[part, _FIRST] + last_index]]
    state.frames[depth + 1, _PART] = part
    if _open(shape, state, depth + 1, last_offset, last_index) == 0:
        registers[_CANDIDATES] = state.frames[depth + 1, _NEXT]
        row[_CHILD] += 1
    else:
        registers[_DEPTH] = depth + 1
        registers[_MODE] = _TRY


@inlined
def _try_next(shape: Shape, state: State) -> None:
    """Place the next candidate of the top frame, or give the frame up."""
    registers = state.registers
    depth = registers[_DEPTH]
    row = state.frames[depth]
    if registers[_PLACED] > row[_PLACED_MARK]:
        _undo(shape, state, row)
    if row[_NEXT] == row[_END]:
        registers[_DEPTH] = depth - 1
        return
    part = row[_PART]
    v = state.pool[state.parts[part, _FIRST] + state.candidates[row[_NEXT]]]
    row[_NEXT] += 1
    registers[NODES] += 1
    if not _place(shape, state, part, v):
        return
    if shape.adjacent.shape[0] > 0:
        made = _cut_graph(shape, state, part)
    else:
        low = shape.groups[shape.group_start[v]]
        high = shape.groups[shape.group_start[v + 1] - 1] + 1
        made = _cut_line(shape, state, part, low, high)
    if made == 0:
        row[_CHILD], row[_CHILD_END] = part, part + 1
    else:
        row[_CHILD], row[_CHILD_END] = registers[_PARTS] - made, registers[_PARTS]
    registers[_MODE] = _OPEN


@jit
def search(shape: Shape, state: State, nodes_max: int) -> int:
    """Go on with a search for at most `nodes_max` nodes, placements tried; return how it stands.

    `SOLVED`: `state.offsets` is a solution. `EXHAUSTED`: there is none. `PAUSED`: call again.
    `FULL`: call again with `roomier(state)`.
    """
    registers = state.registers
    stop = registers[NODES] + nodes_max
    while True:
        if registers[NODES] >= stop and registers[_MODE] != _CLOSE:
            return PAUSED
        if registers[_MODE] == _OPEN:
            if not _has_room(shape, state):
                return FULL
            _enter(shape, state)
        elif registers[_MODE] == _CLOSE:
            if registers[_DEPTH] == 0:
                return SOLVED
            registers[_DEPTH] -= 1
            state.frames[registers[_DEPTH], _CHILD] += 1
            registers[_MODE] = _OPEN
        else:
            if registers[_DEPTH] == 0:
                return EXHAUSTED
            _try_next(shape, state)


def fresh(shape: Shape) -> State:
    """Return the state of a search that has not begun; every group fits below the capacity."""
    n, m = len(shape.spreads), len(shape.member_start) - 1
    n_edges = len(shape.neighbours) // 2
    room = 4 * (n + m + len(shape.groups)) + 64

    def zeros(*lengths: int) -> Ints:
        return np.zeros(lengths, np.int64)

    state = State(
        offsets=np.full(n, -1, np.int64),
        least=_lowest(shape.space),
        stamps=zeros(n),
        floors=zeros(m),
        keepers=zeros(m),
        totals=zeros(m),
        crossing=zeros(m),
        marks=zeros(m),
        marked=zeros(m),
        placed=zeros(n),
        raised=zeros(n_edges + n),
        raised_from=zeros(n_edges + n),
        floored=zeros(room),
        floored_from=zeros(room),
        kept_by=zeros(room),
        candidates=zeros(room),
        pool=zeros(room),
        parts=zeros(2 * n + 2, _PART_COLUMNS),
        frames=zeros(n + 2, _FRAME_COLUMNS),
        keys=np.zeros((n, 3)),
        registers=zeros(_N_REGISTERS),
    )
    heads = shape.member_start[:-1]
    state.totals[:] = np.add.reduceat(shape.space.sizes[shape.members], heads)
    state.floors[:] = np.minimum.reduceat(state.least[shape.members], heads)
    for g in range(m):
        members = shape.members[heads[g] : shape.member_start[g + 1]]
        state.keepers[g] = members[state.least[members].argmin()]
    np.add.at(state.crossing, np.delete(shape.groups, shape.group_start[1:] - 1), 1)
    _open_root(shape, state, n, m)
    return state


def _lowest(space: Space) -> Ints:
    if space.is_plain:
        return np.zeros_like(space.sizes)
    return np.array([lift(space, v, 0) for v in range(len(space.sizes))], np.int64)


def _open_root(shape: Shape, state: State, n: int, m: int) -> None:
    """Make the bottom frame: its children are the parts that the buffers fall into."""
    state.pool[: n + m] = [*range(n), *range(m)]
    _add_part(shape, state, 0, n, n + m)
    made = (
        _cut_graph(shape, state, 0)
        if shape.adjacent.shape[0] > 0
        else _cut_line(shape, state, 0, 0, m)
    )
    state.frames[0, _PART] = -1
    state.frames[0, _CHILD] = 1 if made else 0
    state.frames[0, _CHILD_END] = made + 1


def roomier(state: State) -> State:
    """Return the same search with twice the room in the arrays that grow."""

    def twice(array: Ints) -> Ints:
        return np.concatenate([array, np.zeros_like(array)])

    return state._replace(
        floored=twice(state.floored),
        floored_from=twice(state.floored_from),
        kept_by=twice(state.kept_by),
        candidates=twice(state.candidates),
        pool=twice(state.pool),
        parts=twice(state.parts),
    )
