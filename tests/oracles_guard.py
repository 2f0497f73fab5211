"""Which executions must be apart, read off docs/design.md section 2 the slow and plain way.

Executions are nodes of an explicit graph over numbered frames; order is a path, found by walking;
locks are names with the channel filled in. Nothing of the guard and nothing of the schedule is
used.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import Assign, LanePool
from planner.model import InstanceId, ModelId
from planner.plan import AddedKind, AddedOrder

__all__ = ["Definition", "Execution", "fleet_of", "instance_of", "lanes_taken", "step"]


class Execution(NamedTuple):
    """All runs of one step in one frame of one channel."""

    pipeline: str
    channel: int
    frame: int
    step: str


@dataclass
class Definition:
    """The order and the locks of a fleet, frame by frame.

    Parameters
    ----------
    fleet : FleetSpec
    added : sequence of AddedOrder
    """

    fleet: FleetSpec
    added: Sequence[AddedOrder] = ()
    _order: dict[tuple[Execution, Execution], bool] = field(default_factory=dict)

    def precedes(self, first: Execution, second: Execution) -> bool:
        """Whether the order has a path from `first` to `second`."""
        key = first, second
        if key not in self._order:
            self._order[key] = self._walk(first, second)
        return self._order[key]

    def _walk(self, first: Execution, second: Execution) -> bool:
        seen = {first}
        open_ends = [first]
        while open_ends:
            for after in self._successors(open_ends.pop()):
                if after == second:
                    return True
                if after not in seen and after.frame <= second.frame:
                    seen.add(after)
                    open_ends.append(after)
        return False

    def _successors(self, execution: Execution) -> Iterator[Execution]:
        pipeline = self.fleet.pipeline(execution.pipeline)
        for other in pipeline.steps:
            if execution.step in other.after or self._is_added(pipeline, execution, other.id):
                yield execution._replace(step=other.id)
            yield Execution(
                execution.pipeline,
                execution.channel,
                execution.frame + pipeline.frames_in_flight,
                other.id,
            )

    def _is_added(self, pipeline: PipelineSpec, execution: Execution, after: str) -> bool:
        first = self.uses(execution)
        second = self.uses(execution._replace(step=after))
        return any(
            row.kind is AddedKind.ORDER and row.first in first and row.second in second
            for row in self.added
        )

    def uses(self, execution: Execution) -> dict[InstanceId, frozenset[str]]:
        """Instances that may serve an execution, with the names of the locks that it then holds.

        Added exclusions are locks of their own. A step on a pool has one instance for each lane.
        """
        pipeline = self.fleet.pipeline(execution.pipeline)
        spec = pipeline.step(execution.step)
        uses = {}
        for lane in lanes_taken(spec, execution.channel, pipeline.channels):
            mine = InstanceId(f"{spec.model}@{lane}")
            names = {name.replace("{channel}", str(execution.channel)) for name in spec.locks}
            for position, row in enumerate(self.added):
                if row.kind is AddedKind.EXCLUSIVE and mine in (row.first, row.second):
                    names.add(f"@{position}")
            uses[mine] = frozenset({lane, *names})
        return uses

    def locks(self, execution: Execution) -> frozenset[str]:
        """Names of all locks that an execution may hold, whichever lane it takes."""
        return frozenset().union(*self.uses(execution).values())

    def must_be_apart(self, first: Execution, second: Execution) -> bool:
        """Whether a path joins the two, or they hold a lock in common whatever lanes they take."""
        return (
            self.precedes(first, second)
            or self.precedes(second, first)
            or all(
                mine & other
                for mine, other in product(self.uses(first).values(), self.uses(second).values())
            )
        )

    def may_share_time(
        self, first: Execution, one: InstanceId, second: Execution, other: InstanceId
    ) -> bool:
        """Whether `first` as served by `one` may run beside `second` as served by `other`."""
        return (
            first != second
            and not self.precedes(first, second)
            and not self.precedes(second, first)
            and not self.uses(first)[one] & self.uses(second)[other]
        )


def lanes_taken(spec: StepSpec, channel: int, channels: int) -> list[str]:
    """Name the lanes that a step may take in one of `channels` channels, in order."""
    if isinstance(spec.lane, str):
        return [spec.lane.replace("{channel}", str(channel))]
    lanes = [f"{spec.lane.name}[{k}]" for k in range(spec.lane.size)]
    if spec.lane.assign is Assign.ANY:
        return lanes
    return [lanes[math.floor(Fraction(channel * spec.lane.size, channels))]]


def instance_of(spec: StepSpec, channel: int) -> InstanceId:
    """Name the instance that a step of one plain lane executes in a channel."""
    (lane,) = lanes_taken(spec, channel, 1)
    return InstanceId(f"{spec.model}@{lane}")


def step(
    name: str,
    lane: str | LanePool,
    *,
    after: Sequence[str] = (),
    locks: Sequence[str] = (),
    model: str = "",
) -> StepSpec:
    """Return a step; its model has its name unless another is given."""
    return StepSpec(name, ModelId(model or name), lane, tuple(after), tuple(locks))


def fleet_of(*pipelines: PipelineSpec) -> FleetSpec:
    """Return a fleet with a declared model for each one that its pipelines use."""
    names = dict.fromkeys(s.model for pipeline in pipelines for s in pipeline.steps)
    models = tuple(ModelSpec(name, work_bytes=64, weight_bytes=0) for name in names)
    return FleetSpec("fleet", models, tuple(pipelines))
