"""Heights of a fleet's variants, as sums over groups of instances that nothing ties.

    camera[0] -- lane cam-0 --.              Two instances without a lock in common conflict, unless
    camera[1] -- lane cam-1 ---- lane npu    one single channel is all that uses them: elsewhere
    door[0] ----- lane bell                  some channel of the one runs beside another of the
                                             other. So four groups: cam-0, cam-1, npu and bell.

Instances of different groups never share bytes, so the optimum of the whole is the sum of theirs.
Groups that differ in names alone are planned once: a question about many channels costs a sum.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec, PipelineSpec, filled, instance_id
from planner.lanes import LanePool
from planner.model import ModelId
from planner.pipeline import PlanOptions, plan_work, work_problem
from planner.plan import Plan
from planner.schedule import Schedule

__all__ = ["Heights", "JoinedHeights"]

_Instance = tuple[ModelId, str]
"""Model and lane."""


class Heights(NamedTuple):
    """What is proven of a work reservation, and what a valid plan reaches, bytes."""

    lower_bytes: int
    upper_bytes: int


@dataclass(frozen=True, slots=True)
class _Member:
    """What one channel has in a group; of equal members two stand for all.

    A third brings no instance and no conflict that the second does not.
    """

    pipeline: PipelineSpec = field(compare=False)
    channel: int = field(compare=False)
    id: str
    steps: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]
    """Of each of the steps: its lane, then its other locks."""

    def instances(self) -> list[_Instance]:
        return [
            (self.pipeline.steps[step].model, names[0])
            for step, names in zip(self.steps, self.names, strict=True)
        ]


_Kind = tuple[tuple[str, tuple[int, ...], tuple[tuple[int, ...], ...]], ...]


class JoinedHeights:
    """Heights of variants of one plan's fleet; what was planned for one serves for all.

    Parameters
    ----------
    plan : Plan
    may_plan : callable
        Called with the instances of a group before it is planned; false: too many.
    """

    def __init__(self, plan: Plan, may_plan: Callable[[int], bool]) -> None:
        self._plan = plan
        self._may_plan = may_plan
        self._known: dict[_Kind, Heights] = {}

    def of(self, fleet: FleetSpec) -> Heights | None:
        """Return the heights of a variant; None where a plan of the whole is the better question.

        That is where more than half of its instances lie in groups that are not known yet, where
        planning added constraints or a pool has lanes, which may tie any two, and where steps hand
        tensors on, which have no lane.
        """
        steps = [step for pipeline in fleet.pipelines for step in pipeline.steps]
        pooled = any(isinstance(step.lane, LanePool) for step in steps)
        if self._plan.added or self._plan.buffers or pooled:
            return None
        groups = _groups(fleet)
        kinds = [_kind(group) for group in groups]
        unknown = {
            kind: (group, {instance for member in group for instance in member.instances()})
            for kind, group in zip(kinds, groups, strict=True)
            if kind not in self._known
        }
        if 2 * sum(len(rows) for _, rows in unknown.values()) > len(fleet.instances()):
            return None
        for kind, (group, rows) in unknown.items():
            if not self._may_plan(len(rows)):
                return None
            self._known[kind] = self._planned(fleet, group, rows)
        found = [self._known[kind] for kind in kinds]
        return Heights(
            sum(heights.lower_bytes for heights in found),
            sum(heights.upper_bytes for heights in found),
        )

    def _planned(
        self, fleet: FleetSpec, group: Sequence[_Member], rows: Iterable[_Instance]
    ) -> Heights:
        """Plan the work of a group under the order of its whole channels."""
        plan, sizes = self._plan, dict(self._plan.sizes)
        kept = {instance_id(model, lane) for model, lane in rows}
        channels = tuple(_alone(member, str(number)) for number, member in enumerate(group))
        alone = replace(fleet, pipelines=channels)
        reserved = [
            plan.rule.reserved_bytes(sizes[model].work_bytes)
            if name in kept and not sizes[model].system_managed
            else 0
            for name, (model, _) in alone.instances().items()
        ]
        relation = ConflictRelation.of_schedule(Schedule.of_fleet(alone))
        problem = work_problem(relation, reserved, (), plan.rule)
        lanes = [lane for _, lane in alone.instances().values()]
        solution = plan_work(problem, relation, lanes, PlanOptions().solve)
        assert solution.assignment is not None
        height = solution.assignment.height_bytes(problem)
        return Heights(solution.bound.lower_bound_bytes, height)


def _groups(fleet: FleetSpec) -> list[list[_Member]]:
    """Return what is tied: by a lane or lock, or by a channel that alone uses both."""
    ties = _Ties()
    homes: dict[_Instance, tuple[str, int] | None] = {}  # None: several channels
    names: list[tuple[PipelineSpec, int, list[tuple[str, ...]]]] = []
    for pipeline in fleet.pipelines:
        for channel in range(pipeline.channels):
            here = []
            for step in pipeline.steps:
                others = (filled(lock, channel) for lock in step.locks)
                own = (step.lane_of(channel), *others)
                here.append(own)
                for lock in own[1:]:
                    ties.tie(own[0], lock)
                instance, home = (step.model, own[0]), (pipeline.id, channel)
                homes[instance] = home if homes.get(instance, home) == home else None
            names.append((pipeline, channel, here))
    first_of: dict[tuple[str, int], str] = {}
    for (_, lane), at_home in homes.items():
        if at_home is not None:
            ties.tie(first_of.setdefault(at_home, lane), lane)
    groups: dict[str, dict[_Member, int]] = {}
    for pipeline, channel, here in names:
        parts: dict[str, list[int]] = {}
        for position, own in enumerate(here):
            parts.setdefault(ties.root(own[0]), []).append(position)
        for root, positions in parts.items():
            some = tuple(here[position] for position in positions)
            member = _Member(pipeline, channel, pipeline.id, tuple(positions), some)
            counts = groups.setdefault(root, {})
            counts[member] = counts.get(member, 0) + 1
    return [
        [member for member, count in counts.items() for _ in range(min(count, 2))]
        for counts in groups.values()
    ]


class _Ties:
    """Names in classes; of tied classes one name stands for all (union-find)."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, name: str) -> str:
        path = []
        while (above := self._above.get(name, name)) != name:
            path.append(name)
            name = above
        for passed in path:
            self._above[passed] = name
        return name

    def tie(self, one: str, other: str) -> None:
        self._above[self.root(other)] = self.root(one)


def _kind(group: Sequence[_Member]) -> _Kind:
    """Return what groups have in common that differ in the names of lanes and locks alone."""
    numbers: dict[str, int] = {}
    return tuple(
        (
            member.id,
            member.steps,
            tuple(
                tuple(numbers.setdefault(name, len(numbers)) for name in names)
                for names in member.names
            ),
        )
        for member in group
    )


def _alone(member: _Member, name: str) -> PipelineSpec:
    """Return the whole channel of a member as a pipeline of its own."""
    steps = tuple(
        replace(
            step,
            lane=step.lane_of(member.channel),
            # Two templates may come to mean one lock in this channel.
            locks=tuple(dict.fromkeys(filled(lock, member.channel) for lock in step.locks)),
        )
        for step in member.pipeline.steps
    )
    return replace(member.pipeline, id=name, channels=1, steps=steps)
