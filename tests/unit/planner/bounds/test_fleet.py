import sys

import pytest

from planner.bounds import fleet as fleet_module
from planner.bounds.fleet import fleet_bound
from planner.conflict import ConflictRelation
from planner.errors import SpecError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from planner.problem import Bound
from planner.schedule import Schedule


def relation(*pipelines: PipelineSpec) -> ConflictRelation:
    used = sorted({step.model for pipeline in pipelines for step in pipeline.steps})
    models = tuple(ModelSpec(model, work_bytes=1, weight_bytes=0) for model in used)
    return ConflictRelation.of_schedule(Schedule.of_fleet(FleetSpec("f", models, pipelines)))


def step(name: str, lane: str, *after: str, locks: tuple[str, ...] = ()) -> StepSpec:
    """A step with a model of its own, so that every step is an instance."""
    return StepSpec(name, ModelId(name), lane, after, locks)


@pytest.fixture
def no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every import of a flow solver fail."""
    for name in ("ortools.graph.python", "networkx", "numpy"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_flow")
def test_one_instance_of_each_lane_needs_no_flow() -> None:
    found = relation(
        PipelineSpec("p", (step("a", "x"), step("b", "x", "a"), step("c", "y", "b")), 2, 2)
    )
    assert fleet_bound(found, [2, 3, 4]) == Bound(7, (1, 2))
    assert fleet_bound(found, [0, 0, 0]) == Bound(0)


@pytest.mark.usefixtures("no_flow")
def test_a_known_clique_that_fills_all_lanes_needs_no_flow() -> None:
    # Heaviest first takes a, which excludes c; the known clique is one of each lane.
    steps = (step("a", "x"), step("b", "x"), step("c", "y", "a"))
    sizes = [4, 4, 3]
    assert fleet_bound(relation(PipelineSpec("p", steps)), sizes, Bound(7, (1, 2))) == Bound(
        7, (1, 2)
    )


def test_order_inside_a_channel_is_a_flow() -> None:
    # Two streams; b waits for c's end, so a may run beside c, but b and d only beside each other.
    steps = (step("a", "x"), step("b", "x", "a", "c"), step("c", "y"), step("d", "y", "c"))
    assert fleet_bound(relation(PipelineSpec("p", steps)), [5, 9, 9, 2]) == Bound(14, (0, 2))


def test_two_executions_on_one_lane_do_not_count_twice() -> None:
    steps = (step("a", "x"), step("b", "x"), step("c", "y"))
    found = relation(PipelineSpec("p", steps), PipelineSpec("q", (step("d", "y"),)))
    assert fleet_bound(found, [5, 5, 3, 4]) == Bound(9, (0, 3))


def test_channels_on_shared_lanes_conflict_although_each_is_ordered() -> None:
    steps = (step("a", "x"), step("b", "y", "a"))
    assert fleet_bound(relation(PipelineSpec("p", steps)), [5, 4]) == Bound(5, (0,))
    assert fleet_bound(relation(PipelineSpec("p", steps, channels=2)), [5, 4]) == Bound(9, (0, 1))


def star(name: str) -> PipelineSpec:
    """Three lanes, each with a plain step and a holder of one lock: no transitive orientation.

    Sharing is a triangle (the lock) with a pendant on each corner (the lanes).
    """
    steps = tuple(
        step(f"{name}-{kind}{k}", f"{name}{k}", locks=(name,) if kind == "held" else ())
        for kind in ("held", "free")
        for k in range(3)
    )
    return PipelineSpec(name, steps, frames_in_flight=2)


def star_of_lanes() -> ConflictRelation:
    return relation(star("p"))


def test_pipelines_that_share_nothing_add_up() -> None:
    both = relation(star("p"), star("q"))
    sizes = [9, 9, 9, 1, 1, 1, 2, 3, 9, 2, 2, 2]
    assert fleet_bound(both, sizes) == Bound(24, (0, 4, 5, 8, 9, 10))
    # Neither the heaviest first nor one line through both finds both: the parts must.
    sizes = [4, 4, 1, 3, 5, 4, 4, 3, 4, 3, 5, 2]
    assert fleet_bound(both, sizes) == Bound(25, (0, 4, 5, 8, 9, 10))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([9, 9, 9, 1, 1, 1], Bound(11, (0, 4, 5))),
        ([2, 3, 9, 2, 2, 2], Bound(13, (2, 3, 4))),
        ([1, 1, 1, 2, 2, 2], Bound(6, (3, 4, 5))),
    ],
)
def test_locks_without_an_orientation_still_give_a_clique(
    sizes: list[int], expected: Bound
) -> None:
    assert fleet_bound(star_of_lanes(), sizes) == expected


def test_sharing_that_is_no_order_is_oriented_where_that_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Along the steps' order, a -> e -> d by lane y and `after` would keep a from d.
    steps = (
        step("a", "y"),
        step("b", "x"),
        step("c", "y", "a"),
        step("d", "x", "e"),
        step("e", "y"),
    )
    found = relation(PipelineSpec("p", steps))
    sizes = [4, 1, 1, 7, 9]
    assert fleet_bound(found, sizes) == Bound(11, (0, 3))
    monkeypatch.setattr(fleet_module, "_ARCS_MAX", 0)  # too large to orient: a clique, no more
    assert fleet_bound(found, sizes) == Bound(10, (1, 4))


def test_without_a_flow_solver_what_is_known_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "heaviest_antichain", lambda *_: None)
    known = Bound(13, (2, 3, 4))
    assert fleet_bound(star_of_lanes(), [2, 3, 9, 2, 2, 2], known) == known


def test_a_wrong_clique_is_never_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Bound(99, (0, 1, 2))
    monkeypatch.setattr(fleet_module, "heaviest_antichain", lambda *_: wrong)
    bound = fleet_bound(star_of_lanes(), [9, 9, 9, 1, 1, 1], wrong)
    assert bound == Bound(11, (0, 4, 5))


def test_sizes_must_fit_the_relation() -> None:
    with pytest.raises(SpecError, match="sizes: found 2, expected 6, one for each instance"):
        fleet_bound(star_of_lanes(), [1, 2])
