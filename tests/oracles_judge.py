"""Slow, plain truth about a plan: unroll all frames, walk all paths, compare all pairs of bytes."""

from collections.abc import Iterable
from itertools import combinations, product

from planner.fleet import FleetSpec
from planner.plan import AddedKind, AddedOrder, Plan
from tests.oracles_guard import lanes_taken

__all__ = ["conflicting_pairs", "has_cycle", "orders_something", "overlapping_pairs", "unroll"]

Node = tuple[str, int, int, str]
"""Pipeline, channel, frame, step."""


def unroll(
    fleet: FleetSpec, added: Iterable[AddedOrder]
) -> tuple[dict[Node, dict[str, set[str]]], dict[Node, set[Node]]]:
    """Return instances with their locks, and later executions, of every execution of d + 1 frames.

    An execution has an instance for each lane that it may take.
    """
    uses: dict[Node, dict[str, set[str]]] = {}
    later: dict[Node, set[Node]] = {}
    for pipeline in fleet.pipelines:
        d = pipeline.frames_in_flight
        for channel in range(pipeline.channels):
            for frame in range(d + 1):
                for step in pipeline.steps:
                    node = (pipeline.id, channel, frame, step.id)
                    others = {name.replace("{channel}", str(channel)) for name in step.locks}
                    uses[node] = {
                        f"{step.model}@{lane}": {lane, *others}
                        for lane in lanes_taken(step, channel, pipeline.channels)
                    }
                    later[node] = set()
            for frame in range(d + 1):
                for step in pipeline.steps:
                    node = (pipeline.id, channel, frame, step.id)
                    for name in step.after:
                        later[pipeline.id, channel, frame, name].add(node)
                    if frame + d <= d:
                        for other in pipeline.steps:
                            later[node].add((pipeline.id, channel, frame + d, other.id))
    for index, constraint in enumerate(added):
        for a in uses:
            if constraint.kind is AddedKind.EXCLUSIVE:
                for instance, locks in uses[a].items():
                    if instance in (constraint.first, constraint.second):
                        locks.add(f"exclusive {index}")
                continue
            for b in uses:
                meant = constraint.first in uses[a] and constraint.second in uses[b]
                if a[:3] == b[:3] and meant:
                    later[a].add(b)
    return uses, later


def _walk(later: dict[Node, set[Node]], start: Node) -> set[Node]:
    seen: set[Node] = set()
    todo = [start]
    while todo:
        for node in later[todo.pop()]:
            if node not in seen:
                seen.add(node)
                todo.append(node)
    return seen


def has_cycle(fleet: FleetSpec, added: Iterable[AddedOrder]) -> bool:
    """Whether some execution would have to precede itself."""
    _, later = unroll(fleet, added)
    return any(node in _walk(later, node) for node in later)


def orders_something(fleet: FleetSpec, constraint: AddedOrder) -> bool:
    """Whether some channel runs both instances of an added order."""
    uses, _ = unroll(fleet, ())
    channels = [
        {node[:2] for node in uses if name in uses[node]}
        for name in (constraint.first, constraint.second)
    ]
    return bool(channels[0] & channels[1])


def conflicting_pairs(fleet: FleetSpec, added: Iterable[AddedOrder] = ()) -> set[frozenset[str]]:
    """Pairs of different instances some of whose executions may overlap."""
    uses, later = unroll(fleet, added)
    reached = {node: _walk(later, node) for node in later}
    return {
        frozenset((one, other))
        for a, b in combinations(uses, 2)
        if b not in reached[a] and a not in reached[b]
        for one, other in product(uses[a], uses[b])
        if one != other and not uses[a][one] & uses[b][other]
    }


def overlapping_pairs(plan: Plan) -> set[frozenset[str]]:
    """Pairs of conflicting instances whose reserved work bytes meet."""
    spans: dict[str, range] = {
        row.id: range(row.work_offset, row.work_offset + plan.rule.reserved_bytes(row.work_bytes))
        for row in plan.instances
        if row.work_offset is not None
    }
    return {
        pair
        for pair in conflicting_pairs(plan.fleet, plan.added)
        if all(name in spans for name in pair)
        and max(spans[name].start for name in pair) < min(spans[name].stop for name in pair)
    }
