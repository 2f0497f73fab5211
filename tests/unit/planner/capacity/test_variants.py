"""Variants of a plan keep the constraints that still mean something."""

from dataclasses import replace

from planner.capacity import with_channels
from planner.capacity.variants import plan_variant
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder

A, B = ModelId("a"), ModelId("b")
MODELS = tuple(ModelSpec(name, work_bytes=1000, weight_bytes=0) for name in (A, B))


def test_constraints_stay_where_they_can() -> None:
    both = PipelineSpec("both", (StepSpec("one", A, "x"), StepSpec("two", B, "y")))
    first = PipelineSpec("first", (StepSpec("one", A, "x"),))
    second = PipelineSpec("second", (StepSpec("two", B, "y"),))
    ordered = AddedOrder(InstanceId("a@x"), InstanceId("b@y"), AddedKind.ORDER)
    apart = replace(ordered, kind=AddedKind.EXCLUSIVE)
    fleet = FleetSpec("f", MODELS, (both, first, second))
    sizes = {A: ModelSize(1000, 0), B: ModelSize(1000, 0)}
    plan = plan_fleet(fleet, sizes, PlanOptions(added=(ordered, apart)))
    assert plan_variant(plan, fleet).added == (ordered, apart)
    # Without `both` no channel uses a and b: nothing can order them, a lock still keeps them apart.
    assert plan_variant(plan, with_channels(fleet, {"both": 0})).added == (apart,)
    fewer = with_channels(fleet, {"both": 0, "second": 0})
    assert plan_variant(plan, fewer).added == ()
    assert plan_variant(plan_fleet(fleet, sizes), fleet, (apart,)).added == (apart,)
