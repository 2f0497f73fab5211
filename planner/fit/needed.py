"""Drop what was added and is not needed: try without it, and keep the plan within its height."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.fit.whole import WholeWork, place
from planner.masks import mask_indices
from planner.plan import AddedOrder

__all__ = ["Kept", "drop_unneeded"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Constraints that are left, and offsets that they make valid."""

    added: tuple[AddedOrder, ...]
    offsets: tuple[int, ...]


def drop_unneeded(
    whole: WholeWork,
    added: tuple[AddedOrder, ...],
    offsets: tuple[int, ...],
    height_bytes: int,
    trials_max: int,
) -> Kept:
    """Return fewer constraints under which all work still fits `height_bytes`.

    Parameters
    ----------
    whole : WholeWork
    added : tuple of AddedOrder
        Those to try without, the last first: exclusions before orders.
    offsets : tuple of int
        Of instances and buffers; valid under all of them, of at most `height_bytes`.
    height_bytes : int
    trials_max : int
        Searches for offsets in all. With at least one for each constraint, none of what is left
        can be left out by this search alone; with fewer, halves and quarters are tried first.

    Notes
    -----
    A schedule that kept all constraints keeps fewer: the makespan does not grow.
    """
    kept = Kept(added, offsets)
    size = len(added) if len(added) > trials_max else 1
    while size:
        position = len(kept.added)
        while position > 0 and trials_max > 0:
            start = max(0, position - size)
            rest = kept.added[:start] + kept.added[position:]
            trials_max -= 1
            found = _trial(whole, rest, kept.offsets, height_bytes)
            if found is not None:
                kept = Kept(rest, found)
            position = start
        size //= 2
    return kept


def _trial(
    whole: WholeWork, added: tuple[AddedOrder, ...], offsets: tuple[int, ...], height_bytes: int
) -> tuple[int, ...] | None:
    """Return offsets under fewer constraints; None: a short search finds none low enough."""
    problem = whole.problem(added)
    assert problem.conflict_masks is not None, "a fleet's problem has masks"
    if _are_valid(problem.sizes, problem.conflict_masks, offsets):
        return offsets
    assignment = place(problem, height_bytes)
    return assignment.offsets if assignment.height_bytes(problem) <= height_bytes else None


def _are_valid(sizes: Sequence[int], masks: Sequence[int], offsets: Sequence[int]) -> bool:
    return all(
        offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
        for i, mask in enumerate(masks)
        if sizes[i]
        for j in mask_indices(mask >> i << i)
        if sizes[j]
    )
