"""Every "never" and every "may" of schedule and conflict, against all legal interleavings."""

from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.fleet import FleetSpec
from planner.model import InstanceId
from planner.schedule import Execution, OrderEdge, Schedule
from tests.oracles_order import Play, play
from tests.strategies import fleets


@st.composite
def added_orders(draw: st.DrawFn, spec: FleetSpec) -> list[OrderEdge]:
    edges = []
    for _ in range(draw(st.integers(0, 3))):
        pipeline = draw(st.sampled_from(spec.pipelines))
        step_ids = st.sampled_from([step.id for step in pipeline.steps])
        lag = draw(st.integers(0, 2))
        channel = draw(st.none() | st.integers(0, pipeline.channels - 1))
        edges.append(OrderEdge(pipeline.id, draw(step_ids), draw(step_ids), lag, channel))
    return edges


@st.composite
def added_exclusions(draw: st.DrawFn, spec: FleetSpec) -> list[tuple[InstanceId, InstanceId]]:
    pairs = list(combinations(spec.instances(), 2))
    return draw(st.lists(st.sampled_from(pairs), max_size=2)) if pairs else []


def agree(schedule: Schedule, truth: Play) -> None:
    executions = {key: Execution(*key) for key in truth.keys}
    for first, second in product(truth.keys, repeat=2):
        ours, theirs = executions[first], executions[second]
        assert schedule.precedes(ours, theirs) == (first in truth.before[second])
        assert schedule.may_overlap(ours, theirs) == (frozenset((first, second)) in truth.overlaps)
    relation = ConflictRelation.of_schedule(schedule)
    conflicts = {
        frozenset(pair)
        for pair in combinations(relation.instances, 2)
        if relation.in_conflict(*pair)
    }
    assert conflicts == truth.conflicts()


@given(fleets(executions_max=10))
def test_may_overlap_and_conflicts_are_what_interleavings_show(spec: FleetSpec) -> None:
    schedule = Schedule.of_fleet(spec)
    truth = play(spec)
    assert list(schedule.executions()) == [Execution(*key) for key in truth.keys]
    assert {key: schedule.instances_of(Execution(*key)) for key in truth.keys} == truth.instances
    agree(schedule, truth)


@given(fleets(pipelines_max=1, executions_max=8))
def test_frames_beyond_the_window_follow_the_same_rules(spec: FleetSpec) -> None:
    agree(Schedule.of_fleet(spec), play(spec, frames_more=1))


@given(st.data())
def test_added_order_and_exclusions_are_what_interleavings_show(data: st.DataObject) -> None:
    spec = data.draw(fleets(executions_max=9))
    order = data.draw(added_orders(spec))
    exclusive = data.draw(added_exclusions(spec))
    truth = play(spec, order, exclusive)
    has_cycle = any(key in truth.before[key] for key in truth.keys)
    if has_cycle:
        with pytest.raises(SpecError, match="the added order has a cycle"):
            Schedule.of_fleet(spec, order=order, exclusive=exclusive)
    else:
        agree(Schedule.of_fleet(spec, order=order, exclusive=exclusive), truth)


@given(st.data())
def test_order_over_frames_is_what_interleavings_show(data: st.DataObject) -> None:
    spec = data.draw(fleets(pipelines_max=1, channels_max=1, frames_max=1))
    (pipeline,) = spec.pipelines
    frames = data.draw(st.integers(2, 3))
    spec = replace(spec, pipelines=(replace(pipeline, frames_in_flight=frames),))
    steps = st.sampled_from([step.id for step in pipeline.steps])
    lags = st.integers(1, frames - 1)
    edges = st.builds(OrderEdge, st.just("p0"), steps, steps, lags, st.none())
    order = data.draw(st.lists(edges, min_size=1, max_size=3))
    agree(Schedule.of_fleet(spec, order=order), play(spec, order))


@given(fleets(executions_max=9))
def test_explanations_name_executions_that_show_it(spec: FleetSpec) -> None:
    schedule = Schedule.of_fleet(spec)
    relation = ConflictRelation.of_schedule(schedule)
    truth = play(spec)
    for pair in product(relation.instances, repeat=2):
        why = relation.explain(*pair)
        assert (why.overlap is not None) == relation.in_conflict(*pair)
        if why.overlap is not None:
            assert all(
                i in schedule.instances_of(e) for i, e in zip(pair, why.overlap, strict=True)
            )
            first, second = why.overlap
            keys = ((e.pipeline, e.channel, e.step, e.frame) for e in (first, second))
            assert frozenset(keys) in truth.overlaps
            assert str(why) == (
                f"{pair[0]} and {pair[1]} conflict: {first} may overlap {second}, "
                "no path of the order joins them and they share no lock"
            )
            continue
        reasons = [*why.locks, *filter(None, (why.lane, why.ordered, why.alone))]
        assert reasons
        for lock in why.locks:
            ways = (way for e in schedule.executions() for way in schedule.choices_of(e))
            assert any(lock in way.locks for way in ways)
        if why.ordered is not None:
            assert schedule.precedes(*why.ordered)
            served = list(map(schedule.instances_of, why.ordered))
            assert any(a in served[0] and b in served[1] for a, b in (pair, pair[::-1]))
        if why.alone is not None:
            assert set(pair) <= set(schedule.instances_of(why.alone))
            assert str(why).endswith(f"{why.alone} takes one of the two at a time")
