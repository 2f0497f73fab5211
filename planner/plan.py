"""A plan: frozen regions, figures and the proof, for one fleet on one device.

A plan is a value. It is made by `pipeline`, judged by `judge`, written and read by `codec`, and
turned into loaded models by `arena`. docs/plan-format.md documents the file field by field.
"""

from dataclasses import dataclass
from enum import StrEnum

from planner.errors import PlanError
from planner.fleet import FleetSpec
from planner.handover import BufferUse, ChannelBuffer, bytes_of_buffers_alone
from planner.model import InstanceId, ModelId, ModelSize, RegionRule
from planner.problem import SolveStatus
from planner.units import MakespanUnit, align_up

__all__ = ["AddedKind", "AddedOrder", "Instance", "Plan", "SchedulePrice"]


class AddedKind(StrEnum):
    """What planning added to the order so that a fleet fits."""

    ORDER = "order"
    """`first` precedes `second` in every frame of every channel."""
    EXCLUSIVE = "exclusive"
    """`first` and `second` never run at the same time, in any order: a lock."""


@dataclass(frozen=True, slots=True)
class AddedOrder:
    """One constraint that planning added between two instances."""

    first: InstanceId
    second: InstanceId
    kind: AddedKind


@dataclass(frozen=True, slots=True)
class Instance:
    """One loaded model and its regions.

    Attributes
    ----------
    id : InstanceId
        ``model@lane``.
    model : ModelId
    lane : str
    work_bytes, weight_bytes : int
        What load receives, before the region rule.
    work_offset, weight_offset : int or None
        Bytes from the base of the work and the weight reservation; None: outside the arena, either
        because the size is 0 or because the device manages the memory itself.
    weights_key : str
        Instances with the same key read one weight buffer; empty without weights in the arena.
    device, process : int
        Always 0 for now.
    """

    id: InstanceId
    model: ModelId
    lane: str
    work_bytes: int
    weight_bytes: int
    work_offset: int | None
    weight_offset: int | None
    weights_key: str = ""
    device: int = 0
    process: int = 0


@dataclass(frozen=True, slots=True)
class SchedulePrice:
    """What the order that planning added costs: makespans of one frame of every channel.

    Lanes are taken to be independent of one another; on a chip that they share, the truth lies
    between `makespan` and `serial`.

    Attributes
    ----------
    unit : MakespanUnit
    makespan : int
        Of the best schedule found that keeps everything added.
    before : int
        Of the best schedule found with nothing added.
    lower_bound : int
        No plan within the budget is shorter, whatever is added.
    serial : int
        The sum of all times: the makespan if a second lane gained nothing.
    """

    unit: MakespanUnit
    makespan: int
    before: int
    lower_bound: int
    serial: int

    @property
    def is_proven(self) -> bool:
        """Whether no plan within the budget is faster."""
        return self.makespan == self.lower_bound


@dataclass(frozen=True, slots=True)
class Plan:
    """Offsets for every instance of a fleet, with figures and proof.

    Attributes
    ----------
    fleet : FleetSpec
        The normalised fleet: the judge recomputes order and conflicts from it.
    sizes : tuple of (ModelId, ModelSize)
        Every used model, in the fleet's order, as measured; the digests are what loading compares.
    rule : RegionRule
    page_bytes : int
        Reservations round up to this.
    instances : tuple of Instance
        In order of first use.
    added : tuple of AddedOrder
    height_bytes, weight_bytes : int
        Highest end of any region of the work and of the weight reservation; not page-rounded.
    lower_bound_bytes : int
        No valid plan of this fleet with this order (what was added too) has a smaller work
        reservation.
    witness : tuple of InstanceId
        Instances that pairwise conflict and whose reserved work sums to the bound.
    status : SolveStatus
        `optimal` iff the height is proven minimal for this order, else `feasible`.
    private_bytes : int
        Reserved bytes with one private instance per pipeline, channel and model: no sharing, and
        without the tensors of `buffers`; `private_total_bytes` has them.
    outside_bytes : int
        Everything else that will be allocated, page-rounded: system-managed models and datasets.
    price : SchedulePrice or None
        What was added costs, where planning chose the order; None elsewhere.
    buffers : tuple of ChannelBuffer
        Tensors that steps hand on, in the work reservation; pipelines, channels and steps as
        declared, then slots.
    witness_buffers : tuple of str
        Names of buffers that belong to the witness beside its instances.
    """

    fleet: FleetSpec
    sizes: tuple[tuple[ModelId, ModelSize], ...]
    rule: RegionRule
    page_bytes: int
    instances: tuple[Instance, ...]
    added: tuple[AddedOrder, ...]
    height_bytes: int
    weight_bytes: int
    lower_bound_bytes: int
    witness: tuple[InstanceId, ...]
    status: SolveStatus
    private_bytes: int
    outside_bytes: int
    price: SchedulePrice | None = None
    buffers: tuple[ChannelBuffer, ...] = ()
    witness_buffers: tuple[str, ...] = ()

    @property
    def work_reserved(self) -> tuple[int, ...]:
        """Bytes of the work region of each instance, after the region rule; 0 where it has none."""
        return tuple(
            0 if row.work_offset is None else self.rule.reserved_bytes(row.work_bytes)
            for row in self.instances
        )

    @property
    def total_bytes(self) -> int:
        """Work and weight reservation, bytes, not page-rounded."""
        return self.height_bytes + self.weight_bytes

    @property
    def planned_bytes(self) -> int:
        """Both reservations, each rounded up to pages, bytes."""
        return align_up(self.height_bytes, self.page_bytes) + align_up(
            self.weight_bytes, self.page_bytes
        )

    @property
    def needed_bytes(self) -> int:
        """What the limit is compared with: reservations, what lies outside, and reserves, bytes."""
        return self.planned_bytes + self.outside_bytes + self.fleet.device.reserve_bytes

    @property
    def short_bytes(self) -> int:
        """Bytes above the limit; 0 where the memory suffices or no limit is given."""
        limit = self.fleet.device.memory_bytes
        return 0 if limit is None else max(0, self.needed_bytes - limit)

    @property
    def over_budget_bytes(self) -> int:
        """Bytes that `total_bytes` is above what the fleet's schedule is to fit; 0 without such."""
        budget = self.fleet.schedule.fit_bytes
        return 0 if budget is None else max(0, self.total_bytes - budget)

    @property
    def decisive_bytes(self) -> int:
        """What is compared with `decisive_limit_bytes`."""
        return self.total_bytes if self.over_budget_bytes else self.needed_bytes

    @property
    def decisive_limit_bytes(self) -> int | None:
        """The limit that decides: what the schedule is to fit if that is exceeded, else memory."""
        return (
            self.fleet.schedule.fit_bytes
            if self.over_budget_bytes
            else self.fleet.device.memory_bytes
        )

    @property
    def stream_count(self) -> int:
        """Streams that the instances and their lanes take from the device."""
        streams = dict(self.sizes)
        lanes = {instance.lane for instance in self.instances}
        return len(lanes) + sum(streams[instance.model].stream_count for instance in self.instances)

    @property
    def buffers_private_bytes(self) -> int:
        """What the tensors of `buffers` take if every step has inputs and outputs of its own."""
        return sum(
            self.rule.reserved_bytes(buffer.size_bytes)
            * (1 + (buffer.use is BufferUse.FEED) * len(buffer.readers))
            for buffer in self.buffers
        )

    @property
    def private_total_bytes(self) -> int:
        """Private instances and their own tensors, bytes: what `total_bytes` is less than."""
        return self.private_bytes + self.buffers_private_bytes

    @property
    def buffers_own_bytes(self) -> int:
        """Bytes of the work reservation in which buffers lie, and never work of an instance."""
        reserved = self.rule.reserved_bytes
        work = [
            (row.work_offset, row.work_offset + reserved(row.work_bytes))
            for row in self.instances
            if row.work_offset is not None
        ]
        buffers = [(row.offset, row.offset + reserved(row.size_bytes)) for row in self.buffers]
        return bytes_of_buffers_alone(buffers, work)

    @property
    def fits_device(self) -> bool:
        """Whether memory and streams suffice."""
        streams_max = self.fleet.device.streams_max
        return self.short_bytes == 0 and (streams_max is None or self.stream_count <= streams_max)

    @property
    def fits(self) -> bool:
        """Whether memory and streams suffice, and what the schedule is to fit is kept."""
        return self.fits_device and self.over_budget_bytes == 0

    def size_of(self, model: ModelId) -> ModelSize:
        """Return the measured size of a used model."""
        for known, size in self.sizes:
            if known == model:
                return size
        raise PlanError(f"plan of fleet {self.fleet.name!r} has no sizes of model {model!r}")
