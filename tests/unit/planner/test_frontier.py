"""The frontier against all plans of small fleets, its laws, and what is said of it."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.codec import decode_plan, encode_plan
from planner.fit import Fitter, fit_fleet
from planner.fleet import DeviceSpec, FleetSpec, IoPlace, ModelSpec, PipelineSpec, StepSpec
from planner.fleet_file import parse_fleet
from planner.frontier import Frontier, frontier, knee_of, non_dominated, point_of
from planner.judge import judge
from planner.makespan import MakespanUnit
from planner.model import ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.units import KiB
from tests.fitted import timed_fleet, with_tensors
from tests.fleets import declared_sizes
from tests.frontiers import all_plans, exact, four_lanes, frontier_of
from tests.plans_io import HANDING_YAML


def test_no_point_of_the_true_frontier_is_missing() -> None:
    every = non_dominated([point_of(plan, {}) for plan in all_plans(four_lanes())])
    got = frontier_of(four_lanes())
    assert len(every) >= 4
    assert _figures(got) == [(p.plan.total_bytes, p.makespan) for p in every]


def _figures(found: Frontier) -> list[tuple[int, int]]:
    return [(p.plan.total_bytes, p.makespan) for p in found.points]


@pytest.mark.parametrize("tries_max", [0, 5, 40])
@pytest.mark.parametrize("plans_max", [2, 3, 4, 5, 8, 13])
def test_fewer_plans_give_a_part_of_it_with_both_ends(plans_max: int, tries_max: int) -> None:
    calls = 0
    best = exact(four_lanes())

    def within(budget_bytes: int) -> Plan:
        nonlocal calls
        calls += 1
        plan = best(budget_bytes)
        assert plan.total_bytes <= budget_bytes
        return plan

    got = frontier(all_plans(four_lanes())[0], within, plans_max=plans_max, tries_max=tries_max)
    assert calls <= plans_max - 1 + tries_max
    assert len(got.points) <= plans_max
    every = _figures(frontier_of(four_lanes()))
    concurrent = (got.concurrent.plan.total_bytes, got.concurrent.makespan)
    assert set(_figures(got)) <= {*every, concurrent}
    assert got.points[0].makespan == got.concurrent.makespan, "the fastest: everything concurrent"
    assert got.points[-1].plan.total_bytes == got.serial_bytes, "the least: everything serial"


@settings(max_examples=25)
@given(st.lists(st.integers(1, 60), min_size=3, max_size=3), st.integers(2, 12))
def test_points_are_sorted_judged_and_not_dominated(works: list[int], plans_max: int) -> None:
    models = tuple(
        ModelSpec(ModelId(f"m{i}"), work_bytes=work * KiB, weight_bytes=512)
        for i, work in enumerate(works)
    )
    pipelines = tuple(
        PipelineSpec(f"p{i}", (StepSpec("s", m.id, f"l{i}", time_ns=1 + works[-1 - i]),))
        for i, m in enumerate(models)
    )
    got = frontier_of(FleetSpec("f", models, pipelines), plans_max)
    figures = _figures(got)
    assert figures == sorted(figures, key=lambda f: (-f[0], f[1]))
    for (memory, time), (less, more) in pairwise(figures):
        assert less < memory
        assert more > time
    assert got.serial_makespan >= got.points[-1].makespan
    for point in got.points:
        again = decode_plan(encode_plan(point.plan))
        assert not judge(again)
        assert point_of(again, {}) == point
    assert (got.knee is None) or 0 < got.knee < len(figures) - 1


def test_a_fleet_with_nothing_to_gain_has_one_point() -> None:
    single = replace(four_lanes(), pipelines=four_lanes().pipelines[1:2])
    got = frontier(plan_fleet(single, declared_sizes(single)), _refuse)
    assert len(got.points) == 1
    assert got.knee is None
    assert got.assumed == ()


def _refuse(budget_bytes: int) -> Plan:
    raise AssertionError(f"nothing is to be planned within {budget_bytes}")


def test_without_times_every_step_counts_one_and_no_rate_is_known() -> None:
    got = frontier_of(four_lanes(timed=False, rates=(25_000, None)))
    assert got.unit is MakespanUnit.STEPS
    assert got.serial_makespan == 4
    assert [p.makespan for p in got.points] == sorted(
        {1, 2, 3, 4} & {p.makespan for p in got.points}
    )
    assert all(p.rates == p.serial_rates == () == p.lanes for p in got.points)


def test_rates_are_of_the_plan_with_what_it_adds() -> None:
    got = frontier_of(four_lanes(rates=(100_000, None)))
    first, last = got.points[0], got.points[-1]
    assert first.rates[0].most == Fraction(1, 7_000_000)
    assert first.rates[0].feasible
    assert last.rates[0].most == Fraction(1, 14_000_000), "both cameras share a lock"
    assert last.rates[0].feasible is False
    assert first.serial_rates[0].most == last.serial_rates[0].most == Fraction(1, 14_000_000)
    assert first.serial_rates[0].limited_by == "one lane for all"
    use = {lane.lane: lane.share for lane in first.lanes}
    assert use["cam-0"] == Fraction(7, 10)
    assert use["gate"] == 1, "without a wanted rate as fast as it can"


def test_measured_slowdowns_make_serial_plans_as_good() -> None:
    lanes = ("cam-0", "cam-1", "door", "gate")
    slowdowns = {(a, b): 2000 for a in lanes for b in lanes if a != b}
    got = frontier(all_plans(four_lanes())[0], exact(four_lanes()), slowdowns=slowdowns)
    assert got.assumed == ()
    assert _figures(got) == [(got.serial_bytes, got.serial_makespan)]


def test_pairs_of_lanes_without_a_measurement_are_named() -> None:
    got = frontier(
        all_plans(four_lanes())[0],
        exact(four_lanes()),
        slowdowns={("cam-0", "door"): 1500, ("door", "cam-0"): 1500, ("gate", "door"): 1100},
    )
    assert ("cam-0", "door") not in got.assumed
    assert len(got.assumed) == 5
    assert ("door", "gate") in got.assumed, "one way is not both"


def test_a_finished_plan_takes_the_place_of_its_point() -> None:
    """What became no point, and everything concurrent, is not finished."""
    plans = exact(four_lanes())
    finished = []

    def finish(plan: Plan) -> Plan:
        finished.append(plan.total_bytes)
        return plans(plan.total_bytes)

    got = frontier(all_plans(four_lanes())[0], plans, finish=finish)
    assert _figures(got) == _figures(frontier_of(four_lanes()))
    assert finished == [p.plan.total_bytes for p in got.points if p is not got.concurrent]


def test_a_fitter_makes_the_plans_of_each_budget_alone() -> None:
    spec = four_lanes()
    fitter = Fitter(spec, declared_sizes(spec))
    assert fitter.free == plan_fleet(spec, declared_sizes(spec))
    for budget in (0, 70 * KiB, 120 * KiB, 180 * KiB, 1 << 30):
        alone = fit_fleet(spec, declared_sizes(spec), budget_bytes=budget)
        assert fitter.within(budget) == alone
        raw = fitter.within(budget, trials_max=0)
        assert (raw.total_bytes, raw.price) == (alone.total_bytes, alone.price)
        assert len(raw.added) >= len(alone.added)


def test_plans_of_steps_that_hand_tensors_on_fit_what_they_were_made_for() -> None:
    fleet = parse_fleet(HANDING_YAML)
    fitter = Fitter(fleet, declared_sizes(fleet))
    got = frontier(fitter.free, fitter.within, plans_max=12)
    assert len(got.points) >= 2
    for more, less in pairwise(got.points):
        assert less.plan.total_bytes < more.plan.total_bytes
        assert less.makespan > more.makespan
    for point in got.points:
        assert point.plan.fits
        assert not judge(point.plan)
    assert got.points[-1].plan.total_bytes <= got.serial_bytes


def test_inputs_and_outputs_in_turn_are_part_of_the_serial_end() -> None:
    """With `io: arena` the blocks of instances share bytes as their work does."""
    models = tuple(
        ModelSpec(ModelId(name), work_bytes=1000, weight_bytes=512, input_bytes=(("x", 50_000),))
        for name in "abc"
    )
    fleet = FleetSpec(
        "f",
        models,
        tuple(PipelineSpec(f"p{m.id}", (StepSpec("s", m.id, m.id),)) for m in models),
        DeviceSpec(io=IoPlace.ARENA),
    )
    fitter = Fitter(fleet, declared_sizes(fleet))
    got = frontier(fitter.free, fitter.within)
    assert [p.makespan for p in got.points] == [1, 2, 3]
    assert got.points[-1].plan.total_bytes == got.serial_bytes
    block, work, weights = 50_176, 1_536, 3 * 1024
    assert got.serial_bytes == weights + work + block


@pytest.mark.parametrize("seed", range(8))
def test_no_point_has_the_time_of_a_smaller_budget(seed: int) -> None:
    """However few plans are made to find points: each is lowered until a byte less is slower."""
    fleet = timed_fleet(seed, executions_max=8 + seed)
    if seed % 2:
        fleet = with_tensors(fleet, seed)
    fitter = Fitter(fleet, declared_sizes(fleet))
    got = frontier(fitter.free, fitter.within, plans_max=4, tries_max=200)
    for point in got.points:
        budget = point.plan.total_bytes - 1
        if budget >= got.serial_bytes:
            assert point_of(fitter.within(budget), {}).makespan > point.makespan


def test_what_a_finish_makes_worse_is_left_as_it_was() -> None:
    plans = exact(four_lanes())
    everything = all_plans(four_lanes())[0]
    got = frontier(everything, plans, finish=lambda _: everything)
    assert _figures(got) == _figures(frontier_of(four_lanes()))


def test_a_point_that_a_finish_brings_level_with_another_is_dropped() -> None:
    """With slowdowns, a plan with less added may be as fast as one that takes more memory."""
    plans = exact(four_lanes())
    every = [point_of(plan, {}) for plan in all_plans(four_lanes())]

    def slow(budget_bytes: int) -> Plan:
        fitting = [p for p in every if p.plan.total_bytes <= budget_bytes]
        return max(fitting, key=lambda p: (p.plan.total_bytes, p.makespan)).plan

    free = every[0].plan
    finished = frontier(free, slow, finish=lambda plan: plans(plan.total_bytes))
    figures = _figures(finished)
    assert len(figures) < len(frontier(free, slow).points)
    for (memory, time), (less, more) in pairwise(figures):
        assert less < memory
        assert more > time


def test_fitted_plans_make_the_true_frontier() -> None:
    spec = four_lanes()
    fitter = Fitter(spec, declared_sizes(spec))
    got = frontier(fitter.free, fitter.within, plans_max=100)
    assert _figures(got) == _figures(frontier_of(spec))


@pytest.mark.parametrize(
    ("values", "knee"),
    [
        ([], None),
        ([(5, 1)], None),
        ([(5, 1), (1, 5)], None),
        ([(5, 1), (3, 3), (1, 5)], None),  # on the line
        ([(5, 1), (4, 4), (1, 5)], None),  # above it
        ([(5, 1), (3, 2), (1, 5)], 1),
        ([(9, 0), (6, 1), (3, 4), (0, 9)], 2),  # equally far: less memory
        ([(9, 0), (2, 1), (1, 4), (0, 9)], 1),
    ],
)
def test_the_knee_is_farthest_below_the_line(
    values: list[tuple[int, int]], knee: int | None
) -> None:
    assert knee_of(values) == knee
