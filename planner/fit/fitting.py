"""From a fleet and a budget to a plan that fits: which order and which locks cost least time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from planner.errors import PlanError, UsageError
from planner.fit.heights import Chosen
from planner.fit.needed import drop_unneeded
from planner.fit.search import FitOptions, HeightSearch
from planner.fit.whole import Placed, WholeWork
from planner.fit.within import memory_bound
from planner.fit.workload import Workload
from planner.fleet import FleetSpec, ScheduleSpec
from planner.handover import BufferUse
from planner.judge import judge
from planner.makespan import Makespan, StepTimes, shortest
from planner.model import ModelId, ModelSize
from planner.pipeline import PlanOptions, plan_fleet
from planner.plan import Plan, SchedulePrice
from planner.times import with_times

__all__ = ["FitOptions", "Fitter", "fit_fleet"]

_PLAN_OPTIONS: Final = PlanOptions()
_FIT_OPTIONS: Final = FitOptions()


def fit_fleet(
    fleet: FleetSpec,
    sizes: Mapping[ModelId, ModelSize],
    options: PlanOptions = _PLAN_OPTIONS,
    budget_bytes: int | None = None,
    *,
    times: StepTimes | None = None,
    fit: FitOptions = _FIT_OPTIONS,
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
        With `added` and `price`. Where even everything in turns does not fit, the fastest plan
        found of the least size found: `Plan.fits` is false.

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

    Tensors that steps hand on are no part of the schedules that are looked at. Each is set aside in
    bytes of its own, or all are placed with the work once a schedule is known: what is faster.
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
        fit: FitOptions = _FIT_OPTIONS,
    ) -> None:
        self._fleet = with_times(replace(fleet, schedule=ScheduleSpec()), times or {})
        self._sizes, self._options = sizes, options
        self.free = plan_fleet(self._fleet, sizes, options)
        self._work = work = Workload.of_plan(self.free)
        self._before = shortest(work.jobs)
        self._trials_max = min(fit.trials_max, 10 * fit.trials_max // len(work.work_bytes))
        self._whole = WholeWork(work, self.free)
        align = options.rule.align_bytes
        self._search = HeightSearch(
            work, self.free.height_bytes, self._before, align, fit, self.free.buffers
        )

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
        room = (budget_bytes - self.free.weight_bytes) // align * align
        chosen, found = self._best(room)
        kept = drop_unneeded(
            self._whole,
            found.added,
            found.offsets,
            max(room, found.height),
            self._trials_max if trials_max is None else trials_max,
        )
        plan = plan_fleet(
            fleet,
            self._sizes,
            replace(
                options,
                added=options.added + kept.added,
                start=kept.offsets,
                solve=replace(options.solve, rounds_max=0),
            ),
        )
        # A schedule of the freer order, found by other means, may be longer than this one: what is
        # more free is never said to be slower.
        length = max(found.length, before.length)
        bound = max(before.lower_bound, self._bound(plan, budget_bytes, chosen))
        return _priced(plan, before, length, bound)

    def _best(self, room: int) -> tuple[Chosen, Placed]:
        """Return the best of the work alone, and of all that lies in so much work reservation.

        Tensors set aside leave less to the work than tensors that share; so heights above what they
        leave are looked at, too, and the shortest plan of which all fits is taken. Where none does,
        one in turns is as low as it goes; then the shortest of that height is looked for.
        """
        whole, search, least = self._whole, self._search, self._work.least_height
        left = room - whole.handed_bytes
        chosen = search.best(max(least, left))
        aside = whole.set_aside(chosen.timed)
        if not whole.handed_bytes:
            return chosen, aside
        fits = aside.height <= room
        timed = search.shortest_of(
            lambda plan: whole.shared(plan).height,
            low=left if fits else least - 1,
            high=room,
            length=chosen.timed.length if fits else None,
        )
        if timed is not None:
            return chosen, whole.shared(timed)
        if fits:
            return chosen, aside
        in_turns = map(whole.shared, search.in_turns)
        return self._best(min(aside.height, *(placed.height for placed in in_turns)))

    def _bound(self, plan: Plan, budget_bytes: int, chosen: Chosen) -> int:
        """Return a makespan that no plan of the budget is below, wherever its tensors lie.

        What was searched gives every tensor bytes of its own. Tensors that share bytes leave more
        to the work, so such a search proves nothing about them; memory in use does.
        """
        height = max(budget_bytes, plan.total_bytes) - plan.weight_bytes
        if not plan.buffers:
            return self._search.proven(height, chosen)
        return memory_bound(self._work, height - _never_shared(plan))


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
