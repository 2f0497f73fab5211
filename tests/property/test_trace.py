"""Traces and metrics of any fleet: the format, what ran, and no byte held beyond the plan.

Laws: the trace keeps its format, so slices of one lane never overlap and arrows point forward; it
has every execution once; what executes never holds more than the plan's height; each declared order
of two steps has its arrow in every frame; metrics count what the trace shows.
"""

import json
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from arena.exercise import exercise
from arena.session import plan_and_load
from arena.tally import Tally
from planner.fleet import CrossStream, FleetSpec
from tests.strategies import fleets
from tests.trace_format import assert_trace_format, by_phase

FRAMES = 2


@settings(max_examples=30)
@given(spec=fleets(), mode=st.sampled_from(CrossStream), threads=st.integers(1, 4))
def test_a_trace_says_what_ran(spec: FleetSpec, mode: CrossStream, threads: int) -> None:
    spec = replace(spec, device=replace(spec.device, cross_stream=mode))
    with plan_and_load(spec, device="twin") as fleet:
        trace, tally = fleet.trace(), Tally(fleet.plan)
        fleet.runner.watch(tally.watch)
        outcome = exercise(fleet, FRAMES, threads=threads)
        found = assert_trace_format(json.dumps(trace.to_dict()))
    assert outcome.mismatches == 0
    runs = [event for event in by_phase(found, "X") if event["cat"] == "execution"]
    ran = Counter((r["args"]["channel"], r["args"]["frame"], r["args"]["step"]) for r in runs)
    assert ran == {
        (f"{pipeline.id}[{channel}]", frame, step.id): 1
        for pipeline in spec.pipelines
        for channel in range(pipeline.channels)
        for frame in range(FRAMES)
        for step in pipeline.steps
    }
    arrows = Counter(event["name"] for event in by_phase(found, "s"))
    assert arrows["after"] == FRAMES * sum(
        pipeline.channels * len(step.after)
        for pipeline in spec.pipelines
        for step in pipeline.steps
    )
    plan = fleet.plan
    for event in by_phase(found, "C"):
        most = plan.height_bytes if event["name"].startswith("work") else plan.weight_bytes
        assert 0 <= event["args"]["in use"] <= most <= event["args"]["reserved"]
    counts = tally.counts()
    shown = Counter((r["name"], r["args"]["instance"].partition("@")[2]) for r in runs)
    assert {key: found.executions for key, found in counts.items() if found.executions} == shown
    assert all(sum(c.waits.counts) == sum(c.runs.counts) == c.executions for c in counts.values())
    assert not any(tally.used_bytes().values())
