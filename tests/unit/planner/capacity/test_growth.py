"""How many channels fit: shared lanes, lanes of their own, proportions, limits of the search."""

from dataclasses import replace

from planner.capacity import GrowthOptions, GrowthStatus, capacity_of, channels_fit, together_fit
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.units import MiB

CAMERA, SOUND = ModelId("camera"), ModelId("sound")
MODELS = (
    ModelSpec(CAMERA, work_bytes=4 * MiB - 512, weight_bytes=2 * MiB - 512),
    ModelSpec(SOUND, work_bytes=2 * MiB - 512, weight_bytes=0),
)


def planned(*, lane: str, device: DeviceSpec, channels: tuple[int, int] = (1, 1)) -> Plan:
    pipelines = (
        PipelineSpec("cam", (StepSpec("see", CAMERA, lane),), channels=channels[0]),
        PipelineSpec("mic", (StepSpec("hear", SOUND, "ears"),), channels=channels[1]),
    )
    fleet = FleetSpec("house", MODELS, pipelines, device)
    return plan_fleet(
        fleet, {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in MODELS}
    )


def found(plan: Plan, options: GrowthOptions | None = None) -> tuple[object, object]:
    first = channels_fit(plan, options or GrowthOptions())[0]
    return first.largest, first.status


def test_each_channel_of_its_own_lane_takes_its_work() -> None:
    # 2 MiB of weights and 2 MiB of sound beside 4 MiB for each camera.
    plan = planned(lane="cam-{channel}", device=DeviceSpec(4 * MiB + 10 * 4 * MiB))
    assert plan.needed_bytes == 8 * MiB
    assert found(plan) == (10, GrowthStatus.EXACT)
    assert channels_fit(plan)[1].status is GrowthStatus.UNLIMITED


def test_channels_of_one_lane_are_not_limited_by_memory() -> None:
    plan = planned(lane="eyes", device=DeviceSpec(8 * MiB))
    assert found(plan) == (None, GrowthStatus.UNLIMITED)
    assert found(planned(lane="eyes", device=DeviceSpec(8 * MiB), channels=(3, 1)))[0] is None


def test_not_even_one_fits() -> None:
    for lane in ("eyes", "cam-{channel}"):
        for channels in (1, 5):
            plan = planned(lane=lane, device=DeviceSpec(1 * MiB), channels=(channels, 1))
            assert found(plan) == (0, GrowthStatus.EXACT)


def test_proportions_are_kept() -> None:
    plan = planned(lane="cam-{channel}", device=DeviceSpec(60 * MiB), channels=(6, 2))
    together = together_fit(plan)
    # One unit is 3 cameras and a microphone: 12 MiB each, and 4 MiB that all share.
    assert (together.channels, together.largest) == (2, 4)


def test_no_limit_and_streams_alone() -> None:
    assert found(planned(lane="x", device=DeviceSpec())) == (None, GrowthStatus.NO_LIMIT)
    plan = planned(lane="cam-{channel}", device=DeviceSpec(streams_max=5))
    assert found(plan) == (4, GrowthStatus.EXACT)


def test_the_search_ends_at_its_limits() -> None:
    plan = planned(lane="cam-{channel}", device=DeviceSpec(1 << 40))
    assert found(plan, GrowthOptions(channels_max=64)) == (64, GrowthStatus.AT_LEAST)
    tight = planned(lane="cam-{channel}", device=DeviceSpec(44 * MiB))
    largest, status = found(tight, GrowthOptions(planned_max=0))
    assert (largest, status) == (10, GrowthStatus.AT_LEAST)  # bounds know of 10


def test_a_limit_between_the_bounds_cannot_be_settled_without_a_plan() -> None:
    """Two lanes in turn: their sum is above the limit, the larger of them below."""
    steps = (StepSpec("see", CAMERA, "eyes"), StepSpec("hear", SOUND, "ears", after=("see",)))
    fleet = FleetSpec("house", MODELS, (PipelineSpec("p", steps),), DeviceSpec(7 * MiB))
    plan = plan_fleet(
        fleet, {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in MODELS}
    )
    assert found(plan) == (1, GrowthStatus.EXACT)  # a second channel runs beside the first
    assert found(plan, GrowthOptions(planned_max=0)) == (1, GrowthStatus.AT_LEAST)


def test_one_pipeline_counts_its_own_channels() -> None:
    plan = planned(lane="cam-{channel}", device=DeviceSpec(1 << 30))
    (only, _) = plan.fleet.pipelines
    one = plan_fleet(replace(plan.fleet, pipelines=(only,)), dict(plan.sizes))
    assert together_fit(one) == replace(channels_fit(one)[0], pipeline="")
    assert capacity_of(one).together == together_fit(one)
