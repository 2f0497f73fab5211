"""What a set of models costs under the usual ways to load them, before any fleet file exists."""

from collections.abc import Mapping
from dataclasses import replace

from planner.errors import SpecError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.strategies import Strategy, strategies

__all__ = ["advise", "starting_fleet"]


def starting_fleet(models: tuple[ModelSpec, ...], *, threads: int, lane: str) -> FleetSpec:
    """Return a fleet in which each of `threads` channels runs every model once per frame."""
    steps = tuple(
        StepSpec(f"step-{number}", model.id, lane) for number, model in enumerate(models, start=1)
    )
    return FleetSpec("advised", models, (PipelineSpec("serve", steps, channels=threads),))


def advise(
    models: tuple[ModelSpec, ...], sizes: Mapping[ModelId, ModelSize], *, threads: int
) -> tuple[Strategy, ...]:
    """Return what the models cost in `threads` threads, from no sharing to one lane for everything.

    Names are those of `strategies`.

    Raises
    ------
    SpecError
        No model, or fewer than one thread. Caused by the caller.

    Examples
    --------
    >>> models = (ModelSpec(ModelId("a"), work_bytes=1000, weight_bytes=2000),)
    >>> sizes = {ModelId("a"): ModelSize(work_bytes=1000, weight_bytes=2000)}
    >>> for strategy in advise(models, sizes, threads=2):
    ...     print(strategy.name, strategy.bytes)
    private 7168
    shared-weights 5120
    one-max-per-lane 5120
    one-max-per-device 3584
    """
    if not models:
        raise SpecError("found no models, expected at least one")
    if threads < 1:
        raise SpecError(f"found {threads} threads, expected at least one")
    lanes = plan_fleet(starting_fleet(models, threads=threads, lane="thread-{channel}"), sizes)
    single = plan_fleet(starting_fleet(models, threads=threads, lane="npu"), sizes)
    threaded = {strategy.name: strategy for strategy in strategies(lanes)}
    in_turn = {strategy.name: strategy for strategy in strategies(single)}
    return (
        threaded["private"],
        threaded["shared-weights"],
        replace(threaded["one-max-per-lane"], meaning="one work buffer a thread, weights once"),
        replace(in_turn["one-max-per-device"], meaning="all threads take turns on one lane"),
    )
