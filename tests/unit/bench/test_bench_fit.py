"""The bench of fits measures what it says; no time is asserted."""

from bench.bench_fit import BASELINES, FAMILIES, fits_of, report
from bench.fleets import layered
from planner.judge import judge


def test_a_small_fleet_is_never_worse_than_by_hand() -> None:
    runs = list(fits_of("small", layered(1, 12, 3, channels=2), 1))
    assert [run.quarter for run in runs] == [3, 2, 1]
    for run in runs:
        assert run.plan.fits
        assert judge(run.plan) == ()
        assert run.plan.price is not None
        assert len(run.baselines) == len(BASELINES)
        assert run.gap >= 0
        for length in run.baselines:
            assert length is None or length >= run.plan.price.makespan
    page = report({"small": runs}, {"large": runs}, 1, "python -m bench.bench_fit")
    assert "| small |" in page
    assert "| large |" in page
    assert "worse 0 of 3" in page
    assert "of 3 take at most 30 s" in page


def test_every_family_is_a_fleet_of_about_200_executions() -> None:
    for make in FAMILIES.values():
        fleet = make(0)
        assert 150 <= sum(p.channels * len(p.steps) for p in fleet.pipelines) <= 250
