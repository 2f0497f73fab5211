"""The rules of a channel: locks, instances, transitive predecessors, and what planning added."""

import pytest
from hypothesis import given

from arena.guard.rules import channel_rules, mask_bits
from planner.errors import PlanError
from planner.fleet import FleetSpec, PipelineSpec
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder
from tests.oracles_guard import Definition, Execution, fleet_of, step
from tests.strategies import fleets

STREET = fleet_of(
    PipelineSpec(
        "camera",
        (
            step("detect", "cam-{channel}"),
            step("read", "ocr", after=["detect"], locks=["npu", "cam-{channel}"]),
            step("track", "tracking", after=["read"]),
        ),
        channels=2,
        frames_in_flight=3,
    )
)


def added(first: str, second: str, kind: AddedKind = AddedKind.ORDER) -> AddedOrder:
    return AddedOrder(InstanceId(first), InstanceId(second), kind)


def test_every_channel_has_rules_under_its_name() -> None:
    rules = channel_rules(STREET)
    assert list(rules) == ["camera[0]", "camera[1]"]
    assert {channel.frames_in_flight for channel in rules.values()} == {3}


def test_the_channel_is_filled_into_lanes_and_locks_and_a_lane_is_a_lock() -> None:
    steps = channel_rules(STREET)["camera[1]"].steps
    (detect,), (read,), (track,) = (rule.choices for rule in steps)
    assert (detect.lane, detect.locks, detect.instance) == ("cam-1", ("cam-1",), "detect@cam-1")
    assert (read.lane, read.locks) == ("ocr", ("cam-1", "npu", "ocr"))
    assert track.locks == ("tracking",)


def test_predecessors_are_transitive() -> None:
    assert [s.before_mask for s in channel_rules(STREET)["camera[0]"].steps] == [0, 0b1, 0b11]


def test_an_added_order_holds_in_the_frames_of_the_channels_that_use_both_instances() -> None:
    fleet = fleet_of(
        PipelineSpec("p", (step("a", "x-{channel}"), step("b", "y"), step("c", "z")), channels=2)
    )
    rules = channel_rules(fleet, [added("b@y", "a@x-1"), added("a@x-1", "c@z")])
    assert [s.before_mask for s in rules["p[0]"].steps] == [0, 0, 0]
    assert [s.before_mask for s in rules["p[1]"].steps] == [0b10, 0, 0b11]


def test_an_added_exclusion_is_one_more_lock_that_no_fleet_can_name() -> None:
    rules = channel_rules(STREET, [added("track@tracking", "detect@cam-1", AddedKind.EXCLUSIVE)])
    lock = "detect@cam-1 | track@tracking"
    assert rules["camera[1]"].steps[0].choices[0].locks == ("cam-1", lock)
    assert rules["camera[1]"].steps[2].choices[0].locks == (lock, "tracking")
    assert rules["camera[0]"].steps[0].choices[0].locks == ("cam-0",)


def test_an_added_order_that_closes_a_cycle_is_refused_with_the_cycle() -> None:
    with pytest.raises(PlanError, match=r"camera\[0\].*cycle.*(detect before read|read before)"):
        channel_rules(STREET, [added("track@tracking", "detect@cam-0")])


def test_an_added_order_of_an_unknown_instance_is_refused_with_its_place() -> None:
    with pytest.raises(PlanError, match=r"added\[1\]\.second: found instance 'x@y'"):
        channel_rules(STREET, [added("detect@cam-0", "read@ocr"), added("read@ocr", "x@y")])


def test_bits_of_a_mask() -> None:
    assert list(mask_bits(0)) == []
    assert list(mask_bits(1 << 200 | 0b101)) == [0, 2, 200]


@given(fleets())
def test_rules_agree_with_the_definition(fleet: FleetSpec) -> None:
    definition = Definition(fleet)
    rules = channel_rules(fleet)
    for pipeline, channel, spec in fleet.channel_steps():
        channel_rule = rules[f"{pipeline.id}[{channel}]"]
        rule = channel_rule.steps[channel_rule.index[spec.id]]
        mine = Execution(pipeline.id, channel, 0, spec.id)
        assert {
            choice.instance: frozenset(choice.locks) for choice in rule.choices
        } == definition.uses(mine)
        before = {channel_rule.steps[i].id for i in mask_bits(rule.before_mask)}
        assert before == {
            other.id
            for other in pipeline.steps
            if definition.precedes(mine._replace(step=other.id), mine)
        }
