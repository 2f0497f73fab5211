"""Tensors in the arena as text, JSON, a picture and a C table."""

from dataclasses import replace

from planner.fleet import IoPlace
from planner.handover import ChannelBuffer
from planner.report.buffers import ROWS_MAX, buffer_figures, buffer_lines, buffers_row
from planner.report.c_header import c_header
from planner.report.figures import plan_figures
from planner.report.svg import arena_svg
from planner.report.text import plan_text
from planner.strategies import strategies
from planner.units import format_bytes
from tests.plans_io import handing_plan

PLAN = handing_plan(IoPlace.ARENA)


def test_text_says_what_tensors_take_and_save() -> None:
    text = plan_text(PLAN)
    assert "tensors" in text
    assert "less than private" in text
    assert "camera[0].detect.boxes slot 0: read, track" in text
    assert "detector@vision io\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_private_means_the_same_in_a_plan_and_in_a_report() -> None:
    private = {item.name: item.bytes for item in strategies(PLAN)}["private"]
    assert private == plan_figures(PLAN)["private_total_bytes"]
    assert private == PLAN.private_bytes + PLAN.buffers_private_bytes
    words = " ".join(plan_text(PLAN).split())
    assert f"private instances {format_bytes(private)} without any sharing" in words
    assert f"{1 - PLAN.total_bytes / private:.1%} less than private" in words


def test_nothing_saved_is_not_praised() -> None:
    states = tuple(row for row in PLAN.buffers if row.channel.startswith("microphone"))
    name, _, words = buffers_row(replace(PLAN, buffers=states))
    assert (name, words) == ("tensors", "of the work; 4 buffers")


def test_many_tensors_are_cut() -> None:
    row: ChannelBuffer = PLAN.buffers[0]
    lines = buffer_lines(replace(PLAN, buffers=(row,) * (ROWS_MAX + 3)))
    assert len(lines) == ROWS_MAX + 1
    assert lines[-1] == "... and 3 more (--json has all)"


def test_figures_have_every_row() -> None:
    rows = {row["buffer"]: row for row in buffer_figures(PLAN)["buffers"]}
    assert rows["camera[0].detect.boxes slot 0"]["readers"] == [
        "camera[0].read.x",
        "camera[0].track.boxes",
    ]
    assert rows["store@vision io"]["bytes"] == 256


def test_the_picture_and_the_header_have_them() -> None:
    picture, header = arena_svg(PLAN), c_header(PLAN)
    for row in PLAN.buffers:
        assert f'data-owner="{row.name}"' in picture
        assert f'"{row.name}"' in header
    assert f"#define ARENA_BUFFER_COUNT {len(PLAN.buffers)}" in header
