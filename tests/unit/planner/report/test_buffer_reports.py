"""Tensors in the arena as text, JSON, a picture and a C table."""

import re
from dataclasses import replace

from planner.fleet import IoPlace
from planner.handover import ChannelBuffer
from planner.report.buffers import ROWS_MAX, buffer_figures, buffer_parts, buffers_row
from planner.report.c_header import c_header
from planner.report.figures import plan_figures
from planner.report.layout import laid_out
from planner.report.svg import arena_svg
from planner.report.text import plan_text
from planner.strategies import strategies
from planner.units import MiB, format_bytes
from tests.plans_io import handing_plan

PLAN = handing_plan(IoPlace.ARENA)


def test_text_says_what_tensors_take_and_save() -> None:
    text = plan_text(PLAN)
    assert "tensors" in text
    assert "less than private" in text
    assert re.search(r"^largest tensors +work at +size +read by *$", text, re.MULTILINE)
    row = r"^camera\[0\]\.detect\.boxes slot 0 +0x[0-9a-f]+ +4\.88 KiB +read, track$"
    assert re.search(row, text, re.MULTILINE)
    block = r"^detector@vision io +0x[0-9a-f]+ +\d\.\d\d KiB +itself$"
    assert re.search(block, text, re.MULTILINE)
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


def test_many_tensors_are_cut_and_the_largest_stay() -> None:
    row: ChannelBuffer = PLAN.buffers[0]
    large = replace(row, size_bytes=MiB)
    text = laid_out(buffer_parts(replace(PLAN, buffers=(*(row,) * (ROWS_MAX + 2), large))))
    assert len(text.splitlines()) == 2 + ROWS_MAX + 1
    assert "1.00 MiB" in text.splitlines()[2]
    assert text.splitlines()[-1] == "... and 3 more (--json has all)"
    assert list(buffer_parts(replace(PLAN, buffers=()))) == []


def test_a_state_is_read_in_the_next_frame() -> None:
    states = tuple(row for row in PLAN.buffers if row.channel.startswith("microphone"))
    assert "listen, next frame" in laid_out(buffer_parts(replace(PLAN, buffers=states)))


def test_long_names_of_tensors_stay_within_80_columns() -> None:
    row = replace(PLAN.buffers[0], channel="x" * 200, readers=(("step-" * 30, "x"),))
    text = laid_out(buffer_parts(replace(PLAN, buffers=(row,))))
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 5


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
