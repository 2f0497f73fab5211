"""Hypothesis strategies that several test files share."""

from hypothesis import strategies as st

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import Assign, LanePool
from planner.model import ModelId

__all__ = ["POOLS", "fleets", "work_sizes"]

LANES = ("x", "y", "x-{channel}", "y-{channel}", "x-1")
LOCKS = ("g", "h", "g-{channel}", "g-0", "y")
"""Templates and plain names that meet in some channels: "x-{channel}" is "x-1" in channel 1, and
"y" is a lane of one step and a lock of another."""


POOLS = tuple(
    LanePool(name, size, assign) for name, size in (("p", 2), ("q", 3)) for assign in Assign
)
"""Pools of two and three lanes, taken in both ways."""


_EVERY_LANE: tuple[str | LanePool, ...] = (*LANES, *LANES, *POOLS)


def work_sizes() -> st.SearchStrategy[int]:
    """Bytes of a work buffer: nothing, around the edges of the region rule, and anything."""
    return st.one_of(
        st.sampled_from([0, 1, 31, 32, 480, 481, 512, 1024, 4096]), st.integers(0, 1 << 20)
    )


@st.composite
def _steps(
    draw: st.DrawFn, *, count: int, models: list[ModelId], pools: bool
) -> tuple[StepSpec, ...]:
    names = [f"s{k}" for k in range(count)]
    # A hidden topological order; the declared order is independent of it.
    hidden = draw(st.permutations(names))
    steps = []
    for k, name in enumerate(hidden):
        after = draw(st.lists(st.sampled_from(hidden[:k]), unique=True)) if k else []
        steps.append(
            StepSpec(
                id=name,
                model=draw(st.sampled_from(models)),
                lane=draw(st.sampled_from(_EVERY_LANE if pools else LANES)),
                after=tuple(after),
                locks=tuple(draw(st.lists(st.sampled_from(LOCKS), max_size=2, unique=True))),
            )
        )
    return tuple(sorted(steps, key=lambda step: step.id))


@st.composite
def fleets(
    draw: st.DrawFn,
    *,
    pipelines_max: int = 2,
    channels_max: int = 2,
    frames_max: int = 3,
    steps_max: int = 3,
    models_max: int = 3,
    executions_max: int = 48,
    pools: bool = True,
) -> FleetSpec:
    """Valid small fleets with declared sizes: shared, private and pooled lanes, locks, any `after`.

    Parameters
    ----------
    pipelines_max, channels_max, frames_max, steps_max, models_max : int
        Most pipelines, channels and frames in flight of each, steps of each, and models; all >= 1.
    executions_max : int
        Most executions over d + 1 unrolled frames of every channel, at least 2 a pipeline.
    pools : bool
        Whether steps may take a lane of a pool.
    """
    models = [ModelId(f"m{k}") for k in range(draw(st.integers(1, models_max)))]
    n_pipelines = draw(st.integers(1, pipelines_max))
    pipelines = []
    for k in range(n_pipelines):
        budget = executions_max - 2 * (n_pipelines - 1 - k)
        n_steps = draw(st.integers(1, min(steps_max, budget // 2)))
        channels = draw(st.integers(1, min(channels_max, budget // (2 * n_steps))))
        frames = draw(st.integers(1, min(frames_max, budget // (n_steps * channels) - 1)))
        executions_max -= channels * (frames + 1) * n_steps
        steps = draw(_steps(count=n_steps, models=models, pools=pools))
        pipelines.append(PipelineSpec(f"p{k}", steps, channels, frames))
    return FleetSpec(
        name="fleet",
        models=tuple(
            ModelSpec(model, work_bytes=draw(work_sizes()), weight_bytes=draw(work_sizes()))
            for model in models
        ),
        pipelines=tuple(pipelines),
    )
