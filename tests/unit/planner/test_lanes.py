"""Pools from the fleet file to the judge: names, blocks, choices, conflicts, rows of the plan."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest

from planner.codec import decode_plan, encode_plan
from planner.codec.steps import planned_steps
from planner.conflict import ConflictRelation
from planner.errors import SpecError, UsageError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.fleet_file import parse_fleet
from planner.judge import Rule, judge
from planner.lanes import Assign, LanePool
from planner.model import ModelId
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import AddedKind, AddedOrder, Plan
from planner.schedule import Schedule
from planner.units import MiB
from tests.fleets import declared_sizes

READER = ModelId("reader")
ANY, BLOCK = LanePool("ocr", 3), LanePool("ocr", 3, Assign.BLOCK)


def fleet(*steps: StepSpec, channels: int = 1, frames_in_flight: int = 1) -> FleetSpec:
    models = (ModelSpec(READER, work_bytes=MiB, weight_bytes=0),)
    return FleetSpec("f", models, (PipelineSpec("p", steps, channels, frames_in_flight),))


def read(
    lane: str | LanePool = ANY, *, after: tuple[str, ...] = (), name: str = "read"
) -> StepSpec:
    return StepSpec(name, READER, lane, after)


def planned(spec: FleetSpec, *added: AddedOrder) -> Plan:
    sizes = declared_sizes(spec)
    return plan_fleet(spec, sizes, PlanOptions(added=added))


def conflicts(spec: FleetSpec) -> set[tuple[str, str]]:
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(spec))
    return {p for p in combinations(relation.instances, 2) if relation.in_conflict(*p)}


ALL_PAIRS = {
    ("reader@ocr[0]", "reader@ocr[1]"),
    ("reader@ocr[0]", "reader@ocr[2]"),
    ("reader@ocr[1]", "reader@ocr[2]"),
}


def test_a_fleet_file_gives_a_pool_to_a_step_or_to_a_pipeline() -> None:
    spec = parse_fleet("""
        version: 1
        models: {reader: {work: 1MiB, weights: 0B}}
        pipelines:
          camera:
            channels: 4
            lane: {pool: ocr, size: 2, assign: block}
            steps: {read: {model: reader}, again: {model: reader, lane: {pool: free, size: 3}}}
        """)
    read_step, again = spec.pipelines[0].steps
    assert [read_step.lanes_of(c) for c in range(4)] == [("ocr[0]",)] * 2 + [("ocr[1]",)] * 2
    assert again.lanes_of(0) == ("free[0]", "free[1]", "free[2]")
    assert list(spec.instances())[:4] == [
        "reader@ocr[0]", "reader@free[0]", "reader@free[1]", "reader@free[2]",
    ]  # fmt: skip


def test_blocks_follow_the_number_of_channels() -> None:
    (pipeline,) = fleet(read(BLOCK), channels=5).pipelines
    lanes = [pipeline.steps[0].lanes_of(c)[0] for c in range(5)]
    assert lanes == ["ocr[0]", "ocr[0]", "ocr[1]", "ocr[1]", "ocr[2]"]
    fewer = replace(pipeline, channels=2)
    assert [fewer.steps[0].lane_of(c) for c in range(2)] == ["ocr[0]", "ocr[1]"]


def test_a_step_on_any_lane_has_no_one_lane() -> None:
    assert read(ANY).locks_on("ocr[1]", 0) == {"ocr[1]"}
    with pytest.raises(UsageError, match=r"'read' has no one lane: it takes one of 'ocr\[0\]'"):
        read(ANY).lane_of(0)


def other(lane: str | LanePool, *locks: str) -> StepSpec:
    return StepSpec("other", READER, lane, locks=locks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: read(LanePool("", 1)), "steps.read.lane.pool: name ''"),
        (lambda: read(LanePool("a{channel}", 1)), "steps.read.lane.pool: name .* has '{'"),
        (lambda: read(LanePool("a@b", 1)), "steps.read.lane.pool: name 'a@b' has '@'"),
        (lambda: read(LanePool("a", 0)), "steps.read.lane.size: found 0, expected 1 to 100000"),
        (
            lambda: fleet(read(), other(LanePool("ocr", 2))),
            "pipelines.p.steps.other.lane.size: found 2, but pool 'ocr' has size 3 elsewhere",
        ),
        (
            lambda: fleet(read(), other("ocr[1]")),
            r"pipelines.p.steps.other.lane: 'ocr\[1\]' belongs to pool 'ocr': give the lane",
        ),
        (
            lambda: fleet(read(), other("ocr")),
            "pipelines.p.steps.other.lane: 'ocr' belongs to pool 'ocr'",
        ),
        (
            lambda: fleet(read(), other("x", "g", "ocr[{channel}]"), channels=2),
            r"pipelines.p.steps.other.locks\[1\]: 'ocr\[0\]' belongs to pool 'ocr': give the lock",
        ),
        (
            lambda: fleet(read(), other(LanePool("ocr[0]", 2))),
            r"pipelines: pool 'ocr\[0\]' has the name of a lane of pool 'ocr'",
        ),
        (
            lambda: fleet(read(LanePool("a", 60_000)), other(LanePool("b", 60_000, Assign.BLOCK))),
            "pipelines: pools have 120000 lanes, expected at most 100000",
        ),
        (
            lambda: fleet(read(LanePool("a", 100_000)), channels=11),
            r"pipelines: channels x \(frames in flight \+ 1\) x steps is 2200000",
        ),
    ],
)
def test_hostile_pools_are_refused_with_their_place(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        make()


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        ("{pool: ocr}", "lane.size: is missing"),
        ("{pool: ocr, size: 0}", "lane.size: found int 0, expected a whole number from 1 to"),
        ("{pool: ocr, size: 2, assign: free}", "lane.assign: found text 'free', expected one of"),
        ("{pool: ocr, sise: 2}", "lane.sise: unknown key, expected one of pool, size, assign"),
        ("[ocr]", "lane: found a list, expected text or a mapping"),
    ],
)
def test_faults_in_a_file_have_their_place(lane: str, message: str) -> None:
    text = f"""
        version: 1
        models: {{m: {{work: 1MiB, weights: 0B}}}}
        pipelines: {{p: {{steps: {{read: {{model: m, lane: {lane}}}}}}}}}
        """
    with pytest.raises(SpecError) as caught:
        parse_fleet(text)
    assert str(caught.value).startswith(f"pipelines.p.steps.read.{message}")


def test_one_execution_takes_one_lane_at_a_time_two_may_meet_on_two_lanes() -> None:
    assert conflicts(fleet(read())) == set()
    assert conflicts(fleet(read(), channels=2)) == ALL_PAIRS
    assert conflicts(fleet(read(), frames_in_flight=2)) == ALL_PAIRS
    assert conflicts(fleet(read(), read(name="again"))) == ALL_PAIRS
    assert conflicts(fleet(read(), read(name="again", after=("read",)))) == set()


def test_blocks_give_each_channel_a_lane_of_its_own() -> None:
    assert conflicts(fleet(read(BLOCK), channels=3)) == ALL_PAIRS
    assert conflicts(fleet(read(BLOCK), channels=1)) == set()


def test_a_common_lock_keeps_the_lanes_of_a_pool_apart() -> None:
    assert conflicts(fleet(StepSpec("read", READER, ANY, locks=("g",)), channels=2)) == set()


def test_explanations_tell_of_lanes_taken_one_at_a_time() -> None:
    relation = ConflictRelation.of_schedule(Schedule.of_fleet(fleet(read())))
    assert str(relation.explain(*relation.instances[:2])) == (
        "reader@ocr[0] and reader@ocr[1] never overlap: p[0].read of frame 0 takes one of the two "
        "at a time"
    )


def test_a_plan_of_one_channel_stacks_the_pool_and_one_of_two_does_not() -> None:
    one, two = planned(fleet(read())), planned(fleet(read(), channels=2))
    assert {row.work_offset for row in one.instances} == {0}
    assert two.height_bytes == two.lower_bound_bytes == 3 * one.height_bytes


def test_steps_of_a_plan_have_a_row_for_each_lane() -> None:
    spec = fleet(read(LanePool("ocr", 2)), read("x", name="then", after=("read",)), channels=2)
    _, second, third = spec.instances()
    exclusive = AddedOrder(second, third, AddedKind.EXCLUSIVE)
    plan = planned(spec, exclusive)
    rows = [(row.name, row.instance, row.locks, row.after) for row in planned_steps(plan)]
    lock = "reader@ocr[1]|reader@x"
    assert rows[:3] == [
        ("p[0].read", "reader@ocr[0]", ("ocr[0]",), ()),
        ("p[0].read", "reader@ocr[1]", ("ocr[1]", lock), ()),
        ("p[0].then", "reader@x", ("x", lock), ("read",)),
    ]
    assert decode_plan(encode_plan(plan)) == plan


def test_an_added_order_holds_for_a_step_on_whatever_lane() -> None:
    spec = fleet(read(LanePool("ocr", 2)), read("x", name="then"))
    first, _, then = spec.instances()
    plan = planned(spec, AddedOrder(first, then, AddedKind.ORDER))
    assert {row.after for row in planned_steps(plan) if row.step == "then"} == {("read",)}
    assert {row.work_offset for row in plan.instances} == {0}


def test_an_order_between_lanes_of_one_step_is_no_order() -> None:
    first, second, _ = fleet(read()).instances()
    with pytest.raises(SpecError, match="nothing can order them: make them exclusive"):
        planned(fleet(read()), AddedOrder(first, second, AddedKind.ORDER))


def test_the_judge_refuses_a_plan_that_takes_a_pool_for_one_lane() -> None:
    spec = fleet(read(), channels=2)
    plan = planned(spec)
    stacked = replace(
        plan,
        instances=tuple(replace(row, work_offset=0) for row in plan.instances),
        height_bytes=plan.height_bytes // 3,
        lower_bound_bytes=plan.height_bytes // 3,
        witness=plan.witness[:1],
    )
    found = judge(stacked)
    assert {v.rule for v in found} == {Rule.OVERLAP}
    assert len(found) == 3
    assert "p[0].read may run beside p[1].read" in str(found[0])
    alone = replace(stacked, fleet=fleet(read()), private_bytes=stacked.private_bytes // 2)
    assert judge(alone) == ()
