"""Times of a fleet and their file: who is measured for whom, and what is no times file."""

import json
from dataclasses import replace
from typing import Any

import pytest

from planner.errors import DecodeError, SpecError
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.report.times import times_figures, times_text, together
from planner.times import (
    Beside,
    LaneGroup,
    ModelTime,
    Times,
    encode_times,
    lane_groups,
    parse_times,
    with_times,
)

DETECT, READ = ModelId("detect"), ModelId("read")
FLEET = FleetSpec(
    "street",
    tuple(ModelSpec(m, work_bytes=1, weight_bytes=0) for m in (DETECT, READ)),
    (
        PipelineSpec(
            "camera",
            (StepSpec("d", DETECT, "cam-{channel}"), StepSpec("r", READ, "cam-{channel}", ("d",))),
            channels=3,
        ),
        PipelineSpec("door", (StepSpec("d", DETECT, "door"),)),
    ),
)
TIMES = Times(
    "street",
    "cpu",
    30,
    (ModelTime(DETECT, "", 20_000_000, 19_000_000, 22_000_000), ModelTime(READ, "", 500, 400, 900)),
    (LaneGroup(("cam-0", "cam-1", "cam-2"), (DETECT, READ)), LaneGroup(("door",), (DETECT,))),
    (
        Beside("cam-0", "door", 1500),
        Beside("door", "cam-0", 1250),
        Beside("cam-0", "cam-1", 2100),
        Beside("cam-1", "cam-0", 1900),
    ),
)


def test_lanes_with_the_same_models_are_one_group() -> None:
    assert lane_groups(FLEET) == TIMES.groups


def test_a_file_gives_back_what_was_written() -> None:
    assert parse_times(encode_times(TIMES)) == TIMES


def test_the_first_lanes_of_a_group_stand_for_all() -> None:
    slowdowns = TIMES.slowdowns()
    assert len(slowdowns) == 4 * 3
    assert slowdowns["cam-2", "door"] == 1500
    assert slowdowns["door", "cam-1"] == 1250
    assert {slowdowns["cam-0", "cam-2"], slowdowns["cam-2", "cam-1"]} == {2100}


def test_pairs_that_were_not_measured_are_unknown() -> None:
    slowdowns = replace(TIMES, beside=TIMES.beside[:2]).slowdowns()
    assert ("cam-0", "cam-1") not in slowdowns
    assert ("door", "cam-2") in slowdowns


def test_steps_take_the_time_of_their_model() -> None:
    sizes = {DETECT: ModelSize(1, 0), READ: ModelSize(1, 0)}
    times = TIMES.of_steps(FLEET, sizes)
    assert times == {("camera", "d"): 20_000_000, ("camera", "r"): 500, ("door", "d"): 20_000_000}
    partial = replace(TIMES, models=TIMES.models[:1])
    assert ("camera", "r") not in partial.of_steps(FLEET, sizes)


def test_measured_times_go_before_those_of_the_fleet() -> None:
    timed = with_times(FLEET, {("door", "d"): 9})
    assert timed.pipelines[1].steps[0].time_ns == 9
    assert timed.pipelines[0] == FLEET.pipelines[0]
    assert with_times(timed, {}) == timed


def test_times_of_another_file_are_refused() -> None:
    sizes = {DETECT: ModelSize(1, 0, file_digest="a" * 64), READ: ModelSize(1, 0)}
    with pytest.raises(SpecError, match=r"models\.detect: its file has digest aaaaaaaaaaaaaaaa"):
        TIMES.of_steps(FLEET, sizes)


def _changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode_times(TIMES)), **changes}).encode()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is no times file: Expecting value"),
        (b"\xff", "is no times file"),
        (b"[" * 100_000, "is no times file"),
        (b"[]", "`arena time FLEET -o FILE` writes one"),
        (b'{"format": "npu-arena plan"}', "`arena time FLEET -o FILE` writes one"),
        (_changed(version=2), "version: found version 2, expected 1"),
        (_changed(repeats="30"), "Expected `int`, got `str`"),
        (_changed(extra=1), "keys that a times file does not have"),
        (_changed(beside=[{"lane": "a", "other": "b"}]), "missing required field"),
        (
            _changed(beside=[{"lane": "a", "other": "b", "slowdown_permille": 0}]),
            "beside: found 0, expected a slowdown > 0",
        ),
        (
            _changed(
                models=[
                    {"model": "m", "file_digest": "", "median_ns": 5, "low_ns": 6, "high_ns": 7}
                ]
            ),
            "times of 'm' are not 0 <= low <= median <= high",
        ),
    ],
)
def test_other_content_is_refused(data: bytes, part: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_times(data)
    assert part in str(caught.value)


def test_the_text_says_where_a_second_lane_gains_nothing() -> None:
    assert [round(ratio, 3) for _, _, ratio in together(TIMES)] == [1.467, 1.003]
    text = times_text(TIMES)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "cam-0 and cam-1 gain nothing from running at once" in text
    assert "cam-0 stands for 3 lanes with the same models" in text
    assert "cam-0 and door gain" not in text
    long = replace(TIMES.groups[0], lanes=("l" * 200, "k" * 200))
    hostile = replace(TIMES, fleet="f" * 60, groups=(long,), beside=(), models=())
    assert all(len(line) <= 80 for line in times_text(hostile).splitlines())


def test_lanes_that_are_faster_at_once_than_alone_were_measured_beside_noise() -> None:
    assert TIMES.noisy() == ()
    assert TIMES.noise_words() == ()
    # Of all times alone a tenth were less than 0.95 of the median.
    for permille, is_noise in ((740, True), (940, True), (950, False), (1000, False)):
        quick = Beside("door", "cam-0", permille)
        times = replace(TIMES, beside=(TIMES.beside[0], quick, *TIMES.beside[2:]))
        assert times.noisy() == ((("door", "cam-0"),) if is_noise else ())
    # The wider they spread, the less is noise; but not less than nine tenths.
    for low, permille, is_noise in ((18_400_000, 930, False), (100, 910, False), (100, 740, True)):
        models = (replace(TIMES.models[0], low_ns=low), TIMES.models[1])
        beside = (Beside("door", "cam-0", permille),)
        assert bool(replace(TIMES, models=models, beside=beside).noisy()) is is_noise
    both = (Beside("cam-0", "cam-1", 740), Beside("cam-1", "cam-0", 710), *TIMES.beside[:2])
    (words,) = replace(TIMES, beside=both).noise_words()
    assert words.startswith("noise: lanes 'cam-0' and 'cam-1' were measured faster beside each")
    assert words.endswith("spreads: measure again on a quiet device")
    assert "2.76 noise" in times_text(replace(TIMES, beside=both))
    every = (*both[:2], Beside("door", "cam-0", 100))
    assert "(and 1 more pair)" in replace(TIMES, beside=every).noise_words()[0]
    untimed = replace(TIMES, models=(ModelTime(DETECT, "", 0, 0, 0),), beside=both)
    assert untimed.noisy() == (("cam-0", "cam-1"),)


def test_the_figures_are_those_of_the_file_and_what_lanes_do_together() -> None:
    figures = times_figures(TIMES, ["a note"])
    assert figures["models"][0]["median_ns"] == 20_000_000
    assert figures["together"][1] == {"lanes": ["cam-0", "cam-1"], "ratio": 1.003}
    assert figures["warnings"] == ["a note"]
    assert json.loads(json.dumps(figures))["beside"][0]["slowdown_permille"] == 1500
