from itertools import product

import pytest

from planner import conflict
from planner.conflict import ConflictRelation
from planner.errors import SpecError, UsageError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import InstanceId, ModelId
from planner.schedule import OrderEdge, Schedule

M = ModelId("m")


def relation(*pipelines: PipelineSpec, order: tuple[OrderEdge, ...] = ()) -> ConflictRelation:
    models = (ModelSpec(M, work_bytes=1, weight_bytes=0),)
    schedule = Schedule.of_fleet(FleetSpec("f", models, pipelines), order=order)
    return ConflictRelation.of_schedule(schedule)


def step(name: str, lane: str, *after: str, locks: tuple[str, ...] = ()) -> StepSpec:
    return StepSpec(name, M, lane, after=after, locks=locks)


def table(found: ConflictRelation) -> str:
    return "/".join(
        "".join("#" if found.in_conflict(i, j) else "." for j in found.instances)
        for i in found.instances
    )


DETECT, READ, TRACK = (
    StepSpec("detect", ModelId("det"), "vision"),
    StepSpec("read", ModelId("rec"), "vision", ("detect",)),
    StepSpec("track", ModelId("trk"), "tracking", ("detect",)),
)


@pytest.mark.parametrize(
    ("channels", "frames", "expected"),
    [(1, 1, ".../..#/.#."), (2, 1, "..#/..#/##."), (1, 2, "..#/..#/##.")],
)
def test_the_chart_of_the_module(channels: int, frames: int, expected: str) -> None:
    models = tuple(
        ModelSpec(step.model, work_bytes=1, weight_bytes=0) for step in (DETECT, READ, TRACK)
    )
    pipeline = PipelineSpec("camera", (DETECT, READ, TRACK), channels, frames)
    found = ConflictRelation.of_schedule(Schedule.of_fleet(FleetSpec("f", models, (pipeline,))))
    assert table(found) == expected
    assert found.n == 3
    assert found.pair_count == expected.count("#") // 2


def test_two_shared_lanes_conflict_crosswise_unless_every_pair_shares_a_lock() -> None:
    steps = (step("a", "x", locks=("g",)), step("b", "y", "a", locks=("g",)), step("c", "y"))
    assert table(relation(PipelineSpec("p", steps[:2], channels=2))) == "../.."
    assert table(relation(PipelineSpec("p", steps, channels=2))) == ".#/#."


def test_a_lock_in_one_use_only_keeps_nothing_apart() -> None:
    locked, free = step("a", "x", locks=("g",)), step("a", "x")
    other = PipelineSpec("q", (step("b", "y", locks=("g",)),))
    assert table(relation(PipelineSpec("p", (locked,)), other)) == "../.."
    both = (PipelineSpec("p", (locked,)), PipelineSpec("r", (free,)))
    assert table(relation(*both, other)) == ".#/#."


def test_a_free_use_in_the_same_channel_is_the_orders_matter() -> None:
    # b holds no lock in p, where order keeps it from a; its use in q shares the lock of a.
    p = PipelineSpec("p", (step("a", "x", locks=("g",)), step("b", "y", "a")))
    q = PipelineSpec("q", (step("b", "y", locks=("g",)),))
    assert table(relation(p, q)) == "../.."
    assert table(relation(p, PipelineSpec("q", (step("b", "y"),)))) == ".#/#."


def test_an_added_order_over_frames_keeps_the_next_frame_apart() -> None:
    p = PipelineSpec("p", (step("a", "x"), step("b", "y", "a")), frames_in_flight=2)
    assert table(relation(p)) == ".#/#."
    assert table(relation(p, order=(OrderEdge("p", "b", "a", 1),))) == "../.."


def test_explanations_read_as_sentences() -> None:
    found = relation(
        PipelineSpec(
            "p",
            (
                step("a", "x"),
                step("b", "y", "a"),
                step("c", "z", locks=("g",)),
                step("d", "w", "b", locks=("g",)),
            ),
        ),
        PipelineSpec("q", (step("e", "v", "f"), step("f", "u")), frames_in_flight=2),
    )

    def why(first: str, second: str) -> str:
        return str(found.explain(InstanceId(first), InstanceId(second)))

    may = "no path of the order joins them and they share no lock"
    assert why("m@x", "m@x") == "m@x and m@x never overlap: lane 'x' is serial"
    assert why("m@y", "m@x") == (
        "m@y and m@x never overlap: p[0].a of frame 0 precedes p[0].b of frame 0"
    )
    assert why("m@z", "m@w") == "m@z and m@w never overlap: they share lock 'g'"
    assert why("m@x", "m@z") == (
        f"m@x and m@z conflict: p[0].a of frame 0 may overlap p[0].c of frame 0, {may}"
    )
    assert why("m@x", "m@v") == (
        f"m@x and m@v conflict: p[0].a of frame 0 may overlap q[0].e of frame 0, {may}"
    )
    assert why("m@v", "m@u") == (
        f"m@v and m@u conflict: q[0].e of frame 0 may overlap q[0].f of frame 1, {may}"
    )


def test_an_explanation_gives_locks_and_order_together() -> None:
    found = relation(
        PipelineSpec(
            "p",
            (
                step("a", "x"),
                step("b", "y", "a"),
                step("c", "x", "b", locks=("g",)),
                step("d", "y", "a", locks=("g",)),
            ),
        )
    )
    assert str(found.explain(InstanceId("m@x"), InstanceId("m@y"))) == (
        "m@x and m@y never overlap: they share lock 'g'; "
        "p[0].a of frame 0 precedes p[0].b of frame 0"
    )


def test_many_channels_on_shared_lanes_are_explained_by_two() -> None:
    steps = (step("a", "x"), step("b", "y", "a"))
    found = relation(PipelineSpec("p", steps, channels=1000))
    pair = (InstanceId("m@x"), InstanceId("m@y"))
    assert found.in_conflict(*pair)
    assert "p[0].a of frame 0 may overlap p[1].b of frame 0" in str(found.explain(*pair))


def test_unknown_instances_are_the_callers_fault() -> None:
    found = relation(PipelineSpec("p", (step("a", "x"),)))
    known, unknown = InstanceId("m@x"), InstanceId("m@y")
    for pair in product((known, unknown), repeat=2):
        if unknown in pair:
            message = "unknown instance 'm@y', expected one of 1 such as 'm@x'"
            with pytest.raises(UsageError, match=message):
                found.in_conflict(*pair)


def test_too_many_instances_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict, "INSTANCES_MAX", 3)
    pipeline = PipelineSpec("p", (step("a", "x-{channel}"),), channels=4)
    with pytest.raises(SpecError, match="fleet 'f' has 4 instances, expected at most 3"):
        relation(pipeline)
