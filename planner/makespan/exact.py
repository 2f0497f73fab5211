"""The least makespan by constraint programming, within limits that are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING, Final

from planner.makespan.jobs import Jobs
from planner.makespan.twins import in_turn, twins
from planner.masks import mask_indices

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

__all__ = ["Answer", "ExactModel", "improve", "is_available"]

_LENGTH_MAX: Final = 1 << 50
_BYTES_MAX: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class Answer:
    """Starts at least as good as those given, None if none were found, and a proven bound."""

    starts: tuple[int, ...] | None
    lower_bound: int


def is_available() -> bool:
    """Return whether OR-tools is installed: it is an optional part of planning."""
    from importlib.util import find_spec

    return find_spec("ortools") is not None


def improve(
    jobs: Jobs,
    starts: Sequence[int],
    lower_bound: int,
    limit: float,
    *,
    work_bytes: Sequence[int] = (),
    height_bytes: int | None = None,
) -> Answer:
    """Look for a shorter schedule than `starts`, or a proof that there is none.

    Parameters
    ----------
    jobs : Jobs
    starts : sequence of int
        A schedule that keeps order and locks (and memory, where that is limited): a hint.
    lower_bound : int
        Proven.
    limit : float
        CP-SAT's own count of work; about a second each.
    work_bytes, height_bytes :
        Reserved bytes of each instance, and what those that run at the same time may take
        together; None: no limit.

    Returns
    -------
    Answer
        Starts in the same unit. Jobs of no length may lie inside others that share their lock.

    Notes
    -----
    One worker, a fixed seed and a counted limit: the same answer everywhere with one release of
    OR-tools. Channels that are alike take turns: else every schedule has as many copies as they
    have permutations, and each wants its own proof. Beyond 2^50 (times over their common divisor,
    bytes likewise) nothing is tried.

    References
    ----------
    .. [1] L. Perron, F. Didier, S. Gay, "The CP-SAT-LP solver", CP 2023.
    """
    demands = [work_bytes[instance] for instance in jobs.instances] if work_bytes else []
    groups = twins(jobs, demands)
    model = ExactModel.of_jobs(jobs, in_turn(starts, groups), lower_bound)
    if model is None:
        return Answer(None, lower_bound)
    model.keep_turns(groups)
    if height_bytes is not None:
        share = gcd(*demands) or 1
        if height_bytes // share < _BYTES_MAX:
            scaled = [demand // share for demand in demands]
            model.model.add_cumulative(model.spans, scaled, height_bytes // share)
    return model.solve(limit)


class ExactModel:
    """One frame as a model: starts within a schedule's length, order and locks, the end minimal.

    Attributes
    ----------
    model : CpModel
        To which further constraints may be added.
    spans : list of IntervalVar
        Of each job, in time over the common divisor of all times.
    """

    @classmethod
    def of_jobs(cls, jobs: Jobs, starts: Sequence[int], lower_bound: int) -> ExactModel | None:
        """Return the model of a schedule that is known; None: its times are beyond counting."""
        granule = gcd(*jobs.times) or 1
        if jobs.serial_length // granule >= _LENGTH_MAX:
            return None
        return cls(jobs, starts, lower_bound, granule)

    def __init__(self, jobs: Jobs, starts: Sequence[int], lower_bound: int, granule: int) -> None:
        from ortools.sat.python import cp_model

        self._granule, self._bound = granule, lower_bound
        self._is_certain = jobs.locks == jobs.certain
        self.model = model = cp_model.CpModel()
        times = [time // granule for time in jobs.times]
        longest = max(start // granule + time for start, time in zip(starts, times, strict=True))
        self._begins = [model.new_int_var(0, longest - time, "") for time in times]
        self.spans: list[cp_model.IntervalVar] = [
            model.new_fixed_size_interval_var(begin, time, "")
            for begin, time in zip(self._begins, times, strict=True)
        ]
        end = model.new_int_var(-(-lower_bound // granule), longest, "")
        for job, begin in enumerate(self._begins):
            model.add(begin + times[job] <= end)
            for later in jobs.after[job]:
                model.add(begin + times[job] <= self._begins[later])
            model.add_hint(begin, starts[job] // granule)
        holders: dict[int, list[int]] = {}
        for job, mask in enumerate(jobs.locks):
            for lock in mask_indices(mask):
                holders.setdefault(lock, []).append(job)
        for members in dict.fromkeys(map(tuple, holders.values())):
            if len(members) > 1:
                model.add_no_overlap([self.spans[job] for job in members])
        model.minimize(end)
        self._times = times

    def keep_turns(self, groups: Sequence[tuple[bool, Sequence[int]]]) -> None:
        """Let twins start in their order, as the hint does: one of many schedules of a length."""
        for is_excluded, members in groups:
            for first, second in pairwise(members):
                gap = self._times[first] if is_excluded else 0
                self.model.add(self._begins[first] + gap <= self._begins[second])

    def solve(self, limit: float, values: Sequence[cp_model.IntVar] = ()) -> Answer:
        """Return the answer within CP-SAT's own count of work; `found` then holds `values`."""
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = limit
        # Its own handler would leave the process without Python's: Ctrl-C would then kill it.
        solver.parameters.catch_sigint_signal = False
        status = solver.solve(self.model)
        self.found: tuple[int, ...] = ()
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Answer(None, self._bound)
        self.found = tuple(solver.value(value) for value in values)
        bound = self._bound
        if self._is_certain:  # else it is proven for these lanes alone
            bound = max(bound, round(solver.best_objective_bound) * self._granule)
        starts = tuple(solver.value(begin) * self._granule for begin in self._begins)
        return Answer(starts, bound)
