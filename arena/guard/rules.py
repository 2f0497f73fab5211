"""What a fleet demands of each channel: the order of its steps and the locks that they hold.

Computed from the fleet and from what planning added to it, by plain graph walking and with the
standard library alone: the guard runs where no planning room is imported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from planner.errors import PlanError
from planner.fleet import FleetSpec, PipelineSpec, StepSpec, channel_name, instance_id
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder

__all__ = ["ChannelRules", "Choice", "StepRule", "channel_rules", "mask_bits"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to execute a step: on one of the lanes that it may take.

    Attributes
    ----------
    instance : InstanceId
        ``model@lane``: what executes then.
    lane : str
    locks : tuple of str
        All locks held then, the lane among them, in name order.
    """

    instance: InstanceId
    lane: str
    locks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepRule:
    """One step of one channel, as the guard sees it.

    Attributes
    ----------
    id : str
    choices : tuple of Choice
        The ways to execute it: one, or one for each lane of its pool, in the pool's order.
    before_mask : int
        Bit i is set iff step i of the channel precedes this one inside a frame, transitively.
    """

    id: str
    choices: tuple[Choice, ...]
    before_mask: int

    @property
    def is_pooled(self) -> bool:
        """Whether its lane is chosen when it runs: then no lane keeps its own runs apart."""
        return len(self.choices) > 1


@dataclass(frozen=True)
class ChannelRules:
    """One channel: its steps, and how many of its frames may be in progress.

    Attributes
    ----------
    name : str
        ``camera[0]``.
    frames_in_flight : int
        d >= 1: frame t + d starts when frame t has ended.
    steps : tuple of StepRule
        As the pipeline declares them.
    """

    name: str
    frames_in_flight: int
    steps: tuple[StepRule, ...]

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Step id -> position in `steps`."""
        return {step.id: position for position, step in enumerate(self.steps)}


def mask_bits(mask: int) -> Iterator[int]:
    """Yield the positions of the set bits of `mask` (>= 0), upward.

    Examples
    --------
    >>> list(mask_bits(0b1010))
    [1, 3]
    """
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def channel_rules(fleet: FleetSpec, added: Sequence[AddedOrder] = ()) -> dict[str, ChannelRules]:
    """Return channel name -> rules, for every channel of the fleet.

    Parameters
    ----------
    fleet : FleetSpec
    added : sequence of AddedOrder
        `AddedKind.ORDER`: in every frame, each step that may execute `first` precedes each step
        that may execute `second`. `AddedKind.EXCLUSIVE`: whatever executes one of the two holds one
        further lock.

    Raises
    ------
    PlanError
        `added` names an instance that the fleet does not have, or closes a cycle with `after`.
        Caused by the plan.

    Notes
    -----
    Cost: O(steps^2) bit operations per pipeline, once for all channels that add the same edges.
    """
    order, exclusive = _added(fleet, added)
    rules: dict[str, ChannelRules] = {}
    for pipeline in fleet.pipelines:
        masks: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for channel in range(pipeline.channels):
            name = channel_name(pipeline.id, channel)
            choices = [_choices(step, channel, exclusive) for step in pipeline.steps]
            instances = [[choice.instance for choice in some] for some in choices]
            edges = tuple(_added_edges(instances, order))
            if edges not in masks:
                masks[edges] = _before_masks(pipeline, edges, name)
            steps = tuple(
                StepRule(step.id, some, mask)
                for step, some, mask in zip(pipeline.steps, choices, masks[edges], strict=True)
            )
            rules[name] = ChannelRules(name, pipeline.frames_in_flight, steps)
    return rules


def _choices(
    step: StepSpec, channel: int, exclusive: Mapping[InstanceId, Sequence[str]]
) -> tuple[Choice, ...]:
    """Return the ways to execute a step in a channel, given the locks that planning added."""
    choices = []
    for lane in step.lanes_of(channel):
        instance = instance_id(step.model, lane)
        locks = {*step.locks_on(lane, channel), *exclusive.get(instance, ())}
        choices.append(Choice(instance, lane, tuple(sorted(locks))))
    return tuple(choices)


def _added(
    fleet: FleetSpec, added: Sequence[AddedOrder]
) -> tuple[list[tuple[InstanceId, InstanceId]], dict[InstanceId, list[str]]]:
    """Split what was added into order edges and locks by instance."""
    known = fleet.instances() if added else {}
    order: list[tuple[InstanceId, InstanceId]] = []
    exclusive: dict[InstanceId, list[str]] = {}
    for position, row in enumerate(added):
        for key, instance in (("first", row.first), ("second", row.second)):
            if instance not in known:
                raise PlanError(
                    f"added[{position}].{key}: found instance {instance!r}, "
                    f"which fleet {fleet.name!r} does not have"
                )
        if row.kind is AddedKind.ORDER:
            order.append((row.first, row.second))
        else:
            # Fleets cannot name a lock with "@": no lock of the user's can be meant by accident.
            lock = " | ".join(sorted((row.first, row.second)))
            for instance in {row.first, row.second}:
                exclusive.setdefault(instance, []).append(lock)
    return order, exclusive


def _added_edges(
    instances: Sequence[Sequence[InstanceId]], order: Sequence[tuple[InstanceId, InstanceId]]
) -> Iterator[tuple[int, int]]:
    """Yield (i, j): step i may execute the first and step j the second of an added order."""
    for first, second in order:
        for i, before in enumerate(instances):
            if first in before:
                yield from ((i, j) for j, after in enumerate(instances) if second in after)


def _before_masks(
    pipeline: PipelineSpec, edges: Sequence[tuple[int, int]], channel: str
) -> list[int]:
    """Return each step's transitive predecessors under `after` and the added edges."""
    index = {step.id: position for position, step in enumerate(pipeline.steps)}
    direct = {
        position: {index[name] for name in step.after}
        for position, step in enumerate(pipeline.steps)
    }
    for before, after in edges:
        direct[after].add(before)
    masks = [0] * len(direct)
    try:
        for position in TopologicalSorter(direct).static_order():
            for before in direct[position]:
                masks[position] |= masks[before] | 1 << before
    except CycleError as error:
        cycle = " before ".join(pipeline.steps[position].id for position in error.args[1])
        raise PlanError(f"{channel}: what was added makes a cycle with `after`: {cycle}") from None
    return masks
