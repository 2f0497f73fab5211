"""The story from fleet to plan: what it refuses, what it counts, and that it is deterministic."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.advice import advise
from planner.codec import encode_plan
from planner.conflict import ConflictRelation
from planner.errors import PlanError, SpecError
from planner.explanation import explain_misfit
from planner.fleet import Dedupe, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.judge import judge
from planner.model import DEFAULT_RULE, PAGE_BYTES, ModelId, ModelSize, page_rounded
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder
from planner.problem import SolveStatus
from planner.report.figures import plan_figures
from planner.report.text import ROWS_MAX, plan_text
from planner.schedule import Schedule
from planner.strategies import strategies
from planner.units import format_bytes
from tests.fleets import declared_sizes, small_fleet
from tests.strategies import fleets


def of_files(fleet: FleetSpec) -> FleetSpec:
    """Return a fleet whose models are files, so that a test may say how large they are."""
    models = tuple(ModelSpec(model.id, file=f"{model.id}.om") for model in fleet.models)
    return replace(fleet, models=models)


def digested(sizes: dict[ModelId, ModelSize]) -> dict[ModelId, ModelSize]:
    return {
        model: replace(size, file_digest=f"{i:064x}", weights_digest=f"{i:064x}")
        for i, (model, size) in enumerate(sizes.items())
    }


SMALL = of_files(small_fleet())
SIZES = digested(declared_sizes(small_fleet()))
BIG, LITTLE, SIDE = (DEFAULT_RULE.reserved_bytes(size) for size in (65_536, 8_192, 16_384))


def test_one_channel_in_order_shares_across_lanes() -> None:
    plan = plan_fleet(SMALL, SIZES)
    # `second` and `beside` may run at once; both come after `first`.
    assert plan.height_bytes == max(BIG, LITTLE + SIDE)
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.witness == ("big@main",)


def test_two_channels_keep_lanes_apart() -> None:
    plan = plan_fleet(of_files(small_fleet(channels=2)), SIZES)
    assert plan.height_bytes == BIG + SIDE
    assert set(plan.witness) == {"big@main", "side@other"}


def test_frames_in_flight_keep_lanes_apart() -> None:
    assert plan_fleet(of_files(small_fleet(frames_in_flight=2)), SIZES).height_bytes == BIG + SIDE


def test_an_added_exclusion_lets_lanes_share() -> None:
    fleet = of_files(small_fleet(channels=2))
    rows = list(fleet.instances())
    added = (
        AddedOrder(rows[0], rows[2], AddedKind.EXCLUSIVE),
        AddedOrder(rows[1], rows[2], AddedKind.EXCLUSIVE),
    )
    plan = plan_fleet(fleet, SIZES, PlanOptions(added=added))
    assert plan.height_bytes == BIG
    assert plan.added == added


def test_an_added_order_lets_steps_share() -> None:
    rows = list(SMALL.instances())
    added = (AddedOrder(rows[1], rows[2], AddedKind.ORDER),)
    sizes = digested({**SIZES, ModelId("big"): ModelSize(512, 0)})
    assert plan_fleet(SMALL, sizes).height_bytes == LITTLE + SIDE
    assert plan_fleet(SMALL, sizes, PlanOptions(added=added)).height_bytes == SIDE


def test_system_managed_models_lie_outside() -> None:
    sizes = digested({**SIZES, ModelId("big"): ModelSize(0, 3 * 1024 * 1024, system_managed=True)})
    plan = plan_fleet(SMALL, sizes)
    (row,) = (row for row in plan.instances if row.model == "big")
    assert (row.work_offset, row.weight_offset, row.weights_key) == (None, None, "")
    assert plan.outside_bytes == 2 * PAGE_BYTES
    assert plan.height_bytes == LITTLE + SIDE


def test_datasets_count_as_outside() -> None:
    sizes = digested({**SIZES, ModelId("big"): replace(SIZES[ModelId("big")], io_bytes=5_000)})
    assert plan_fleet(SMALL, sizes).outside_bytes == PAGE_BYTES


def test_sizes_of_zero_have_no_offset() -> None:
    sizes = digested({**SIZES, ModelId("small"): ModelSize(0, 0)})
    (row,) = (row for row in plan_fleet(SMALL, sizes).instances if row.model == "small")
    assert (row.work_offset, row.weight_offset) == (None, None)


def test_a_missing_size_and_gears_are_refused_with_their_place() -> None:
    with pytest.raises(SpecError, match=r"models\.big: its size is missing"):
        plan_fleet(SMALL, {})
    geared = {**SIZES, ModelId("big"): ModelSize(512, 0, gears="batch 1, 2, 4")}
    with pytest.raises(SpecError, match=r"models\.big: wants a choice of batch 1, 2, 4"):
        plan_fleet(SMALL, geared)
    known = replace(geared[ModelId("big")], gear_choices=((1,), (2,), (4,)))
    plan = plan_fleet(SMALL, {**geared, ModelId("big"): known})
    assert plan.size_of(ModelId("big")).gear_choices == ((1,), (2,), (4,))


def test_a_model_that_no_step_uses_costs_nothing() -> None:
    extra = ModelSpec(ModelId("idle"), work_bytes=1 << 30, weight_bytes=1 << 30)
    fleet = replace(SMALL, models=(*SMALL.models, extra))
    plan = plan_fleet(fleet, {**SIZES, extra.id: ModelSize(1 << 30, 1 << 30)})
    assert plan.total_bytes == plan_fleet(SMALL, SIZES).total_bytes
    assert [model for model, _ in plan.sizes] == ["big", "small", "side"]


@given(fleets(), st.sampled_from(Dedupe))
def test_laws_of_every_plan(fleet: FleetSpec, dedupe: Dedupe) -> None:
    fleet = of_files(replace(fleet, device=replace(fleet.device, dedupe=dedupe)))
    sizes = digested(
        {model.id: ModelSize(512 * (i + 1), 100 * (i // 2)) for i, model in enumerate(fleet.models)}
    )
    plan = plan_fleet(fleet, sizes)
    assert judge(plan) == ()
    assert plan.lower_bound_bytes <= plan.height_bytes
    by_name = {strategy.name: strategy for strategy in strategies(plan)}
    assert plan.height_bytes <= by_name["one-max-per-lane"].work_bytes
    assert by_name["private"].bytes == plan.private_bytes
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(fleet))
    assert by_name["one-max-per-device"].legal == (relation.pair_count == 0)
    assert encode_plan(plan) == encode_plan(plan_fleet(fleet, sizes))


@given(fleets())
def test_renaming_changes_no_figure(fleet: FleetSpec) -> None:
    fleet = of_files(fleet)
    sizes = digested(
        {model.id: ModelSize(512 * i, 100 * i) for i, model in enumerate(fleet.models)}
    )
    named = {model.id: ModelId(f"renamed-{i}") for i, model in enumerate(fleet.models)}
    renamed = replace(
        fleet,
        models=tuple(replace(model, id=named[model.id]) for model in fleet.models),
        pipelines=tuple(
            replace(
                pipeline,
                steps=tuple(replace(step, model=named[step.model]) for step in pipeline.steps),
            )
            for pipeline in fleet.pipelines
        ),
    )
    before = plan_fleet(fleet, sizes)
    after = plan_fleet(renamed, {named[model]: size for model, size in sizes.items()})
    assert (before.height_bytes, before.weight_bytes) == (after.height_bytes, after.weight_bytes)


def test_figures_and_text_agree() -> None:
    plan = plan_fleet(SMALL, SIZES)
    assert plan_figures(plan)["height_bytes"] == plan.height_bytes
    text = plan_text(plan)
    assert "optimal for this order" in text
    assert "no limit is given" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_text_says_by_how_much_it_does_not_fit() -> None:
    fleet = replace(SMALL, device=replace(SMALL.device, memory_bytes=1024, streams_max=1))
    text = " ".join(plan_text(plan_fleet(fleet, SIZES)).split())
    assert "DOES NOT FIT in 1.00 KiB: short by 4193280 bytes" in text
    assert "DOES NOT FIT: 2 streams of 1" in text
    roomy = replace(SMALL, device=replace(SMALL.device, memory_bytes=1 << 30))
    assert "to spare" in plan_text(plan_fleet(roomy, SIZES))


def test_the_text_of_a_plan_begins_and_ends_with_whether_it_fits() -> None:
    plan = plan_fleet(SMALL, SIZES)
    total = format_bytes(plan.total_bytes)
    for limit, word, end in (
        (None, "no limit is given", "no limit is given"),
        (1 << 30, "fits", "to spare"),
        (1024, "DOES NOT FIT", "short by 4193280 bytes (4.00 MiB)"),
    ):
        device = replace(SMALL.device, memory_bytes=limit)
        limited = plan_fleet(replace(SMALL, device=device), SIZES)
        text = plan_text(limited, None if limited.fits else explain_misfit(limited))
        assert text.startswith(f"{SMALL.name}: {word}, {total}; ")
        assert " ".join(text.split()).endswith(end)


def test_one_of_a_kind_is_no_plural() -> None:
    model = ModelSpec(ModelId("m"), work_bytes=4_096, weight_bytes=512)
    one = FleetSpec("f", (model,), (PipelineSpec("p", (StepSpec("s", model.id, "l"),)),))
    text = plan_text(plan_fleet(one, {model.id: ModelSize(4_096, 512)}))
    assert "; 1 model, 1 instance, 1 lane\n" in text
    assert "1 buffer, 1 reader (" in text


def test_the_text_of_an_unproven_plan_names_the_slack() -> None:
    plan = plan_fleet(SMALL, SIZES)
    slack = replace(
        plan, status=SolveStatus.FEASIBLE, lower_bound_bytes=plan.lower_bound_bytes // 2
    )
    assert "of optimal for this order" in " ".join(plan_text(slack).split())
    outside = replace(plan, outside_bytes=PAGE_BYTES)
    assert "I/O datasets" in plan_text(outside)
    managed = replace(outside, sizes=((ModelId("m"), ModelSize(0, 0, system_managed=True)),))
    assert "I/O datasets, 1 system-managed model\n" in plan_text(managed)


def test_long_lists_are_cut() -> None:
    plan = plan_fleet(SMALL, SIZES)
    many = replace(plan, instances=plan.instances * (ROWS_MAX // 2))
    assert f"and {len(many.instances) - ROWS_MAX} more instances" in plan_text(many)


def test_advice_needs_models_and_threads() -> None:
    with pytest.raises(SpecError, match="no model"):
        advise((), {}, threads=1)
    with pytest.raises(SpecError, match="0 threads"):
        advise(SMALL.models, SIZES, threads=0)


def test_page_rounding_follows_the_vendor() -> None:
    assert page_rounded(1024 * 1024) == 1024 * 1024
    assert page_rounded(1024 * 1024 + 1) == PAGE_BYTES


def test_a_refused_plan_never_leaves_even_without_assertions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import planner.pipeline

    monkeypatch.setattr(planner.pipeline, "judge", lambda _plan: ("wrong",))
    with pytest.raises(PlanError, match="the judge refuses our own plan: wrong"):
        plan_fleet(SMALL, SIZES)
    monkeypatch.setattr(planner.pipeline, "validate", lambda *_: iter(("overlap",)))
    with pytest.raises(PlanError, match="the validator refuses our own offsets: overlap"):
        plan_fleet(SMALL, SIZES)


def test_names_of_files_need_not_be_names_of_steps() -> None:
    models = (ModelSpec(ModelId("yolov5s_v6.1[b]"), work_bytes=512, weight_bytes=0),)
    sizes = {models[0].id: ModelSize(512, 0)}
    assert len(advise(models, sizes, threads=2)) == 4


def test_a_plan_knows_the_sizes_of_the_models_it_uses() -> None:
    plan = plan_fleet(SMALL, SIZES)
    assert {model: plan.size_of(model) for model in SIZES} == SIZES
    with pytest.raises(PlanError, match="has no sizes of model 'absent'"):
        plan.size_of(ModelId("absent"))
