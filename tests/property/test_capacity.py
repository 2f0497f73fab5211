"""Laws of capacity figures: parts sum, more never needs less, the largest number is the largest."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.capacity import (
    GrowthOptions,
    GrowthStatus,
    Kind,
    account_bytes,
    bytes_by_kind,
    channels_fit,
    dedupe_savings,
    levers,
    shares,
    together_fit,
    with_channels,
)
from planner.capacity.joins import JoinedHeights
from planner.capacity.variants import plan_variant
from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec
from planner.pipeline import PlanOptions, plan_fleet, plan_work, schedule_of, work_problem
from planner.plan import Plan
from planner.problem import SolveStatus
from tests.fleets import declared_sizes
from tests.plans import plans
from tests.strategies import fleets


def planned(fleet: FleetSpec, limit: int | None = None) -> Plan:
    fleet = replace(fleet, device=replace(fleet.device, memory_bytes=limit))
    sizes = declared_sizes(fleet)
    return plan_fleet(fleet, sizes)


@settings(max_examples=60)
@given(plans())
def test_parts_sum_to_the_total(plan: Plan) -> None:
    accounts = account_bytes(plan)
    assert sum(account.bytes for account in accounts) == plan.needed_bytes
    assert all(account.bytes > 0 for account in accounts)
    kinds = bytes_by_kind(accounts)
    assert sum(kinds.values()) == plan.needed_bytes
    assert kinds[Kind.RESERVE] == plan.fleet.device.reserve_bytes


@settings(max_examples=60)
@given(fleets())
def test_what_is_alone_and_shared_covers_the_work_reservation(fleet: FleetSpec) -> None:
    plan = planned(fleet)
    kinds = bytes_by_kind(account_bytes(plan))
    parts = shares(plan)
    assert all(0 <= part.alone_bytes <= part.reserved_bytes for part in parts)
    # By brute force over granules: every region starts and ends at multiples of 512.
    covered = [0] * (plan.height_bytes // 512)
    reserved = plan.rule.reserved_bytes
    rows = [row for row in plan.instances if row.work_offset is not None]
    for row in rows:
        start = (row.work_offset or 0) // 512
        for k in range(start, start + reserved(row.work_bytes) // 512):
            covered[k] += 1
    assert kinds[Kind.HOLES] == 512 * covered.count(0)
    assert sum(part.alone_bytes for part in parts) == 512 * covered.count(1)


@settings(max_examples=25)
@given(fleets(), st.integers(1, 3))
def test_more_channels_never_need_less(fleet: FleetSpec, channels: int) -> None:
    name = fleet.pipelines[0].id
    fewer = planned(with_channels(fleet, {name: channels}))
    more = with_channels(fleet, {name: channels + 1})
    if fewer.status is SolveStatus.OPTIMAL:
        assert plan_variant(fewer, more).needed_bytes >= fewer.needed_bytes


@settings(max_examples=25)
@given(fleets(pipelines_max=2), st.integers(0, 8))
def test_the_largest_number_fits_and_one_more_does_not(fleet: FleetSpec, factor: int) -> None:
    limit = planned(fleet).needed_bytes * factor // 2
    plan = planned(fleet, limit)
    options = GrowthOptions(channels_max=16)
    for found in channels_fit(plan, options):
        check_number(plan, found.pipeline, found.largest, found.status)
    check_together(plan, together_fit(plan, options).largest)


@settings(max_examples=60)
@given(fleets(), st.integers(1, 5), st.integers(1, 5))
def test_heights_of_groups_add_to_that_of_the_whole(
    fleet: FleetSpec, known: int, asked: int
) -> None:
    name = fleet.pipelines[0].id
    joined = JoinedHeights(planned(fleet), lambda _instances: True)
    joined.of(with_channels(fleet, {name: known}))  # what was planned here serves below
    variant = with_channels(fleet, {name: asked})
    heights = joined.of(variant)
    whole = planned(variant)
    if heights is not None:
        assert heights.lower_bytes <= whole.height_bytes
        assert whole.lower_bound_bytes <= heights.upper_bytes
        if whole.status is SolveStatus.OPTIMAL:
            assert whole.height_bytes <= heights.upper_bytes


def check_number(plan: Plan, name: str, largest: int | None, status: GrowthStatus) -> None:
    def fits(channels: int) -> bool:
        fleet = with_channels(plan.fleet, {name: channels})
        return planned(fleet, plan.fleet.device.memory_bytes).fits

    if status is GrowthStatus.UNLIMITED:
        assert largest is None
        assert fits(2)
        assert fits(9)
        return
    assert largest is not None
    if largest:
        assert fits(largest)
    if status is GrowthStatus.EXACT:
        assert not fits(largest + 1)


def check_together(plan: Plan, largest: int | None) -> None:
    if largest and len(plan.fleet.pipelines) == 2:
        one, two = plan.fleet.pipelines
        unit = 2 if one.channels == two.channels == 2 else 1
        counts = {item.id: item.channels // unit * largest for item in (one, two)}
        fleet = with_channels(plan.fleet, counts)
        assert planned(fleet, plan.fleet.device.memory_bytes).fits


@settings(max_examples=25)
@given(fleets())
def test_levers_free_what_they_say_at_most(fleet: FleetSpec) -> None:
    plan = planned(fleet)
    found = levers(plan)
    assert {lever.instance for lever in found} == {row.id for row in plan.instances}
    for lever in found:
        assert lever.shrink_bytes is not None
        assert 0 <= lever.shrink_bytes <= plan.height_bytes
        assert lever.remove_bytes is not None
        assert lever.remove_bytes >= lever.shrink_bytes
        assert (lever.move_lane == "") == (not lever.move_bytes)
        assert lever.shrink_bytes == _freed_without(plan, lever.instance)


def _freed_without(plan: Plan, name: str) -> int:
    """Return what the whole, planned again without the work of one instance, is lower."""
    relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
    sizes = [
        0 if row.work_offset is None or row.id == name else plan.rule.reserved_bytes(row.work_bytes)
        for row in plan.instances
    ]
    problem = work_problem(relation, sizes, plan.buffers, plan.rule)
    lanes = [row.lane for row in plan.instances]
    solution = plan_work(problem, relation, lanes, PlanOptions().solve)
    assert solution.assignment is not None
    return max(0, plan.height_bytes - solution.assignment.height_bytes(problem))


@settings(max_examples=60)
@given(plans())
def test_dedupe_by_content_never_costs(plan: Plan) -> None:
    savings = dedupe_savings(plan)
    assert savings.off_bytes >= savings.file_bytes >= savings.weights_bytes
    assert savings.saved_bytes >= 0
    assert savings.further_bytes >= 0
