"""Fleets that several tests load: small declared ones, and folders of generated .om files."""

from pathlib import Path

from arena.formats.om_writer import OmSpec, write_om
from planner.fleet import CrossStream, DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize, TensorSpec, declared_tensors

__all__ = ["FLEET_YAML", "declared_sizes", "small_fleet", "write_fleet"]

FLEET_YAML = """\
version: 1
name: corner
models:
  detector: {file: models/det.om}
  reader: {file: models/rec.om}
  tracker: {file: models/trk.om}
pipelines:
  camera:
    channels: 2
    frames_in_flight: 2
    lane: vision
    steps:
      detect: {model: detector}
      read: {model: reader, after: [detect]}
      track: {model: tracker, after: [detect], lane: tracking}
  door:
    lane: vision
    steps:
      look: {model: reader}
device: {memory: 64MiB}
"""


def declared_sizes(fleet: FleetSpec) -> dict[ModelId, ModelSize]:
    """Return the sizes of a fleet of declared models."""
    return {
        model.id: ModelSize(
            model.work_bytes or 0,
            model.weight_bytes or 0,
            inputs=declared_tensors(model.input_bytes),
            outputs=declared_tensors(model.output_bytes),
        )
        for model in fleet.models
    }


def write_fleet(folder: Path, *, weights: int = 70_000) -> Path:
    """Write a fleet file with three generated models into `folder` and return its path."""
    (folder / "models").mkdir(parents=True)
    for index, (name, work) in enumerate((("det", 300_000), ("rec", 50_000), ("trk", 120_000))):
        spec = OmSpec(
            name=name,
            work_bytes=work // 512 * 512,
            weight_bytes=weights + 512 * index,
            seed=index,
            inputs=(TensorSpec("x", "float32", (4, 4), 64),),
            outputs=(TensorSpec("y", "float32", (8,), 32),),
        )
        write_om(folder / "models" / f"{name}.om", spec)
    path = folder / "fleet.yaml"
    path.write_text(FLEET_YAML)
    return path


def small_fleet(
    cross_stream: CrossStream = CrossStream.HOST, *, channels: int = 1, frames_in_flight: int = 1
) -> FleetSpec:
    """Return a declared fleet: two steps on one lane, one beside them, work shared on the lane."""
    models = tuple(
        ModelSpec(ModelId(name), work_bytes=work, weight_bytes=4096)
        for name, work in (("big", 65_536), ("small", 8_192), ("side", 16_384))
    )
    steps = (
        StepSpec("first", ModelId("big"), "main"),
        StepSpec("second", ModelId("small"), "main", after=("first",)),
        StepSpec("beside", ModelId("side"), "other", after=("first",)),
    )
    pipeline = PipelineSpec("p", steps, channels=channels, frames_in_flight=frames_in_flight)
    return FleetSpec("small", models, (pipeline,), DeviceSpec(cross_stream=cross_stream))
