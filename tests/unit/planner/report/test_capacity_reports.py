"""Capacity as JSON, text, Markdown, CSV and SVG: figures agree, 80 columns, hostile names."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations

import pytest

from planner.capacity import (
    Capacity,
    DeviceModel,
    GrowthStatus,
    Lever,
    LeverOptions,
    capacity_of,
)
from planner.columns import columns, cut
from planner.fleet import DeviceSpec, FleetSpec, IoPlace, ModelSpec, PipelineSpec, StepSpec
from planner.handover import BufferUse
from planner.model import InstanceId, ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.problem import SolveStatus
from planner.report.advice import channels_words, do_words
from planner.report.capacity_text import capacity_text
from planner.report.figures import capacity_figures
from planner.report.svg import ALONE_MAX, REGIONS_MAX, arena_svg
from planner.report.tables import capacity_markdown, instances_csv, markdown_text
from planner.units import GiB, MiB
from tests.fleets import declared_sizes, small_fleet
from tests.hostile import HOSTILE, hostile_plan
from tests.plans import street_corner
from tests.plans_io import handing_plan

DEVICES = (
    DeviceModel("tiny", (), MiB, MiB, 0, "made up"),
    DeviceModel("huge", (), 64 * GiB, 60 * GiB, GiB, "made up"),
)


def small(device: DeviceSpec | None = None, channels: int = 2) -> Plan:
    fleet = replace(small_fleet(channels=channels), device=device or DeviceSpec())

    return plan_fleet(fleet, declared_sizes(fleet))


def test_lanes_of_levers_are_whole_where_the_line_has_room() -> None:
    capacity = capacity_of(street_corner())
    lever = replace(
        capacity.levers[0], in_witness=True, move_lane="lane-of-{channel}", move_count=9
    )
    beside = capacity_text(replace(capacity, levers=(lever,)))
    assert re.search(r"KiB  lane-of-\{channel\}\*$", beside, re.MULTILINE)
    long = [f"{'x' * 30}-{k}-{'y' * 30}" for k in range(2)]
    levers = tuple(replace(lever, move_lane=lane) for lane in long)
    below = capacity_text(replace(capacity, levers=levers))
    assert all(f"\n    to lane {lane}*\n" in below for lane in long)
    assert max(map(columns, below.splitlines())) <= 80
    named = replace(lever, instance=InstanceId("n" * 60), move_lane="short")
    assert max(map(columns, capacity_text(replace(capacity, levers=(named,))).splitlines())) <= 80


def test_figures_have_every_key_and_sum() -> None:
    figures = capacity_figures(capacity_of(street_corner(), DEVICES))
    keys = {"channels_fit", "devices_fit", "strategies", "bytes_by_kind", "witness", "levers"}
    assert figures.keys() >= keys
    assert sum(figures["bytes_by_kind"].values()) == figures["needed_bytes"]
    assert sum(row["bytes"] for row in figures["accounts"]) == figures["needed_bytes"]
    assert figures["headroom_bytes"] == figures["limit_bytes"] - figures["needed_bytes"]
    assert set(figures["channels_fit"]) == {"camera", "microphone", "door"}
    assert [(row["device"], row["fits"]) for row in figures["devices_fit"]] == [
        ("tiny", False),
        ("huge", True),
    ]


@pytest.mark.parametrize("plan", [street_corner(), small(), hostile_plan(), hostile_plan(limit=1)])
def test_text_has_80_columns_and_a_bar_as_long_as_its_parts(plan: Plan) -> None:
    text = capacity_text(capacity_of(plan, DEVICES))
    assert max(map(columns, text.splitlines())) <= 80
    (bar,) = (line for line in text.splitlines() if line.startswith("["))
    assert bar.index("]") == 61
    assert "where" not in bar


def test_what_to_do_when_it_does_not_fit() -> None:
    plan = small(DeviceSpec(1 * MiB), channels=2)
    words = do_words(capacity_of(plan, DEVICES))
    assert words.startswith("DOES NOT FIT: 3.00 MiB short.")
    assert "Moving side@other to lane 'main' frees 16.50 KiB" in words
    assert words.endswith("The smallest device that fits is huge (59.00 GiB usable).")
    streams = do_words(capacity_of(small(DeviceSpec(GiB, streams_max=1))))
    assert "2 streams of 1" in streams
    witnessless = replace(capacity_of(plan, DEVICES), levers=())
    assert "Moving" not in do_words(witnessless)
    assert "fits is" not in do_words(capacity_of(plan, DEVICES[:1]))


def test_what_to_do_when_it_fits_or_no_limit_is_given() -> None:
    assert "give --memory or --device-model" in do_words(capacity_of(small()))
    words = do_words(capacity_of(small(DeviceSpec(GiB))))
    assert words == "Fits with 1020.00 MiB to spare."


def growing(capacity: Capacity, status: GrowthStatus, largest: int | None) -> Capacity:
    (first, *_) = capacity.channels
    return replace(capacity, channels=(replace(first, status=status, largest=largest),))


def test_numbers_of_channels_in_words() -> None:
    capacity = capacity_of(small(DeviceSpec(GiB)))
    more = growing(capacity, GrowthStatus.EXACT, 7)
    assert channels_words(more.channels[0]) == "7"
    assert do_words(more).endswith("Up to 7 channels of p fit in memory.")
    searched = growing(capacity, GrowthStatus.AT_LEAST, 7)
    assert channels_words(searched.channels[0]) == "at least 7"
    assert do_words(searched).endswith("to spare. At least 7 channels of p fit in memory.")
    less = growing(capacity_of(small(DeviceSpec(1))), GrowthStatus.EXACT, 1)
    assert "With 1 channel of p it fits in memory." in do_words(less)


def test_what_was_not_asked_or_not_proven_is_said() -> None:
    plan = small(DeviceSpec(GiB))
    assert "not asked" in capacity_text(capacity_of(plan, lever=LeverOptions(planned_max=0)))
    unproven = replace(plan, status=SolveStatus.FEASIBLE, lower_bound_bytes=8192)
    assert "of optimal for this order" in " ".join(capacity_text(capacity_of(unproven)).split())
    assert "would save 5.00 KiB more" in " ".join(
        capacity_text(capacity_of(street_corner())).split()
    )
    assert "corrupts" in capacity_text(capacity_of(plan))


def test_long_lists_are_cut_in_text() -> None:
    capacity = capacity_of(small(DeviceSpec(GiB)))
    lever = Lever(InstanceId("i@l"), True, 0, 0, 0)
    many = replace(capacity, levers=(lever,) * 25, channels=capacity.channels * 25)
    assert capacity_text(many).count("... and 5 more (--json has all)") == 2
    assert "sets the height" not in capacity_text(replace(capacity, levers=()))


def test_markdown_keeps_names_literal() -> None:
    text = capacity_markdown(capacity_of(hostile_plan(), DEVICES))
    assert "<" not in text
    assert "](" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 4
    assert markdown_text("a|b") == "a&#124;b"
    assert len(cut(HOSTILE[7])) <= 40


def test_csv_reads_back_and_no_cell_is_a_formula() -> None:
    plan = hostile_plan()
    rows = list(csv.reader(io.StringIO(instances_csv(plan))))
    assert len(rows) == 1 + len(plan.instances)
    assert [row[0].removeprefix("'") for row in rows[1:]] == [row.id for row in plan.instances]
    assert not any(cell.startswith("=") for row in rows for cell in row)


@pytest.mark.parametrize("plan", [street_corner(), hostile_plan(), small()])
def test_svg_draws_every_region_beside_the_others(plan: Plan) -> None:
    root = ET.fromstring(arena_svg(plan))
    rectangles = [item for item in root.iter() if item.tag.endswith("rect")]
    work = [row for row in plan.instances if row.work_offset is not None]
    weights = {row.weight_offset for row in plan.instances if row.weight_offset is not None}
    assert len(rectangles) == len(work) + len(weights)
    lefts = [item.get("x") for item in rectangles]
    assert len(set(lefts)) == len(lefts)
    assert {item.get("data-owner") for item in rectangles} >= {row.id for row in work}


def test_svg_says_what_it_leaves_out() -> None:
    plan = small()
    rows = tuple(
        replace(row, id=InstanceId(f"i{k}@l"))
        for k in range(REGIONS_MAX // 2 + 1)
        for row in plan.instances[:2]
    )
    assert "2 smaller ones not drawn" in arena_svg(replace(plan, instances=rows))
    empty = replace(plan, instances=(), height_bytes=0, weight_bytes=0)
    unshared = tuple(
        replace(row, weight_offset=512 * k, weights_key=f"k{k}") for k, row in enumerate(rows)
    )
    assert arena_svg(replace(plan, instances=unshared)).count("not drawn") == 2
    assert "work: 0 B" in arena_svg(empty)


def many(lanes: int, models: int = 2) -> Plan:
    """Return a plan of `models` instances on each of so many lanes, which all run at once."""
    names = [ModelId(f"m{k}") for k in range(models)]
    specs = tuple(
        ModelSpec(name, work_bytes=MiB + k, weight_bytes=512) for k, name in enumerate(names)
    )
    steps = tuple(StepSpec(name, name, "lane-{channel}") for name in names)
    fleet = FleetSpec("many", specs, (PipelineSpec("p", steps, channels=lanes),))
    return plan_fleet(fleet, declared_sizes(fleet))


def drawn(plan: Plan) -> list[tuple[str, float, float, float, float]]:
    """Return owner, left, right, top and bottom of every region of the picture."""
    found = []
    for item in ET.fromstring(arena_svg(plan)).iter():
        if item.tag.endswith("rect"):
            left, top, width, height = (
                float(item.get(k, "")) for k in ("x", "y", "width", "height")
            )
            found.append((item.get("data-owner", ""), left, left + width, top, top + height))
    return found


def test_of_many_instances_a_lane_has_one_column() -> None:
    plan = many(lanes=30)
    assert len(plan.instances) > ALONE_MAX
    lanes: dict[str, set[float]] = {}
    for owner, left, right, *_ in drawn(plan):
        if "@" in owner:
            lanes.setdefault(owner.partition("@")[2], set()).add((left + right) / 2)
    assert len(lanes) == 30
    assert all(len(middles) == 1 for middles in lanes.values())
    assert len({min(middles) for middles in lanes.values()}) == 30
    root = ET.fromstring(arena_svg(plan))
    labels = {item.text for item in root.iter() if item.get("transform")}
    assert labels >= {"lane-0", "lane-29"}


def test_of_many_lanes_those_that_share_no_byte_stand_below_one_another() -> None:
    plan = many(lanes=100)
    work = [row for row in drawn(plan) if "@" in row[0]]
    assert len(work) == 200
    assert len({(left + right) / 2 for _, left, right, *_ in work}) == 1
    own = {row.id: row.lane for row in plan.instances}
    for (one, *_, up, low), (two, *_, top, bottom) in combinations(work, 2):
        apart = low <= top + 0.02 or bottom <= up + 0.02
        assert apart or own[InstanceId(one)] == own[InstanceId(two)]
    assert "pointer-events" not in arena_svg(plan)  # no name on what another one is drawn on
    single = many(lanes=45, models=1)
    assert ">m0@lane-7</text>" in arena_svg(single)


def test_what_is_too_small_to_be_drawn_does_not_look_free() -> None:
    plan = many(lanes=REGIONS_MAX + 50, models=1)
    smaller = [row for row in drawn(plan) if row[0] == "smaller ones"]
    assert len(smaller) >= 1
    assert "smaller ones: work [" in arena_svg(plan)
    covered = sum(low - top for owner, *_, top, low in drawn(plan) if owner != "m0")
    assert covered == pytest.approx(560, rel=0.01)
    for factor, regions in ((2, 50), (4, 0)):  # so thin that they are not seen
        spread = tuple(
            replace(row, work_offset=factor * (row.work_offset or 0)) for row in plan.instances
        )
        apart = replace(plan, instances=spread, height_bytes=factor * plan.height_bytes)
        assert sum(row[0] == "smaller ones" for row in drawn(apart)) == regions


def test_tensors_share_narrow_columns_and_blocks_stand_with_their_instance() -> None:
    plan = handing_plan(IoPlace.ARENA)
    regions = {owner: (left, right) for owner, left, right, *_ in drawn(plan)}
    blocks = {row.step: row for row in plan.buffers if row.use is BufferUse.INSTANCE}
    tensors = [row for row in plan.buffers if row.use is not BufferUse.INSTANCE]
    assert all(regions[row.name] == regions[step] for step, row in blocks.items())
    columns_taken = {regions[row.name] for row in tensors}
    assert len(columns_taken) < len(tensors)
    assert all(right - left <= 12 for left, right in columns_taken)
    assert min(columns_taken) > max(regions[row.id] for row in plan.instances)
    crowded = replace(plan, buffers=tuple(tensors) * REGIONS_MAX)
    assert "not drawn" not in arena_svg(plan)
    assert "smaller ones not drawn" in arena_svg(crowded)


def test_the_legend_names_lanes_as_the_fleet_does() -> None:
    picture = arena_svg(many(lanes=3))
    assert ">lane lane-{channel}</text>" in picture
    assert ">weights</text>" in picture
    assert ">tensors</text>" not in picture
    assert ">tensors</text>" in arena_svg(handing_plan())
    fleet = small_fleet()
    steps = [StepSpec("s", fleet.models[0].id, f"a-lane-with-a-name-{k}") for k in range(12)]
    pipelines = tuple(PipelineSpec(f"p{k}", (step,)) for k, step in enumerate(steps))
    wide = replace(fleet, pipelines=pipelines)
    picture = arena_svg(plan_fleet(wide, declared_sizes(wide)))
    assert ">4 further lanes in the same colours</text>" in picture
    width = float(ET.fromstring(picture).get("width", ""))
    assert all(float(x) < width for x in re.findall(r'<circle cx="([\d.]+)"', picture))
