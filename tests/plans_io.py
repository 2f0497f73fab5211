"""A plan whose steps hand tensors on, and the fleet file that it is made of."""

from dataclasses import replace

from planner.fleet import IoPlace
from planner.fleet_file import parse_fleet
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes

__all__ = ["HANDING_YAML", "handing_plan"]

HANDING_YAML = """\
version: 1
name: handing
models:
  detector: {work: 20000, weights: 3000, inputs: {image: 600}, outputs: {boxes: 5000, mask: 700}}
  reader: {work: 9000, weights: 2000, inputs: {x: 5000}, outputs: {text: 100}}
  tracker: {work: 4000, weights: 1000, inputs: {boxes: 5000, mask: 700}, outputs: {tracks: 64}}
  listener: {work: 3000, weights: 500, inputs: {sound: 64, h: 256}, outputs: {speech: 4, hn: 256}}
  store: {work: 30000, weights: 500, inputs: {text: 100}, outputs: {done: 1}}
pipelines:
  camera:
    lane: vision
    steps:
      detect: {model: detector}
      read: {model: reader, after: [detect], feeds: {x: detect.boxes}}
      track:
        model: tracker
        lane: tracking
        after: [detect]
        feeds: {boxes: detect.boxes, mask: detect.mask}
      store: {model: store, after: [read, track], feeds: {text: read.text}}
  door:
    frames_in_flight: 2
    steps:
      look: {model: detector}
      read: {model: reader, after: [look], feeds: {x: look.boxes}}
  microphone:
    channels: 2
    lane: "microphone-{channel}"
    steps:
      listen: {model: listener, state: {h: hn}}
"""


def handing_plan(io: IoPlace = IoPlace.OUTSIDE) -> Plan:
    """The plan of `HANDING_YAML`: feeds inside a frame, over two frames in flight, and a state."""
    fleet = parse_fleet(HANDING_YAML)
    fleet = replace(fleet, device=replace(fleet.device, io=io))
    return plan_fleet(fleet, declared_sizes(fleet))
