"""What may be changed so that a fleet needs less: values, and the fleet after them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from planner.capacity import with_channels
from planner.fleet import Dedupe, FleetSpec, StepSpec
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder

__all__ = ["Candidates", "Change", "ChangeKind", "changed"]


class ChangeKind(StrEnum):
    """What is changed; `Change.names` and `Change.count` mean what each says."""

    FIT = "fit"
    """Planning adds order and locks until work and weights take `count` bytes. No names."""
    DEDUPE_WEIGHTS = "dedupe_weights"
    """Weights whose bytes are equal are held once (``dedupe: weights``). No names."""
    EXCLUSIVE_INSTANCES = "exclusive_instances"
    """Two instances never run at the same time. Their names."""
    EXCLUSIVE_LANES = "exclusive_lanes"
    """All steps of these lanes share one lock. The lanes, or pools, as the fleet names them."""
    SERIAL = "serial"
    """All steps share one lock: nothing runs at the same time. No names."""
    FEWER_FRAMES = "fewer_frames"
    """Pipelines, and how many frames of each may be in flight."""
    FEWER_CHANNELS = "fewer_channels"
    """A pipeline, and how many channels of it remain; 0: it is left out."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes
    ----------
    kind : ChangeKind
    names : tuple of str
        Instances, lanes or pipelines.
    count : int
        Channels or frames in flight that remain; bytes to fit.
    """

    kind: ChangeKind
    names: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Changes of one kind that may be worth a plan, the most promising first.

    Attributes
    ----------
    first : sequence of Change
        Worth a plan whatever they promise.
    more : sequence of Change
        May make the plan fit by themselves; worth a plan while few of the kind do.
    unseen : int
        Others: a bound says that they are not enough, or they were not looked at.
    """

    first: Sequence[Change]
    more: Sequence[Change] = ()
    unseen: int = 0


def changed(
    fleet: FleetSpec, changes: Sequence[Change]
) -> tuple[FleetSpec, tuple[AddedOrder, ...]]:
    """Return a fleet after some changes, and the constraints that planning has to add for them.

    Exclusion of instances that a change before it has removed is left out. `FIT` is no change of
    the fleet: see `fitted`.
    """
    added: list[AddedOrder] = []
    for change in changes:
        match change.kind:
            case ChangeKind.DEDUPE_WEIGHTS:
                fleet = replace(fleet, device=replace(fleet.device, dedupe=Dedupe.WEIGHTS))
            case ChangeKind.EXCLUSIVE_INSTANCES:
                first, second = (InstanceId(name) for name in change.names)
                added.append(AddedOrder(first, second, AddedKind.EXCLUSIVE))
            case ChangeKind.EXCLUSIVE_LANES:
                fleet = _locked(fleet, change.names)
            case ChangeKind.SERIAL:
                fleet = _locked(fleet, tuple(_lanes(fleet)))
            case ChangeKind.FEWER_FRAMES:
                pipelines = tuple(
                    replace(item, frames_in_flight=change.count)
                    if item.id in change.names
                    else item
                    for item in fleet.pipelines
                )
                fleet = replace(fleet, pipelines=pipelines)
            case _:  # FEWER_CHANNELS
                (name,) = change.names
                fleet = with_channels(fleet, {name: change.count})
    known = fleet.instances()
    return fleet, tuple(item for item in added if item.first in known and item.second in known)


def _lanes(fleet: FleetSpec) -> dict[str, None]:
    """Return the lanes and pools as the fleet names them, in order of first use."""
    return dict.fromkeys(step.lane_name for pipeline in fleet.pipelines for step in pipeline.steps)


def _locked(fleet: FleetSpec, lanes: Sequence[str]) -> FleetSpec:
    """Return the fleet with one further lock that all steps of some lanes hold, in all channels."""
    taken = {
        name
        for pipeline in fleet.pipelines
        for step in pipeline.steps
        for name in (step.lane_name, *step.locks)
    }
    lock = "in turn"
    while lock in taken:  # no template can come to mean it: channels fill in digits
        lock += "+"
    chosen = set(lanes)

    def with_lock(step: StepSpec) -> StepSpec:
        return replace(step, locks=(*step.locks, lock)) if step.lane_name in chosen else step

    pipelines = tuple(
        replace(pipeline, steps=tuple(with_lock(step) for step in pipeline.steps))
        for pipeline in fleet.pipelines
    )
    return replace(fleet, pipelines=pipelines)
