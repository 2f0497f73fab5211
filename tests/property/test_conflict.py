"""Laws of the order and of the conflict relation.

- symmetric and irreflexive; two instances on one lane never conflict;
- equal to: some pair of their executions has no path between them and no lock in common;
- adding a precedence or a lock never adds a conflict;
- adding a channel or a frame in flight never removes one;
- declaration order and names change nothing;
- a path of the graph joins two nodes iff the first precedes the second.
"""

from dataclasses import replace
from itertools import combinations, product

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.fleet import FleetSpec, PipelineSpec, StepSpec
from planner.masks import mask_indices
from planner.model import ModelId
from planner.schedule import Boundary, Execution, OrderEdge, Schedule, order_between
from tests.strategies import LOCKS, fleets


def conflicts(spec: FleetSpec, *added: OrderEdge) -> set[frozenset[str]]:
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(spec, order=added))
    return {
        frozenset((relation.instances[i], relation.instances[j]))
        for i, mask in enumerate(relation.masks)
        for j in mask_indices(mask)
    }


def with_step(spec: FleetSpec, pipeline: PipelineSpec, step: StepSpec) -> FleetSpec:
    steps = tuple(step if old.id == step.id else old for old in pipeline.steps)
    return with_pipeline(spec, replace(pipeline, steps=steps))


def with_pipeline(spec: FleetSpec, pipeline: PipelineSpec) -> FleetSpec:
    pipelines = tuple(pipeline if old.id == pipeline.id else old for old in spec.pipelines)
    return replace(spec, pipelines=pipelines)


def any_pipeline(spec: FleetSpec) -> st.SearchStrategy[PipelineSpec]:
    return st.sampled_from(spec.pipelines)


@given(fleets(steps_max=5, channels_max=3))
def test_relation_is_symmetric_irreflexive_and_as_defined(spec: FleetSpec) -> None:
    schedule = Schedule.of_fleet(spec)
    relation = ConflictRelation.of_schedule(schedule)
    assert relation.instances == tuple(spec.instances())
    expected = [0] * relation.n
    for first, second in combinations(schedule.executions(), 2):
        if schedule.may_overlap(first, second):
            pairs = product(schedule.choices_of(first), schedule.choices_of(second))
            for (i, locks), (j, others) in pairs:
                if locks.isdisjoint(others):
                    assert i != j
                    expected[i] |= 1 << j
                    expected[j] |= 1 << i
    assert relation.masks == tuple(expected)
    assert relation.pair_count == sum(map(int.bit_count, expected)) // 2


@given(fleets(steps_max=4))
def test_instances_of_one_lane_never_conflict(spec: FleetSpec) -> None:
    for first, second in map(tuple, conflicts(spec)):
        assert first.rpartition("@")[2] != second.rpartition("@")[2]


@given(st.data())
def test_adding_a_precedence_never_adds_a_conflict(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    pipeline = data.draw(any_pipeline(spec))
    step = data.draw(st.sampled_from(pipeline.steps))
    other = data.draw(st.sampled_from(pipeline.steps))
    edge = OrderEdge(pipeline.id, other.id, step.id, data.draw(st.integers(0, 2)))
    try:
        after = conflicts(spec, edge)
    except SpecError:
        assert edge.lag == 0  # only inside a frame can an order go round
        return
    assert after <= conflicts(spec)
    if edge.lag == 0:
        assert after == conflicts(
            with_step(spec, pipeline, replace(step, after=tuple({*step.after, other.id})))
        )


@given(st.data())
def test_adding_a_lock_never_adds_a_conflict(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    pipeline = data.draw(any_pipeline(spec))
    step = data.draw(st.sampled_from(pipeline.steps))
    locks = tuple({*step.locks, data.draw(st.sampled_from(LOCKS))})
    locked = with_step(spec, pipeline, replace(step, locks=locks))
    assert conflicts(locked) <= conflicts(spec)


@given(st.data())
def test_adding_channels_or_frames_never_removes_a_conflict(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    pipeline = data.draw(any_pipeline(spec))
    grown = data.draw(
        st.sampled_from(
            [
                replace(pipeline, channels=pipeline.channels + 1),
                replace(pipeline, frames_in_flight=pipeline.frames_in_flight + 1),
            ]
        )
    )
    assert conflicts(spec) <= conflicts(with_pipeline(spec, grown))


@given(st.data())
def test_declaration_order_changes_nothing(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    pipelines = [
        replace(pipeline, steps=tuple(data.draw(st.permutations(pipeline.steps))))
        for pipeline in data.draw(st.permutations(spec.pipelines))
    ]
    assert conflicts(replace(spec, pipelines=tuple(pipelines))) == conflicts(spec)


@given(fleets(steps_max=4))
def test_names_change_nothing(spec: FleetSpec) -> None:
    def other(name: str) -> str:
        return f"é {name}!"

    renamed = replace(
        spec,
        models=tuple(replace(model, id=ModelId(other(model.id))) for model in spec.models),
        pipelines=tuple(
            replace(
                pipeline,
                id=other(pipeline.id),
                steps=tuple(
                    StepSpec(
                        id=other(step.id),
                        model=ModelId(other(step.model)),
                        lane=other(step.lane)
                        if isinstance(step.lane, str)
                        else replace(step.lane, name=other(step.lane.name)),
                        after=tuple(map(other, step.after)),
                        locks=tuple(map(other, step.locks)),
                    )
                    for step in pipeline.steps
                ),
            )
            for pipeline in spec.pipelines
        ),
    )
    before = ConflictRelation.of_schedule(Schedule.of_fleet(spec))
    assert ConflictRelation.of_schedule(Schedule.of_fleet(renamed)).masks == before.masks


@given(fleets(steps_max=4))
def test_a_path_of_the_graph_is_the_order(spec: FleetSpec) -> None:
    schedule = Schedule.of_fleet(spec)
    graph = schedule.as_digraph()
    assert nx.is_directed_acyclic_graph(graph)
    executions = [node for node in graph if isinstance(node, Execution)]
    assert executions == list(schedule.executions())
    boundaries = [node for node in graph if isinstance(node, Boundary)]
    assert len(boundaries) == sum(pipeline.channels for pipeline in spec.pipelines)
    for first in executions:
        after = {other for other in executions if schedule.precedes(first, other)}
        assert after == {n for n in nx.descendants(graph, first) if isinstance(n, Execution)}


@given(st.data())
def test_order_between_instances_orders_all_their_steps(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    first, second = (data.draw(st.sampled_from(list(spec.instances()))) for _ in range(2))
    lag = data.draw(st.integers(0, 2))
    try:
        edges = order_between(spec, first, second, lag=lag)
        schedule = Schedule.of_fleet(spec, order=edges)
    except SpecError:
        return
    for one in schedule.executions():
        for other in schedule.executions():
            same_channel = (one.pipeline, one.channel) == (other.pipeline, other.channel)
            meant = first in schedule.instances_of(one) and second in schedule.instances_of(other)
            distance = other.frame - one.frame
            if same_channel and meant and distance == lag and one != other:
                assert schedule.precedes(one, other)


@given(st.data())
def test_an_exclusion_removes_one_conflict_and_no_other(data: st.DataObject) -> None:
    spec = data.draw(fleets(steps_max=4))
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(spec))
    pairs = [pair for pair in combinations(relation.instances, 2) if relation.in_conflict(*pair)]
    if not pairs:
        return
    first, second = data.draw(st.sampled_from(pairs))
    excluded = ConflictRelation.of_schedule(Schedule.of_fleet(spec, exclusive=[(first, second)]))
    assert not excluded.in_conflict(first, second)
    assert excluded.pair_count == relation.pair_count - 1
    why = excluded.explain(first, second)
    assert f"{min(first, second)}|{max(first, second)}" in why.locks
    with pytest.raises(SpecError, match="excludes itself already"):
        Schedule.of_fleet(spec, exclusive=[(first, first)])
