"""Plans of every height for one fleet; what two budgets have in common is found once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from planner.fit.baselines import as_one_lane, handing_on, lanes_of_pipelines, merged_lanes
from planner.fit.heights import (
    Chosen,
    Heights,
    choose,
    heights_between,
    heights_of_lanes,
    heights_of_sums,
)
from planner.fit.placing import TimedPlan
from planner.fit.within import Effort, Within, fit_within, memory_bound
from planner.fit.workload import Workload
from planner.handover import ChannelBuffer
from planner.makespan import Makespan
from planner.makespan.exact import improve, is_available

__all__ = ["FitOptions", "HeightSearch"]

_PROOF: Final = 3
"""The proof of a budget may do so many times as much as one run at a height."""


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
    exact_heights_jobs: int = 2_000
    exact_limit: float = 0.1
    exact_jobs_max: int = 400
    trials_max: int = 400


class HeightSearch:
    """The shortest plans of a fleet's work within heights.

    Parameters
    ----------
    work : Workload
    highest : int
        Height with nothing added, bytes.
    before : Makespan
        With nothing added.
    align : int
        Heights to look at are multiples of it.
    fit : FitOptions
    buffers : sequence of ChannelBuffer
        What steps hand on.
    """

    def __init__(
        self,
        work: Workload,
        highest: int,
        before: Makespan,
        align: int,
        fit: FitOptions,
        buffers: Sequence[ChannelBuffer],
    ) -> None:
        self._work, self._before, self._buffers = work, before, buffers
        n = work.jobs.n
        self._lists = Effort(restarts=max(1, min(20, 800 // n)), exact_limit=0)
        exact_limit = fit.exact_limit if n <= fit.exact_jobs_max else 0
        self._exact = replace(self._lists, exact_limit=exact_limit)
        self._heights, self._looked_at = _heights(work, highest, align, fit)
        self._found: dict[int, Within] = {}
        self._bounds: dict[int, int] = {}

    def within(self, height: int) -> Within:
        """Return what is found within one of the heights to look at."""
        if height not in self._found:
            effort = self._exact if height in self._looked_at else self._lists
            self._found[height] = fit_within(self._work, height, self.bound_of(height), effort)
        return self._found[height]

    def bound_of(self, height: int) -> int:
        """Return a makespan that no plan within a height is below, quickly."""
        if height not in self._bounds:
            self._bounds[height] = max(self._before.lower_bound, memory_bound(self._work, height))
        return self._bounds[height]

    def best(self, height: int) -> Chosen:
        """Return the shortest of all plans that a height has room for; at least the last one."""
        return choose(
            self._heights, self.within, self.bound_of, self.by_hand, height, self._before.length
        )

    def proven(self, height: int, chosen: Chosen) -> int:
        """Return a makespan that no plan within a height is below: searched for at that height.

        The search looks for schedules too, and they are left alone: a height that follows from a
        budget is none of those at which every budget looks.
        """
        bound, limit = chosen.lower_bound, _PROOF * self._exact.exact_limit
        is_done = chosen.timed.length <= max(bound, self._before.length)
        if is_done or limit == 0 or not is_available():
            return bound
        work, starts = self._work, chosen.timed.starts
        answer = improve(
            work.jobs, starts, bound, limit, work_bytes=work.work_bytes, height_bytes=height
        )
        return answer.lower_bound

    def shortest_of(
        self, height_of: Callable[[TimedPlan], int], low: int, high: int, length: int | None
    ) -> TimedPlan | None:
        """Return the shortest plan whose height is at most `high` by another measure.

        Parameters
        ----------
        height_of : callable
            That measure, at least as large as the work alone is high.
        low, high : int
            Heights to look at are above `low` and at most `high`.
        length : int or None
            Only what is shorter counts; None: anything does.
        """
        best: TimedPlan | None = None
        by_hand = (plan for plan in self.by_hand if plan.height <= high)
        for plan in sorted(by_hand, key=lambda plan: plan.length):
            if length is not None and plan.length >= length:
                break
            if height_of(plan) <= high:
                best, length = plan, plan.length
        for height in self._heights.values:
            if height > high:
                continue
            if height <= low or (length is not None and length <= self.bound_of(height)):
                break
            plan = self.within(height).timed
            if (length is None or plan.length < length) and height_of(plan) <= high:
                best, length = plan, plan.length
        return best

    @cached_property
    def by_hand(self) -> list[TimedPlan]:
        """What people do by hand; of many lanes put together, some."""
        merged = list(merged_lanes(self._work))
        some = merged[:: -(-len(merged) // 16) or 1]
        groupings = [lanes_of_pipelines(self._work), *some]
        lanes = [as_one_lane(self._work, groups, exact_limit=0) for groups in groupings]
        return [*self.in_turns, *lanes]

    @cached_property
    def in_turns(self) -> list[TimedPlan]:
        """Everything in turns: in any order, and so that what steps hand on takes little."""
        work = self._work
        found = [as_one_lane(work, [0] * len(work.work_bytes), exact_limit=0)]
        return [*found, handing_on(work, self._buffers)] if self._buffers else found


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
