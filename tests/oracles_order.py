"""Slow, plain truth about the order of a fleet: play every legal interleaving and look.

The rules are played as docs/design.md section 2 states them, on start and end events: a step starts
when everything before it is over and nobody holds one of its locks; it may run several times, or be
skipped; frame t + d starts when frame t has ended. A step on a pool starts on any of its lanes, on
another one when it runs again. Nothing is taken from the rooms under test.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from planner.fleet import FleetSpec
from planner.problem import Problem
from tests.oracles_guard import lanes_taken

__all__ = ["Play", "play", "unordered_problem"]

T = TypeVar("T")
Key = tuple[str, int, str, int]
"""Pipeline, channel, step, frame."""
Edge = tuple[str, str, str, int, int | None]
"""Pipeline, first step, second step, frames between, channel or None for all."""


@dataclass(frozen=True)
class Play:
    """What was seen over all interleavings, and what was found before each execution by walking."""

    keys: tuple[Key, ...]
    instances: dict[Key, tuple[str, ...]]
    served: frozenset[frozenset[tuple[Key, str]]]
    before: dict[Key, frozenset[Key]]

    @property
    def overlaps(self) -> set[frozenset[Key]]:
        """Pairs of executions that were seen running at the same time."""
        return {frozenset(key for key, _ in pair) for pair in self.served}

    def conflicts(self) -> set[frozenset[str]]:
        """Return the pairs of different instances that were seen running at the same time."""
        pairs = (frozenset(instance for _, instance in pair) for pair in self.served)
        return {pair for pair in pairs if len(pair) == 2}


def play(
    spec: FleetSpec,
    order: Iterable[Edge] = (),
    exclusive: Collection[tuple[str, str]] = (),
    *,
    frames_more: int = 0,
) -> Play:
    """Play every interleaving of d + 1 frames and `frames_more`; 14 executions are plenty."""
    keys: list[Key] = []
    ways: list[tuple[Key, str, set[str]]] = []
    direct: dict[Key, set[Key]] = {}
    gates: dict[Key, set[Key]] = {}
    for pipeline in spec.pipelines:
        d = pipeline.frames_in_flight
        for channel in range(pipeline.channels):
            for frame in range(d + 1 + frames_more):
                for step in pipeline.steps:
                    key = (pipeline.id, channel, step.id, frame)
                    keys.append(key)
                    for lane in lanes_taken(step, channel, pipeline.channels):
                        instance = f"{step.model}@{lane}"
                        held = {name.replace("{channel}", str(channel)) for name in step.locks}
                        held |= {f"exclusive {pair}" for pair in exclusive if instance in pair}
                        ways.append((key, instance, {lane, *held}))
                    direct[key] = {(pipeline.id, channel, name, frame) for name in step.after}
                    for name, first, second, lag, where in order:
                        if (name, second) == (pipeline.id, step.id) and where in (None, channel):
                            direct[key].add((pipeline.id, channel, first, frame - lag))
                    # Frames are numbered as they start, so all up to t - d have ended by then.
                    gates[key] = {
                        (pipeline.id, channel, other.id, ended)
                        for other in pipeline.steps
                        for ended in range(frame - d + 1)
                    }
    # Executions of frames before the first are over.
    direct = {key: (direct[key] | gates[key]) & set(keys) for key in keys}
    before = {key: _walk(direct, key) for key in keys}
    instances = {key: tuple(name for k, name, _ in ways if k == key) for key in keys}
    return Play(tuple(keys), instances, _explore(keys, ways, before, gates), before)


def _walk(direct: Mapping[T, Collection[T]], key: T) -> frozenset[T]:
    seen: set[T] = set()
    todo = list(direct[key])
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo.extend(direct[node])
    return frozenset(seen)


def _explore(
    keys: list[Key],
    ways: list[tuple[Key, str, set[str]]],
    before: dict[Key, frozenset[Key]],
    gates: dict[Key, set[Key]],
) -> frozenset[frozenset[tuple[Key, str]]]:
    bit = {key: 1 << position for position, key in enumerate(keys)}
    mine = [bit[key] for key, _, _ in ways]
    needs = [sum(bit[other] for other in before[key]) for key, _, _ in ways]
    opens = [sum(bit[other] for other in gates[key]) for key, _, _ in ways]
    excludes = [
        sum(1 << j for j, (other, _, taken) in enumerate(ways) if held & taken or other == key)
        for key, _, held in ways
    ]
    together = [0] * len(ways)
    seen = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        over, running = todo.pop()
        moves = []
        for position in range(len(ways)):
            me = 1 << position
            if running & me:
                together[position] |= running
                moves.append((over, running ^ me))  # ends, and may run again
                moves.append((over | mine[position], running ^ me))  # ends for good
            elif not over & mine[position] and not opens[position] & ~over:
                if not any(
                    running >> j & 1 and mine[j] == mine[position] for j in range(len(ways))
                ):
                    moves.append((over | mine[position], running))  # is skipped
                if not needs[position] & ~over and not excludes[position] & running:
                    moves.append((over, running | me))  # starts
        for state in moves:
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return frozenset(
        frozenset((ways[i][:2], ways[j][:2]))
        for i in range(len(ways))
        for j in range(i)
        if together[i] >> j & 1
    )


def unordered_problem(sizes: Collection[int], edges: Iterable[tuple[int, int]]) -> Problem:
    """Return the problem where nodes of a DAG conflict iff no path joins them, by walking."""
    direct: dict[int, set[int]] = {i: set() for i in range(len(sizes))}
    for first, second in edges:
        direct[second].add(first)
    before = {i: _walk(direct, i) for i in direct}
    pairs = combinations(range(len(sizes)), 2)
    free = [(i, j) for i, j in pairs if i not in before[j] and j not in before[i]]
    return Problem.of_edges(sizes, free)
