"""First fit in a given order, and annealing over orders.

An order is decoded by putting each buffer into the lowest gap among those placed before it. A move
takes a buffer out of a critical chain (buffers that stand tight on one another below one that is
too high) and places it earlier; only what comes after the earlier place is decoded again, and that
only until the result is known to be refused.

Random numbers are our own, in integers and exactly rounded operations, so that the compiled and
the uncompiled search are the same search.

References
----------
.. [1] P. L'Ecuyer, "Efficient and portable combined random number generators", CACM 31 (1988).
.. [2] S. Kirkpatrick, C. D. Gelatt, M. P. Vecchi, "Optimization by simulated annealing", Science
   220 (1983).
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from planner.solvers.kernels.jit import inlined, jit
from planner.solvers.kernels.space import Ints, Space, lift

__all__ = ["BEST", "Walk", "anneal", "fresh", "restart", "restart_in_bands"]

Floats = npt.NDArray[np.float64]

_CHAIN_MAX: Final = 6
_MASS: Final = 0.05  # what a granule above the target costs beside a granule of height
_COOLING: Final = 0.9995
_LN2: Final = 0.6931471805599453
_NO_COST: Final = 1e300

# Registers.
BEST: Final = 0
_SEED_A: Final = 1
_SEED_B: Final = 2


class Walk(NamedTuple):
    """An annealing between two moves; made by `fresh`, started by `restart`, moved by `anneal`.

    Attributes
    ----------
    adjacent : uint8 array, shape (n, n)
    order, places, offsets, level : int64 array, shape (n,)
        The current order, each buffer's index in it, its offsets, and all buffers by offset.
    trial_order, trial_offsets, trial_level, best_offsets, scratch : int64 array, shape (n,)
    registers : int64 array
        Best height, granules, and the state of the random numbers.
    heat : float64 array, shape (2,)
        Temperature, and the cost of the current order.
    keys : float64 array, blocked : uint8 array, shape (n,)
        Scratch.
    """

    adjacent: npt.NDArray[np.uint8]
    order: Ints
    places: Ints
    offsets: Ints
    level: Ints
    trial_order: Ints
    trial_offsets: Ints
    trial_level: Ints
    best_offsets: Ints
    scratch: Ints
    registers: Ints
    heat: Floats
    keys: Floats
    blocked: npt.NDArray[np.uint8]


@inlined
def _draw(registers: Ints, below: int) -> int:
    """Return a random integer from 0 to `below` - 1."""
    registers[_SEED_A] = registers[_SEED_A] * 40014 % 2147483563
    registers[_SEED_B] = registers[_SEED_B] * 40692 % 2147483399
    return int((registers[_SEED_A] - registers[_SEED_B]) % 2147483562 % below)


@inlined
def _draw_exponential(registers: Ints) -> float:
    """Return about -ln of a uniform variate, from exactly rounded operations only."""
    uniform = (_draw(registers, 1 << 24) + 1) / 16777216.0
    halvings = 0.0
    while uniform < 0.5:
        uniform *= 2.0
        halvings += 1.0
    return (halvings + 2.0 * (1.0 - uniform)) * _LN2


@jit
def _decode(
    space: Space, walk: Walk, order: Ints, first: int, target: int, cost_max: float
) -> float:
    """First-fit `order` from position `first` on, into the trial; return its cost.

    Buffers before `first` stay where the current solution has them. Above `cost_max` decoding ends
    early with a cost above it.
    """
    sizes, adjacent, offsets, level = (
        space.sizes,
        walk.adjacent,
        walk.trial_offsets,
        walk.trial_level,
    )
    n = order.shape[0]
    placed = 0
    height = 0
    mass = 0
    cost = 0.0
    for k in range(n):
        v = walk.level[k]
        if walk.places[v] < first:
            level[placed] = v
            placed += 1
            offsets[v] = walk.offsets[v]
            top = offsets[v] + sizes[v]
            height = max(height, top)
            mass += max(0, top - target)
    for k in range(first, n):
        v = order[k]
        size = sizes[v]
        row = adjacent[v]
        offset = 0 if space.is_plain == 1 else lift(space, v, 0)
        for j in range(placed):
            u = level[j]
            if row[u] != 0:
                if offsets[u] - offset >= size:
                    break
                top = offsets[u] + sizes[u]
                if top > offset:
                    offset = top if space.is_plain == 1 else lift(space, v, top)
        j = placed
        while j > 0 and offsets[level[j - 1]] > offset:
            level[j] = level[j - 1]
            j -= 1
        level[j] = v
        offsets[v] = offset
        placed += 1
        if offset > space.capacity - size:
            return _NO_COST
        top = offset + size
        height = max(height, top)
        mass += max(0, top - target)
        cost = float(height - target) + _MASS * float(mass)
        if cost > cost_max:
            return cost
    return cost


@inlined
def _pick(space: Space, walk: Walk, target: int) -> int:
    """Return a buffer of a critical chain below one that ends above `target`."""
    offsets, sizes, scratch = walk.offsets, space.sizes, walk.scratch
    n = offsets.shape[0]
    found = 0
    for v in range(n):
        if offsets[v] + sizes[v] > target:
            scratch[found] = v
            found += 1
    v = scratch[_draw(walk.registers, found)]
    for _ in range(_draw(walk.registers, _CHAIN_MAX)):
        found = 0
        for u in range(n):
            if walk.adjacent[v, u] != 0 and offsets[u] + sizes[u] == offsets[v]:
                scratch[found] = u
                found += 1
        if found == 0:
            break
        v = scratch[_draw(walk.registers, found)]
    return int(v)


@inlined
def _destination(walk: Walk, v: int) -> int:
    """Return a place for `v`, mostly before a conflicting buffer that lies lower."""
    kind = _draw(walk.registers, 20)
    place = walk.places[v]
    n = walk.order.shape[0]
    if kind >= 16 or place == 0:
        return _draw(walk.registers, n)
    if kind < 11:
        found = 0
        for u in range(n):
            if (
                walk.adjacent[v, u] != 0
                and walk.places[u] < place
                and walk.offsets[u] < walk.offsets[v]
            ):
                walk.scratch[found] = walk.places[u]
                found += 1
        if found > 0:
            return int(walk.scratch[_draw(walk.registers, found)])
    return _draw(walk.registers, place)


@inlined
def _adopt(walk: Walk) -> None:
    """Make the trial the current solution."""
    for k in range(walk.order.shape[0]):
        walk.order[k] = walk.trial_order[k]
        walk.places[walk.order[k]] = k
        walk.offsets[k] = walk.trial_offsets[k]
        walk.level[k] = walk.trial_level[k]


@inlined
def _note_best(space: Space, walk: Walk) -> None:
    height = 0
    for v in range(walk.offsets.shape[0]):
        height = max(height, walk.offsets[v] + space.sizes[v])
    if height < walk.registers[BEST]:
        walk.registers[BEST] = height
        for v in range(walk.offsets.shape[0]):
            walk.best_offsets[v] = walk.offsets[v]


@jit
def restart(space: Space, walk: Walk, target: int, heat: float) -> None:
    """Decode `walk.trial_order`, by offsets that are legal, as the current solution, at a new heat.

    No buffer comes to lie above its offset, so a place is found for all.
    """
    cost = _decode(space, walk, walk.trial_order, 0, target, _NO_COST)
    walk.heat[0], walk.heat[1] = heat, cost
    _adopt(walk)
    _note_best(space, walk)


@inlined
def _order_in_bands(walk: Walk, weights: Floats, shake: float) -> None:
    """Fill the trial order band by band: heaviest first, then what conflicts with none of its band.

    Weights are shaken by a factor between 1 - `shake` and 1 + `shake`.
    """
    keys, left, blocked = walk.keys, walk.scratch, walk.blocked
    n = weights.shape[0]
    for v in range(n):
        keys[v] = weights[v] * (1.0 + shake * (_draw(walk.registers, 2001) - 1000) / 1000.0)
        j = v
        while j > 0 and keys[left[j - 1]] < keys[v]:
            left[j] = left[j - 1]
            j -= 1
        left[j] = v
    n_left = n
    k = 0
    while n_left > 0:
        blocked[:] = 0
        kept = 0
        for i in range(n_left):
            v = left[i]
            if blocked[v] == 0:
                walk.trial_order[k] = v
                k += 1
                blocked |= walk.adjacent[v]
            else:
                left[kept] = v
                kept += 1
        n_left = kept


@jit
def restart_in_bands(
    space: Space,
    walk: Walk,
    target: int,
    heat: float,
    weights: Floats,
    shake: float,
    tries: int,
) -> None:
    """Begin anew from the best of `tries` random orders by bands, at a new heat.

    A band is a set of buffers without conflict, which may all lie at one offset: what serial
    execution alone would share.
    """
    best = _NO_COST
    for _ in range(tries):
        _order_in_bands(walk, weights, shake)
        cost = _decode(space, walk, walk.trial_order, 0, target, best)
        if cost < best:
            best = cost
            _adopt(walk)
    walk.heat[0], walk.heat[1] = heat, best
    if best < _NO_COST:
        _note_best(space, walk)


@jit
def anneal(space: Space, walk: Walk, target: int, moves: int) -> None:
    """Try `moves` moves; less once the best height is at most `target`."""
    n = walk.order.shape[0]
    for _ in range(moves):
        if walk.registers[BEST] <= target or walk.heat[1] >= _NO_COST:
            return
        walk.heat[0] *= _COOLING
        v = _pick(space, walk, target)
        old = walk.places[v]
        new = _destination(walk, v)
        if new == old:
            continue
        for k in range(n):
            walk.trial_order[k] = walk.order[k]
        step = 1 if new > old else -1
        for k in range(old, new, step):
            walk.trial_order[k] = walk.trial_order[k + step]
        walk.trial_order[new] = v
        cost_max = walk.heat[1] + walk.heat[0] * _draw_exponential(walk.registers)
        cost = _decode(space, walk, walk.trial_order, min(old, new), target, cost_max)
        if cost <= cost_max:
            walk.heat[1] = cost
            _adopt(walk)
            _note_best(space, walk)


def fresh(adjacent: npt.NDArray[np.uint8], seed: int, best: int) -> Walk:
    """Return a walk that has not begun, with seed >= 0 and a best height to stay below."""
    n = len(adjacent)

    def zeros() -> Ints:
        return np.zeros(n, np.int64)

    return Walk(
        adjacent=adjacent,
        order=zeros(),
        places=zeros(),
        offsets=zeros(),
        level=zeros(),
        trial_order=zeros(),
        trial_offsets=zeros(),
        trial_level=zeros(),
        best_offsets=zeros(),
        scratch=zeros(),
        registers=np.array([best, seed % 2147483562 + 1, seed // 2147483562 % 2147483398 + 1]),
        heat=np.zeros(2),
        keys=np.zeros(n),
        blocked=np.zeros(n, np.uint8),
    )
