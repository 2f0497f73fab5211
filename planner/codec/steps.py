"""The steps of every channel with the instances, locks and order that a plan relies on.

Readers that run a plan need no fleet: these rows say what to hold and what to wait for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.fleet import PipelineSpec, channel_name, instance_id
from planner.model import InstanceId
from planner.plan import AddedKind, Plan

__all__ = ["PlannedStep", "planned_steps"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of one channel with everything that the plan relies on while it runs.

    A step that takes any lane of a pool has one for each lane, in the pool's order.

    Attributes
    ----------
    channel, step : str
        Such as ``camera[0]`` and ``detect``.
    frames_in_flight : int
        Frame t + this of the channel starts when frame t has ended.
    instance : InstanceId
    lane : str
    locks : tuple of str
        All that it holds while it runs: its lane, its locks, and one lock for each exclusion that
        planning added, named ``first|second`` (no lane or lock of a fleet has an @ in its name).
    after : tuple of str
        Steps of the channel that precede it inside a frame, with those that planning added.
    """

    channel: str
    step: str
    frames_in_flight: int
    instance: InstanceId
    lane: str
    locks: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def name(self) -> str:
        """``camera[0].detect``: shared only by the lanes of a pool that the step may take."""
        return f"{self.channel}.{self.step}"


def planned_steps(plan: Plan) -> Iterator[PlannedStep]:
    """Yield every step of every channel: pipelines and steps as declared, channels upward."""
    firsts: dict[InstanceId, list[InstanceId]] = {}
    exclusions: dict[InstanceId, list[str]] = {}
    for added in plan.added:
        if added.kind is AddedKind.ORDER:
            firsts.setdefault(added.second, []).append(added.first)
        else:
            for instance in (added.first, added.second):
                exclusions.setdefault(instance, []).append(f"{added.first}|{added.second}")
    for pipeline in plan.fleet.pipelines:
        for channel in range(pipeline.channels):
            yield from _channel_steps(pipeline, channel, firsts, exclusions)


def _channel_steps(
    pipeline: PipelineSpec,
    channel: int,
    firsts: dict[InstanceId, list[InstanceId]],
    exclusions: dict[InstanceId, list[str]],
) -> Iterator[PlannedStep]:
    """Yield the steps of one channel, given what planning added to each instance."""
    lanes = [step.lanes_of(channel) for step in pipeline.steps]
    instances = [
        [instance_id(step.model, lane) for lane in some]
        for step, some in zip(pipeline.steps, lanes, strict=True)
    ]
    serves: dict[InstanceId, list[str]] = {}
    for step, own in zip(pipeline.steps, instances, strict=True):
        for instance in own:
            serves.setdefault(instance, []).append(step.id)
    for step, some, own in zip(pipeline.steps, lanes, instances, strict=True):
        before = (first for instance in own for first in firsts.get(instance, ()))
        added_after = [name for first in before for name in serves.get(first, ())]
        for lane, instance in zip(some, own, strict=True):
            others = sorted(step.locks_on(lane, channel) - {lane})
            yield PlannedStep(
                channel=channel_name(pipeline.id, channel),
                step=step.id,
                frames_in_flight=pipeline.frames_in_flight,
                instance=instance,
                lane=lane,
                locks=tuple(dict.fromkeys((lane, *others, *exclusions.get(instance, ())))),
                after=tuple(dict.fromkeys((*step.after, *added_after))),
            )
