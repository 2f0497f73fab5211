"""Which executions must be apart, read off docs/design.md section 2 the slow and plain way.

Executions are nodes of an explicit graph over numbered frames; order is a path, found by walking;
locks are names with the channel filled in. Nothing of the guard and nothing of the schedule is
used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId
from planner.plan import AddedKind, AddedOrder

__all__ = ["Definition", "Execution", "fleet_of", "instance_of", "step"]


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
        first = instance_of(pipeline.step(execution.step), execution.channel)
        second = instance_of(pipeline.step(after), execution.channel)
        return any(
            row.kind is AddedKind.ORDER and (row.first, row.second) == (first, second)
            for row in self.added
        )

    def locks(self, execution: Execution) -> frozenset[str]:
        """Names of the locks that an execution holds; added exclusions are locks of their own."""
        spec = self.fleet.pipeline(execution.pipeline).step(execution.step)
        names = {
            name.replace("{channel}", str(execution.channel)) for name in (spec.lane, *spec.locks)
        }
        mine = instance_of(spec, execution.channel)
        for position, row in enumerate(self.added):
            if row.kind is AddedKind.EXCLUSIVE and mine in (row.first, row.second):
                names.add(f"@{position}")
        return frozenset(names)

    def must_be_apart(self, first: Execution, second: Execution) -> bool:
        """Whether a path joins the two or they hold a lock in common."""
        return (
            self.precedes(first, second)
            or self.precedes(second, first)
            or bool(self.locks(first) & self.locks(second))
        )


def instance_of(spec: StepSpec, channel: int) -> InstanceId:
    """Name the instance that a step executes in a channel."""
    return InstanceId(f"{spec.model}@{spec.lane.replace('{channel}', str(channel))}")


def step(
    name: str, lane: str, *, after: Sequence[str] = (), locks: Sequence[str] = (), model: str = ""
) -> StepSpec:
    """Return a step; its model has its name unless another is given."""
    return StepSpec(name, ModelId(model or name), lane, tuple(after), tuple(locks))


def fleet_of(*pipelines: PipelineSpec) -> FleetSpec:
    """Return a fleet with a declared model for each one that its pipelines use."""
    names = dict.fromkeys(s.model for pipeline in pipelines for s in pipeline.steps)
    models = tuple(ModelSpec(name, work_bytes=64, weight_bytes=0) for name in names)
    return FleetSpec("fleet", models, tuple(pipelines))
