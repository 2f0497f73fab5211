"""The least makespan within a height, from the definition: every set of exclusions is tried.

An order between two instances keeps apart what an exclusion of the two keeps apart, and allows
fewer sequences; what it keeps apart further on, further exclusions do. So exclusions alone reach
the least makespan. Where steps hand tensors on, they do not: an order lets a tensor end before a
step begins. There every set of exclusions and orders is tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, permutations, product

from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.fleet import FleetSpec
from planner.model import InstanceId
from planner.pipeline import schedule_of, work_problem
from planner.plan import AddedKind, AddedOrder, Plan
from planner.schedule import Schedule
from tests.oracles_makespan import least_makespan

__all__ = ["frontier", "frontier_with_tensors"]


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
    return _undominated(points, times)


def frontier_with_tensors(
    free: Plan, times: Mapping[tuple[str, str], int]
) -> list[tuple[int, int]]:
    """Return the same with orders between instances of one channel, and tensors beside the work.

    `free` is the fleet's plan with nothing added; with one frame in flight and no pools.
    """
    reserved = free.rule.reserved_bytes
    work = [0 if row.work_offset is None else reserved(row.work_bytes) for row in free.instances]
    found: dict[tuple[int, ...], int] = {}
    points = []
    for added in _choices(free):
        try:
            schedule = schedule_of(free.fleet, added)
        except SpecError:  # orders in a circle
            continue
        relation = ConflictRelation.of_schedule(schedule)
        problem = work_problem(relation, work, free.buffers, free.rule)
        masks = problem.conflict_masks
        assert masks is not None
        if masks not in found:
            found[masks] = _least_height(problem.sizes, masks)
        points.append((found[masks], schedule))
    return _undominated(points, times)


def _choices(free: Plan) -> Iterator[tuple[AddedOrder, ...]]:
    """Yield every set of exclusions and orders of pairs."""
    schedule = schedule_of(free.fleet, ())
    relation = ConflictRelation.of_schedule(schedule)
    users: dict[InstanceId, set[str]] = {name: set() for name in schedule.instances}
    for channel in schedule.channels:
        for (choice,) in channel.choices:
            users[schedule.instances[choice.instance]].add(channel.name)
    ways = []
    for (i, first), (j, second) in combinations(enumerate(schedule.instances), 2):
        way: list[tuple[AddedOrder, ...]] = [()]
        if relation.masks[i] >> j & 1:
            way.append((AddedOrder(first, second, AddedKind.EXCLUSIVE),))
        if users[first] == users[second] and len(users[first]) == 1:
            way.append((AddedOrder(first, second, AddedKind.ORDER),))
            way.append((AddedOrder(second, first, AddedKind.ORDER),))
        ways.append(way)
    for chosen in product(*ways):
        yield tuple(chain.from_iterable(chosen))


def _undominated(
    points: Sequence[tuple[int, Schedule]], times: Mapping[tuple[str, str], int]
) -> list[tuple[int, int]]:
    best: list[tuple[int, int]] = []
    lengths: dict[object, int] = {}
    for height, schedule in sorted(points, key=lambda point: point[0]):
        key = tuple(
            (channel.order.edges, *(choice.locks for (choice,) in channel.choices))  # no pools here
            for channel in schedule.channels
        )
        if key not in lengths:
            lengths[key] = least_makespan(schedule, times)
        if not best or lengths[key] < best[-1][1]:
            if best and best[-1][0] == height:
                best.pop()
            best.append((height, lengths[key]))
    return best
