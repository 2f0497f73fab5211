"""Accounts, duplicates, levers and devices of one known plan."""

from dataclasses import replace

import pytest

from planner.capacity import (
    Account,
    DeviceModel,
    Kind,
    LeverOptions,
    account_bytes,
    capacity_of,
    dedupe_savings,
    devices_fit,
    levers,
    shares,
)
from planner.difference import diff_plans
from planner.errors import SpecError
from planner.fleet import Dedupe, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import DEFAULT_RULE, ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.problem import SolveStatus
from planner.report.capacity_text import capacity_text
from planner.units import MiB
from tests.fleets import declared_sizes, small_fleet
from tests.plans import street_corner


def small(channels: int = 1) -> Plan:
    fleet = small_fleet(channels=channels)
    sizes = declared_sizes(fleet)
    return plan_fleet(fleet, sizes)


def test_accounts_name_who_has_bytes_alone_and_what_is_used_in_turn() -> None:
    plan = small(channels=2)  # big and small in turn, side beside them
    accounts = account_bytes(plan)
    assert Account("several instances", Kind.WORK, 8_192) in accounts
    assert Account("side@other", Kind.WORK, 16_384) in accounts
    assert Account("big", Kind.WEIGHTS, 4_096) in accounts
    by_instance = {str(share.instance): share for share in shares(plan)}
    assert by_instance["small@main"].alone_bytes == 0
    assert by_instance["small@main"].shared_bytes == DEFAULT_RULE.reserved_bytes(8_192)


def test_without_dedupe_weights_belong_to_instances() -> None:
    plan = small()
    fleet = replace(plan.fleet, device=replace(plan.fleet.device, dedupe=Dedupe.OFF))
    accounts = account_bytes(plan_fleet(fleet, dict(plan.sizes)))
    assert Account("side@other", Kind.WEIGHTS, 4_096) in accounts


def test_what_the_device_manages_and_datasets_are_accounts() -> None:
    kinds = {(account.owner, account.kind) for account in account_bytes(street_corner())}
    assert ("wild@tracking", Kind.SYSTEM) in kinds
    assert ("copy@audio", Kind.IO) in kinds
    assert ("system", Kind.RESERVE) in kinds


def test_models_with_equal_weights_are_named_with_what_sharing_them_would_add() -> None:
    savings = dedupe_savings(street_corner())
    (duplicate,) = savings.duplicates
    assert duplicate.models == ("detector", "copy", "reader")
    # detector and copy are one file already; the reader would join them.
    assert duplicate.extra_bytes == savings.further_bytes == DEFAULT_RULE.reserved_bytes(5_000)
    assert savings.saved_bytes == savings.off_bytes - savings.file_bytes


def test_only_the_witness_frees_anything_and_a_move_costs_time_instead() -> None:
    plan = small(channels=2)
    by_instance = {str(lever.instance): lever for lever in levers(plan)}
    big, side = by_instance["big@main"], by_instance["side@other"]
    # Without big, small takes its place.
    assert big.shrink_bytes == DEFAULT_RULE.reserved_bytes(65_536) - DEFAULT_RULE.reserved_bytes(
        8_192
    )
    assert big.remove_bytes == big.shrink_bytes + DEFAULT_RULE.reserved_bytes(4_096)
    assert (side.move_bytes, side.move_lane) == (DEFAULT_RULE.reserved_bytes(16_384), "main")
    assert by_instance["small@main"].shrink_bytes == 0


def numbered(work_bytes: int) -> Plan:
    """Return a plan of twelve models alike, each on a lane of its own, that may run at once."""
    models = tuple(
        ModelSpec(ModelId(f"m-{i}"), work_bytes=work_bytes, weight_bytes=0) for i in range(12)
    )
    pipelines = tuple(
        PipelineSpec(f"cam-{i}", (StepSpec("s", ModelId(f"m-{i}"), f"l-{i}"),)) for i in range(12)
    )
    sizes = {model.id: ModelSize(work_bytes, 0) for model in models}
    return plan_fleet(FleetSpec("numbered", models, pipelines), sizes)


def test_names_that_are_ranked_alike_are_listed_as_people_count() -> None:
    plan = numbered(4_096)
    assert [lever.instance for lever in levers(plan)] == [f"m-{i}@l-{i}" for i in range(12)]
    changes = diff_plans(plan, numbered(8_192)).models
    assert [change.model for change in changes] == [f"m-{i}" for i in range(12)]
    devices = tuple(DeviceModel(f"D{n}", (), n, 1 << 20, 0, "here") for n in (10, 9, 1))
    assert [fit.device.name for fit in devices_fit(plan, devices)] == ["D1", "D9", "D10"]


def test_the_search_for_levers_ends_at_its_limit() -> None:
    plan = small(channels=2)
    first, second, _ = levers(plan, LeverOptions(planned_max=2))
    assert (first.shrink_bytes is None, first.move_bytes) == (False, None)
    assert (second.shrink_bytes, second.remove_bytes, second.move_bytes) == (None, None, None)


def cycle_of_five() -> Plan:
    """Return a plan of five equal instances, each kept apart from two others: three high."""
    model = ModelSpec(ModelId("m"), work_bytes=MiB, weight_bytes=0)
    steps = (
        StepSpec(f"s{i}", model.id, f"lane-{i}", locks=(f"k{i}", f"k{(i + 1) % 5}"))
        for i in range(5)
    )
    fleet = FleetSpec("cycle", (model,), (PipelineSpec("p", tuple(steps)),))
    return plan_fleet(fleet, {model.id: ModelSize(MiB, 0)})


def test_without_a_witness_every_instance_is_asked_about() -> None:
    """No two instances of a cycle of five weigh what three high are: a search proved it."""
    plan, own = cycle_of_five(), DEFAULT_RULE.reserved_bytes(MiB)
    assert (plan.status, plan.witness, plan.height_bytes) == (SolveStatus.OPTIMAL, (), 3 * own)
    assert [lever.shrink_bytes for lever in levers(plan)] == [own] * 5  # a path is two high
    assert "no clique sets the height" in capacity_text(capacity_of(plan))
    assert [lever.shrink_bytes for lever in levers(plan, LeverOptions(planned_max=4))] == [None] * 5


def test_a_step_that_moves_moves_in_all_channels() -> None:
    """The fleet file has one lane for a step: `lane-{channel}` is a lane of each channel."""
    models = [ModelSpec(ModelId(name), work_bytes=MiB, weight_bytes=0) for name in ("see", "hear")]
    see = PipelineSpec("eyes", (StepSpec("see", models[0].id, "eye-{channel}"),), channels=3)
    hear = PipelineSpec("ears", (StepSpec("hear", models[1].id, "ear"),))
    fleet = FleetSpec("fleet", tuple(models), (see, hear))
    capacity = capacity_of(plan_fleet(fleet, {m.id: ModelSize(MiB, 0) for m in models}))
    own = DEFAULT_RULE.reserved_bytes(MiB)
    found = {str(lever.instance): lever for lever in capacity.levers}
    seen = found["see@eye-1"]
    assert (seen.move_bytes, seen.move_lane, seen.move_count) == (3 * own, "ear", 3)
    heard = found["hear@ear"]
    assert (heard.move_bytes, heard.move_lane, heard.move_count) == (own, "eye-{channel}", 1)
    text = capacity_text(capacity)
    assert "and the 2 like it to lane 'ear' frees" in text
    assert "ear*" in text
    assert "* together with its like on other lanes" in text


def test_an_instance_is_planned_again_with_its_own_part_alone() -> None:
    """Fifty lanes of two instances: each question costs the two, and equal ones are one."""
    models = [
        ModelSpec(ModelId(name), work_bytes=size, weight_bytes=0)
        for name, size in (("large", 2 * MiB), ("little", MiB))
    ]
    steps = tuple(StepSpec(model.id, model.id, "lane-{channel}") for model in models)
    fleet = FleetSpec("lanes", tuple(models), (PipelineSpec("p", steps, channels=50),))
    plan = plan_fleet(fleet, {m.id: ModelSize(m.work_bytes or 0, 0) for m in models})
    freed = DEFAULT_RULE.reserved_bytes(2 * MiB) - DEFAULT_RULE.reserved_bytes(MiB)
    found = levers(plan, LeverOptions(planned_max=2))
    assert [lever.shrink_bytes for lever in found] == [freed] * 50 + [0] * 50


def device(name: str, total: int, idle: int = 0) -> DeviceModel:
    return DeviceModel(name, ("card",), total, total, idle, "measured")


def test_devices_are_compared_by_usable_memory() -> None:
    plan = small()
    needed = plan.needed_bytes
    fits = devices_fit(plan, (device("roomy", needed + 5), device("busy", needed + 5, 6)))
    assert [(fit.device.name, fit.fits, fit.headroom_bytes) for fit in fits] == [
        ("busy", False, -1),
        ("roomy", True, 5),
    ]
    with pytest.raises(SpecError, match="idle <= total"):
        device("broken", 1, 2)


def test_headroom_is_what_the_limit_leaves() -> None:
    plan = small()
    assert capacity_of(plan).headroom_bytes is None
    limited = replace(
        plan, fleet=replace(plan.fleet, device=replace(plan.fleet.device, memory_bytes=1 * MiB))
    )
    assert capacity_of(limited).headroom_bytes == MiB - plan.needed_bytes


def test_constraints_that_planning_added_stay_in_variants() -> None:
    plan = street_corner()
    assert {lever.instance for lever in levers(plan)} == {row.id for row in plan.instances}
    assert ModelId("spare") not in dict(plan.sizes)
