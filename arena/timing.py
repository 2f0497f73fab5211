"""Measure how long steps take alone, and lanes beside one another: what `arena time` does.

    alone     every model in turn, on one lane, in rounds; the first rounds are not counted
    beside    two lanes, each running its models in turn, first one after the other, then both at
              once until each has done its rounds: the slowdown is the ratio of the two

Lanes that are measured beside one another share no memory: they are loaded by a plan of their own
in which nothing keeps them apart, two lanes at a time. A pair that does not fit is left out.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final, TypeAlias

from arena.device.base import StreamId
from arena.errors import DeviceError
from arena.fleet import Fleet
from arena.gears import largest_gear
from arena.loader import LoadedInstance
from arena.plan_files import OpenedPlan
from arena.references import execute_once, seeded_inputs
from arena.session import default_device, load_opened
from arena.sizes import measure_models
from arena.sources import Readers
from planner.errors import PlanError
from planner.fleet import FleetSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.times import Beside, ModelTime, Times, lane_groups

__all__ = ["measure_times"]

WARM_UP_ROUNDS: Final = 3
"""Rounds that are not counted: devices fill caches at first."""

_Durations: TypeAlias = dict[ModelId, list[int]]


def measure_times(
    fleet: FleetSpec,
    base: Path,
    *,
    device: str | None = None,
    repeats: int = 30,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Times, tuple[str, ...]]:
    """Execute every model of a fleet alone, and every two kinds of lanes beside each other.

    Parameters
    ----------
    fleet : FleetSpec
    base : Path
        Folder that model files are relative to.
    device : str or None
        Name; None: what the models are for.
    repeats : int
        Rounds that are counted, >= 1.
    readers : mapping of model id to callable
    progress : callable
        Called with (measurements done, measurements in all).

    Returns
    -------
    Times
    tuple of str
        What could not be measured, in words.

    Raises
    ------
    DeviceError, PlanError
        The device failed, or not even one lane fits it.
    """
    name = device or default_device(fleet)
    groups = lane_groups(fleet)
    pairs = [(a.lanes[0], b.lanes[0], a, b) for a, b in combinations(groups, 2)]
    pairs += [(g.lanes[0], g.lanes[1], g, g) for g in groups if len(g.lanes) > 1]
    used = [model.id for model in fleet.models if model.id not in fleet.unused_models()]
    measured = measure_models(fleet, base, readers=readers)
    sizes = {model: item.size for model, item in measured.items()}

    def opened(lanes: dict[str, Sequence[ModelId]]) -> OpenedPlan:
        return OpenedPlan(plan_fleet(_laned(fleet, lanes), sizes), base)

    with load_opened(opened({"alone": used}), device=name, readers=readers) as loaded:
        (lane,) = _lanes_of(loaded)
        durations = _run_rounds(loaded, lane, repeats)
    progress(1, 1 + len(pairs))
    beside: list[Beside] = []
    notes: list[str] = []
    for done, (first, second, a, b) in enumerate(pairs, start=2):
        try:
            two = opened({first: a.models, second: b.models})
            beside += _beside(two, name, readers, repeats)
        except (PlanError, DeviceError) as error:
            notes.append(f"lanes {first!r} and {second!r} were not measured side by side: {error}")
        progress(done, 1 + len(pairs))
    models = tuple(_model_time(model, sizes[model].file_digest, durations[model]) for model in used)
    return Times(fleet.name, name, repeats, models, groups, tuple(beside)), tuple(notes)


def _laned(fleet: FleetSpec, lanes: dict[str, Sequence[ModelId]]) -> FleetSpec:
    """Return a fleet whose lanes run these models in any order and beside one another."""
    pipelines = tuple(
        PipelineSpec(f"p{index}", tuple(StepSpec(f"s{i}", m, lane) for i, m in enumerate(models)))
        for index, (lane, models) in enumerate(lanes.items())
    )
    return replace(fleet, pipelines=pipelines, schedule=ScheduleSpec())


_Lane: TypeAlias = tuple[StreamId, list[tuple[LoadedInstance, list[bytes]]]]
"""A stream, and the instances that run there with their inputs."""


def _lanes_of(fleet: Fleet) -> list[_Lane]:
    lanes: dict[str, list[tuple[LoadedInstance, list[bytes]]]] = {}
    for item in fleet.runner.loaded.instances.values():
        now = item.description.at(largest_gear(item.description))
        inputs = list(seeded_inputs(now.visible_inputs, 0).values())
        lanes.setdefault(item.instance.lane, []).append((item, inputs))
    return [(fleet.runner.streams[lane], items) for lane, items in lanes.items()]


def _run_round(fleet: Fleet, lane: _Lane, durations: _Durations) -> None:
    stream, items = lane
    for item, inputs in items:
        started = time.perf_counter_ns()
        execute_once(fleet.device, item, inputs, stream, largest_gear(item.description))
        taken = time.perf_counter_ns() - started
        durations.setdefault(item.instance.model, []).append(taken)


def _run_rounds(fleet: Fleet, lane: _Lane, repeats: int) -> _Durations:
    for _ in range(WARM_UP_ROUNDS):
        _run_round(fleet, lane, {})
    durations: _Durations = {}
    for _ in range(repeats):
        _run_round(fleet, lane, durations)
    return durations


def _beside(
    opened: OpenedPlan, device: str, readers: Readers | None, repeats: int
) -> tuple[Beside, Beside]:
    """Return the slowdown of each of two lanes beside the other."""
    with load_opened(opened, device=device, readers=readers) as fleet:
        lanes = _lanes_of(fleet)
        alone = [_run_rounds(fleet, lane, repeats) for lane in lanes]
        together = _run_together(fleet, lanes, repeats)
    names = list(dict.fromkeys(instance.lane for instance in opened.plan.instances))
    slowdowns = [
        round(1000 * _round_ns(both) / max(1, _round_ns(one)))
        for one, both in zip(alone, together, strict=True)
    ]
    return (
        Beside(names[0], names[1], max(1, slowdowns[0])),
        Beside(names[1], names[0], max(1, slowdowns[1])),
    )


def _run_together(fleet: Fleet, lanes: Sequence[_Lane], repeats: int) -> list[_Durations]:
    """Run lanes at once until each has done its rounds; all of them are busy until the end."""
    start = threading.Barrier(len(lanes))
    unfinished = set(range(len(lanes)))
    lock = threading.Lock()

    def work(index: int) -> _Durations:
        durations: _Durations = {}
        start.wait()
        try:
            for n_rounds in range(1, 1 << 62):
                _run_round(fleet, lanes[index], durations)
                with lock:
                    if n_rounds >= repeats:
                        unfinished.discard(index)
                    if not unfinished:
                        break
        finally:
            with lock:
                unfinished.discard(index)  # A lane that failed is nobody's to wait for.
        return durations

    with ThreadPoolExecutor(len(lanes), thread_name_prefix="arena-time") as pool:
        return list(pool.map(work, range(len(lanes))))


def _round_ns(durations: _Durations) -> float:
    return sum(statistics.median(taken) for taken in durations.values())


def _model_time(model: ModelId, digest: str, taken: Sequence[int]) -> ModelTime:
    ordered = sorted(taken)
    tenth = len(ordered) // 10
    return ModelTime(
        model, digest, round(statistics.median(ordered)), ordered[tenth], ordered[-1 - tenth]
    )
