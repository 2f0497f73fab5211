"""Drop what was added and is not needed: try without it, and keep the plan within its height."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from planner.conflict import ConflictRelation
from planner.fit.workload import Workload
from planner.masks import mask_indices
from planner.pipeline import schedule_of
from planner.plan import AddedOrder
from planner.problem import Problem
from planner.solvers import SolveOptions, solve

__all__ = ["Kept", "drop_unneeded"]


_SEARCHED_MAX: Final = 60
"""More instances are placed without a search: a trial then takes hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Constraints that are left, and offsets that they make valid."""

    added: tuple[AddedOrder, ...]
    offsets: tuple[int, ...]


def drop_unneeded(
    work: Workload,
    fixed: tuple[AddedOrder, ...],
    added: tuple[AddedOrder, ...],
    offsets: tuple[int, ...],
    height_bytes: int,
    trials_max: int,
) -> Kept:
    """Return fewer constraints under which the work still fits `height_bytes`.

    Parameters
    ----------
    work : Workload
    fixed : tuple of AddedOrder
        Constraints that stay whatever happens.
    added : tuple of AddedOrder
        Those to try without, the last first: exclusions before orders.
    offsets : tuple of int
        Valid under all of them, of at most `height_bytes`.
    height_bytes : int
    trials_max : int
        Searches for offsets in all. With at least one for each constraint, none of what is left
        can be left out by this search alone; with fewer, halves and quarters are tried first.

    Notes
    -----
    A schedule that kept all constraints keeps fewer: the makespan does not grow.
    """
    trial = _Trial(work, fixed, height_bytes)
    kept = Kept(added, offsets)
    size = len(added) if len(added) > trials_max else 1
    while size:
        position = len(kept.added)
        while position > 0 and trials_max > 0:
            start = max(0, position - size)
            rest = kept.added[:start] + kept.added[position:]
            trials_max -= 1
            found = trial(rest, kept.offsets)
            if found is not None:
                kept = Kept(rest, found)
            position = start
        size //= 2
    return kept


class _Trial:
    """Offsets under fewer constraints, or None where a short search finds none low enough."""

    def __init__(self, work: Workload, fixed: tuple[AddedOrder, ...], height_bytes: int) -> None:
        self.work, self.fixed, self.height_bytes = work, fixed, height_bytes

    def __call__(
        self, added: tuple[AddedOrder, ...], offsets: tuple[int, ...]
    ) -> tuple[int, ...] | None:
        work = self.work
        schedule = schedule_of(work.schedule.spec, self.fixed + added)
        masks = ConflictRelation.of_schedule(schedule).masks
        if _are_valid(work.work_bytes, masks, offsets):
            return offsets
        problem = Problem(work.work_bytes, conflict_masks=masks)
        options = SolveOptions(
            target_bytes=self.height_bytes,
            nodes_max=20_000,
            clique_nodes_max=5_000,
            rounds_max=1 if problem.n <= _SEARCHED_MAX else 0,
        )
        assignment = solve(problem, options).assignment
        assert assignment is not None, "without a capacity there is always an assignment"
        fits = assignment.height_bytes(problem) <= self.height_bytes
        return assignment.offsets if fits else None


def _are_valid(sizes: Sequence[int], masks: Sequence[int], offsets: Sequence[int]) -> bool:
    return all(
        offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
        for i, mask in enumerate(masks)
        if sizes[i]
        for j in mask_indices(mask >> i << i)
        if sizes[j]
    )
