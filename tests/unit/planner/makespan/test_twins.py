"""Channels that are alike may take turns: a schedule of the same length always does."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.makespan import list_schedule
from planner.makespan.exact import ExactModel, improve
from planner.makespan.jobs import Jobs
from planner.makespan.twins import in_turn, twins
from planner.model import ModelId
from planner.schedule import Schedule
from tests.strategies import fleets

FLEETS = fleets(
    pipelines_max=2, channels_max=3, frames_max=2, steps_max=3, executions_max=9, pools=False
)


def jobs_of(lane: str, channels: int = 3) -> Jobs:
    m = ModelId("m")
    steps = (StepSpec("a", m, lane, time_ns=2), StepSpec("b", m, lane, ("a",), time_ns=3))
    fleet = FleetSpec(
        "f",
        (ModelSpec(m, work_bytes=512, weight_bytes=0),),
        (PipelineSpec("p", steps, channels=channels),),
    )
    return Jobs.of_schedule(Schedule.of_fleet(fleet))


def check(jobs: Jobs, starts: list[int]) -> None:
    """Order and locks are kept; a job without length may lie inside another."""
    spans = [(start, start + time) for start, time in zip(starts, jobs.times, strict=True)]
    for job, (start, end) in enumerate(spans):
        assert all(end <= spans[later][0] for later in jobs.after[job])
        for other in range(job):
            if jobs.locks[job] & jobs.locks[other] and jobs.times[job] and jobs.times[other]:
                assert end <= spans[other][0] or spans[other][1] <= start


def test_channels_of_one_lane_exclude_one_another() -> None:
    assert twins(jobs_of("x")) == [(True, [0, 2, 4]), (True, [1, 3, 5])]


def test_a_lane_of_its_own_tells_no_channel_apart() -> None:
    assert twins(jobs_of("x-{channel}")) == [(False, [0, 2, 4]), (False, [1, 3, 5])]


def test_another_time_or_demand_does() -> None:
    jobs = jobs_of("x")
    assert twins(jobs, [1, 1, 1, 1, 2, 1]) == [(True, [0, 2]), (True, [1, 3])]
    assert twins(replace(jobs, times=(2, 3, 4, 3, 5, 3))) == []
    assert twins(jobs_of("x", channels=1)) == []


@given(fleet=FLEETS, keys=st.permutations(range(9)))
def test_any_schedule_can_take_turns(fleet: FleetSpec, keys: list[int]) -> None:
    jobs = Jobs.of_schedule(Schedule.of_fleet(fleet))
    jobs = replace(jobs, times=tuple(keys[len(jobs.after[j])] for j in range(jobs.n)))
    starts = list_schedule(jobs, keys)
    groups = twins(jobs)
    turned = in_turn(starts, groups)
    assert sorted(turned) == sorted(starts)
    check(jobs, turned)
    for _, members in groups:
        assert [turned[job] for job in members] == sorted(turned[job] for job in members)


@given(fleet=FLEETS, sizes=st.lists(st.integers(1, 4), min_size=9, max_size=9))
def test_turns_cost_nothing(fleet: FleetSpec, sizes: list[int]) -> None:
    """Within a memory in use, the least length is that of the model without turns."""
    jobs = Jobs.of_schedule(Schedule.of_fleet(fleet))
    demands = [sizes[instance] for instance in jobs.instances]
    serial = [sum(jobs.times[j] for j in jobs.line[: jobs.line.index(i)]) for i in range(jobs.n)]
    found = improve(jobs, serial, 0, 1.0, work_bytes=sizes, height_bytes=5)
    plain = ExactModel.of_jobs(jobs, serial, 0)
    assert plain is not None
    plain.model.add_cumulative(plain.spans, demands, 5)
    assert found.lower_bound == plain.solve(1.0).lower_bound
