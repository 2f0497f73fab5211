"""What a fleet would need with other numbers of channels: planned ahead, for a page to look up."""

from dataclasses import dataclass

from planner.capacity.growth import needed_with, saturation, with_channels
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
    constant : bool
        Beyond the last point nothing changes: further channels share the instances.
    """

    pipeline: str
    points: tuple[tuple[int, int], ...]
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

    channels_max: int = 16
    planned_max: int = 4_000


_OPTIONS = WhatIfOptions()


def what_if(plan: Plan, options: WhatIfOptions = _OPTIONS) -> tuple[WhatIf, ...]:
    """Return, of each pipeline, what 1, 2, ... channels need; the fleet's own number always."""
    left = options.planned_max
    tables = []
    for pipeline in plan.fleet.pipelines:
        points = {pipeline.channels: plan.needed_bytes}
        end = saturation(pipeline)
        most = options.channels_max if end is None else min(end, options.channels_max)
        for channels in range(1, most + 1):
            if channels == end and pipeline.channels >= end:
                points[end] = plan.needed_bytes  # from there on they are alike
            if channels in points:
                continue
            fleet = with_channels(plan.fleet, {pipeline.id: channels})
            left -= len(fleet.instances())
            if left < 0:
                break
            points[channels] = needed_with(plan, fleet)
        complete = end is not None and end in points
        tables.append(WhatIf(pipeline.id, tuple(sorted(points.items())), complete))
    return tuple(tables)
