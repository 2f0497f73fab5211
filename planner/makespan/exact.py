"""The least makespan by constraint programming, within limits that are counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Final

from planner.makespan.jobs import Jobs
from planner.masks import mask_indices

__all__ = ["Answer", "improve", "is_available"]

_LENGTH_MAX: Final = 1 << 50
_BYTES_MAX: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class Answer:
    """Starts that are perhaps better than those given, None if none are, and a proven bound."""

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
    OR-tools. Beyond 2^50 (times over their common divisor, bytes likewise) nothing is tried.

    References
    ----------
    .. [1] L. Perron, F. Didier, S. Gay, "The CP-SAT-LP solver", CP 2023.
    """
    granule = gcd(*jobs.times) or 1
    times = [time // granule for time in jobs.times]
    longest = max(start + time for start, time in zip(starts, jobs.times, strict=True)) // granule
    if sum(times) >= _LENGTH_MAX:
        return Answer(None, lower_bound)
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    begins = [model.new_int_var(0, longest - time, "") for time in times]
    spans = [
        model.new_fixed_size_interval_var(begin, time, "")
        for begin, time in zip(begins, times, strict=True)
    ]
    end = model.new_int_var(-(-lower_bound // granule), longest, "")
    for job, begin in enumerate(begins):
        model.add(begin + times[job] <= end)
        for later in jobs.after[job]:
            model.add(begin + times[job] <= begins[later])
        model.add_hint(begin, starts[job] // granule)
    holders: dict[int, list[int]] = {}
    for job, mask in enumerate(jobs.locks):
        for lock in mask_indices(mask):
            holders.setdefault(lock, []).append(job)
    for members in dict.fromkeys(map(tuple, holders.values())):
        if len(members) > 1:
            model.add_no_overlap([spans[job] for job in members])
    if height_bytes is not None:
        demands = [work_bytes[instance] for instance in jobs.instances]
        share = gcd(*demands) or 1
        if height_bytes // share < _BYTES_MAX:
            scaled = [demand // share for demand in demands]
            model.add_cumulative(spans, scaled, height_bytes // share)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = limit
    # Its own handler would leave the process without Python's: Ctrl-C would then kill it.
    solver.parameters.catch_sigint_signal = False
    status = solver.solve(model)
    bound = lower_bound
    if jobs.locks == jobs.certain:  # else it is proven for these lanes alone
        bound = max(lower_bound, round(solver.best_objective_bound) * granule)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(None, lower_bound)
    return Answer(tuple(solver.value(begin) * granule for begin in begins), bound)
