"""Heights as sums over groups: who is tied to whom, and what is planned once."""

from dataclasses import replace

from planner.capacity.joins import Heights, JoinedHeights
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan

BIG, SMALL = ModelId("big"), ModelId("small")
MODELS = (
    ModelSpec(BIG, work_bytes=4096 - 32, weight_bytes=0),
    ModelSpec(SMALL, work_bytes=1024 - 32, weight_bytes=0),
)
SIZES = {m.id: ModelSize(m.work_bytes or 0, 0) for m in MODELS}


def fleet(*steps: StepSpec, channels: int = 1, frames_in_flight: int = 1) -> FleetSpec:
    return FleetSpec("f", MODELS, (PipelineSpec("p", steps, channels, frames_in_flight),))


def heights(spec: FleetSpec) -> tuple[Heights | None, list[int]]:
    """The heights of a fleet, and the sizes of the groups that were planned for them."""
    asked: list[int] = []

    def may_plan(instances: int) -> bool:
        asked.append(instances)
        return True

    return JoinedHeights(plan_fleet(spec, SIZES), may_plan).of(spec), asked


def test_channels_on_lanes_of_their_own_are_planned_once() -> None:
    spec = fleet(StepSpec("a", BIG, "x-{channel}"), StepSpec("b", SMALL, "y-{channel}"), channels=7)
    assert heights(spec) == (Heights(7 * 5120, 7 * 5120), [2])


def test_order_inside_a_channel_holds_in_its_group() -> None:
    after = StepSpec("b", SMALL, "y-{channel}", after=("a",))
    spec = fleet(StepSpec("a", BIG, "x-{channel}"), after, channels=5)
    assert heights(spec) == (Heights(5 * 4096, 5 * 4096), [2])
    assert heights(replace(spec, pipelines=(replace(spec.pipelines[0], frames_in_flight=2),)))[
        0
    ] == Heights(5 * 5120, 5 * 5120)


def test_what_all_channels_share_is_a_group_of_its_own() -> None:
    """Order goes through it: `c` follows `a` by way of the step that is no member of the group."""
    steps = (
        StepSpec("a", BIG, "x-{channel}"),
        StepSpec("b", SMALL, "all", after=("a",)),
        StepSpec("c", SMALL, "y-{channel}", after=("b",)),
    )
    assert heights(fleet(*steps, channels=6)) == (Heights(6 * 4096 + 1024, 6 * 4096 + 1024), [2, 1])


def test_a_lock_ties_and_one_large_group_is_left_to_a_plan() -> None:
    spec = fleet(StepSpec("a", BIG, "x-{channel}", locks=("g",)), channels=6)
    assert heights(spec) == (None, [])


def test_templates_that_mean_one_lock_are_one() -> None:
    locks = ("g-{channel}", "g-0")
    spec = fleet(StepSpec("a", BIG, "x-{channel}", locks=locks), StepSpec("b", SMALL, "y"))
    two = replace(spec, pipelines=(replace(spec.pipelines[0], channels=2),))
    joined = JoinedHeights(plan_fleet(spec, SIZES), lambda _: True)
    assert joined.of(two) is None  # all are tied
    one = PipelineSpec("q", (StepSpec("c", SMALL, "z-{channel}"),), channels=6)
    more = replace(spec, pipelines=(*spec.pipelines, one))
    assert joined.of(more) == Heights(7 * 1024 + 4096, 7 * 1024 + 4096)


def test_a_name_of_another_channel_ties() -> None:
    one = PipelineSpec("p", (StepSpec("a", BIG, "x-{channel}"),), channels=12)
    other = PipelineSpec("q", (StepSpec("b", SMALL, "x-1"), StepSpec("c", SMALL, "z")))
    spec = FleetSpec("f", MODELS, (one, other))
    found, groups = heights(spec)
    assert found == Heights(12 * 4096 + 1024, 12 * 4096 + 1024)
    assert groups == [1, 3]  # x-1 holds two models and ties z, which q alone uses


def test_constraints_that_planning_added_are_left_to_a_plan() -> None:
    spec = fleet(StepSpec("a", BIG, "x-{channel}"), channels=4)
    added = AddedOrder(InstanceId("big@x-0"), InstanceId("big@x-1"), AddedKind.EXCLUSIVE)
    plan: Plan = plan_fleet(spec, SIZES, PlanOptions(added=(added,)))
    assert JoinedHeights(plan, lambda _: True).of(spec) is None


def test_the_budget_may_refuse() -> None:
    spec = fleet(StepSpec("a", BIG, "x-{channel}"), channels=4)
    assert JoinedHeights(plan_fleet(spec, SIZES), lambda _: False).of(spec) is None
