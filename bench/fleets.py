"""Seeded fleets of declared models, shaped like what users deploy."""

import random
from collections.abc import Callable

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from planner.units import KiB, MiB

__all__ = ["FAMILIES", "layered", "many_instances", "model_box", "video"]


def _model(rng: random.Random, name: str, *, scale_bytes: int = MiB) -> ModelSpec:
    """Return a declared model: log-uniform sizes over two decades, weights about the work size."""
    work = int(scale_bytes * 10 ** rng.uniform(-1, 1)) // 512 * 512
    weights = int(work * 10 ** rng.uniform(-0.5, 0.5)) // 512 * 512
    return ModelSpec(ModelId(name), work_bytes=max(512, work), weight_bytes=max(512, weights))


def video(seed: int = 0, channels: int = 12) -> FleetSpec:
    """Return a video pipeline: one detector, three landmark lanes, two embedding lanes."""
    rng = random.Random(seed)
    names = ("detector", "landmarks", "embedding", "classifier")
    models = tuple(_model(rng, name) for name in names)
    groups = []
    for first in range(0, channels, 4):
        landmarks, embedding = f"landmarks-{first // 4}", f"embedding-{first // 6 % 2}"
        steps = (
            StepSpec("detect", ModelId("detector"), "detection"),
            StepSpec("landmark", ModelId("landmarks"), landmarks, after=("detect",)),
            StepSpec("classify", ModelId("classifier"), landmarks, after=("detect",)),
            StepSpec("embed", ModelId("embedding"), embedding, after=("landmark",)),
        )
        n = min(4, channels - first)
        groups.append(PipelineSpec(f"cameras-{first}", steps, channels=n, frames_in_flight=2))
    return FleetSpec(f"video-{channels}", models, tuple(groups))


def model_box(seed: int = 0, n_models: int = 60, n_lanes: int = 6) -> FleetSpec:
    """Return a box that serves many models: a pipeline each, spread over a few lanes."""
    rng = random.Random(seed)
    models = tuple(_model(rng, f"model-{i:02}") for i in range(n_models))
    pipelines = tuple(
        PipelineSpec(
            f"serve-{i:02}",
            (StepSpec("run", model.id, f"lane-{i % n_lanes}"),),
            channels=rng.choice((1, 2, 4)),
        )
        for i, model in enumerate(models)
    )
    return FleetSpec(f"box-{n_models}", models, pipelines)


def layered(seed: int = 0, n_steps: int = 24, n_lanes: int = 4, channels: int = 1) -> FleetSpec:
    """Return one pipeline whose steps hop between lanes, ordered by random precedences."""
    rng = random.Random(seed)
    models = tuple(_model(rng, f"model-{i:03}") for i in range(n_steps))
    steps = []
    for i, model in enumerate(models):
        after = (
            {rng.randrange(max(0, i - 6), i) for _ in range(rng.choice((0, 1, 1, 2)))}
            if i
            else set()
        )
        names = tuple(f"step-{j:03}" for j in sorted(after))
        steps.append(StepSpec(f"step-{i:03}", model.id, f"lane-{rng.randrange(n_lanes)}", names))
    pipeline = PipelineSpec("frames", tuple(steps), channels=channels)
    return FleetSpec(f"layered-{n_steps}x{n_lanes}", models, (pipeline,))


def many_instances(n_instances: int, seed: int = 0, frames_in_flight: int = 2) -> FleetSpec:
    """Return a fleet of `n_instances`: 10 a channel with order inside, on two lanes of its own.

    For 1,000 instances: 250 models, 100 lanes, 50 channels, each on its own pair of lanes.
    """
    rng = random.Random(seed)
    n_channels = max(1, n_instances // 20)
    n_models = max(20, n_instances // 4)
    models = tuple(_model(rng, f"model-{i:04}", scale_bytes=64 * KiB) for i in range(n_models))
    pipelines = []
    for channel in range(n_channels):
        chosen = rng.sample(range(n_models), min(20, n_instances - 20 * channel, n_models))
        steps = []
        for position, index in enumerate(chosen):
            after = (f"step-{position - rng.choice((1, 2))}",) if position >= 2 else ()
            lane = f"lane-{2 * channel + position % 2}"
            steps.append(StepSpec(f"step-{position}", models[index].id, lane, after))
        pipelines.append(
            PipelineSpec(f"pipe-{channel}", tuple(steps), frames_in_flight=frames_in_flight)
        )
    return FleetSpec(f"instances-{n_instances}", models, tuple(pipelines))


FAMILIES: dict[str, Callable[[int], FleetSpec]] = {
    "video, 12 channels": lambda seed: video(seed),
    "box, 60 models": lambda seed: model_box(seed),
    "layered, 24 steps on 4 lanes": lambda seed: layered(seed),
    "layered, 80 steps on 8 lanes": lambda seed: layered(seed, 80, 8),
    "layered, 24 steps on 4 lanes, 3 channels": lambda seed: layered(seed, channels=3),
}
