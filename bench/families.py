"""Seeded families of offset problems: orders of executions, timelines, and conflicts of fleets.

Sizes are log-uniform from 8 KiB to 2 MiB in steps of 512 bytes. Every family is a function of
(n, seed); the same arguments give the same instance everywhere.
"""

import csv
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.problem import Problem, mask_indices

__all__ = ["FAMILIES", "Instance", "of_csv", "of_order", "public", "reachable"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One offset problem, and the order it comes from where there is one.

    Attributes
    ----------
    family, name : str
    problem : Problem
    edges : tuple of (int, int) or None
        Precedences between executions, numbered topologically; None where the conflicts come from
        lives on a line or from a fleet.
    """

    family: str
    name: str
    problem: Problem
    edges: tuple[tuple[int, int], ...] | None = None


def reachable(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each execution the mask of those after it; edges go from low to high numbers."""
    after = [0] * n
    successors: list[list[int]] = [[] for _ in range(n)]
    for i, j in edges:
        successors[i].append(j)
    for i in reversed(range(n)):
        for j in successors[i]:
            after[i] |= after[j] | 1 << j
    return after


def of_order(
    family: str, name: str, sizes: Sequence[int], edges: Sequence[tuple[int, int]]
) -> Instance:
    """Return the instance whose buffers conflict unless one execution precedes the other."""
    n = len(sizes)
    after = reachable(n, edges)
    before = [0] * n
    for i in range(n):
        for j in mask_indices(after[i]):
            before[j] |= 1 << i
    everything = (1 << n) - 1
    masks = tuple(everything & ~(after[i] | before[i] | 1 << i) for i in range(n))
    return Instance(family, name, Problem(tuple(sizes), conflict_masks=masks), tuple(edges))


def of_csv(path: Path) -> Instance:
    """Return a public instance of `id,lower,upper,size`, half-open lives."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lifetimes = tuple((int(row["lower"]), int(row["upper"])) for row in rows)
    problem = Problem(tuple(int(row["size"]) for row in rows), lifetimes=lifetimes)
    return Instance("minimalloc", path.name.split(".")[0], problem)


def _sizes(draw: random.Random, n: int) -> list[int]:
    return [512 * int(2 ** draw.uniform(4, 12)) for _ in range(n)]


def _lanes(draw: random.Random, n: int, k: int, p: float) -> list[tuple[int, int]]:
    """Return k serial lanes; each execution also waits for another lane's last with chance p."""
    last: list[int | None] = [None] * k
    edges = []
    for v in range(n):
        lane, other = draw.randrange(k), draw.randrange(k)
        waits = {last[lane], last[other] if draw.random() < p else None}
        edges += [(u, v) for u in waits if u is not None]
        last[lane] = v
    return edges


def lanes(k: int, p: float) -> Callable[[int, int], Instance]:
    """Return the family of `k` lanes with sparse order across them (chance `p` an execution)."""

    def make(n: int, seed: int) -> Instance:
        draw = random.Random(f"lanes {k} {p} {n} {seed}")
        edges = _lanes(draw, n, k, p)
        kind = "independent" if p == 0 else f"{k} lanes"
        return of_order(kind, f"{kind}-{n}-{seed}", _sizes(draw, n), edges)

    return make


def series_parallel(n: int, seed: int) -> Instance:
    """Return a random series-parallel order, composed bottom-up from single executions."""
    draw = random.Random(f"series-parallel {n} {seed}")
    edges: list[tuple[int, int]] = []

    def compose(low: int, high: int) -> tuple[list[int], list[int]]:
        if high - low == 1:
            return [low], [low]
        # Near the middle: recursion stays shallow.
        cut = low + max(1, min(high - low - 1, round((high - low) * draw.uniform(0.3, 0.7))))
        (first, exits), (entries, last) = compose(low, cut), compose(cut, high)
        if draw.random() < 0.5:
            return first + entries, exits + last
        edges.extend((u, v) for u in exits for v in entries)
        return first, last

    compose(0, n)
    return of_order("series-parallel", f"series-parallel-{n}-{seed}", _sizes(draw, n), edges)


def layered(n: int, seed: int) -> Instance:
    """Return layers of 1 to 8 executions, each after some of the layer before."""
    draw = random.Random(f"layered {n} {seed}")
    edges: list[tuple[int, int]] = []
    before: list[int] = []
    v = 0
    while v < n:
        layer = list(range(v, min(n, v + draw.randint(1, 8))))
        for j in layer:
            edges += [(i, j) for i in before if draw.random() < 0.5] or [(i, j) for i in before[:1]]
        before, v = layer, layer[-1] + 1
    return of_order("layered", f"layered-{n}-{seed}", _sizes(draw, n), edges)


def random_dag(n: int, seed: int) -> Instance:
    """Return a random order with about three direct predecessors an execution."""
    draw = random.Random(f"random {n} {seed}")
    edges = {(draw.randrange(j), j) for j in range(1, n) for _ in range(3)}
    return of_order("random DAG", f"random-{n}-{seed}", _sizes(draw, n), sorted(edges))


def timeline(n: int, seed: int) -> Instance:
    """Return lives as in training: some from forward to backward pass, most of them short."""
    draw = random.Random(f"timeline {n} {seed}")
    lifetimes = []
    for _ in range(n):
        if draw.random() < 0.1:
            lower = draw.randrange(n // 2)
            upper = n - lower + draw.randint(-n // 40, n // 40)
        else:
            lower = draw.randrange(n)
            upper = lower + 1 + int(draw.expovariate(1 / 20))
        lifetimes.append((lower, max(lower + 1, upper)))
    problem = Problem(tuple(_sizes(draw, n)), lifetimes=tuple(lifetimes))
    return Instance("timeline", f"timeline-{n}-{seed}", problem)


def fleet(n: int, seed: int) -> Instance:
    """Return instances of a fleet: models on 8 lanes, some pairs of lanes apart by locks or order.

    One offset for all executions of an instance: no order of single executions says this, so only
    peers that take any conflict graph compete.
    """
    draw = random.Random(f"fleet {n} {seed}")
    lane = [draw.randrange(8) for _ in range(n)]
    lock = [draw.randrange(12) for _ in range(n)]
    pipeline = [draw.randrange(max(1, n // 12)) for _ in range(n)]

    def apart(i: int, j: int) -> bool:
        if lane[i] == lane[j] or (lock[i] < 4 and lock[i] == lock[j]):
            return True
        return pipeline[i] == pipeline[j] and (i * 31 + j * 17 + seed) % 3 > 0

    pairs = [(i, j) for i in range(n) for j in range(i) if not apart(i, j)]
    return Instance("fleet", f"fleet-{n}-{seed}", Problem.of_edges(_sizes(draw, n), pairs))


FAMILIES: dict[str, Callable[[int, int], Instance]] = {
    "independent": lanes(8, 0.0),
    "2 lanes": lanes(2, 0.2),
    "series-parallel": series_parallel,
    "4 lanes": lanes(4, 0.05),
    "8 lanes": lanes(8, 0.1),
    "16 lanes": lanes(16, 0.3),
    "32 lanes": lanes(32, 0.1),
    "layered": layered,
    "random DAG": random_dag,
    "fleet": fleet,
    "timeline": timeline,
}
"""Name -> (n, seed) -> instance."""


def public(directory: Path) -> Iterator[Instance]:
    """Yield the instances A to K of minimalloc, if they are there."""
    for path in sorted(directory.glob("?.1048576.csv")):
        yield of_csv(path)
