"""How many channels fit: found by planning again, never by dividing.

Channels that share lanes share instances, so memory is no multiple of the channels. Each question
"does it fit with c channels" is answered by a plan; doubling finds a number that does not fit and
bisection the largest that does. Bounds answer most questions without a plan of the whole: no plan
is higher than one maximum a lane, none is lower than its largest region, and groups of channels
that share no lane and no lock add their heights (`joins`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import gcd
from typing import Final

from planner.capacity.budget import Budget
from planner.capacity.joins import Heights, JoinedHeights
from planner.capacity.variants import plan_variant
from planner.fleet import CHANNEL_PLACEHOLDER, EXECUTIONS_MAX, FleetSpec, PipelineSpec
from planner.handover import BufferUse
from planner.io_buffers import channel_buffers, count_buffers
from planner.lanes import Assign, LanePool
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_outside
from planner.plan import Plan
from planner.units import align_up
from planner.weights import lay_out_weights

__all__ = [
    "ChannelsFit",
    "GrowthOptions",
    "GrowthStatus",
    "channels_fit",
    "channels_of",
    "saturation",
    "together_fit",
    "with_channels",
]


class GrowthStatus(StrEnum):
    """How a number of channels is meant."""

    EXACT = "exact"
    """So many fit, and one more does not."""
    UNLIMITED = "unlimited"
    """Memory does not limit it: further channels share the instances of those before."""
    AT_LEAST = "at_least"
    """So many fit; the search ended there."""
    NO_LIMIT = "no_limit"
    """The fleet gives no limit to ask about."""


@dataclass(frozen=True, slots=True)
class ChannelsFit:
    """How many channels of one pipeline fit, or how large a multiple of all of them.

    Attributes
    ----------
    pipeline : str
        Empty: all pipelines, in the proportion of the fleet.
    channels : int
        As the fleet has them; of all together, the greatest common divisor of their counts.
    largest : int or None
        Most that fit (0: not even one); None where nothing limits them.
    status : GrowthStatus
    """

    pipeline: str
    channels: int
    largest: int | None
    status: GrowthStatus


@dataclass(frozen=True, slots=True)
class GrowthOptions:
    """How far the search goes: counted, so that every machine gives the same answer.

    Attributes
    ----------
    channels_max : int
        No more channels of a pipeline are asked about.
    instances_max : int
        No fleet with more instances is planned.
    planned_max : int
        Instances planned in all, over all questions about one fleet.
    """

    channels_max: int = 4_096
    instances_max: int = 2_500
    planned_max: int = 12_000

    def budget(self) -> Budget:
        """Return what may be planned, nothing taken yet."""
        return Budget(self.planned_max, self.instances_max)


def channels_fit(plan: Plan, options: GrowthOptions = GrowthOptions()) -> tuple[ChannelsFit, ...]:
    """Return how many channels of each pipeline fit while the others stay as they are.

    Notes
    -----
    Where a plan is not proven optimal a larger fleet may get a lower plan than a smaller one; the
    number returned still fits, and one more does not: the whole was planned, or each of its groups.
    """
    most, budget = options.channels_max, options.budget()
    return tuple(_of_pipeline(plan, pipeline, most, budget) for pipeline in plan.fleet.pipelines)


def channels_of(
    plan: Plan, pipeline_id: str, options: GrowthOptions = GrowthOptions()
) -> ChannelsFit:
    """Return how many channels of one pipeline fit while the others stay as they are.

    Raises
    ------
    SpecError
        The fleet has no such pipeline. Caused by the caller.
    """
    pipeline = plan.fleet.pipeline(pipeline_id)
    return _of_pipeline(plan, pipeline, options.channels_max, options.budget())


def together_fit(plan: Plan, options: GrowthOptions = GrowthOptions()) -> ChannelsFit:
    """Return the largest multiple of all pipelines' channels, in their proportion, that fits.

    With 6 cameras and 2 microphones one unit is 3 cameras and 1 microphone: `channels` is 2.
    A single pipeline counts its own channels.
    """
    pipelines = plan.fleet.pipelines
    if len(pipelines) == 1:
        return replace(channels_fit(plan, options)[0], pipeline="")
    unit = gcd(*(pipeline.channels for pipeline in pipelines))

    def scaled(multiple: int) -> FleetSpec:
        counts = {item.id: item.channels // unit * multiple for item in pipelines}
        return with_channels(plan.fleet, counts)

    widest = max(pipeline.channels // unit for pipeline in pipelines)
    executions = sum(item.channels // unit * _executions(item) for item in pipelines)
    most = min(options.channels_max // widest, EXECUTIONS_MAX // executions)
    # A multiple from which on no pipeline changes: the last of theirs.
    ends = [
        end and -(-end // (pipeline.channels // unit))
        for pipeline in pipelines
        for end in (saturation(pipeline),)
    ]
    end = None if None in ends else max(2, *(each for each in ends if each))
    asking = _Asking(plan, scaled, unit, options.budget())
    largest, status = _search(asking, most, end)
    return ChannelsFit("", unit, largest, status)


def with_channels(fleet: FleetSpec, counts: Mapping[str, int]) -> FleetSpec:
    """Return `fleet` with other numbers of channels; a pipeline with 0 is left out."""
    pipelines = tuple(
        replace(pipeline, channels=counts.get(pipeline.id, pipeline.channels))
        for pipeline in fleet.pipelines
        if counts.get(pipeline.id, pipeline.channels)
    )
    return replace(fleet, pipelines=pipelines)


def saturation(pipeline: PipelineSpec) -> int | None:
    """Return the number of channels from which on further ones change nothing; None: there is none.

    Where all channels have the same lanes and locks it is 2: the second is not ordered against the
    first, and a third is like it. Where they divide a pool into blocks it is 2 for each lane. Where
    steps hand tensors on each channel has some of its own.
    """
    if pipeline.hands_on:
        return None
    names = [lock for step in pipeline.steps for lock in step.locks]
    names += [step.lane for step in pipeline.steps if isinstance(step.lane, str)]
    if any(CHANNEL_PLACEHOLDER in name for name in names):
        return None
    pools = (step.lane for step in pipeline.steps if isinstance(step.lane, LanePool))
    blocks = (pool.size for pool in pools if pool.assign is Assign.BLOCK)
    return 2 * max(blocks, default=1)


def _executions(pipeline: PipelineSpec) -> int:
    """Return the executions that one channel adds to a fleet."""
    return (pipeline.frames_in_flight + 1) * len(pipeline.steps)


def _of_pipeline(
    plan: Plan, pipeline: PipelineSpec, channels_max: int, budget: Budget
) -> ChannelsFit:
    def counted(channels: int) -> FleetSpec:
        return with_channels(plan.fleet, {pipeline.id: channels})

    others = sum(item.channels * _executions(item) for item in plan.fleet.pipelines)
    room = EXECUTIONS_MAX - others + pipeline.channels * _executions(pipeline)
    most = min(channels_max, room // _executions(pipeline))
    asking = _Asking(plan, counted, pipeline.channels, budget)
    largest, status = _search(asking, most, saturation(pipeline))
    return ChannelsFit(pipeline.id, pipeline.channels, largest, status)


class _Asking:
    """Variants of a plan's fleet by a count; `variant(current)` is the fleet itself."""

    def __init__(
        self, plan: Plan, variant: Callable[[int], FleetSpec], current: int, budget: Budget
    ) -> None:
        self.plan = plan
        self.variant = variant
        self.current = current
        self.budget = budget
        self.heights = JoinedHeights(plan, budget.take)
        self._needed = {current: plan.needed_bytes}

    def fits(self, number: int) -> bool | None:
        """Return whether `number` (>= 1) fits; None: it is too large to ask."""
        if number == self.current:
            return self.plan.fits_device
        fleet = self.variant(number)
        bounds = _Bounds(self.plan, fleet)
        answer = bounds.fits()
        if answer is None:
            joined = self.heights.of(fleet)
            answer = None if joined is None else bounds.fits(joined)
        if answer is None and self.budget.take(_parts(fleet)):
            planned = plan_variant(self.plan, fleet)
            self._needed[number] = planned.needed_bytes
            answer = planned.fits_device
        return answer

    def guess(self) -> int | None:
        """Return where the line through the two largest counts planned meets the limit."""
        limit = self.plan.fleet.device.memory_bytes
        if len(self._needed) < 2:
            self._ask(2 * self.current)
        if limit is None or len(self._needed) < 2:
            return None
        (one, here), (other, there) = sorted(self._needed.items())[-2:]
        if there <= here:
            return None
        return one + (limit - here) * (other - one) // (there - here)

    def _ask(self, number: int) -> None:
        """Note what `number` needs, if groups or a plan can tell."""
        fleet = self.variant(number)
        joined = self.heights.of(fleet)
        if joined is not None:
            self._needed[number] = _Bounds(self.plan, fleet).needed_bytes(joined.upper_bytes)
        elif self.budget.take(_parts(fleet)):
            self._needed[number] = plan_variant(self.plan, fleet).needed_bytes


def _parts(fleet: FleetSpec) -> int:
    """Return what a plan of a fleet places: instances, and what their steps hand on."""
    return len(fleet.instances()) + count_buffers(fleet)


def _search(asking: _Asking, most: int, end: int | None) -> tuple[int | None, GrowthStatus]:
    device = asking.plan.fleet.device
    if device.memory_bytes is None and device.streams_max is None:
        return None, GrowthStatus.NO_LIMIT
    return _bisect(asking, most) if end is None else _settle(asking, end)


def _settle(asking: _Asking, end: int) -> tuple[int | None, GrowthStatus]:
    """Ask about the number of channels from which on all further ones change nothing."""
    at_end = asking.plan.fits_device if asking.current >= end else asking.fits(end)
    if at_end:
        return None, GrowthStatus.UNLIMITED
    if end > 2:
        return _bisect(asking, end - 1, open_ended=at_end is None)
    first = asking.fits(1)
    if at_end is None or first is None:
        return int(bool(first)), GrowthStatus.AT_LEAST
    return int(first), GrowthStatus.EXACT


GUESSES_MAX: Final = 6
"""Guesses by a line before plain bisection, which is never far worse than any guess."""


def _bisect(asking: _Asking, most: int, *, open_ended: bool = True) -> tuple[int, GrowthStatus]:
    """Narrow [low fits, high does not) down to neighbours; a line guesses where to ask first.

    `open_ended`: nothing is known of `most` + 1, it is only too many to ask about.
    """
    low, high = (asking.current, most + 1) if asking.plan.fits_device else (0, asking.current)
    open_ended = open_ended and asking.plan.fits_device
    guesses = 0
    while high - low > 1:
        guess = asking.guess() if guesses < GUESSES_MAX else None
        guesses += 1
        if guess is None:
            guess = min(2 * low, (low + high) // 2) if low else high // 2
        middle = min(max(guess, low + 1), high - 1)
        answer = asking.fits(middle)
        low, high = (middle, high) if answer else (low, middle)
        # What is too large to ask ends the search as the most that may be asked does.
        open_ended = (open_ended and answer is not False) or answer is None
    return low, GrowthStatus.AT_LEAST if open_ended else GrowthStatus.EXACT


class _Bounds:
    """What can be told of a variant without planning the whole of it."""

    def __init__(self, plan: Plan, fleet: FleetSpec) -> None:
        sizes = dict(plan.sizes)
        rows = [(name, model, lane) for name, (model, lane) in fleet.instances().items()]
        self._device, self._page = fleet.device, plan.page_bytes
        self._lanes = _lane_maxima(rows, sizes, plan)
        self._handed = self._kept = 0
        for buffer in channel_buffers(fleet, sizes):
            reserved = plan.rule.reserved_bytes(buffer.size_bytes)
            self._handed += reserved
            self._kept += reserved * (buffer.use is BufferUse.STATE)  # live always
        self._streams = len(self._lanes) + sum(sizes[model].stream_count for _, model, _ in rows)
        weights = lay_out_weights(
            [(name, model) for name, model, _ in rows], sizes, self._device.dedupe, plan.rule
        )
        self._beside = (
            align_up(weights.height_bytes, plan.page_bytes)
            + plan_outside([model for _, model, _ in rows], sizes, plan.page_bytes, fleet.device)
            + self._device.reserve_bytes
        )

    def needed_bytes(self, height_bytes: int) -> int:
        """Return what the variant needs with a work reservation of so many bytes."""
        return align_up(height_bytes, self._page) + self._beside

    def fits(self, joined: Heights | None = None) -> bool | None:
        """Return whether the variant fits where bounds can tell, else None."""
        device = self._device
        if device.streams_max is not None and self._streams > device.streams_max:
            return False
        if device.memory_bytes is None:
            return True
        lower = max(self._lanes.values()) + self._kept
        upper = sum(self._lanes.values()) + self._handed
        if joined is not None:
            lower, upper = max(lower, joined.lower_bytes), min(upper, joined.upper_bytes)
        if self.needed_bytes(upper) <= device.memory_bytes:
            return True
        return False if self.needed_bytes(lower) > device.memory_bytes else None


def _lane_maxima(
    rows: Sequence[tuple[str, ModelId, str]], sizes: Mapping[ModelId, ModelSize], plan: Plan
) -> dict[str, int]:
    maxima: dict[str, int] = {}
    for _, model, lane in rows:
        size = sizes[model]
        own = 0 if size.system_managed else plan.rule.reserved_bytes(size.work_bytes)
        maxima[lane] = max(maxima.get(lane, 0), own)
    return maxima
