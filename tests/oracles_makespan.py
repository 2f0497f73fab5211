"""The least makespan of a few executions, from the definition: every sequence is tried."""

from collections.abc import Mapping
from itertools import permutations

from planner.schedule import Execution, Schedule

__all__ = ["least_makespan", "one_frame"]


def one_frame(schedule: Schedule) -> list[Execution]:
    return [execution for execution in schedule.executions() if execution.frame == 0]


def least_makespan(schedule: Schedule, times: Mapping[tuple[str, str], int]) -> int:
    """Return the least makespan of one frame of every channel; at most 6 executions, no pools."""
    executions = one_frame(schedule)
    assert len(executions) <= 6, "every sequence is tried"
    apart = {
        (first, second)
        for first in executions
        for second in executions
        if schedule.precedes(first, second) or _exclude(schedule, first, second)
    }
    wrong = {(a, b) for a in executions for b in executions if schedule.precedes(b, a)}
    best = sum(times[e.pipeline, e.step] for e in executions)
    for sequence in permutations(executions):
        ends: dict[Execution, int] = {}
        for execution in sequence:
            if any((earlier, execution) in wrong for earlier in ends):
                break
            start = max((ends[e] for e in ends if (e, execution) in apart), default=0)
            ends[execution] = start + times[execution.pipeline, execution.step]
        else:
            best = min(best, max(ends.values()))
    return best


def _exclude(schedule: Schedule, first: Execution, second: Execution) -> bool:
    (one,), (other,) = schedule.choices_of(first), schedule.choices_of(second)
    return not one.locks.isdisjoint(other.locks)
