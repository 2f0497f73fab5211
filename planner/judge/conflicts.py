"""Which instances may run at the same time, from the definition in docs/design.md section 2.

    camera[0]  frame t      detect --> read               Two channels are never ordered.
               frame t + 1             detect --> read    With d = 1, frame t ends before t + 1
    camera[1]  frame t      detect --> read               begins: in one channel, order keeps two
                                                          steps apart iff `after` joins them.
    With d >= 2, frames t and t + 1 run side by side and no path joins them: `read` of t and
    `detect` of t + 1 may overlap, and so may any two steps. Locks, lanes among them, keep apart
    everywhere and always.

All runs of an instance under one set of locks are one *use*. A use whose runs all lie in one
channel with d = 1 is at *home* there. Take two uses that share no lock. If one of them has no home,
it has a run in another channel than some run of the other, or in a neighbouring frame of the same
channel: they may overlap. If both have homes and these differ, likewise. Only at a common home does
the order decide, step by step. Two instances conflict iff a pair of their uses may overlap.

A step that takes any lane of a pool has a run on each of its lanes, of different instances. At home
with d = 1 these are runs of one execution, which takes one lane at a time: they are apart.

Channels that look alike fall into one use, so a thousand cost as one; nothing else is clever here.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product
from operator import or_
from typing import NamedTuple, TypeAlias

from planner.fleet import FleetSpec, PipelineSpec, channel_name, instance_id
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder

__all__ = ["Conflicts", "Run", "runs_of", "steps_before"]

_Channel: TypeAlias = tuple[int, int]
"""(pipeline, channel); pipelines and steps are counted as the fleet declares them."""


class Run(NamedTuple):
    """One step of one channel on one lane that it may take, in all its frames."""

    channel: _Channel
    step: int
    lane: str


def runs_of(fleet: FleetSpec) -> dict[InstanceId, list[Run]]:
    """Return the runs of each instance; instances in order of first use."""
    runs: dict[InstanceId, list[Run]] = {}
    for p, pipeline in enumerate(fleet.pipelines):
        for c in range(pipeline.channels):
            for s, step in enumerate(pipeline.steps):
                for lane in step.lanes_of(c):
                    instance = instance_id(step.model, lane)
                    runs.setdefault(instance, []).append(Run((p, c), s, lane))
    return runs


@dataclass(frozen=True, slots=True)
class _Use:
    """Runs of one instance under one set of locks.

    Attributes
    ----------
    locks : frozenset of str
    home : (pipeline, channel) or None
        The only channel of the runs, where that has one frame in flight.
    steps, joined : int
        At home: the mask of the runs' steps, and of the steps that never run beside any of them,
        being the same or joined by a path.
    """

    locks: frozenset[str]
    home: _Channel | None
    steps: int = 0
    joined: int = 0


class Conflicts:
    """The conflict relation between a fleet's instances under what planning added.

    Parameters
    ----------
    fleet : FleetSpec
    runs : mapping
        What `runs_of` returns for the fleet.
    added : sequence of AddedOrder
        Between instances of the fleet.

    Attributes
    ----------
    cycles : tuple of str
        What contradicts itself: channels where added order and `after` make a cycle. There, only
        `after` counts.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        runs: Mapping[InstanceId, Sequence[Run]],
        added: Sequence[AddedOrder],
    ) -> None:
        self._fleet = fleet
        self._runs = runs
        self._joined = [_joined(pipeline, frozenset()) for pipeline in fleet.pipelines]
        self._joined_here, self.cycles = _joined_by_added(fleet, runs, added)
        excluded: dict[InstanceId, set[str]] = {}
        for index, constraint in enumerate(added):
            if constraint.kind is AddedKind.EXCLUSIVE:
                for instance in (constraint.first, constraint.second):
                    excluded.setdefault(instance, set()).add(f"added@{index}")
        self._excluded = {instance: frozenset(names) for instance, names in excluded.items()}
        self._kinds: dict[tuple[_Use, ...], int] = {}
        self._kind_of = {
            instance: self._kinds.setdefault(self._uses(instance), len(self._kinds))
            for instance in runs
        }
        self._uses_of = list(self._kinds)

    def kind(self, instance: InstanceId) -> int:
        """Return a number that instances share whose uses are alike in all that matters here."""
        return self._kind_of[instance]

    def kinds_conflict(self, i: int, j: int) -> bool:
        """Return whether instances of kinds `i` and `j` may run at the same time."""
        for a in self._uses_of[i]:
            for b in self._uses_of[j]:
                if a.locks.isdisjoint(b.locks):
                    if a.home is None or a.home != b.home:
                        return True
                    if a.joined & b.steps != b.steps:
                        return True
        return False

    def example(self, first: InstanceId, second: InstanceId) -> str:
        """Return two runs of conflicting instances that may overlap, in words."""
        pairs = product(self._runs[first], self._runs[second])
        return next(filter(None, (self._beside(first, a, second, b) for a, b in pairs)))

    def _beside(self, first: InstanceId, a: Run, second: InstanceId, b: Run) -> str:
        """Return that runs `a` and `b` may overlap, in words; empty if they never do."""
        beside = f"{self._name(a)} may run beside {self._name(b)}"
        if not self._locks(first, a).isdisjoint(self._locks(second, b)):
            return ""
        if a.channel != b.channel:
            return beside
        if self._fleet.pipelines[a.channel[0]].frames_in_flight > 1:
            return f"{beside} of a neighbouring frame"
        joined = a.step == b.step or self._order(a.channel)[a.step] >> b.step & 1
        return "" if joined else f"{beside}: no order joins them"

    def _order(self, channel: _Channel) -> Sequence[int]:
        """Return for each step the mask of steps that a path joins with it, in one frame."""
        return self._joined_here.get(channel) or self._joined[channel[0]]

    def _uses(self, instance: InstanceId) -> tuple[_Use, ...]:
        by_locks: dict[frozenset[str], list[Run]] = {}
        for run in self._runs[instance]:
            by_locks.setdefault(self._locks(instance, run), []).append(run)
        uses = []
        for locks, runs in by_locks.items():
            channel = runs[0].channel
            serial = self._fleet.pipelines[channel[0]].frames_in_flight == 1
            if not serial or any(run.channel != channel for run in runs):
                uses.append(_Use(locks, home=None))
                continue
            order = self._order(channel)
            steps, joined = 0, -1
            for run in runs:
                steps |= 1 << run.step
                joined &= order[run.step] | 1 << run.step  # it never runs beside itself
            uses.append(_Use(locks, channel, steps, joined))
        return tuple(uses)

    def _locks(self, instance: InstanceId, run: Run) -> frozenset[str]:
        p, c = run.channel
        locks = self._fleet.pipelines[p].steps[run.step].locks_on(run.lane, c)
        return locks | self._excluded.get(instance, frozenset())

    def _name(self, run: Run) -> str:
        p, c = run.channel
        pipeline = self._fleet.pipelines[p]
        return f"{channel_name(pipeline.id, c)}.{pipeline.steps[run.step].id}"


def steps_before(
    fleet: FleetSpec, runs: Mapping[InstanceId, Sequence[Run]], added: Iterable[AddedOrder]
) -> dict[_Channel, tuple[int, ...]]:
    """Return for each channel and step the mask of the steps before it in a frame.

    Where added order and `after` make a cycle, only `after` counts.
    """
    plain = [_directions(pipeline, frozenset())[0] for pipeline in fleet.pipelines]
    before = {
        (p, c): plain[p]
        for p, pipeline in enumerate(fleet.pipelines)
        for c in range(pipeline.channels)
    }
    for channel, pairs in _added_edges(runs, added).items():
        with suppress(CycleError):
            before[channel] = _directions(fleet.pipelines[channel[0]], frozenset(pairs))[0]
    return before


def _added_edges(
    runs: Mapping[InstanceId, Sequence[Run]], added: Iterable[AddedOrder]
) -> dict[_Channel, set[tuple[int, int]]]:
    """Return the pairs of steps (first, second) that planning ordered in each channel."""
    edges: dict[_Channel, set[tuple[int, int]]] = {}
    for constraint in added:
        if constraint.kind is AddedKind.ORDER:
            seconds: dict[_Channel, list[int]] = {}
            for run in runs[constraint.second]:
                seconds.setdefault(run.channel, []).append(run.step)
            for run in runs[constraint.first]:
                here = ((run.step, step) for step in seconds.get(run.channel, ()))
                edges.setdefault(run.channel, set()).update(here)
    return edges


def _joined_by_added(
    fleet: FleetSpec, runs: Mapping[InstanceId, Sequence[Run]], added: Iterable[AddedOrder]
) -> tuple[dict[_Channel, tuple[int, ...]], tuple[str, ...]]:
    """Return the masks of `_joined` for channels where order was added, and the cycles."""
    joined: dict[_Channel, tuple[int, ...]] = {}
    known: dict[tuple[int, frozenset[tuple[int, int]]], tuple[int, ...]] = {}
    cycles: dict[tuple[int, frozenset[tuple[int, int]]], str] = {}
    for channel, pairs in _added_edges(runs, added).items():
        pipeline, key = fleet.pipelines[channel[0]], (channel[0], frozenset(pairs))
        if key not in known and key not in cycles:
            try:
                known[key] = _joined(pipeline, key[1])
            except CycleError as error:
                names = " after ".join(pipeline.steps[s].id for s in reversed(error.args[1]))
                cycles[key] = f"{channel_name(pipeline.id, channel[1])}: {names}"
        if key in known:
            joined[channel] = known[key]
    return joined, tuple(cycles.values())


def _joined(pipeline: PipelineSpec, added: frozenset[tuple[int, int]]) -> tuple[int, ...]:
    """Return for each step of a frame the mask of steps before and after it, by walking edges.

    Raises
    ------
    CycleError
        The edges (`after`, and `added` as (first, second)) make a cycle.
    """
    back, ahead = _directions(pipeline, added)
    return tuple(map(or_, back, ahead))


def _directions(
    pipeline: PipelineSpec, added: frozenset[tuple[int, int]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return for each step of a frame the mask of steps before it, and of those after it."""
    index = {step.id: s for s, step in enumerate(pipeline.steps)}
    before = {s: {index[name] for name in step.after} for s, step in enumerate(pipeline.steps)}
    for first, second in added:
        before[second].add(first)
    after: dict[int, set[int]] = {s: set() for s in before}
    for s, earlier in before.items():
        for t in earlier:
            after[t].add(s)
    order = tuple(TopologicalSorter(before).static_order())
    masks = _reached(order, before), _reached(order[::-1], after)
    back, ahead = (tuple(found[s] for s in range(len(pipeline.steps))) for found in masks)
    return back, ahead


def _reached(order: Sequence[int], edges: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Return the mask of all that each node reaches; what a node points at stands before it."""
    masks: dict[int, int] = {}
    for node in order:
        mask = 0
        for target in edges[node]:
            mask |= masks[target] | 1 << target
        masks[node] = mask
    return masks
