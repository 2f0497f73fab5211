"""Differences of plans: every kind of change, laws of symmetry, text that is safe to paste."""

import re
from dataclasses import replace

from hypothesis import given, settings

from planner.capacity import ChannelsFit, GrowthOptions, GrowthStatus
from planner.difference import BufferChange, Change, diff_plans
from planner.fleet import Dedupe, IoPlace, ScheduleSpec
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder, Plan, SchedulePrice
from planner.report.difference import (
    BUFFERS_MAX,
    ROWS_MAX,
    difference_figures,
    difference_markdown,
    difference_text,
)
from planner.units import MakespanUnit, MiB
from tests.hostile import hostile_plan
from tests.plans import plans, street_corner
from tests.plans_io import handing_plan

FEW = GrowthOptions(channels_max=6)
"""What the laws need not ask: how thousands of channels fit."""


@settings(max_examples=30)
@given(plans())
def test_a_plan_does_not_differ_from_itself(plan: Plan) -> None:
    difference = diff_plans(plan, plan, FEW)
    assert difference.is_empty
    assert difference_text(difference).startswith("nothing changed")
    assert difference_figures(difference)["instances"] == []
    assert "nothing changed" in difference_markdown(difference)


MIRROR = {Change.ADDED: Change.GONE, Change.GONE: Change.ADDED}


@settings(max_examples=30)
@given(plans(), plans())
def test_the_mirror_image(one: Plan, two: Plan) -> None:
    there, back = diff_plans(one, two, FEW), diff_plans(two, one, FEW)
    assert there.total_bytes_delta == -back.total_bytes_delta
    assert there.height_bytes_delta == -back.height_bytes_delta
    assert there.weight_bytes_delta == -back.weight_bytes_delta
    assert there.kinds == tuple((kind, -delta) for kind, delta in back.kinds)
    assert sum(delta for _, delta in there.kinds) == there.needed_bytes_delta
    assert {(c.model, c.kind, c.delta_bytes) for c in there.models} == {
        (c.model, c.kind, -c.delta_bytes) for c in back.models
    }
    assert {(c.instance, c.change, c.old, c.new) for c in there.instances} == {
        (c.instance, MIRROR.get(c.change, c.change), c.new, c.old) for c in back.instances
    }
    assert (there.old_channels, there.new_channels) == (back.new_channels, back.old_channels)
    assert (there.old_span, there.new_span) == (back.new_span, back.old_span)
    assert (there.came, there.went) == (back.went, back.came)
    assert {(c.place, str(c.old), str(c.new)) for c in there.settings} == {
        (c.place, str(c.new), str(c.old)) for c in back.settings
    }


def changed() -> tuple[Plan, Plan]:
    old = street_corner()
    first, second, third, *rest = old.instances
    moved = replace(first, work_offset=(first.work_offset or 0) + 512)
    resized = replace(second, work_bytes=second.work_bytes + 5_000)
    other = replace(third, id=InstanceId("new@lane"))
    return old, replace(old, instances=(moved, resized, other, *rest), weight_bytes=1 << 20)


def limited(plan: Plan, limit: int | None, streams: int | None = None) -> Plan:
    device = replace(plan.fleet.device, memory_bytes=limit, streams_max=streams)
    return replace(plan, fleet=replace(plan.fleet, device=device))


def test_a_plan_that_no_longer_fits_is_said_before_anything_else() -> None:
    plan = street_corner()
    fits, short = limited(plan, plan.needed_bytes), limited(plan, plan.needed_bytes - 512)
    text = difference_text(diff_plans(fits, short)).splitlines()
    assert text[:3] == [
        "no byte changed",
        "1 setting changed",
        "The new plan DOES NOT FIT: 512 B short; the old one did.",
    ]
    assert "**The new plan DOES NOT FIT: 512 B short" in difference_markdown(
        diff_plans(fits, short)
    )
    assert "The new plan fits, the old one did not." in difference_text(diff_plans(short, fits))
    crowded = limited(plan, None, streams=1)
    assert "streams of 1; the old one did not." in difference_text(diff_plans(short, crowded))
    fitted = replace(fits.fleet, schedule=replace(fits.fleet.schedule, fit_bytes=1))
    unfit = replace(fits, fleet=fitted)
    words = "more than its schedule is to fit"
    assert words in " ".join(difference_text(diff_plans(fits, unfit)).split())


def test_how_far_above_the_budget_is_said_to_the_byte() -> None:
    old = street_corner()
    new = replace(old, height_bytes=old.height_bytes + MiB + 512)
    difference = diff_plans(old, new)
    words = "ABOVE THE BUDGET of +1.00 MiB by 512 B (512 bytes)"
    assert difference_text(difference, MiB).splitlines()[-1] == words
    assert f"**{words}**" in difference_markdown(difference, MiB)
    assert "BUDGET" not in difference_text(difference, MiB + 512)
    assert "BUDGET" not in difference_markdown(difference, MiB + 512)


def test_every_change_is_named() -> None:
    old, new = changed()
    kinds = [change.change for change in diff_plans(old, new).instances]
    assert kinds == [Change.MOVED, Change.RESIZED, Change.ADDED, Change.GONE]
    text = difference_text(diff_plans(old, new))
    moved = diff_plans(old, replace(old, instances=new.instances[:1] + old.instances[1:]))
    assert moved.models == ()
    assert "| model |" not in difference_markdown(moved)
    assert "kind        " not in difference_text(moved)
    assert "1 added, 1 moved, 1 resized, 1 gone" in text
    markdown = difference_markdown(diff_plans(old, new))
    assert "| model | kind | old | new | change |" in markdown
    assert max(map(len, text.splitlines())) <= 80


def test_tensors_in_the_arena_are_listed_too() -> None:
    old = handing_plan(IoPlace.ARENA)
    first, second, third, *rest = old.buffers
    moved = replace(first, offset=first.offset + 512)
    resized = replace(second, size_bytes=second.size_bytes + 1)
    other = replace(third, channel="elsewhere[0]")
    new = replace(old, buffers=(moved, resized, other, *rest))
    difference = diff_plans(old, new, FEW)
    assert not difference.is_empty
    assert [(change.buffer, change.change) for change in difference.buffers] == [
        (first.name, Change.MOVED),
        (second.name, Change.RESIZED),
        (other.name, Change.ADDED),
        (third.name, Change.GONE),
    ]
    figures = difference_figures(difference)["buffers"]
    assert figures[1] == {
        "buffer": second.name,
        "change": "resized",
        "old_offset": second.offset,
        "old_bytes": second.size_bytes,
        "new_offset": second.offset,
        "new_bytes": second.size_bytes + 1,
    }
    assert (figures[2]["old_bytes"], figures[3]["new_offset"]) == (None, None)
    text, markdown = difference_text(difference), difference_markdown(difference)
    assert text.splitlines()[2] == "tensors: 1 added, 1 moved, 1 resized, 1 gone"
    assert f"  gone     {third.name} " in text
    assert "| largest tensors in the arena | change | size |" in markdown
    assert max(map(len, text.splitlines()[1:])) <= 80
    assert "tensors:" not in difference_text(diff_plans(old, old, FEW))
    many = replace(difference, buffers=difference.buffers * ROWS_MAX)
    for shown in (difference_text(many), difference_markdown(many)):
        assert f"and {4 * ROWS_MAX - BUFFERS_MAX} more" in shown
    large = replace(first, size_bytes=64 * MiB, channel="large[0]")
    shown = difference_text(
        replace(
            many, buffers=(*many.buffers, BufferChange(large.name, Change.RESIZED, large, moved))
        )
    )
    heading = shown.splitlines().index(
        f"{'largest tensors in the arena':<54}{'size':>26}",
    )
    assert "64.00 MiB -> " in shown.splitlines()[heading + 1]


def test_inputs_that_came_into_the_arena_are_added_tensors() -> None:
    difference = diff_plans(handing_plan(IoPlace.OUTSIDE), handing_plan(IoPlace.ARENA), FEW)
    added = {change.buffer for change in difference.buffers if change.change is Change.ADDED}
    assert "detector@vision io" in added


def test_hostile_names_stay_text() -> None:
    difference = diff_plans(street_corner(), hostile_plan())
    assert "<" not in difference_markdown(difference).replace("<=", "")
    assert max(map(len, difference_text(difference).splitlines()[1:])) <= 80


def test_channels_of_pipelines_that_came_or_went_have_one_side() -> None:
    difference = diff_plans(street_corner(), hostile_plan())
    searched = tuple(replace(c, status=GrowthStatus.AT_LEAST) for c in difference.new_channels)
    figures = difference_figures(replace(difference, new_channels=searched))
    camera, other = figures["channels_fit"]["camera"], figures["channels_fit"][searched[0].pipeline]
    assert (camera["new_at_least"], other["old_at_least"], other["new_at_least"]) == (
        False,
        False,
        True,
    )
    assert figures["channels_fit"]["camera"]["new"] is None
    assert figures["fits"] == {"old": True, "new": True}


def test_long_lists_are_cut() -> None:
    difference = diff_plans(*changed())
    many = replace(difference, instances=difference.instances * ROWS_MAX)
    assert f"and {3 * ROWS_MAX} more" in difference_text(many)
    assert f"and {3 * ROWS_MAX} more" in difference_markdown(many)
    assert isinstance(difference.old_channels[0], ChannelsFit)


def timed_street_corner() -> Plan:
    """Return the plan whose frame of every channel takes 64 ms."""
    plan, times = street_corner(), {"detect": 28, "read": 4}
    pipelines = tuple(
        replace(
            pipeline,
            steps=tuple(
                replace(step, time_ns=times.get(step.id, 2) * 10**6) for step in pipeline.steps
            ),
        )
        for pipeline in plan.fleet.pipelines
    )
    return replace(plan, fleet=replace(plan.fleet, pipelines=pipelines), added=(), price=None)


def fitted() -> tuple[Plan, Plan]:
    """Return a plan, and one with one order and many exclusions added, which takes longer."""
    old = timed_street_corner()
    first, *others = (row.id for row in old.instances)
    pairs = [(first, other) for other in others] + [
        (InstanceId(f"an-instance-with-a-long-name-{k}@lane"), first) for k in range(6)
    ]
    kinds = [AddedKind.ORDER, *[AddedKind.EXCLUSIVE] * (len(pairs) - 1)]
    added = tuple(AddedOrder(*pair, kind) for pair, kind in zip(pairs, kinds, strict=True))
    price = SchedulePrice(MakespanUnit.NS, 74_500_000, 62_500_000, 74_500_000, 110_000_000)
    fleet = replace(old.fleet, schedule=ScheduleSpec(fit_bytes=old.total_bytes))
    return old, replace(old, fleet=fleet, added=added, price=price)


def test_what_a_smaller_plan_costs_is_said() -> None:
    old, new = fitted()
    difference = diff_plans(old, new, FEW)
    text = difference_text(difference).splitlines()
    assert text[:4] == [
        "no byte changed",
        "one frame of every channel: 64.0 ms -> 74.5 ms (+16.4%)",
        f"constraints added to the order: {len(new.added)} came, 0 went",
        "1 setting changed",
    ]
    added = text.index("constraint added to the order")
    assert text[added + 1].split() == ["came", new.added[0].first, "before", new.added[0].second]
    assert "never beside" in text[added + 2]
    assert text[added + 6] == f"  ... and {len(new.added) - 5} more (--json has all)"
    assert max(map(len, text)) <= 80
    figures = difference_figures(difference)
    assert len(figures["added"]["came"]) == len(new.added)
    assert figures["added"]["went"] == []
    assert figures["makespan"] == {
        "old": {"makespan": 64_000_000, "makespan_unit": "ns"},
        "new": {"makespan": 74_500_000, "makespan_unit": "ns"},
    }
    assert figures["settings"] == [
        {"place": "schedule.fit", "old": MiB, "new": old.total_bytes},
    ]
    markdown = difference_markdown(difference)
    assert "one frame of every channel: 64.0 ms -> 74.5 ms (+16.4%)" in markdown
    assert "| constraint added to the order | change |" in markdown
    assert f"\n\n... and {len(new.added) - 5} more" in markdown
    back = difference_text(diff_plans(new, old, FEW))
    assert f"0 came, {len(new.added)} went" in back
    assert "  went     " in back


def test_settings_that_changed_are_named() -> None:
    old = timed_street_corner()
    camera, microphone, door = old.fleet.pipelines
    detect, read, *rest = camera.steps
    slower = replace(detect, time_ns=29_000_000), replace(read, after=(), lane="b"), *rest
    device = replace(old.fleet.device, memory_bytes=1 << 31, dedupe=Dedupe.OFF)
    device = replace(device, reserve=(("system", MiB + 1),))
    pipelines = (
        replace(camera, steps=slower, rate_millihertz=25_000),
        replace(microphone, id="ear"),
        door,
    )
    (model, size), *sizes = old.sizes
    new = replace(
        old,
        fleet=replace(old.fleet, pipelines=pipelines, device=device),
        sizes=((model, replace(size, file_digest="b" * 64)), *sizes),
    )
    old = replace(old, sizes=((model, replace(size, file_digest="a" * 64)), *sizes))
    difference = diff_plans(old, new, FEW)
    lines = difference_text(difference).splitlines()
    shown = [" ".join(line.split()) for line in lines[lines.index("setting") + 1 :]]
    for words in (
        "models.detector.sha256 aaaaaaa…aaaaaaa -> bbbbbbb…bbbbbbb",
        "pipelines.camera.steps.detect.time 28.0 ms -> 29.0 ms",
        "pipelines.camera.steps.read.after detect -> none",
        "pipelines.camera.rate - -> 25fps",
        "pipelines.ear - -> given",
        "pipelines.microphone given -> -",
        "device.memory 1.00 GiB -> 2.00 GiB",
        "device.reserve.system 1048576 -> 1048577",
        "device.dedupe file -> off",
    ):
        assert words in shown
    assert "| setting | old | new |" in difference_markdown(difference)
    unknown = replace(detect, time_ns=None), read, *rest
    timeless = replace(old.fleet, pipelines=(replace(camera, steps=unknown), microphone, door))
    counted = difference_text(diff_plans(old, replace(old, fleet=timeless), FEW))
    assert re.search(r"one frame of every channel: 64\.0 ms -> \d+ steps$", counted, re.MULTILINE)
