"""The heights at which plans are looked for, whatever the budget: more memory is never slower.

    height   H ---- h1 ---- h2 ---- h3 ---- h4 ---- ... ---- least: everything in turns
                         ^
                      budget: h2 and all below are looked at, best first; h1 as well, since what
                      is found there may be lower than asked for

Heights follow from the fleet alone. What a budget may choose from is all that a smaller one may
choose from and more; heights are left out only where a bound proves that they hold nothing better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.fit.placing import TimedPlan
from planner.fit.within import Within

__all__ = ["Chosen", "Heights", "choose", "heights_between", "heights_of_sums"]


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
    """Return at most `count` + 1 heights, downward, multiples of `align` as both ends are.

    The steps between their reciprocals are equal: where memory is what delays, so are those
    between makespans.

    Examples
    --------
    >>> heights_between(8192, 1024, 3, 512)
    Heights(values=(8192, 2048, 1024), are_all=False)
    """
    steps = (
        count * highest * lowest // ((count - k) * lowest + k * highest) // align * align
        for k in range(count)
    )
    found = {highest, lowest, *(h for h in steps if lowest < h < highest)}
    return Heights(tuple(sorted(found, reverse=True)))


def choose(
    heights: Heights,
    within: Callable[[int], Within],
    bound_of: Callable[[int], int],
    others: Sequence[TimedPlan],
    height_bytes: int,
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
    """
    above = [height for height in heights.values if height > height_bytes]
    below = heights.values[len(above) :]
    best = _shortest(others, height_bytes)
    for height in below:
        if best is not None and best.length <= bound_of(height):
            break
        here = within(height)
        best = _shortest([here.timed, *([best] if best else [])], height_bytes)
        if best is not None and best.length <= here.lower_bound:
            break
    assert best is not None, "the last height holds a plan that is no higher"
    bound = bound_of(height_bytes)
    if heights.are_all and best.length > bound:
        bound = max(bound, within(below[0]).lower_bound)
    elif above and best.length > bound:
        here = within(above[-1])
        bound = max(bound, here.lower_bound)
        best = _shortest([best, here.timed], height_bytes) or best
    return Chosen(best, bound)


def _shortest(plans: Sequence[TimedPlan], height_bytes: int) -> TimedPlan | None:
    fitting = [plan for plan in plans if plan.height <= height_bytes]
    return min(fitting, key=lambda plan: (plan.length, plan.height), default=None)
