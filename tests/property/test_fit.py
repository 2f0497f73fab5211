"""Laws of a fit: judged, within its budget, no slower with more memory, and nothing in vain.

Whatever the run times are, two instances that share bytes never run at the same time: ten thousand
days of the guard's machine, in simulated time.
"""

import heapq
import itertools
import random
from dataclasses import replace

import pytest

from arena.guard.machine import CallRecord, Machine
from arena.guard.moves import CallState
from arena.guard.rules import ChannelRules, channel_rules, mask_bits
from planner.codec import decode_plan, encode_plan
from planner.fit import Fitter, fit_fleet
from planner.io_buffers import count_buffers
from planner.judge import judge
from planner.makespan import makespan_of
from planner.pipeline import PlanOptions, plan_fleet, schedule_of
from planner.plan import AddedKind, Plan
from planner.solvers import SolveOptions
from tests.fitted import fitted, timed_fleet, total_between, with_tensors
from tests.fleets import declared_sizes

N_SEEDS = 10_000


@pytest.mark.parametrize("seed", range(12))
def test_more_memory_is_never_slower(seed: int) -> None:
    fleet = timed_fleet(seed, executions_max=6 + seed)
    sizes = declared_sizes(fleet)
    free = plan_fleet(fleet, sizes)
    least = total_between(free, 0, 1)
    budgets = sorted({0, least - 1, least, *range(least, free.total_bytes + 1000, 1000)})
    before = None
    for budget in budgets:
        plan = fit_fleet(fleet, sizes, budget_bytes=budget)
        assert judge(plan) == ()
        assert plan.fits is (budget >= least)
        assert plan.total_bytes <= max(budget, least)
        assert plan.price is not None
        assert plan.price.lower_bound <= plan.price.makespan <= plan.price.serial
        assert before is None or plan.price.makespan <= before
        before = plan.price.makespan
    assert before == makespan_of(schedule_of(fleet, ())).length  # with all memory, nothing is lost


@pytest.mark.parametrize("seed", range(16))
def test_more_memory_is_never_slower_where_steps_hand_tensors_on(seed: int) -> None:
    """Nor does it fit less: tensors share bytes with the work, and with one another."""
    every = (with_tensors(timed_fleet(k, 5 + seed % 8), k) for k in itertools.count(seed, 100))
    fleet = next(fleet for fleet in every if count_buffers(fleet))
    fitter = Fitter(fleet, declared_sizes(fleet))
    free = fitter.free
    before: Plan | None = None
    step = max(1024, free.height_bytes // 40)
    for budget in range(free.weight_bytes, free.total_bytes + step, step):
        plan = fitter.within(budget, trials_max=seed)
        assert judge(plan) == ()
        assert plan.price is not None
        assert plan.price.lower_bound <= plan.price.makespan <= plan.price.serial
        if before is not None and before.price is not None:
            assert plan.fits
            assert plan.price.makespan <= before.price.makespan
        if plan.fits:
            assert plan.total_bytes <= budget
            before = plan
    assert before is not None
    assert before.price is not None
    assert before.price.makespan == before.price.before


@pytest.mark.parametrize("seed", [0, 4, 166, 184, 187, 191, 341])
def test_what_does_not_fit_takes_no_more_than_what_does(seed: int) -> None:
    """It is everything in turns, with tensors among the work where that is lower."""
    fleet = with_tensors(timed_fleet(seed, 4 + seed % 5), seed)
    fitter = Fitter(fleet, declared_sizes(fleet))
    plan = fitter.within(fitter.free.weight_bytes, trials_max=0)
    assert not plan.fits
    assert fitter.within(plan.total_bytes, trials_max=0).fits
    assert not fitter.within(plan.total_bytes - 1, trials_max=0).fits


@pytest.mark.parametrize("seed", range(12))
def test_the_makespan_is_one_of_the_final_order(seed: int) -> None:
    """What is claimed does not depend on the times by which sharers were told apart."""
    plan = fitted(seed, 1, 3)
    assert plan.price is not None
    found = makespan_of(schedule_of(plan.fleet, plan.added))
    assert found.lower_bound <= plan.price.makespan
    if found.is_proven:
        assert found.length <= plan.price.makespan
    assert plan.price.before <= plan.price.makespan


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_added_in_vain(seed: int) -> None:
    plan = fitted(seed, 1, 2, executions_max=8)
    budget = plan.fleet.schedule.fit_bytes
    assert budget is not None
    for item in plan.added:
        rest = tuple(other for other in plan.added if other is not item)
        without = plan_fleet(plan.fleet, dict(plan.sizes), PlanOptions(added=rest))
        assert without.total_bytes > budget, f"{item} is not needed"


@pytest.mark.parametrize("seed", range(6))
def test_fits_are_deterministic_and_survive_their_file(seed: int) -> None:
    plan = fitted(seed)
    assert fitted(seed) == plan
    assert decode_plan(encode_plan(plan)) == plan


@pytest.mark.parametrize("seed", range(6))
def test_what_was_added_before_stays(seed: int) -> None:
    plan = fitted(seed, 1, 2)
    sizes = dict(plan.sizes)
    free = replace(plan, added=())
    tighter = fit_fleet(
        plan.fleet,
        sizes,
        PlanOptions(added=plan.added, solve=SolveOptions(rounds_max=0)),
        total_between(free, 1, 8),
    )
    assert tighter.added[: len(plan.added)] == plan.added
    assert judge(tighter) == ()


def _sharers(plan: Plan) -> set[frozenset[str]]:
    spans = [
        (row.id, row.work_offset, row.work_offset + plan.rule.reserved_bytes(row.work_bytes))
        for row in plan.instances
        if row.work_offset is not None
    ]
    return {
        frozenset((a, b))
        for a, start, end in spans
        for b, other_start, other_end in spans
        if a != b and start < other_end and other_start < end
    }


def overlaps_of_a_day(
    rules: dict[str, ChannelRules], sharers: set[frozenset[str]], seed: int, frames: int = 2
) -> int:
    """Run frames of every channel with random times; count starts beside a running sharer."""
    rng = random.Random(seed)
    machine = Machine(rules)
    agenda: list[tuple[float, int, CallRecord]] = []
    running: dict[CallRecord, None] = {}
    now, overlaps, started = 0.0, 0, 0
    names = sorted({x.instance for c in rules.values() for s in c.steps for x in s.choices})
    scale = {name: 10 ** rng.uniform(-2, 2) for name in names}

    def start(call: CallRecord) -> None:
        nonlocal overlaps, started
        instance = call.choice.instance
        overlaps += sum(frozenset((instance, o.choice.instance)) in sharers for o in running)
        running[call] = None
        started += 1
        heapq.heappush(agenda, (now + rng.expovariate(1) * scale[instance], call.sequence, call))

    def open_frame(name: str) -> None:
        frame = machine.open(name)
        if frame.number < 0:
            return
        order = sorted(
            rules[name].index, key=lambda step: (_depth(rules[name], step), rng.random())
        )
        for step in order:
            call = machine.call(frame, step)
            if call.state is CallState.RUNNING:
                start(call)
        machine.leave(frame)

    to_open = [name for name in rules for _ in range(frames)]
    rng.shuffle(to_open)
    for name in to_open[: len(to_open) // 2]:
        open_frame(name)
    while agenda:
        now, _, call = heapq.heappop(agenda)
        del running[call]
        for moved in machine.finish(call):
            if isinstance(moved, CallRecord):
                start(moved)
    assert started > 0
    return overlaps


def _depth(rules: ChannelRules, step: str) -> int:
    """How many steps come before one: a topological order sorts by it."""
    return sum(1 for _ in mask_bits(rules.steps[rules.index[step]].before_mask))


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [fitted(seed, 1 + seed % 3, 4) for seed in range(10)]


def test_no_times_let_sharers_overlap(plans: list[Plan]) -> None:
    for k, plan in enumerate(plans):
        rules, sharers = channel_rules(plan.fleet, plan.added), _sharers(plan)
        assert sharers
        for seed in range(k * N_SEEDS // len(plans), (k + 1) * N_SEEDS // len(plans)):
            assert overlaps_of_a_day(rules, sharers, seed) == 0


def test_the_days_find_what_is_not_kept_apart(plans: list[Plan]) -> None:
    """Without any one added constraint some day lets two sharers overlap, and the judge says so."""
    found = missed = 0
    for plan in plans:
        sharers = _sharers(plan)
        for item in plan.added:
            rest = tuple(other for other in plan.added if other is not item)
            assert judge(replace(plan, added=rest)), f"{item} can go"
            rules = channel_rules(plan.fleet, rest)
            if any(overlaps_of_a_day(rules, sharers, seed) for seed in range(60)):
                found += 1
            else:
                missed += 1
    assert found > 3 * missed
    kinds = {item.kind for plan in plans for item in plan.added}
    assert kinds == {AddedKind.ORDER, AddedKind.EXCLUSIVE}
