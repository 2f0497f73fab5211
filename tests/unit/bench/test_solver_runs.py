"""A run of hours is kept instance by instance: what was run is not run again."""

from pathlib import Path

import pytest

from bench import bench_solver
from bench.bench_solver import Run, Runs
from bench.families import FAMILIES, Instance


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (FAMILIES["fleet"](12, seed) for seed in (0, 1))
    made = Runs(tmp_path / "runs").compare(first, 0.2, ())
    assert [(run.name, run.family, run.n) for run in made] == [("fleet-12-0", "fleet", 12)]
    asked: list[Instance] = []

    def note(instance: Instance, *_: object) -> list[Run]:
        asked.append(instance)
        return []

    monkeypatch.setattr(bench_solver, "compare", note)
    again = Runs(tmp_path / "runs")
    kept = again.compare(first, 0.2, ())
    assert [(run.height_bytes, run.bound_bytes) for run in kept] == [
        (run.height_bytes, run.bound_bytes) for run in made
    ]
    assert asked == []
    again.compare(second, 0.2, ())
    again.compare(first, 0.3, ())
    assert asked == [second, first]
