"""Hypothesis strategies of fleets whose steps hand tensors on."""

from dataclasses import replace

from hypothesis import strategies as st

from planner.fleet import DeviceSpec, FleetSpec, IoPlace, PipelineSpec, StepSpec
from planner.handover import Feed
from tests.strategies import fleets

__all__ = ["BLOCK_BYTES", "TENSOR_BYTES", "handing_fleets"]

TENSOR_BYTES = 1000
"""Of every input and output: so each can be fed to each."""
BLOCK_BYTES = 4 * 1088
"""Two inputs and two outputs: 1000 rounded up to 32, and 32 more, from multiples of 64."""
TENSORS = (("x", TENSOR_BYTES), ("h", TENSOR_BYTES)), (("y", TENSOR_BYTES), ("k", TENSOR_BYTES))


@st.composite
def handing_fleets(draw: st.DrawFn, *, executions_max: int = 48, frames_max: int = 2) -> FleetSpec:
    """Valid small fleets: some steps feed `y` to `x` of later ones, some carry `k` to `h`."""
    fleet = draw(fleets(executions_max=executions_max, frames_max=frames_max))
    models = tuple(
        replace(model, input_bytes=TENSORS[0], output_bytes=TENSORS[1]) for model in fleet.models
    )
    pipelines = tuple(
        replace(pipeline, steps=tuple(draw(_handing(pipeline, step)) for step in pipeline.steps))
        for pipeline in fleet.pipelines
    )
    device = DeviceSpec(io=draw(st.sampled_from(IoPlace)))
    return replace(fleet, models=models, pipelines=pipelines, device=device)


@st.composite
def _handing(draw: st.DrawFn, pipeline: PipelineSpec, step: StepSpec) -> StepSpec:
    before = sorted(_before(pipeline, step.id))
    feeds: tuple[Feed, ...] = ()
    if before and draw(st.sampled_from([True, True, False])):
        feeds = (Feed("x", draw(st.sampled_from(before)), "y"),)
    state = (("h", "k"),) if pipeline.frames_in_flight == 1 and draw(st.booleans()) else ()
    return replace(step, feeds=feeds, state=state)


def _before(pipeline: PipelineSpec, step: str) -> set[str]:
    found = set(pipeline.step(step).after)
    for name in tuple(found):
        found |= _before(pipeline, name)
    return found
