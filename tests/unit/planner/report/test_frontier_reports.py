"""The frontier as text, figures and picture; golden ones change with `REPORTS_GOLDEN=write`."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from planner.fleet import DeviceSpec, FleetSpec, PipelineSpec, StepSpec
from planner.frontier import Frontier, frontier
from planner.pipeline import plan_fleet
from planner.report.frontier import frontier_advice, frontier_figures, frontier_text
from planner.report.frontier_svg import frontier_svg
from planner.units import KiB, MiB
from tests.fleets import declared_sizes
from tests.frontiers import all_plans, exact, four_lanes, frontier_of

GOLDEN = Path(__file__).parents[3] / "golden"
FORMS: dict[str, Callable[[Frontier], str]] = {
    "txt": frontier_text,
    "svg": frontier_svg,
    "json": lambda found: json.dumps(frontier_figures(found), indent=1) + "\n",
}


def street() -> Frontier:
    return frontier_of(four_lanes(rates=(100_000, 50_500)))


@pytest.mark.parametrize("form", FORMS)
def test_the_report_is_the_golden_one(form: str) -> None:
    text = FORMS[form](street())
    golden = GOLDEN / f"four-lanes.frontier.{form}"
    if os.environ.get("REPORTS_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def hostile() -> FleetSpec:
    """Long names with markup, more pipelines than columns, one that takes no time, no room."""
    model = four_lanes().models[0]
    pipelines = tuple(
        PipelineSpec(
            f"<b>&{i}" + "n" * 70,
            (StepSpec("s", model.id, f"<lane>&{i}" + "l" * 70, time_ns=0 if i == 5 else 10**15),),
            rate_millihertz=None if i else 1,
        )
        for i in range(6)
    )
    return FleetSpec("<f>&" + "f" * 90, (model,), pipelines, DeviceSpec(2 * MiB))


@pytest.mark.parametrize("spec", [four_lanes(), four_lanes(timed=False), hostile()])
def test_text_fits_80_columns_and_pictures_are_well_formed(spec: FleetSpec) -> None:
    found = frontier(
        plan_fleet(spec, declared_sizes(spec)), lambda _: plan_fleet(spec, declared_sizes(spec))
    )
    text = frontier_text(found)
    assert all(len(line) <= 80 for line in text.splitlines())
    ElementTree.fromstring(frontier_svg(found))
    assert json.loads(json.dumps(frontier_figures(found)))["points"]


def test_points_of_the_figures_are_not_dominated_and_have_their_files() -> None:
    found = street()
    files = [f"plan-{i}.json" for i in range(len(found.points))]
    figures = frontier_figures(found, files)
    assert figures["makespan_unit"] == "ns"
    assert [point["plan"] for point in figures["points"]] == files
    assert [point["knee"] for point in figures["points"]].count(True) == 1
    assert figures["points"][figures["knee"]]["knee"]
    memory = [point["total_bytes"] for point in figures["points"]]
    times = [point["makespan"] for point in figures["points"]]
    assert memory == sorted(memory, reverse=True)
    assert times == sorted(times)
    assert len(set(memory)) == len(set(times)) == len(memory)
    assert figures["serial"]["makespan"] == 22_000_000
    camera, door, gate = figures["points"][0]["rates"]
    assert (camera["wanted_millihertz"], camera["feasible"]) == (100_000, True)
    assert camera["serial_feasible"] is False
    assert (door["wanted_millihertz"], gate["wanted_millihertz"]) == (50_500, None)
    assert gate["feasible"] is None


def test_a_plan_that_does_not_fit_the_device_is_marked() -> None:
    spec = four_lanes()
    needed = [p.plan.needed_bytes for p in frontier_of(spec).points]
    assert len(set(needed)) == 1, "pages hide the difference"
    tight = replace(spec, device=DeviceSpec(memory_bytes=needed[0] - 1))
    found = frontier_of(tight)
    assert frontier_text(found).count("does not fit") == len(found.points)
    assert not any(point["fits"] for point in frontier_figures(found)["points"])


def test_order_spares_no_stream_so_no_plan_fits_where_lanes_are_too_many() -> None:
    few = replace(four_lanes(), device=DeviceSpec(streams_max=3))
    found = frontier_of(few)
    assert frontier_text(found).count("does not fit") == len(found.points)
    assert not any(point["fits"] for point in frontier_figures(found)["points"])


def test_the_room_on_the_device_is_drawn_where_it_lies_in_the_picture() -> None:
    spec = replace(four_lanes(), device=DeviceSpec(memory_bytes=100 * KiB))
    assert "room on the device: 100.00 KiB" in frontier_svg(frontier_of(spec))
    far = replace(four_lanes(), device=DeviceSpec(memory_bytes=100 * MiB))
    assert "room on the device" not in frontier_svg(frontier_of(far))


def test_what_is_advised() -> None:
    lanes = ("cam-0", "cam-1", "door", "gate")
    shared = {(a, b): 2000 for a in lanes for b in lanes if a != b}
    spec = four_lanes()
    measured = frontier(all_plans(spec)[0], exact(spec), slowdowns=shared)
    (choice, one_lane) = frontier_advice(measured)
    assert choice.startswith("nothing to choose: the smallest plan takes")
    assert one_lane == "one lane for everything costs no time"

    unmeasured = list(frontier_advice(frontier_of(spec)))
    assert unmeasured[0].startswith("the knee, plan")
    assert unmeasured[-1].startswith("6 pairs of lanes taken to be independent")

    two_ends = list(frontier_advice(frontier_of(spec, plans_max=2)))
    assert [line.split()[0] for line in two_ends] == ["6"]

    untimed = list(frontier_advice(frontier_of(four_lanes(timed=False))))
    assert any("every step counts 1" in line for line in untimed)

    single = replace(spec, pipelines=spec.pipelines[1:2])
    alone = frontier(plan_fleet(single, declared_sizes(single)), lambda _: all_plans(spec)[0])
    assert list(frontier_advice(alone)) == [
        "nothing to choose: everything concurrent takes no more memory than everything serial",
        "one lane for everything costs no time",
    ]


def test_a_pipeline_that_the_rates_of_others_leave_no_time_is_named() -> None:
    """Both cameras in turns want all of the lane that the gate shares with them in some plans."""
    found = frontier_of(four_lanes(rates=(100_000, None)))
    gate = [index for index, point in enumerate(found.points, start=1) if not point.rates[2].most]
    assert gate
    (line,) = (line for line in frontier_advice(found) if line.startswith("gate "))
    assert f"(0fps) in plans {', '.join(map(str, gate))}: give it a `rate`" in line
    assert not any("0fps" in line for line in frontier_advice(frontier_of(four_lanes())))


def test_a_frame_that_takes_no_time_has_no_percentage() -> None:
    spec = four_lanes()
    idle = replace(
        spec,
        pipelines=tuple(
            replace(p, steps=tuple(replace(s, time_ns=0) for s in p.steps)) for p in spec.pipelines
        ),
    )
    found = frontier_of(idle)
    assert len(found.points) == 1
    assert "any" in frontier_text(found)
