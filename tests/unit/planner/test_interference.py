"""Frames under measured slowdowns: nothing changes without any, cores are shared with all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.interference import slowed_length
from planner.makespan import Jobs, makespan_of
from planner.model import ModelId
from planner.schedule import Schedule
from tests.strategies import fleets


def measured(spec: FleetSpec, slowdowns: dict[tuple[str, str], int]) -> tuple[int, int, int]:
    """Return the makespan alone, under slowdowns, and of everything serial."""
    schedule = Schedule.of_fleet(spec)
    found = makespan_of(schedule, exact_limit=0)
    jobs = Jobs.of_schedule(schedule)
    lanes = [schedule.instances[index].rpartition("@")[2] for index in jobs.instances]
    return (
        found.length,
        slowed_length(jobs, found.starts, lanes, slowdowns),
        found.serial_length,
    )


def all_pairs(spec: FleetSpec, permille: int) -> dict[tuple[str, str], int]:
    lanes = {lane for _, lane in spec.instances().values()}
    return {(a, b): permille for a in lanes for b in lanes if a != b}


@st.composite
def timed(draw: st.DrawFn) -> FleetSpec:
    spec = draw(fleets())
    pipelines = tuple(
        PipelineSpec(
            p.id,
            tuple(
                StepSpec(s.id, s.model, s.lane, s.after, s.locks, draw(st.integers(1, 50)))
                for s in p.steps
            ),
            p.channels,
            p.frames_in_flight,
        )
        for p in spec.pipelines
    )
    return FleetSpec(spec.name, spec.models, pipelines)


@settings(max_examples=150)
@given(timed())
def test_without_slowdowns_nothing_changes(spec: FleetSpec) -> None:
    alone, slowed, _ = measured(spec, {})
    assert slowed == alone
    assert measured(spec, all_pairs(spec, 1000))[1] == alone
    assert measured(spec, all_pairs(spec, 700))[1] == alone, "faster beside others is noise"


@settings(max_examples=150)
@given(timed())
def test_lanes_on_one_core_take_as_long_as_one_lane(spec: FleetSpec) -> None:
    _, slowed, serial = measured(spec, all_pairs(spec, 2000))
    assert slowed == serial


@settings(max_examples=150)
@given(timed(), st.integers(1000, 2000))
def test_in_between_it_takes_something_in_between(spec: FleetSpec, permille: int) -> None:
    alone, slowed, serial = measured(spec, all_pairs(spec, permille))
    assert alone <= slowed <= serial


def test_only_the_time_that_two_run_together_is_slowed() -> None:
    m = ModelId("m")
    steps = StepSpec("long", m, "x", time_ns=100), StepSpec("short", m, "y", time_ns=20)
    models = (ModelSpec(m, work_bytes=1, weight_bytes=0),)
    spec = FleetSpec("f", models, (PipelineSpec("p", steps),))
    # Beside `short`, which is done after 20 ns, `long` does 10 ns of its work.
    assert measured(spec, {("x", "y"): 2000})[1] == 110
    # `short` takes 30 ns beside `long`, which notices nothing.
    assert measured(spec, {("y", "x"): 1500})[1] == 100
