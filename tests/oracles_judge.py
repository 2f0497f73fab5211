"""Slow, plain truth about a plan: unroll all frames, walk all paths, compare all pairs of bytes."""

from collections.abc import Iterable
from itertools import combinations

from planner.fleet import FleetSpec
from planner.plan import AddedKind, AddedOrder, Plan

__all__ = ["conflicting_pairs", "has_cycle", "orders_something", "overlapping_pairs"]

Node = tuple[str, int, int, str]
"""Pipeline, channel, frame, step."""


def _unroll(
    fleet: FleetSpec, added: Iterable[AddedOrder]
) -> tuple[dict[Node, str], dict[Node, set[str]], dict[Node, set[Node]]]:
    """Return instance, locks and later executions of every execution of d + 1 frames."""
    instances: dict[Node, str] = {}
    locks: dict[Node, set[str]] = {}
    later: dict[Node, set[Node]] = {}
    for pipeline in fleet.pipelines:
        d = pipeline.frames_in_flight
        for channel in range(pipeline.channels):
            for frame in range(d + 1):
                for step in pipeline.steps:
                    node = (pipeline.id, channel, frame, step.id)
                    lane, *others = (
                        name.replace("{channel}", str(channel)) for name in (step.lane, *step.locks)
                    )
                    instances[node] = f"{step.model}@{lane}"
                    locks[node] = {lane, *others}
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
        for a in instances:
            if constraint.kind is AddedKind.EXCLUSIVE:
                if instances[a] in (constraint.first, constraint.second):
                    locks[a].add(f"exclusive {index}")
                continue
            for b in instances:
                pair = (instances[a], instances[b])
                if a[:3] == b[:3] and pair == (constraint.first, constraint.second):
                    later[a].add(b)
    return instances, locks, later


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
    _, _, later = _unroll(fleet, added)
    return any(node in _walk(later, node) for node in later)


def orders_something(fleet: FleetSpec, constraint: AddedOrder) -> bool:
    """Whether some channel runs both instances of an added order."""
    instances, _, _ = _unroll(fleet, ())
    channels = [
        {node[:2] for node in instances if instances[node] == name}
        for name in (constraint.first, constraint.second)
    ]
    return bool(channels[0] & channels[1])


def conflicting_pairs(fleet: FleetSpec, added: Iterable[AddedOrder] = ()) -> set[frozenset[str]]:
    """Pairs of different instances some of whose executions may overlap."""
    instances, locks, later = _unroll(fleet, added)
    reached = {node: _walk(later, node) for node in later}
    return {
        frozenset((instances[a], instances[b]))
        for a, b in combinations(instances, 2)
        if instances[a] != instances[b]
        and b not in reached[a]
        and a not in reached[b]
        and not locks[a] & locks[b]
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
