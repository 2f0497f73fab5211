"""Who cannot fit together: cliques, odd cycles, weights, streams, reserves, and spent budgets."""

from dataclasses import replace
from itertools import combinations

from planner.explanation.culprits import Culprits, find_culprits
from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan

PAGE = 512


def planned(
    device: DeviceSpec, *sizes: tuple[int, int], apart: tuple[tuple[int, int], ...] = ()
) -> Plan:
    """A plan of one pipeline for each reserved (work, weights); pairs `apart` never run at once."""
    models = tuple(
        ModelSpec(ModelId(f"m{k}"), work_bytes=max(0, work - 32), weight_bytes=max(0, weights - 32))
        for k, (work, weights) in enumerate(sizes)
    )
    pipelines = tuple(
        PipelineSpec(f"p{k}", (StepSpec("s", model.id, f"l{k}"),)) for k, model in enumerate(models)
    )
    names = [InstanceId(f"m{k}@l{k}") for k in range(len(models))]
    added = tuple(AddedOrder(names[i], names[j], AddedKind.EXCLUSIVE) for i, j in apart)
    return plan_fleet(
        FleetSpec("f", models, pipelines, device),
        {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in models},
        PlanOptions(page_bytes=PAGE, added=added),
    )


def found(plan: Plan, problems_max: int = 100) -> Culprits:
    asked = iter(range(problems_max))
    assert not plan.fits
    return find_culprits(plan, lambda _: next(asked, None) is not None)


def names(culprits: Culprits) -> list[str]:
    return [name.partition("@")[0] for name in culprits.instances]


def test_the_heaviest_alone_suffice() -> None:
    plan = planned(DeviceSpec(6 * 512), *((512 * k, 0) for k in (1, 2, 3, 4)))
    culprits = found(plan)
    assert names(culprits) == ["m2", "m3"]
    assert (culprits.needed_bytes, culprits.lower_bound_bytes) == (7 * 512, 7 * 512)
    assert culprits.is_proven
    assert culprits.is_minimal
    assert culprits.solved == 0  # a clique needs no solving


def test_one_instance_alone() -> None:
    assert names(found(planned(DeviceSpec(512), (512, 0), (1024, 0)))) == ["m1"]


def test_weights_count_once_and_with_work() -> None:
    plan = planned(DeviceSpec(8 * 512), (512, 4096), (512, 512))
    assert names(found(plan)) == ["m0"]
    both = planned(DeviceSpec(10 * 512), (512, 4096), (512, 512))
    assert names(found(both)) == ["m0", "m1"]


def test_what_the_rest_does_not_need_goes() -> None:
    """What sets the height comes first, but one instance's weights alone are too much."""
    plan = planned(DeviceSpec(8 * 512), (1024, 0), (1024, 0), (0, 9 * 512))
    culprits = found(plan)
    assert names(culprits) == ["m2"]
    assert culprits.is_minimal


def test_an_odd_cycle_is_higher_than_its_cliques() -> None:
    """Five instances in a ring of conflicts: four can do with two heights, five need three."""
    ring = [{k, (k + 1) % 5} for k in range(5)]
    apart = tuple(pair for pair in combinations(range(5), 2) if {*pair} not in ring)
    plan = planned(DeviceSpec(5 * 512), *[(1024, 0)] * 5, apart=apart)
    assert plan.height_bytes == 3 * 1024
    culprits = found(plan)
    assert len(culprits.instances) == 5
    assert culprits.needed_bytes == culprits.lower_bound_bytes == 3 * 1024
    assert culprits.is_proven
    assert culprits.is_minimal
    assert culprits.solved > 0


def test_a_spent_budget_is_said() -> None:
    ring = [{k, (k + 1) % 5} for k in range(5)]
    apart = tuple(pair for pair in combinations(range(5), 2) if {*pair} not in ring)
    plan = planned(DeviceSpec(5 * 512), *[(1024, 0)] * 5, apart=apart)
    culprits = found(plan, problems_max=0)
    assert len(culprits.instances) == 5
    assert culprits.solved == 0
    assert not culprits.is_proven
    assert culprits.lower_bound_bytes == 2 * 1024


def test_what_the_schedule_is_to_fit() -> None:
    """Work and weights alone count, not rounded to pages, and no reserve."""
    plan = planned(DeviceSpec(1 << 30, (("system", 9),)), (512, 512), (1024, 512), (512, 0))
    assert plan.total_bytes == 3072
    fleet = replace(plan.fleet, schedule=ScheduleSpec(2560))
    plan = plan_fleet(fleet, dict(plan.sizes), PlanOptions(page_bytes=4096))
    culprits = found(plan)
    assert names(culprits) == ["m0", "m1", "m2"]
    assert (culprits.needed_bytes, culprits.lower_bound_bytes) == (3072, 3072)
    assert culprits.is_minimal


def test_streams_alone() -> None:
    plan = planned(DeviceSpec(streams_max=2), (512, 0), (1024, 0), (512, 0), (512, 0), (512, 0))
    culprits = found(plan)
    assert len(culprits.instances) == 3
    assert culprits.stream_count == 3
    assert culprits.is_proven


def test_reserves_alone() -> None:
    culprits = found(planned(DeviceSpec(100, (("system", 101),)), (512, 0)))
    assert culprits.instances == ()
    assert (culprits.needed_bytes, culprits.is_proven) == (101, True)
