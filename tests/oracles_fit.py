"""The least makespan within a height, from the definition: every set of exclusions is tried.

An order between two instances keeps apart what an exclusion of the two keeps apart, and allows
fewer sequences; what it keeps apart further on, further exclusions do. So exclusions alone reach
the least makespan.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations, permutations

from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec
from planner.schedule import Schedule
from tests.oracles_makespan import least_makespan

__all__ = ["frontier"]


def _least_height(sizes: Sequence[int], masks: Sequence[int]) -> int:
    """Return the least height of a few buffers: some order of first fits reaches it."""
    best = sum(sizes)
    for order in permutations([i for i, size in enumerate(sizes) if size]):
        offsets: dict[int, int] = {}
        for i in order:
            # Left-justified: at 0 or on top of one that conflicts.
            walls = [(offsets[j], offsets[j] + sizes[j]) for j in offsets if masks[i] >> j & 1]
            offsets[i] = min(
                start
                for start in (0, *(end for _, end in walls))
                if all(start + sizes[i] <= low or end <= start for low, end in walls)
            )
        best = min(best, max((offsets[i] + sizes[i] for i in offsets), default=0))
    return best


def frontier(
    fleet: FleetSpec, sizes: Sequence[int], times: Mapping[tuple[str, str], int]
) -> list[tuple[int, int]]:
    """Return (height, least makespan) of every set of exclusions, the undominated alone.

    Heights upward, makespans downward. `sizes` are reserved bytes of the instances.
    """
    free = Schedule.of_fleet(fleet)
    relation = ConflictRelation.of_schedule(free)
    pairs = [(i, j) for i, j in combinations(range(relation.n), 2) if relation.masks[i] >> j & 1]
    found: dict[tuple[int, ...], int] = {}
    points = []
    for chosen in chain.from_iterable(combinations(pairs, k) for k in range(len(pairs) + 1)):
        named = [(free.instances[i], free.instances[j]) for i, j in chosen]
        schedule = Schedule.of_fleet(fleet, exclusive=named)
        masks = ConflictRelation.of_schedule(schedule).masks
        if masks not in found:
            found[masks] = _least_height(sizes, masks)
        points.append((found[masks], schedule))
    best: list[tuple[int, int]] = []
    lengths: dict[tuple[frozenset[str], ...], int] = {}
    for height, schedule in sorted(points, key=lambda point: point[0]):
        key = tuple(
            choice.locks
            for channel in schedule.channels
            for (choice,) in channel.choices  # no pools here
        )
        if key not in lengths:
            lengths[key] = least_makespan(schedule, times)
        if not best or lengths[key] < best[-1][1]:
            if best and best[-1][0] == height:
                best.pop()
            best.append((height, lengths[key]))
    return best
