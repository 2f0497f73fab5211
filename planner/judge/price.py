"""What an added order is said to cost, against what anybody can count.

No schedule is searched for: a makespan is at least every path of the order and the time that every
lock is held, and at most the sum of all times. A lower bound that a search has proven is believed
where it is not above the makespan.
"""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from planner.fleet import PipelineSpec, StepSpec, instance_id
from planner.judge.conflicts import Run
from planner.judge.violation import Rule, Violation
from planner.model import InstanceId
from planner.plan import AddedKind, Plan, SchedulePrice
from planner.units import MakespanUnit

__all__ = ["judge_price"]


def judge_price(plan: Plan, runs: Mapping[InstanceId, Sequence[Run]]) -> Iterator[Violation]:
    """Yield what is wrong with the makespans of a plan; `runs` are those of its instances."""
    price = plan.price
    if price is None:
        return
    given = [step.time_ns for pipeline in plan.fleet.pipelines for step in pipeline.steps]
    unit = MakespanUnit.STEPS if None in given else MakespanUnit.NS
    if price.unit is not unit:
        message = f"found {price.unit.value}, expected {unit.value} as the fleet gives times"
        yield Violation(Rule.FIGURE, "price.unit", message)
    times = [[_time(step, unit) for step in pipeline.steps] for pipeline in plan.fleet.pipelines]
    serial = sum(
        pipeline.channels * sum(some)
        for pipeline, some in zip(plan.fleet.pipelines, times, strict=True)
    )
    if price.serial != serial:
        message = f"found {price.serial}, expected the sum of all times, {serial}"
        yield Violation(Rule.FIGURE, "price.serial", message)
    yield from _in_order(price)
    floor = max(_longest_path(plan, runs, times), _busiest_lock(plan, times))
    if price.makespan < floor:
        message = f"found {price.makespan}, but order and locks take {floor} at least"
        yield Violation(Rule.FIGURE, "price.makespan", message)


def _in_order(price: SchedulePrice) -> Iterator[Violation]:
    for key, found, limit, wanted in (
        ("before", price.before, price.makespan, "the makespan with what was added"),
        ("lower_bound", price.lower_bound, price.makespan, "the makespan"),
        ("makespan", price.makespan, price.serial, "the sum of all times"),
    ):
        if found > limit:
            message = f"found {found}, expected at most {wanted}, {limit}"
            yield Violation(Rule.FIGURE, f"price.{key}", message)


def _time(step: StepSpec, unit: MakespanUnit) -> int:
    return 1 if unit is MakespanUnit.STEPS or step.time_ns is None else step.time_ns


_Times: TypeAlias = Sequence[Sequence[int]]
"""Of each pipeline, the time of each step."""


def _longest_path(plan: Plan, runs: Mapping[InstanceId, Sequence[Run]], times: _Times) -> int:
    """Return the longest path inside a frame of any channel, with the order that was added."""
    added: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for item in plan.added:
        if item.kind is AddedKind.ORDER:
            for first in runs.get(item.first, ()):
                for second in runs.get(item.second, ()):
                    if first.channel == second.channel:
                        added.setdefault(first.channel, []).append((first.step, second.step))
    longest = 0
    for p, pipeline in enumerate(plan.fleet.pipelines):
        # Channels without order of their own are alike: no edges stand for them.
        for edges in [[], *(some for (q, _), some in added.items() if q == p)]:
            longest = max(longest, _path(pipeline, times[p], edges))
    return longest


def _path(pipeline: PipelineSpec, times: Sequence[int], added: Sequence[tuple[int, int]]) -> int:
    index = {step.id: s for s, step in enumerate(pipeline.steps)}
    before = {s: {index[name] for name in step.after} for s, step in enumerate(pipeline.steps)}
    for first, second in added:
        before[second].add(first)
    ends = [0] * len(before)
    try:
        for s in TopologicalSorter(before).static_order():
            ends[s] = times[s] + max((ends[t] for t in before[s]), default=0)
    except CycleError:
        return 0  # a violation of its own
    return max(ends)


def _busiest_lock(plan: Plan, times: _Times) -> int:
    """Return the longest time that one lock is held, locks that were added among them.

    A step that may take any lane of a pool counts with the locks that it holds on every one.
    """
    held: dict[str, int] = {}
    own: dict[str, int] = {}
    for pipeline, some in zip(plan.fleet.pipelines, times, strict=True):
        for channel in range(pipeline.channels):
            for step, time in zip(pipeline.steps, some, strict=True):
                lanes = step.lanes_of(channel)
                for lock in frozenset.intersection(*(step.locks_on(k, channel) for k in lanes)):
                    held[lock] = held.get(lock, 0) + time
                if len(lanes) == 1:
                    name = instance_id(step.model, lanes[0])
                    own[name] = own.get(name, 0) + time
    pairs = (
        own.get(item.first, 0) + own.get(item.second, 0)
        for item in plan.added
        if item.kind is AddedKind.EXCLUSIVE and item.first != item.second
    )
    return max((0, *held.values(), *pairs))
