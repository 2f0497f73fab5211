"""Ctrl-C while a fleet is planned: never taken for the end of one search among many."""

from collections.abc import Callable

import pytest

from planner.capacity import capacity_of
from planner.fit import fit_fleet
from planner.frontier import frontier
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.solvers import portfolio
from tests.fitted import timed_fleet, total_between
from tests.fleets import declared_sizes

FLEET = timed_fleet(3)
SIZES = declared_sizes(FLEET)
FREE = plan_fleet(FLEET, SIZES)


def fit(budget: int) -> Plan:
    return fit_fleet(FLEET, SIZES, budget_bytes=budget)


@pytest.mark.parametrize(
    "planning",
    [
        lambda: plan_fleet(FLEET, SIZES),
        lambda: fit(total_between(FREE, 1, 2)),
        lambda: frontier(FREE, fit, plans_max=3, tries_max=3),
        lambda: capacity_of(FREE),
    ],
    ids=["plan", "fit", "frontier", "capacity"],
)
@pytest.mark.parametrize("method", ["start", "search"])
def test_an_interruption_of_any_search_is_passed_on(
    planning: Callable[[], object], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = getattr(portfolio._Run, method)
    many = left = 1_000_000

    def interrupted(*arguments: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        run(*arguments)

    monkeypatch.setattr(portfolio._Run, method, interrupted)
    planning()
    n = many - left
    assert n > 0
    for call in sorted({1, 2, 3, n // 2, n - 1, n} & set(range(1, n + 1))):
        left = call
        with pytest.raises(KeyboardInterrupt):
            planning()
