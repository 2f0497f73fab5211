"""The heights at which plans are looked for, whatever the budget: more memory is never slower.

    height   H ---- h1 ---- h2 ---- h3 ---- h4 ---- ... ---- least: everything in turns
                         ^
                      budget: h2 and all below are looked at, best first; h1 as well, since what
                      is found there may be lower than asked for

Heights follow from the fleet alone. What a budget may choose from is all that a smaller one may
choose from and more; heights are left out only where a bound proves that they hold nothing better.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from planner.fit.placing import TimedPlan
from planner.fit.within import Within

__all__ = ["Chosen", "Heights", "choose", "heights_between", "heights_of_lanes", "heights_of_sums"]


@dataclass(frozen=True, slots=True)
class Heights:
    """Heights to look at, downward; `are_all`: no plan needs a height between two of them."""

    values: tuple[int, ...]
    are_all: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The shortest plan that a height has room for, and what none within it is below."""

    timed: TimedPlan
    lower_bound: int


def heights_of_sums(sizes: Sequence[int], highest: int, count: int) -> Heights | None:
    """Return the sums of sizes, the largest size to `highest`; None: they are more than `count`.

    A plan pushed down as far as it goes rests on itself: its height is a sum of sizes.

    Examples
    --------
    >>> heights_of_sums([4, 3, 2], 7, 9)
    Heights(values=(7, 6, 5, 4), are_all=True)
    """
    sums = {0}
    for size in sizes:
        sums |= {total + size for total in sums if total + size <= highest}
        if len(sums) > 64 * count:
            return None
    found = {total for total in sums if total >= max(sizes)}
    return (
        Heights(tuple(sorted(found, reverse=True)), are_all=True) if len(found) <= count else None
    )


def heights_between(highest: int, lowest: int, count: int, align: int) -> Heights:
    """Return at most `count` + 1 heights, downward in equal ratios, multiples of `align`.

    Both ends are multiples of `align` and among them. Whole numbers alone: the same everywhere.

    Examples
    --------
    >>> heights_between(8192, 1024, 3, 512)
    Heights(values=(8192, 4096, 2048, 1024), are_all=False)
    """
    found = {highest, lowest}
    share = bisect_left(
        range(_SHARES), True, key=lambda share: _shrunk(highest, share, count) >= lowest
    )
    for k in range(1, count):
        height = _shrunk(highest, share, k) // align * align
        if lowest < height < highest:
            found.add(height)
    return Heights(tuple(sorted(found, reverse=True)))


_SHARES: Final = 1 << 20


def _shrunk(height: int, share: int, times: int) -> int:
    """Return a height times (share / `_SHARES`) to the power of `times`."""
    shrunk: int = height * share**times // _SHARES**times
    return shrunk


def heights_of_lanes(
    lanes: Sequence[str], sizes: Sequence[int], highest: int, count: int
) -> Heights:
    """Return the heights at which the 1, 2, ... lanes that want most fit side by side.

    At most about `count` of them, below `highest`.

    Examples
    --------
    >>> heights_of_lanes(["x", "x", "y", "z"], [4, 3, 2, 1], 7, 9)
    Heights(values=(6, 4), are_all=False)
    """
    largest: dict[str, int] = {}
    for lane, size in zip(lanes, sizes, strict=True):
        largest[lane] = max(largest.get(lane, 0), size)
    sums = list(accumulate(sorted(largest.values(), reverse=True)))
    some = sums[:: -(-len(sums) // count)]
    return Heights(tuple(sorted({total for total in some if total < highest}, reverse=True)))


def choose(
    heights: Heights,
    within: Callable[[int], Within],
    bound_of: Callable[[int], int],
    others: Sequence[TimedPlan],
    height_bytes: int,
    enough: int,
) -> Chosen:
    """Return the shortest of all plans that `height_bytes` has room for.

    Parameters
    ----------
    heights : Heights
        The last is at most `height_bytes`.
    within : callable
        What is found within one of these heights, the same for every budget.
    bound_of : callable
        A makespan that no plan within a height is below, quickly.
    others : sequence of TimedPlan
        Candidates of any height.
    height_bytes : int
        The budget.
    enough : int
        A length that is as good as any shorter one.
    """
    above = [height for height in heights.values if height > height_bytes]
    below = heights.values[len(above) :]
    best = _shortest(others, height_bytes)
    for height in below:
        if best is not None and best.length <= max(enough, bound_of(height)):
            break
        here = within(height)
        best = _shortest([here.timed, *([best] if best else [])], height_bytes)
        if best is not None and best.length <= here.lower_bound:
            break
    assert best is not None, "the last height holds a plan that is no higher"
    bound = bound_of(height_bytes)
    if heights.are_all and best.length > max(enough, bound):
        bound = max(bound, within(below[0]).lower_bound)
    elif above and best.length > max(enough, bound):
        here = within(above[-1])
        bound = max(bound, here.lower_bound)
        best = _shortest([best, here.timed], height_bytes) or best
    return Chosen(best, bound)


def _shortest(plans: Sequence[TimedPlan], height_bytes: int) -> TimedPlan | None:
    fitting = [plan for plan in plans if plan.height <= height_bytes]
    return min(fitting, key=lambda plan: (plan.length, plan.height), default=None)
