"""Laws of the judge: it accepts what is valid and finds exactly the overlaps that walking finds."""

from dataclasses import replace
from itertools import combinations, permutations

from hypothesis import given
from hypothesis import strategies as st

from planner.judge import Rule, judge
from planner.judge.conflicts import Conflicts, runs_of
from planner.plan import AddedKind, AddedOrder, Plan
from planner.problem import SolveStatus
from tests.oracles_judge import conflicting_pairs, has_cycle, orders_something, overlapping_pairs
from tests.plans import constraints, plans, with_figures
from tests.strategies import fleets


@given(plans())
def test_a_valid_plan_is_accepted(plan: Plan) -> None:
    assert judge(plan) == ()


@given(st.data())
def test_conflicts_are_those_of_walking_all_executions(data: st.DataObject) -> None:
    fleet = data.draw(fleets(channels_max=3))
    added = data.draw(constraints(fleet))
    runs = runs_of(fleet)
    conflicts = Conflicts(fleet, runs, added)
    found = {
        (a, b)
        for a, b in combinations(runs, 2)
        if conflicts.kinds_conflict(conflicts.kind(a), conflicts.kind(b))
    }
    assert {frozenset(pair) for pair in found} == conflicting_pairs(fleet, added)
    assert conflicts.cycles == ()
    for pair in found:
        assert " may run beside " in conflicts.example(*pair)


@given(st.data())
def test_overlaps_are_those_of_comparing_all_pairs(data: st.DataObject) -> None:
    plan = data.draw(plans())
    rows = tuple(
        row
        if row.work_offset is None
        else replace(row, work_offset=plan.rule.align_bytes * data.draw(st.integers(0, 4)))
        for row in plan.instances
    )
    plan = with_figures(replace(plan, instances=rows))
    found = [v.message for v in judge(plan) if v.rule is Rule.OVERLAP]
    expected = overlapping_pairs(plan)
    assert len(found) == len(expected)
    assert all(any(all(repr(n) in text for n in pair) for text in found) for pair in expected)
    assert {v.rule for v in judge(plan)} <= {Rule.OVERLAP}


@given(st.data())
def test_a_cycle_in_added_order_is_found(data: st.DataObject) -> None:
    plan = data.draw(plans())
    pairs = list(permutations([row.id for row in plan.instances], 2))
    drawn = data.draw(st.lists(st.sampled_from(pairs), max_size=3)) if pairs else []
    added = tuple(AddedOrder(first, second, AddedKind.ORDER) for first, second in drawn)
    added = tuple(one for one in added if orders_something(plan.fleet, one))
    found = [v for v in judge(replace(plan, added=added)) if v.rule is Rule.ADDED]
    assert bool(found) == has_cycle(plan.fleet, added)


@given(st.data())
def test_a_witness_is_accepted_iff_its_instances_conflict_pairwise(data: st.DataObject) -> None:
    plan = data.draw(plans())
    rows = {row.id: row for row in plan.instances if row.work_offset is not None}
    witness = data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True)) if rows else []
    bound = sum(plan.rule.reserved_bytes(rows[name].work_bytes) for name in witness)
    status = SolveStatus.OPTIMAL if bound == plan.height_bytes else SolveStatus.FEASIBLE
    claimed = replace(plan, witness=tuple(witness), lower_bound_bytes=bound, status=status)
    pairs = conflicting_pairs(plan.fleet, plan.added)
    proven = all(frozenset(pair) in pairs for pair in combinations(witness, 2))
    assert (judge(claimed) == ()) == proven
