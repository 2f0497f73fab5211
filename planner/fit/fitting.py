"""From a fleet and a budget to a plan that fits: which order and which locks cost least time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Final

from planner.errors import PlanError, UsageError
from planner.fit.baselines import as_one_lane, lanes_of_pipelines, merged_lanes
from planner.fit.heights import (
    Chosen,
    Heights,
    choose,
    heights_between,
    heights_of_lanes,
    heights_of_sums,
)
from planner.fit.needed import drop_unneeded
from planner.fit.placing import TimedPlan
from planner.fit.sharing import constraints_of
from planner.fit.within import Effort, Within, fit_within, memory_bound
from planner.fit.workload import Workload
from planner.fleet import FleetSpec, ScheduleSpec
from planner.handover import BufferUse
from planner.judge import judge
from planner.makespan import Makespan, StepTimes, shortest
from planner.model import InstanceId, ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import Plan, SchedulePrice
from planner.times import with_times

__all__ = ["FitOptions", "Fitter", "fit_fleet"]

_PLAN_OPTIONS: Final = PlanOptions()


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How hard to look for a fit. Everything is counted: the same plan on every machine.

    Attributes
    ----------
    heights_max, jobs_max : int
        Heights that are looked at by list schedules, of each kind; and as many times executions.
    exact_heights_max, exact_heights_jobs : int
        The same of heights that constraint programming looks at as well.
    exact_limit : float
        What one run of constraint programming may do, in its own count.
    exact_jobs_max : int
        More executions are left to list schedules.
    trials_max : int
        Searches for offsets while constraints are dropped, for few instances.
    """

    heights_max: int = 64
    jobs_max: int = 12_800
    exact_heights_max: int = 32
    exact_heights_jobs: int = 2_400
    exact_limit: float = 0.1
    exact_jobs_max: int = 400
    trials_max: int = 400


def fit_fleet(
    fleet: FleetSpec,
    sizes: Mapping[ModelId, ModelSize],
    options: PlanOptions = _PLAN_OPTIONS,
    budget_bytes: int | None = None,
    *,
    times: StepTimes | None = None,
    fit: FitOptions = FitOptions(),
) -> Plan:
    """Plan a fleet within a budget: add the order and the locks that cost the least time.

    Parameters
    ----------
    fleet : FleetSpec
    sizes : mapping of ModelId to ModelSize
        Every model that a step uses.
    options : PlanOptions
        Constraints in `added` stay.
    budget_bytes : int or None
        What work and weight reservation may take together (`Plan.total_bytes`); it becomes the
        plan's `fleet.schedule.fit_bytes`. None: what the fleet's schedule says.
    times : mapping of (pipeline, step) to int, optional
        Measured times, nanoseconds; they replace those of the fleet, in the plan too.
    fit : FitOptions

    Returns
    -------
    Plan
        With `added` and `price`. Where even everything in turns does not fit, that: `Plan.fits` is
        false.

    Raises
    ------
    UsageError
        No budget is given. Caused by the caller.
    SpecError
        As `plan_fleet`.

    Notes
    -----
    Never slower than everything in turns, one lane for each pipeline, or lanes put together, at
    the same memory; and more memory is never slower. Deterministic.

    Tensors that steps hand on are set aside while order is chosen, each with bytes of its own, and
    placed with the work at the end: then the plan may come out lower than the budget.
    """
    budget = fleet.schedule.fit_bytes if budget_bytes is None else budget_bytes
    if budget is None:
        raise UsageError("found no budget; give budget_bytes, or schedule.fit in the fleet")
    return Fitter(fleet, sizes, options, times=times, fit=fit).within(budget)


class Fitter:
    """Fits one fleet into any budget; what budgets have in common is found once.

    Parameters
    ----------
    fleet, sizes, options, times, fit
        As in `fit_fleet`; what the fleet's own schedule is to fit is no matter.

    Attributes
    ----------
    free : Plan
        With nothing added.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        sizes: Mapping[ModelId, ModelSize],
        options: PlanOptions = _PLAN_OPTIONS,
        *,
        times: StepTimes | None = None,
        fit: FitOptions = FitOptions(),
    ) -> None:
        self._fleet = with_times(replace(fleet, schedule=ScheduleSpec()), times or {})
        self._sizes, self._options = sizes, options
        self.free = plan_fleet(self._fleet, sizes, options)
        self._work = work = Workload.of_plan(self.free)
        self._before = shortest(work.jobs)
        self._trials_max = min(fit.trials_max, 10 * fit.trials_max // len(work.work_bytes))
        align = options.rule.align_bytes
        self._choose = _search(work, self.free.height_bytes, self._before, align, fit)

    def within(self, budget_bytes: int, *, trials_max: int | None = None) -> Plan:
        """Return the plan that `fit_fleet` makes within a budget.

        Parameters
        ----------
        budget_bytes : int
        trials_max : int or None
            Searches for offsets while constraints are dropped; fewer leave more constraints in the
            plan, which is as low and as fast. None: as many as the fleet's size is worth.
        """
        work, options, before = self._work, self._options, self._before
        fleet = replace(self._fleet, schedule=ScheduleSpec(budget_bytes))
        if self.free.total_bytes <= budget_bytes or not work.least_height:
            free = replace(self.free, fleet=fleet)
            return _priced(free, before, before.length, before.lower_bound)
        align = options.rule.align_bytes
        reserved = [
            options.rule.reserved_bytes(buffer.size_bytes)
            for buffer in self.free.buffers
            if buffer.use is not BufferUse.INSTANCE
        ]
        room = budget_bytes - self.free.weight_bytes - sum(reserved)
        height = max(work.least_height, room // align * align)
        chosen = self._choose(height)
        kept = drop_unneeded(
            work,
            options.added,
            constraints_of(work, chosen.timed),
            chosen.timed.offsets,
            height,
            self._trials_max if trials_max is None else trials_max,
        )
        plan = plan_fleet(
            fleet,
            self._sizes,
            replace(
                options,
                added=options.added + kept.added,
                start=kept.offsets
                + _stacked(work, kept.offsets, reserved)
                + _beside_work(self.free, kept.offsets),
                solve=replace(options.solve, rounds_max=0),
            ),
        )
        # A schedule of the freer order, found by other means, may be longer than this one: what is
        # more free is never said to be slower.
        length = max(chosen.timed.length, before.length)
        bound = max(before.lower_bound, self._bound(plan, budget_bytes, chosen))
        return _priced(plan, before, length, bound)

    def _bound(self, plan: Plan, budget_bytes: int, chosen: Chosen) -> int:
        """Return a makespan that no plan of the budget is below, wherever its tensors lie.

        What was searched gives every tensor bytes of its own. Tensors that share bytes leave more
        to the work, so such a search proves nothing about them; memory in use does.
        """
        if not plan.buffers:
            return chosen.lower_bound
        height = max(budget_bytes, plan.total_bytes) - plan.weight_bytes
        return memory_bound(self._work, height - _never_shared(plan))


def _stacked(work: Workload, offsets: Sequence[int], reserved: Sequence[int]) -> tuple[int, ...]:
    """Return offsets of what steps hand on, one above the other on top of the work."""
    top = max(map(sum, zip(offsets, work.work_bytes, strict=True)))
    return tuple(accumulate(reserved, initial=top))[:-1]


def _never_shared(plan: Plan) -> int:
    """Return bytes that tensors keep from all work, whatever is added.

    States; and of each frame in flight, where there are several, the largest tensor handed on.
    """
    frames = {pipeline.id: pipeline.frames_in_flight for pipeline in plan.fleet.pipelines}
    total = 0
    slots: dict[tuple[str, int], int] = {}
    for buffer in plan.buffers:
        size = plan.rule.reserved_bytes(buffer.size_bytes)
        if buffer.use is BufferUse.STATE:
            total += size
        elif buffer.use is BufferUse.FEED and frames[buffer.channel.rpartition("[")[0]] > 1:
            slot = (buffer.channel, buffer.slot)
            slots[slot] = max(slots.get(slot, 0), size)
    return total + sum(slots.values())


def _beside_work(plan: Plan, offsets: Sequence[int]) -> tuple[int, ...]:
    """Return offsets of the blocks of instances: each behind the work of its own."""
    reserved = plan.rule.reserved_bytes
    ends = {
        row.id: offset if row.work_offset is None else offset + reserved(row.work_bytes)
        for row, offset in zip(plan.instances, offsets, strict=True)
    }
    blocks = (buffer for buffer in plan.buffers if buffer.use is BufferUse.INSTANCE)
    return tuple(ends[InstanceId(buffer.step)] for buffer in blocks)


def _search(
    work: Workload, highest: int, before: Makespan, align: int, fit: FitOptions
) -> Callable[[int], Chosen]:
    """Return what finds the best plan of a height; what two heights have in common is kept."""
    n = work.jobs.n
    lists = Effort(restarts=max(1, min(20, 800 // n)), exact_limit=0)
    exact = replace(lists, exact_limit=fit.exact_limit if n <= fit.exact_jobs_max else 0)
    heights, looked_at = _heights(work, highest, align, fit)

    @cache
    def within(height: int) -> Within:
        effort = exact if height in looked_at else lists
        return fit_within(work, height, before.lower_bound, effort)

    @cache
    def bound_of(height: int) -> int:
        return max(before.lower_bound, memory_bound(work, height))

    by_hand = cache(lambda: _by_hand(work))
    return lambda height: choose(heights, within, bound_of, by_hand(), height, before.length)


def _heights(
    work: Workload, highest: int, align: int, fit: FitOptions
) -> tuple[Heights, frozenset[int]]:
    """Return the heights to look at, and at which of them constraint programming looks as well."""
    n = work.jobs.n
    count = max(4, min(fit.exact_heights_max, fit.exact_heights_jobs // n))
    sums = heights_of_sums(work.work_bytes, highest, 2 * count)
    if sums is not None:
        return sums, frozenset(sums.values)
    coarse = heights_between(highest, work.least_height, count, align).values
    count = max(4, min(fit.heights_max, fit.jobs_max // n))
    fine = heights_between(highest, work.least_height, count, align).values
    lanes = heights_of_lanes(work.lanes, work.work_bytes, highest, count).values
    every = {*fine, *lanes, *(coarse if fit.exact_limit > 0 else ())}
    return Heights(tuple(sorted(every, reverse=True))), frozenset(coarse)


def _by_hand(work: Workload) -> list[TimedPlan]:
    """Return what people do by hand; of many lanes put together, some."""
    merged = list(merged_lanes(work))
    some = merged[:: -(-len(merged) // 16) or 1]
    groupings = [[0] * len(work.work_bytes), lanes_of_pipelines(work), *some]
    return [as_one_lane(work, groups, exact_limit=0) for groups in groupings]


def _priced(plan: Plan, before: Makespan, length: int, lower_bound: int) -> Plan:
    price = SchedulePrice(
        unit=before.unit,
        makespan=length,
        before=before.length,
        lower_bound=lower_bound,
        serial=before.serial_length,
    )
    plan = replace(plan, price=price)
    violations = judge(plan)
    if violations:  # No assert: what leaves here is judged under -O as well.
        raise PlanError(f"the judge refuses our own plan: {violations[0]}")
    return plan
