"""What an application can run on in the place of a loaded fleet, to compare its memory.

`PlainFleet` has a session of ONNX Runtime, with the runtime's defaults, for each pipeline, channel
and model, as an application without sharing has. `HollowFleet` answers with ones at once: what is
left is the application's own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planner.fleet import channel_name
from planner.model import ModelId
from planner.plan import Plan

__all__ = ["HollowFleet", "PlainFleet"]


class PlainFleet:
    """A fleet of plain sessions; frames are not ordered, and steps run on the calling thread.

    Parameters
    ----------
    plan : Plan
        Of the fleet that is stood in for.
    files : mapping of ModelId to Path
        The ONNX file of every used model.
    """

    def __init__(self, plan: Plan, files: Mapping[ModelId, Path]) -> None:
        import onnxruntime as ort

        self._frames: dict[str, _PlainFrame] = {}
        for pipeline in plan.fleet.pipelines:
            for channel in range(pipeline.channels):
                own = {
                    model: ort.InferenceSession(files[model], providers=["CPUExecutionProvider"])
                    for model in sorted({step.model for step in pipeline.steps})
                }
                sessions = {step.id: own[step.model] for step in pipeline.steps}
                self._frames[channel_name(pipeline.id, channel)] = _PlainFrame(sessions)

    @property
    def n_sessions(self) -> int:
        """Sessions that are open."""
        return len({id(s) for frame in self._frames.values() for s in frame.sessions.values()})

    @contextmanager
    def frame(self, channel: str) -> Iterator["_PlainFrame"]:
        """Return a frame of `channel`, as `arena.session.Fleet` does."""
        yield self._frames[channel]


class _PlainFrame:
    def __init__(self, sessions: Mapping[str, Any]) -> None:
        self.sessions = sessions

    def run(self, step: str, inputs: object) -> dict[str, Any]:
        session = self.sessions[step]
        if not isinstance(inputs, Mapping):
            inputs = {session.get_inputs()[0].name: inputs}
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))


class HollowFleet:
    """A fleet whose steps return ones of the right types and shapes."""

    def __init__(self, plan: Plan) -> None:
        self._outputs = {
            step.id: plan.size_of(step.model).outputs
            for pipeline in plan.fleet.pipelines
            for step in pipeline.steps
        }

    @contextmanager
    def frame(self, _channel: str) -> Iterator["HollowFleet"]:
        """Return a frame of any channel."""
        yield self

    def run(self, step: str, _inputs: object) -> dict[str, Any]:
        """Return output name -> ones."""
        import numpy as np

        return {spec.name: np.ones(spec.shape, spec.dtype) for spec in self._outputs[step]}
