"""How many channels fit: shared lanes, lanes of their own, proportions, limits of the search."""

from dataclasses import replace

import pytest

from planner.capacity import (
    GrowthOptions,
    GrowthStatus,
    capacity_of,
    channels_fit,
    channels_of,
    together_fit,
)
from planner.capacity.growth import saturation
from planner.capacity.levers import levers
from planner.capacity.what_if import what_if
from planner.errors import SpecError
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.lanes import Assign, LanePool
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.units import MiB

CAMERA, SOUND = ModelId("camera"), ModelId("sound")
MODELS = (
    ModelSpec(CAMERA, work_bytes=4 * MiB - 512, weight_bytes=2 * MiB - 512),
    ModelSpec(SOUND, work_bytes=2 * MiB - 512, weight_bytes=0),
)


def planned(
    *, lane: str | LanePool, device: DeviceSpec, channels: tuple[int, int] = (1, 1)
) -> Plan:
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


def test_one_pipeline_may_be_asked_alone() -> None:
    plan = planned(lane="cam-{channel}", device=DeviceSpec(60 * MiB))
    assert tuple(channels_of(plan, name) for name in ("cam", "mic")) == channels_fit(plan)
    with pytest.raises(SpecError, match="did you mean 'mic'"):
        channels_of(plan, "mik")


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


def test_channels_of_a_pool_are_not_limited_once_its_lanes_are_full() -> None:
    for assign in Assign:
        pool = LanePool("eyes", 3, assign)
        # 4 MiB for each lane that two channels may use at once, 4 MiB beside: all three fit.
        fits = planned(lane=pool, device=DeviceSpec(16 * MiB), channels=(2, 1))
        assert found(fits) == (None, GrowthStatus.UNLIMITED)
        # Two lanes' worth: any lane may be taken, so a second channel needs all three.
        small = planned(lane=pool, device=DeviceSpec(12 * MiB), channels=(1, 1))
        largest = 1 if assign is Assign.ANY else 2
        assert found(small) == (largest, GrowthStatus.EXACT), "blocks use a lane for each channel"
        tiny = planned(lane=pool, device=DeviceSpec(1 * MiB), channels=(7, 1))
        assert found(tiny) == (0, GrowthStatus.EXACT)


def test_pools_in_blocks_end_the_multiples_of_all_pipelines_too() -> None:
    pool = LanePool("eyes", 3, Assign.BLOCK)
    enough = planned(lane=pool, device=DeviceSpec(16 * MiB), channels=(2, 2))
    assert together_fit(enough).status is GrowthStatus.UNLIMITED
    # Units of one camera: three of them take the third lane.
    little = planned(lane=pool, device=DeviceSpec(12 * MiB), channels=(2, 2))
    found = together_fit(little)
    assert (found.largest, found.status) == (2, GrowthStatus.EXACT)


def test_pools_saturate_with_two_channels_for_each_lane() -> None:
    step = StepSpec("see", CAMERA, LanePool("eyes", 3, Assign.BLOCK))
    assert saturation(PipelineSpec("cam", (step,))) == 6
    assert saturation(PipelineSpec("cam", (replace(step, lane=LanePool("eyes", 3)),))) == 2
    assert saturation(PipelineSpec("cam", (replace(step, locks=("g-{channel}",)),))) is None


def test_what_if_looks_no_further_than_a_pool_in_blocks_changes() -> None:
    pool = LanePool("eyes", 2, Assign.BLOCK)
    for channels in (1, 4, 9):
        plan = planned(lane=pool, device=DeviceSpec(), channels=(channels, 1))
        cameras, _ = what_if(plan)
        assert cameras.constant
        needed = dict(cameras.points)
        assert [needed[n] for n in range(1, 5)] == [8 * MiB, 12 * MiB, 12 * MiB, 12 * MiB]
        assert needed[channels] == plan.needed_bytes


def test_moves_lead_off_pools_and_never_into_them() -> None:
    plan = planned(lane=LanePool("eyes", 2), device=DeviceSpec(), channels=(2, 1))
    found = {lever.instance: lever for lever in levers(plan)}
    assert found[InstanceId("camera@eyes[0]")].move_lane == "ears"
    assert found[InstanceId("camera@eyes[0]")].move_bytes == plan.height_bytes - 4 * MiB
    assert found[InstanceId("sound@ears")].move_lane == ""
