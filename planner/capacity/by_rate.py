"""How many channels the declared rates allow: time is used up as memory is, mostly before it.

Memory does not limit channels that share their lanes, but each of them holds those lanes for some
time of every frame. What a lock has left beside the others, divided by what one channel takes at
its rate, is a number that no schedule exceeds: a bound, not a promise (`rate`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from planner.fleet import CHANNEL_PLACEHOLDER, PipelineSpec, StepSpec
from planner.lanes import LanePool
from planner.makespan import times_of_steps
from planner.pipeline import schedule_of
from planner.plan import Plan
from planner.rate import channel_period, declared_rates
from planner.units import MakespanUnit

__all__ = ["RateChannels", "rate_channels"]


@dataclass(frozen=True, slots=True)
class RateChannels:
    """How many channels of a pipeline its declared rate allows while the others stay.

    Attributes
    ----------
    pipeline : str
    rate_millihertz : int
    most : int or None
        No schedule holds the rate with more channels; 0: not even one, or the others leave nothing.
        None: its channels have lanes of their own.
    limited_by : str
        The lane, pool or lock that sets it, as the fleet names it, or the channel itself; empty for
        None.
    """

    pipeline: str
    rate_millihertz: int
    most: int | None
    limited_by: str


def rate_channels(plan: Plan) -> tuple[RateChannels, ...]:
    """Return what the declared rates allow; empty where no rate or not every time is known.

    Notes
    -----
    Exact arithmetic over lanes, pools and locks of the fleet, without planning anything. What
    planning added to the order is left out: it may only allow fewer.
    """
    times, unit = times_of_steps(plan.fleet)
    wanted = declared_rates(plan.fleet)
    rated = [pipeline for pipeline in plan.fleet.pipelines if pipeline.id in wanted]
    if unit is MakespanUnit.STEPS or not rated:
        return ()
    loads: dict[str, dict[str, Fraction]] = {}
    for pipeline in rated:
        for step in pipeline.steps:
            for lock, share in _held(step):
                busy = loads.setdefault(lock, {})
                more = wanted[pipeline.id] * share * times[pipeline.id, step.id]
                busy[pipeline.id] = busy.get(pipeline.id, Fraction(0)) + more
    first = {c.pipeline.id: c for c in schedule_of(plan.fleet, ()).channels if c.index == 0}
    found = []
    for pipeline in rated:
        period = channel_period(first[pipeline.id], times)
        limits = [(0, "the channel itself")] if wanted[pipeline.id] * period > 1 else []
        limits += [
            (most, lock)
            for lock, busy in loads.items()
            if (most := _most(plan, pipeline, lock, busy)) is not None
        ]
        most, limited_by = min(limits, key=lambda item: item[0], default=(None, ""))
        found.append(RateChannels(pipeline.id, pipeline.rate_millihertz or 0, most, limited_by))
    return tuple(found)


def _most(plan: Plan, pipeline: PipelineSpec, lock: str, busy: dict[str, Fraction]) -> int | None:
    """Return for how many channels a lock has time; None: it limits none of them.

    `busy` is the share of all time that one channel of each pipeline holds it.
    """
    own = busy.get(pipeline.id)
    if not own:
        return None
    if CHANNEL_PLACEHOLDER in lock:  # each channel has one, beside a channel of every other holder
        return 0 if sum(busy.values()) > 1 else None
    others = sum(
        share * plan.fleet.pipeline(name).channels
        for name, share in busy.items()
        if name != pipeline.id
    )
    return max(0, (1 - others) // own)


def _held(step: StepSpec) -> Iterator[tuple[str, Fraction]]:
    """Yield lanes and locks as the fleet names them, and which share of its time each is held."""
    if isinstance(step.lane, LanePool):
        yield step.lane.name, Fraction(1, step.lane.size)
    for name in dict.fromkeys((*([step.lane] if isinstance(step.lane, str) else []), *step.locks)):
        yield name, Fraction(1)
