"""Bounds by flow against all subsets, networkx's cliques, and each solver of flows."""

import sys

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.bounds import fleet_bound, heaviest_antichain, heaviest_clique
from planner.bounds.fleet import _antichain_along, _lanes_weight, _line_of_steps
from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from planner.problem import Bound, Problem
from planner.schedule import Schedule
from tests.oracles_order import unordered_problem
from tests.oracles_solver import heaviest_clique_weight, least_height
from tests.strategies import fleets

SIZES = st.integers(0, 9)


@st.composite
def orders(draw: st.DrawFn, n_max: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Sizes, and the edges of a DAG whose labels are in no particular order."""
    n = draw(st.integers(1, n_max))
    labels = draw(st.permutations(range(n)))
    pairs = [(labels[i], labels[j]) for j in range(n) for i in range(j)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=3 * n)) if pairs else []
    return draw(st.lists(SIZES, min_size=n, max_size=n)), edges


def check_witness(problem: Problem, bound: Bound) -> None:
    assert sum(problem.sizes[i] for i in bound.witness) == bound.lower_bound_bytes
    assert all(problem.sizes[i] for i in bound.witness)
    assert list(bound.witness) == sorted(bound.witness)
    for i in bound.witness:
        assert all(i == j or problem.in_conflict(i, j) for j in bound.witness)


def weight_by_networkx(problem: Problem) -> int:
    graph: nx.Graph[int] = nx.Graph()
    for i, size in enumerate(problem.sizes):
        graph.add_node(i, weight=size)
    graph.add_edges_from(
        (i, j) for i in range(problem.n) for j in range(i) if problem.in_conflict(i, j)
    )
    _, weight = nx.max_weight_clique(graph)
    return int(weight)


@given(orders(n_max=8))
def test_the_antichain_is_the_heaviest_of_all_subsets(
    order: tuple[list[int], list[tuple[int, int]]],
) -> None:
    sizes, edges = order
    problem = unordered_problem(sizes, edges)
    bound = heaviest_antichain(sizes, edges)
    assert bound is not None
    assert bound.lower_bound_bytes == heaviest_clique_weight(problem)
    check_witness(problem, bound)


@given(orders(n_max=24))
def test_both_flow_solvers_find_the_same_antichain(
    order: tuple[list[int], list[tuple[int, int]]],
) -> None:
    bound = heaviest_antichain(*order)
    assert bound is not None
    problem = unordered_problem(*order)
    assert bound.lower_bound_bytes == weight_by_networkx(problem)
    check_witness(problem, bound)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ortools.graph.python", None)
        assert heaviest_antichain(*order) == bound


def conflicts_of(spec: FleetSpec, sizes: list[int]) -> tuple[ConflictRelation, Problem]:
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(spec))
    return relation, Problem(tuple(sizes), conflict_masks=relation.masks)


@given(fleets(steps_max=6, models_max=4, channels_max=3), st.data())
def test_a_fleets_bound_is_a_clique_and_with_the_search_the_heaviest(
    spec: FleetSpec, data: st.DataObject
) -> None:
    n = len(spec.instances())
    relation, problem = conflicts_of(spec, data.draw(st.lists(SIZES, min_size=n, max_size=n)))
    bound = fleet_bound(relation, problem.sizes)
    check_witness(problem, bound)
    heaviest = weight_by_networkx(problem)
    assert (
        bound.lower_bound_bytes <= heaviest <= _lanes_weight(relation, problem.sizes, (1 << n) - 1)
    )
    known = heaviest_clique(problem)
    assert fleet_bound(relation, problem.sizes, known).lower_bound_bytes == heaviest


@st.composite
def chained_fleets(draw: st.DrawFn) -> FleetSpec:
    """One frame in flight, a step for each instance, the steps of each lock in a chain."""
    models: list[ModelSpec] = []
    pipelines = []
    for p in range(draw(st.integers(1, 2))):
        steps: list[StepSpec] = []
        holders: dict[str, str] = {}
        for k in range(draw(st.integers(1, 8))):
            model = ModelId(f"m{len(models)}")
            models.append(ModelSpec(model, work_bytes=1, weight_bytes=0))
            lane = f"{draw(st.sampled_from('wxyz'))}{p}-{{channel}}"
            names = [f"g{p}-{{channel}}", f"h{p}-{{channel}}"]
            locks = draw(st.lists(st.sampled_from(names), unique=True))
            after = {holders[lock] for lock in (lane, *locks) if lock in holders}
            linked = draw(st.booleans())
            if steps and linked:
                after.add(draw(st.sampled_from(steps)).id)
            steps.append(StepSpec(f"s{k}", model, lane, tuple(sorted(after)), tuple(locks)))
            holders |= dict.fromkeys((lane, *locks), f"s{k}")
        pipelines.append(PipelineSpec(f"p{p}", tuple(steps), draw(st.integers(1, 2))))
    return FleetSpec("chained", tuple(models), tuple(pipelines))


@given(chained_fleets(), st.data())
def test_the_flow_is_exact_where_sharing_is_order(spec: FleetSpec, data: st.DataObject) -> None:
    n = len(spec.instances())
    relation, problem = conflicts_of(spec, data.draw(st.lists(SIZES, min_size=n, max_size=n)))
    heaviest = weight_by_networkx(problem)
    antichain, is_exact = _antichain_along(relation.masks, problem.sizes, _line_of_steps(relation))
    assert is_exact
    assert sum(problem.sizes[i] for i in antichain) == heaviest
    bound = fleet_bound(relation, problem.sizes)
    check_witness(problem, bound)
    assert bound.lower_bound_bytes == heaviest


def test_seven_executions_whose_bound_no_plan_reaches() -> None:
    # Found by exhaustion: the smallest order whose heaviest antichain is below the optimum.
    sizes = [1, 3, 4, 4, 1, 4, 4]
    edges = [(0, 2), (0, 5), (1, 5), (3, 0), (3, 1), (3, 4), (4, 5), (6, 1), (6, 2)]
    antichain = heaviest_antichain(sizes, edges)
    assert antichain is not None
    assert antichain.lower_bound_bytes == 8
    steps = tuple(
        StepSpec(
            f"s{k}",
            ModelId(f"m{k}"),
            f"lane{k}",
            tuple(f"s{first}" for first, second in edges if second == k),
        )
        for k in range(7)
    )
    models = tuple(ModelSpec(step.model, work_bytes=1, weight_bytes=0) for step in steps)
    relation, problem = conflicts_of(FleetSpec("f", models, (PipelineSpec("p", steps),)), sizes)
    assert fleet_bound(relation, sizes) == antichain
    assert problem == unordered_problem(sizes, edges)
    assert least_height(problem) == 9
