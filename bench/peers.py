"""What others do with the same problem, under the same clock.

omnimalloc is run as published (an extra of the benches). The greedy planners of TFLite, TVM's USMP,
MindSpore's SOMAS and ExecuTorch are RE-IMPLEMENTED here from their papers and sources' description,
compiled so that their speed is not held against them; they may differ from the originals in detail.

References
----------
.. [1] Y. Pisarchyk, J. Lee, "Efficient memory management for deep neural net inference", 2020:
   greedy by size, best fit (TFLite).
.. [2] TVM Unified Static Memory Planner: greedy by size, greedy by conflicts, hill climb.
.. [3] MindSpore SOMAS: sizes descending, contiguous list, first and best fit, the better kept.
.. [4] ExecuTorch memory planning, `greedy`: shared objects of the closest size in program order.
"""

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.families import Instance, reachable
from planner.problem import Assignment, Problem
from planner.solvers.grid import Grid
from planner.solvers.kernels.jit import jit

__all__ = ["REIMPLEMENTED", "Peer", "allocations", "clocks", "peers_for"]

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]

_MATRIX_MAX = 8_000


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to solve; `run` takes an instance and seconds, and gives offsets or None."""

    name: str
    is_ours: bool
    run: Callable[[Instance, float], Assignment | None]


@jit
def _place(order: Ints, adjacent: Bits, sizes: Ints, is_best: bool) -> Ints:
    """Put each buffer into the first, or the tightest, gap among its placed conflicts."""
    n = order.shape[0]
    offsets = np.full(n, -1, np.int64)
    level = np.zeros(n, np.int64)
    for placed in range(n):
        v = order[placed]
        cursor, found, tightest = 0, -1, np.int64(1) << 62
        for k in range(placed):
            u = level[k]
            if adjacent[v, u]:
                gap = offsets[u] - cursor
                if gap >= sizes[v] and gap < tightest:
                    found = cursor
                    tightest = gap
                    if not is_best:
                        break
                cursor = max(cursor, offsets[u] + sizes[u])
        offsets[v] = cursor if found < 0 else found
        k = placed
        while k > 0 and offsets[level[k - 1]] > offsets[v]:
            level[k] = level[k - 1]
            k -= 1
        level[k] = v
    return offsets


def _matrix(problem: Problem) -> tuple[Bits, Ints]:
    grid = Grid(problem)
    if len(grid.movable) != problem.n:
        raise ValueError("peers take no empty and no pinned buffers")
    adjacent = np.array([grid.conflict_row(k) for k in range(problem.n)])
    return adjacent, np.array(problem.sizes, np.int64)


def _greedy(
    keys: Callable[[Bits, Ints], Sequence[Ints]], fits: Sequence[bool]
) -> Callable[[Instance, float], Assignment | None]:
    """Return the run that sorts by descending keys, ties by index, and keeps the better fit."""

    def run(instance: Instance, _: float) -> Assignment | None:
        if instance.problem.n > _MATRIX_MAX:
            return None
        adjacent, sizes = _matrix(instance.problem)
        order = np.lexsort([-key for key in reversed(keys(adjacent, sizes))])
        placed = [_place(order, adjacent, sizes, is_best) for is_best in fits]
        best = min(placed, key=lambda offsets: int((offsets + sizes).max()))
        return Assignment(tuple(best.tolist()))

    return run


def _hill_climb(instance: Instance, seconds: float) -> Assignment | None:
    """USMP hill climb: swap a neighbour of a peak buffer forward, 500 tries."""
    if instance.problem.n > _MATRIX_MAX:
        return None
    adjacent, sizes = _matrix(instance.problem)
    draw = random.Random(0)
    order = np.lexsort([-sizes])
    best = current = _place(order, adjacent, sizes, False)
    end = perf_counter() + seconds
    for step in range(500):
        if perf_counter() > end:
            break
        height = int((current + sizes).max())
        peak = np.flatnonzero(current + sizes == height)
        near = np.flatnonzero(adjacent[peak].any(axis=0))
        far = np.flatnonzero(adjacent[near].any(axis=0))
        i = int(draw.choice([*near, *peak]))
        j = int(draw.choice([*far, *near, *peak]))
        trial = order.copy()
        at_i, at_j = np.flatnonzero(order == i)[0], np.flatnonzero(order == j)[0]
        trial[at_i], trial[at_j] = j, i
        offsets = _place(trial, adjacent, sizes, False)
        found = int((offsets + sizes).max())
        # Worse ones are taken ever more rarely.
        if found <= height or draw.random() < 0.1 * (1 - step / 500):
            order, current = trial, offsets
        if found < int((best + sizes).max()):
            best = offsets
    return Assignment(tuple(best.tolist()))


def _shared_objects(instance: Instance, _: float) -> Assignment | None:
    """ExecuTorch greedy: in program order, the free object of the closest size, or a new one."""
    problem = instance.problem
    if problem.lifetimes is None:
        return None
    objects: list[list[int]] = []  # size, last use
    chosen = [0] * problem.n
    for i in sorted(range(problem.n), key=lambda i: (problem.lifetimes[i], i)):  # type: ignore[index]
        lower, upper = problem.lifetimes[i]
        free = [k for k, (_, end) in enumerate(objects) if end <= lower]
        if free:
            k = min(free, key=lambda k: (abs(objects[k][0] - problem.sizes[i]), k))
            objects[k] = [max(objects[k][0], problem.sizes[i]), upper]
        else:
            k = len(objects)
            objects.append([problem.sizes[i], upper])
        chosen[i] = k
    bases = np.concatenate([[0], np.cumsum([size for size, _ in objects])])
    return Assignment(tuple(int(bases[k]) for k in chosen))


def clocks(instance: Instance) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return vector clocks whose order is the instance's: one axis a chain of a greedy cover."""
    assert instance.edges is not None
    n = instance.problem.n
    after = reachable(n, instance.edges)
    chains: list[list[int]] = []
    chain_of, place = [0] * n, [0] * n
    for v in range(n):
        fits = [k for k, chain in enumerate(chains) if after[chain[-1]] >> v & 1]
        if not fits:
            chains.append([])
        k = max(fits, key=lambda k: chains[k][-1], default=len(chains) - 1)
        chain_of[v], place[v] = k, len(chains[k])
        chains[k].append(v)
    clocks = [[0] * len(chains) for _ in range(n)]
    for u in range(n):
        mask = after[u]
        while mask:
            v = (mask & -mask).bit_length() - 1
            mask &= mask - 1
            clocks[v][chain_of[u]] = max(clocks[v][chain_of[u]], place[u] + 1)
    found = []
    for v, start in enumerate(clocks):
        end = list(start)
        end[chain_of[v]] = place[v] + 1
        found.append((tuple(start), tuple(end)))
    return found


@lru_cache(maxsize=2)
def allocations(instance: Instance) -> tuple[Any, ...]:
    """Return an instance in omnimalloc's terms; made before its clock runs."""
    import omnimalloc

    problem = instance.problem
    if problem.lifetimes is None and instance.edges is None:
        return ()
    lives: Sequence[Any] = problem.lifetimes or clocks(instance)
    return tuple(
        omnimalloc.Allocation(id=i, size=size, start=start, end=end)
        for i, (size, (start, end)) in enumerate(zip(problem.sizes, lives, strict=True))
    )


def _omnimalloc(name: str) -> Callable[[Instance, float], Assignment | None]:
    """Return the run of one of omnimalloc's allocators at its defaults, but for the time limit."""
    from omnimalloc.allocators.base import BaseAllocator

    kind: Any = type(BaseAllocator.resolve(name))
    takes_time = "timeout" in inspect.signature(kind.__init__).parameters

    def run(instance: Instance, seconds: float) -> Assignment | None:
        problem = instance.problem
        if problem.lifetimes is None and (instance.edges is None or not kind.supports_vector_time):
            return None
        allocator = kind(timeout=seconds) if takes_time else kind()
        placed: Any = allocator.allocate(allocations(instance))
        return Assignment(tuple(one.offset for one in sorted(placed, key=lambda one: one.id)))

    return run


def _sizes_first(_: Bits, sizes: Ints) -> Sequence[Ints]:
    return (sizes,)


def _conflicts_first(adjacent: Bits, sizes: Ints) -> Sequence[Ints]:
    return (adjacent.sum(axis=1), sizes)


REIMPLEMENTED = (
    Peer("TFLite by size, best fit*", False, _greedy(_sizes_first, [True])),
    Peer("USMP by size*", False, _greedy(_sizes_first, [False])),
    Peer("USMP by conflicts*", False, _greedy(_conflicts_first, [False])),
    Peer("USMP hill climb*", False, _hill_climb),
    Peer("SOMAS*", False, _greedy(_sizes_first, [True, False])),
    Peer("ExecuTorch greedy*", False, _shared_objects),
)

OMNIMALLOC = ("omni", "supermalloc", "simulated_annealing", "tabu_search", "hill_climb")


def peers_for(*, with_omnimalloc: bool) -> list[Peer]:
    """Return the peers; omnimalloc's only if asked and installed."""
    found = list(REIMPLEMENTED)
    if with_omnimalloc:
        found += [Peer(f"omnimalloc {name}", False, _omnimalloc(name)) for name in OMNIMALLOC]
    return found
