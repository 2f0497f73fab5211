"""The judge on plans with buffers: each rule broken once must speak, with its place."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from planner.fleet import CrossStream, IoPlace
from planner.fleet_file import parse_fleet
from planner.handover import BufferUse
from planner.judge import Rule, judge
from planner.model import InstanceId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes
from tests.plans_io import handing_plan

PLAN = handing_plan()
NAMES = [buffer.name for buffer in PLAN.buffers]
BOXES, MASK, TEXT, LOOK_0, LOOK_1, STATE_0, STATE_1, *_ = NAMES


def _row(plan: Plan, name: str, **changes: object) -> Plan:
    rows = [
        replace(row, **changes) if row.name == name else row  # type: ignore[arg-type]
        for row in plan.buffers
    ]
    return replace(plan, buffers=tuple(rows))


def _onto(name: str, other: str) -> Callable[[Plan], Plan]:
    """Put a buffer where another one, or an instance, lies."""
    places: dict[str, int | None] = {row.name: row.offset for row in PLAN.buffers}
    places |= {row.id: row.work_offset for row in PLAN.instances}
    return lambda plan: _row(plan, name, offset=places[other])


def _witness(*names: str) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, witness_buffers=names, witness=())


BROKEN: dict[str, tuple[Callable[[Plan], Plan], Rule, str]] = {
    "a row is missing": (
        lambda plan: replace(plan, buffers=plan.buffers[:-1]),
        Rule.BUFFERS,
        "found 8 rows, expected 9",
    ),
    "a row is of another tensor": (
        lambda plan: _row(plan, MASK, tensor="boxes", slot=7),
        Rule.BUFFERS,
        "expected feed 'camera[0].detect.mask slot 0'",
    ),
    "a reader is left out": (
        lambda plan: _row(plan, BOXES, readers=(("read", "x"),)),
        Rule.BUFFERS,
        "with its readers",
    ),
    "a state is called a feed": (
        lambda plan: _row(plan, STATE_0, use=BufferUse.FEED),
        Rule.BUFFERS,
        "expected state",
    ),
    "a row is too small": (
        lambda plan: _row(plan, MASK, size_bytes=699),
        Rule.BUFFERS,
        "found 699, expected 700",
    ),
    "models do not agree": (
        lambda plan: replace(
            plan,
            sizes=tuple(
                (name, replace(size, inputs=()) if name == "reader" else size)
                for name, size in plan.sizes
            ),
        ),
        Rule.BUFFERS,
        "do not agree on a size",
    ),
    "an offset is not aligned": (
        lambda plan: _row(plan, MASK, offset=257),
        Rule.REGION,
        "found 257, expected a multiple of 512",
    ),
    "an offset is negative": (
        lambda plan: _row(plan, MASK, offset=-512),
        Rule.REGION,
        "found -512, expected a multiple of 512",
    ),
    "the writer works over it": (_onto(BOXES, "detector@vision"), Rule.OVERLAP, "may run between"),
    "a reader works over it": (_onto(BOXES, "tracker@tracking"), Rule.OVERLAP, "may run between"),
    "a reader of another lies over it": (_onto(MASK, BOXES), Rule.OVERLAP, "neither is read"),
    "the next frame's lies over it": (_onto(LOOK_0, LOOK_1), Rule.OVERLAP, "neighbouring frames"),
    "another channel's lies over it": (_onto(LOOK_0, TEXT), Rule.OVERLAP, "no order keeps"),
    "another channel runs over it": (
        _onto(TEXT, "listener@microphone-0"),
        Rule.OVERLAP,
        "another channel runs",
    ),
    "a neighbouring frame runs over it": (
        _onto(LOOK_0, "reader@door"),
        Rule.OVERLAP,
        "a neighbouring frame may run",
    ),
    "something runs over a state": (_onto(STATE_0, "store@vision"), Rule.OVERLAP, "live always"),
    "a buffer ends above the height": (
        lambda plan: _row(plan, MASK, offset=plan.height_bytes),
        Rule.HEIGHT,
        "expected the highest end",
    ),
    "the witness names no buffer": (_witness("nobody"), Rule.BOUND, "found 'nobody', expected a "),
    "the witness names one twice": (_witness(BOXES, BOXES), Rule.BOUND, "a buffer, once"),
    "the witness weighs too little": (_witness(BOXES), Rule.BOUND, "expected the bound"),
    "an instance of the witness shares with its buffer": (
        lambda plan: replace(plan, witness=(InstanceId("store@vision"),), witness_buffers=(BOXES,)),
        Rule.BOUND,
        "never runs while",
    ),
}


def test_the_plan_is_valid() -> None:
    assert judge(PLAN) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_speaks(name: str) -> None:
    change, rule, message = BROKEN[name]
    found = judge(change(PLAN))
    assert any(v.rule is rule and message in v.message for v in found), found


IO_PLAN = handing_plan(IoPlace.ARENA)
IO_NAMES = {row.name: index for index, row in enumerate(IO_PLAN.buffers)}


def _block_onto(name: str, other: str) -> Plan:
    """Put the block of an instance where another block, or an instance's work, lies."""
    places: dict[str, int | None] = {row.name: row.offset for row in IO_PLAN.buffers}
    places |= {row.id: row.work_offset for row in IO_PLAN.instances}
    return _row(IO_PLAN, name, offset=places[other])


@pytest.mark.parametrize(
    ("name", "other", "why"),
    [
        ("detector@vision io", "detector@vision", "its inputs and outputs, .* overlap its work"),
        ("detector@vision io", "tracker@tracking", ""),
        ("detector@vision io", "reader@vision", ""),
        ("detector@vision io", "reader@vision io", ""),
        ("reader@vision io", "tracker@tracking", "may run beside"),
        ("reader@vision io", "tracker@tracking io", "may run beside"),
        ("detector@vision io", "detector@door", "may run beside"),
        ("reader@vision io", "camera[0].detect.boxes slot 0", "between its writer and its last"),
        ("store@vision io", "camera[0].detect.boxes slot 0", ""),
        ("store@vision io", "microphone[0].listen.hn slot 1", "is live always"),
    ],
)
def test_blocks_are_live_exactly_while_their_instance_runs(name: str, other: str, why: str) -> None:
    assert judge(IO_PLAN) == ()
    found = [
        str(v)
        for v in judge(_block_onto(name, other))
        if v.rule is Rule.OVERLAP and name in v.message and f"'{other}'" in v.message
    ]
    assert bool(found) == bool(why)
    assert all(re.search(why, text) for text in found)


def test_a_block_of_another_size_or_owner_is_found() -> None:
    index = IO_NAMES["store@vision io"]
    # 100 and 1 byte: each rounded up to 32, and 32 more, from multiples of 64.
    small = judge(_row(IO_PLAN, "store@vision io", size_bytes=9))
    assert any("found 9, expected 256" in str(v) for v in small)
    rows = list(IO_PLAN.buffers)
    rows[index] = replace(rows[index], step="nobody@vision")
    found = judge(replace(IO_PLAN, buffers=tuple(rows)))
    assert any("expected instance 'store@vision slot 0'" in str(v) for v in found)


def test_blocks_that_never_meet_are_no_witness() -> None:
    names = ("detector@vision io", "reader@vision io", "store@vision io")
    found = judge(replace(IO_PLAN, witness=(), witness_buffers=names))
    assert sum("never live at the same time" in v.message for v in found) == 3
    pair = ("reader@vision io", "camera[0].detect.boxes slot 0")
    found = judge(replace(IO_PLAN, witness=(), witness_buffers=pair))
    assert not any("never live" in v.message for v in found)


CHAIN_YAML = """\
version: 1
models: {m: {work: 600, weights: 0, inputs: {x: 8}, outputs: {y: 8}}}
pipelines:
  p:
    steps:
      a: {model: m}
      b: {model: m, after: [a], feeds: {x: a.y}}
      c: {model: m, after: [b]}
      d: {model: m, after: [c], feeds: {x: c.y}}
"""


def test_buffers_that_are_never_live_together_share_bytes_and_are_no_witness() -> None:
    fleet = parse_fleet(CHAIN_YAML)
    plan = plan_fleet(fleet, declared_sizes(fleet))
    first, second = plan.buffers
    assert first.offset == second.offset
    broken = replace(plan, witness=(), witness_buffers=(first.name, second.name))
    assert any("never live at the same time" in v.message for v in judge(broken))


def test_with_events_nothing_may_lie_over_a_buffer() -> None:
    device = replace(PLAN.fleet.device, cross_stream=CrossStream.EVENTS)
    plan = replace(PLAN, fleet=replace(PLAN.fleet, device=device))
    assert any("is live always" in violation.message for violation in judge(plan))


def test_a_row_of_an_unknown_channel_or_step_is_taken_as_live_always() -> None:
    for changes in ({"channel": "nowhere[0]"}, {"step": "nothing"}):
        plan = _onto(BOXES, "store@vision")(PLAN)
        found = judge(_row(plan, BOXES, **changes))
        assert any(v.rule is Rule.OVERLAP and "live always" in v.message for v in found)
