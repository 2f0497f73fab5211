"""What a fleet would need with other numbers of channels: planned ahead, for a page to look up."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from planner.capacity.growth import saturation, with_channels
from planner.capacity.variants import plan_variant
from planner.fleet import PipelineSpec
from planner.plan import Plan

__all__ = ["WhatIf", "WhatIfOptions", "what_if"]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the fleet needs with other numbers of channels of one pipeline, the others as they are.

    Attributes
    ----------
    pipeline : str
    points : tuple of (channels, needed bytes)
        Ascending by channels.
    streams : tuple of int
        Streams that each point takes from the device.
    constant : bool
        All numbers without a point need what the last one needs: further channels share the
        instances of those before.
    """

    pipeline: str
    points: tuple[tuple[int, int], ...]
    streams: tuple[int, ...]
    constant: bool


@dataclass(frozen=True, slots=True)
class WhatIfOptions:
    """How much is planned ahead, counted.

    Attributes
    ----------
    channels_max : int
        Most channels of one pipeline.
    planned_max : int
        Instances planned in all.
    """

    channels_max: int = 32
    planned_max: int = 4_000


_OPTIONS = WhatIfOptions()


def what_if(plan: Plan, options: WhatIfOptions = _OPTIONS) -> tuple[WhatIf, ...]:
    """Return, of each pipeline, what 1, 2, ... channels need; the fleet's own number always.

    Numbers near the fleet's own are planned first, of every pipeline in turn.
    """
    pipelines = plan.fleet.pipelines
    own = plan.needed_bytes, plan.stream_count
    known = {item.id: dict.fromkeys(_like_own(item), own) for item in pipelines}
    left = options.planned_max
    columns = [[(item, n) for n in _asked(item, options.channels_max)] for item in pipelines]
    for question in (item for row in zip_longest(*columns) for item in row if item is not None):
        pipeline, channels = question
        fleet = with_channels(plan.fleet, {pipeline.id: channels})
        left -= len(fleet.instances())
        if left < 0:
            break
        variant = plan_variant(plan, fleet)
        known[pipeline.id][channels] = variant.needed_bytes, variant.stream_count
    return tuple(_table(item, known[item.id]) for item in pipelines)


def _like_own(pipeline: PipelineSpec) -> set[int]:
    """Return the pipeline's own number, and the one from which on all are alike if that is less."""
    end = saturation(pipeline)
    return {pipeline.channels, pipeline.channels if end is None else min(end, pipeline.channels)}


def _asked(pipeline: PipelineSpec, channels_max: int) -> Iterator[int]:
    """Yield the numbers of channels to plan, the nearest to the pipeline's own first."""
    own, end = pipeline.channels, saturation(pipeline)
    most = channels_max if end is None else min(end, channels_max)
    asked = {*range(1, most + 1)} - _like_own(pipeline)
    yield from sorted(asked, key=lambda n: (abs(n - own), n))


def _table(pipeline: PipelineSpec, known: dict[int, tuple[int, int]]) -> WhatIf:
    end = saturation(pipeline)
    below = end is not None and all(n in known for n in range(1, end))
    constant = below and end is not None and max(known) >= end
    points = sorted((n, needed, streams) for n, (needed, streams) in known.items())
    return WhatIf(
        pipeline.id,
        tuple((n, needed) for n, needed, _ in points),
        tuple(streams for _, _, streams in points),
        constant,
    )
