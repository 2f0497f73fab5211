"""Laws of tensors that steps hand on: relation, judge and plans against all interleavings.

Two of them, or one and an instance, conflict iff some interleaving has both live at once. What the
planner makes is judged valid, shares no live bytes and respects its bound; what overlaps wrongly is
found.
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.codec import decode_plan, encode_plan, plan_to_mapping
from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec
from planner.fleet_file import decode_fleet
from planner.io_buffers import channel_buffers, masks_with_buffers
from planner.judge import Rule, judge
from planner.masks import mask_indices
from planner.pipeline import PlanOptions, plan_fleet, schedule_of
from planner.plan import Plan
from tests.fleets import declared_sizes
from tests.oracles_io import live_together, plain_buffers, sharing_live_bytes
from tests.plans import constraints, stacked_plan
from tests.strategies_io import BLOCK_BYTES, TENSOR_BYTES, handing_fleets


@st.composite
def handing_plans(draw: st.DrawFn) -> Plan:
    """Valid plans, every region after the last."""
    fleet = draw(handing_fleets(executions_max=12))
    plan = stacked_plan(fleet, declared_sizes(fleet), draw(constraints(fleet)))
    return with_buffers(plan)


def with_buffers(plan: Plan) -> Plan:
    reserved = plan.rule.reserved_bytes
    height, rows = plan.height_bytes, []
    for buffer in plain_buffers(plan.fleet, TENSOR_BYTES, BLOCK_BYTES):
        rows.append(replace(buffer, offset=height))
        height += reserved(buffer.size_bytes)
    proven = plan.status if not rows else type(plan.status).FEASIBLE
    return replace(plan, buffers=tuple(rows), height_bytes=height, status=proven)


@settings(max_examples=150, deadline=None)
@given(handing_fleets(executions_max=12), st.data())
def test_conflicts_are_what_some_interleaving_has_live_at_once(
    fleet: FleetSpec, data: st.DataObject
) -> None:
    added = data.draw(constraints(fleet))
    relation = ConflictRelation.of_schedule(schedule_of(fleet, added))
    buffers = channel_buffers(fleet, declared_sizes(fleet))
    assert list(buffers) == plain_buffers(fleet, TENSOR_BYTES, BLOCK_BYTES)
    names = [*relation.instances, *(buffer.name for buffer in buffers)]
    masks = masks_with_buffers(relation, buffers)
    found = {
        frozenset((names[i], names[j])) for i, mask in enumerate(masks) for j in mask_indices(mask)
    }
    assert found == live_together(fleet, buffers, added)


@settings(max_examples=100, deadline=None)
@given(handing_fleets())
def test_a_plan_is_judged_valid_and_comes_back_from_its_file(fleet: FleetSpec) -> None:
    plan = plan_fleet(fleet, declared_sizes(fleet))
    assert judge(plan) == ()
    assert plan.lower_bound_bytes <= plan.height_bytes
    assert decode_plan(encode_plan(plan)) == plan
    assert decode_fleet(plan_to_mapping(plan)["fleet"]) == fleet
    assert plan.buffers_own_bytes <= plan.height_bytes


@settings(max_examples=100, deadline=None)
@given(handing_fleets(executions_max=12), st.data())
def test_what_shares_bytes_in_a_plan_is_never_live_at_once(
    fleet: FleetSpec, data: st.DataObject
) -> None:
    plan = plan_fleet(
        fleet, declared_sizes(fleet), PlanOptions(added=data.draw(constraints(fleet)))
    )
    assert sharing_live_bytes(plan) == set()


@settings(max_examples=150, deadline=None)
@given(handing_plans(), st.data())
def test_the_judge_finds_exactly_the_overlaps_that_some_interleaving_has(
    plan: Plan, data: st.DataObject
) -> None:
    """Buffers and instances are moved anywhere; the judge names every wrong pair, and no other."""
    assert judge(plan) == ()
    step = plan.rule.align_bytes
    top = st.integers(0, plan.height_bytes // step + 1).map(lambda k: k * step)
    rows = tuple(replace(row, offset=data.draw(top)) for row in plan.buffers)
    moved = replace(plan, buffers=rows)
    wrong = sharing_live_bytes(moved)
    found = [v for v in judge(moved) if v.rule is Rule.OVERLAP]
    assert len(found) == len(wrong)
    for violation in found:
        assert any(all(repr(name) in violation.message for name in pair) for pair in wrong)
