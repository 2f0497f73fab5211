"""What changed between two plans: bytes, instances, tensors, settings, added order, time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, TypeVar

from planner.capacity import (
    ChannelsFit,
    GrowthOptions,
    Kind,
    account_bytes,
    bytes_by_kind,
    channels_fit,
)
from planner.codec import fleet_to_mapping
from planner.columns import natural
from planner.handover import ChannelBuffer
from planner.makespan import MakespanUnit, makespan_of
from planner.model import InstanceId, page_rounded
from planner.pipeline import schedule_of
from planner.plan import AddedOrder, Instance, Plan

__all__ = [
    "BufferChange",
    "Change",
    "Difference",
    "InstanceChange",
    "ModelChange",
    "SettingChange",
    "Span",
    "diff_plans",
]

_GROWTH: Final = GrowthOptions()
Key = TypeVar("Key", bound=str)
Row = TypeVar("Row")


class Change(StrEnum):
    """What happened to an instance, or to a tensor in the arena."""

    ADDED = "added"
    MOVED = "moved"
    """Other offsets."""
    RESIZED = "resized"
    """Other sizes, and perhaps other offsets."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class InstanceChange:
    """One instance that is not as it was; `old` is None where it is added, `new` where gone."""

    instance: InstanceId
    change: Change
    old: Instance | None
    new: Instance | None


@dataclass(frozen=True, slots=True)
class BufferChange:
    """One tensor in the arena that is not as it was; `old` is None if added, `new` if gone."""

    buffer: str
    change: Change
    old: ChannelBuffer | None
    new: ChannelBuffer | None


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Bytes of one kind that all instances of a model take, where they changed."""

    model: str
    kind: Kind
    old_bytes: int
    new_bytes: int

    @property
    def delta_bytes(self) -> int:
        """What is added; negative: freed."""
        return self.new_bytes - self.old_bytes


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting of the fleet that is not as it was.

    Attributes
    ----------
    place : str
        As in a fleet file, such as ``pipelines.camera.rate``; ``models.NAME.sha256`` for a model
        file with other content.
    old, new : JSON value or None
        As a plan file holds it: sizes in bytes, times in nanoseconds; None where it is not there.
    """

    place: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Span:
    """The makespan of one frame of every channel, of the best schedule found."""

    length: int
    unit: MakespanUnit


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from `old` to `new`.

    Attributes
    ----------
    old, new : Plan
    instances : tuple of InstanceChange
        In the order of the new plan, then of the old one.
    buffers : tuple of BufferChange
        Tensors that are handed on, and inputs and outputs in the arena; in the same order.
    models : tuple of ModelChange
        Reserved bytes; an instance counts its whole region even where others use it in turn, so
        they do not sum to the change of the height.
    kinds : tuple of (Kind, int)
        Change of the bytes of each kind; these sum to `needed_bytes_delta`.
    old_channels, new_channels : tuple of ChannelsFit
    settings : tuple of SettingChange
        Of pipelines, steps, device and schedule, by place, and model files with other content.
    came, went : tuple of AddedOrder
        What planning added to the order of the new plan alone, and of the old one alone.
    old_span, new_span : Span
    """

    old: Plan
    new: Plan
    instances: tuple[InstanceChange, ...]
    buffers: tuple[BufferChange, ...]
    models: tuple[ModelChange, ...]
    kinds: tuple[tuple[Kind, int], ...]
    old_channels: tuple[ChannelsFit, ...]
    new_channels: tuple[ChannelsFit, ...]
    settings: tuple[SettingChange, ...]
    came: tuple[AddedOrder, ...]
    went: tuple[AddedOrder, ...]
    old_span: Span
    new_span: Span

    @property
    def height_bytes_delta(self) -> int:
        """Change of the work reservation."""
        return self.new.height_bytes - self.old.height_bytes

    @property
    def weight_bytes_delta(self) -> int:
        """Change of the weight reservation."""
        return self.new.weight_bytes - self.old.weight_bytes

    @property
    def total_bytes_delta(self) -> int:
        """Change of both reservations."""
        return self.new.total_bytes - self.old.total_bytes

    @property
    def needed_bytes_delta(self) -> int:
        """Change of everything that the limit is compared with."""
        return self.new.needed_bytes - self.old.needed_bytes

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed that memory could notice."""
        changes = (self.instances, self.buffers, self.models)
        return not any(changes) and not any(delta for _, delta in self.kinds)


def diff_plans(old: Plan, new: Plan, growth: GrowthOptions = _GROWTH) -> Difference:
    """Return what changed from `old` to `new`; with the two exchanged, the mirror image of it."""
    old_kinds, new_kinds = (bytes_by_kind(account_bytes(plan)) for plan in (old, new))
    old_added, new_added = dict.fromkeys(old.added), dict.fromkeys(new.added)
    old_span = _span(old)
    return Difference(
        old=old,
        new=new,
        instances=tuple(
            InstanceChange(*change)
            for change in _changes(
                _instances(old),
                _instances(new),
                size=attrgetter("work_bytes", "weight_bytes"),
                place=attrgetter("work_offset", "weight_offset"),
            )
        ),
        buffers=tuple(
            BufferChange(*change)
            for change in _changes(
                _buffers(old),
                _buffers(new),
                size=attrgetter("size_bytes"),
                place=attrgetter("offset"),
            )
        ),
        models=_models(old, new),
        kinds=tuple((kind, new_kinds[kind] - old_kinds[kind]) for kind in Kind),
        old_channels=channels_fit(old, growth),
        new_channels=channels_fit(new, growth),
        settings=(*_file_changes(old, new), *_setting_changes(_settings(old), _settings(new))),
        came=tuple(item for item in new_added if item not in old_added),
        went=tuple(item for item in old_added if item not in new_added),
        old_span=old_span,
        new_span=old_span if _order_of(old) == _order_of(new) else _span(new),
    )


def _order_of(plan: Plan) -> object:
    """Return all that the makespan of a plan follows from."""
    return plan.fleet.pipelines, plan.added, plan.price


def _span(plan: Plan) -> Span:
    if plan.price is not None:
        return Span(plan.price.makespan, plan.price.unit)
    found = makespan_of(schedule_of(plan.fleet, plan.added))
    return Span(found.length, found.unit)


def _settings(plan: Plan) -> dict[str, Any]:
    """Return what a fleet file says but for its models: their bytes are compared as such."""
    fleet = fleet_to_mapping(plan.fleet)
    return {key: fleet.get(key, {}) for key in ("pipelines", "device", "schedule")}


def _setting_changes(old: Any, new: Any, place: str = "") -> Iterator[SettingChange]:
    """Yield every place where two mappings differ; a member that only one has is one place."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*new, *old)):
            below = f"{place}.{key}" if place else key
            yield from _setting_changes(old.get(key), new.get(key), below)
    elif old != new:
        yield SettingChange(place, old, new)


def _file_changes(old: Plan, new: Plan) -> Iterator[SettingChange]:
    before = dict(old.sizes)
    for model, size in new.sizes:
        digest = before[model].file_digest if model in before else ""
        if digest and size.file_digest and digest != size.file_digest:
            yield SettingChange(f"models.{model}.sha256", digest, size.file_digest)


def _instances(plan: Plan) -> dict[InstanceId, Instance]:
    return {row.id: row for row in plan.instances}


def _buffers(plan: Plan) -> dict[str, ChannelBuffer]:
    return {row.name: row for row in plan.buffers}


def _changes(
    old: Mapping[Key, Row],
    new: Mapping[Key, Row],
    size: Callable[[Row], object],
    place: Callable[[Row], object],
) -> Iterator[tuple[Key, Change, Row | None, Row | None]]:
    """Yield the rows that are not as they were, each with its name and what happened to it."""
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield name, Change.ADDED, before, after
        elif after is None:
            yield name, Change.GONE, before, after
        elif size(before) != size(after):
            yield name, Change.RESIZED, before, after
        elif place(before) != place(after):
            yield name, Change.MOVED, before, after


def _models(old: Plan, new: Plan) -> tuple[ModelChange, ...]:
    before, after = _by_model(old), _by_model(new)
    changes = (
        ModelChange(model, kind, before.get((model, kind), 0), after.get((model, kind), 0))
        for model, kind in sorted({*before, *after}, key=lambda key: (natural(key[0]), key[1]))
    )
    return tuple(change for change in changes if change.delta_bytes)


def _by_model(plan: Plan) -> Mapping[tuple[str, Kind], int]:
    """Return the reserved bytes of each model and kind; a weight buffer is its first reader's."""
    totals: dict[tuple[str, Kind], int] = {}
    sizes = dict(plan.sizes)
    seen: set[int] = set()

    def count(row: Instance, kind: Kind, amount: int) -> None:
        key = (row.model, kind)
        totals[key] = totals.get(key, 0) + amount

    for row in plan.instances:
        size = sizes[row.model]
        if row.work_offset is not None:
            count(row, Kind.WORK, plan.rule.reserved_bytes(row.work_bytes))
        if row.weight_offset is not None and row.weight_offset not in seen:
            seen.add(row.weight_offset)
            count(row, Kind.WEIGHTS, plan.rule.reserved_bytes(row.weight_bytes))
        if plan.fleet.device.plans_io(size):
            count(row, Kind.IO, plan.rule.reserved_bytes(size.io_offsets[-1]))
        else:
            count(row, Kind.IO, page_rounded(size.io_bytes))
        if size.system_managed:
            managed = page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
            count(row, Kind.SYSTEM, managed)
    return totals
