"""Fleets that hand tensors on, for the twin and for the CPU device, of one shape.

camera (d frames in flight)      detect --y--> read --y--> store
                                    `----y---> track (on another lane)
microphone[0], [1]               listen: h <- hn
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto, helper

from planner.fleet import FleetSpec, IoPlace
from planner.fleet_file import parse_fleet
from tests.networks import byte_images, compiled, network

__all__ = ["BUILDERS", "IMAGE_BYTES", "cpu_fleet", "twin_fleet"]

IMAGE_BYTES = 3 * 24 * 24
_PIPELINES = """\
pipelines:
  camera:
    lane: vision
    frames_in_flight: 1
    steps:
      detect: {model: first}
      read: {model: second, after: [detect], feeds: {x: detect.y}}
      track: {model: second, lane: tracking, after: [detect], feeds: {x: detect.y}}
      store: {model: first, after: [read], feeds: {x: read.y}}
  microphone:
    channels: 2
    lane: audio
    steps:
      listen: {model: listener, state: {h: hn}}
"""
_DECLARED = """\
version: 1
name: handing
models:
  first: {work: 20000, weights: 3000, inputs: {x: 1728}, outputs: {y: 1728}}
  second: {work: 9000, weights: 2000, inputs: {x: 1728}, outputs: {y: 1728}}
  listener: {work: 3000, weights: 500, inputs: {x: 64, h: 64}, outputs: {y: 64, hn: 64}}
"""
_COMPILED = """\
version: 1
name: handing
models:
  first: {file: first.arena}
  second: {file: second.arena}
  listener: {file: listener.arena}
"""


def _fleet(models: str, frames_in_flight: int, io: IoPlace) -> FleetSpec:
    fleet = parse_fleet(models + _PIPELINES.replace("flight: 1", f"flight: {frames_in_flight}"))
    return replace(fleet, device=replace(fleet.device, io=io))


def twin_fleet(
    _folder: Path, frames_in_flight: int = 1, io: IoPlace = IoPlace.OUTSIDE
) -> FleetSpec:
    """The fleet with declared models, for the twin."""
    return _fleet(_DECLARED, frames_in_flight, io)


def cpu_fleet(folder: Path, frames_in_flight: int = 1, io: IoPlace = IoPlace.OUTSIDE) -> FleetSpec:
    """The fleet with real networks, compiled into `folder`."""
    for name, model in (
        ("first", byte_images(1)),
        ("second", byte_images(2)),
        ("listener", recurrent()),
    ):
        if not (folder / f"{name}.arena").exists():
            compiled(model, folder, name)
    return _fleet(_COMPILED, frames_in_flight, io)


def recurrent() -> ModelProto:
    """A network that mixes its input with a state."""
    random = np.random.default_rng(7)
    node = helper.make_node
    return network(
        [
            node("MatMul", ["x", "u"], ["a"]),
            node("MatMul", ["h", "w"], ["b"]),
            node("Add", ["a", "b"], ["c"]),
            node("Tanh", ["c"], ["hn"]),
            node("MatMul", ["hn", "v"], ["y"]),
        ],
        {"x": [1, 16], "h": [1, 16]},
        {"y": [1, 16], "hn": [1, 16]},
        {name: random.normal(0, 0.7, (16, 16)).astype(np.float32) for name in ("u", "w", "v")},
    )


BUILDERS: dict[str, Callable[..., FleetSpec]] = {"twin": twin_fleet, "cpu": cpu_fleet}
