"""The bench of pipelined frames measures what it says; no time is asserted, only its bound."""

from itertools import islice

from bench.bench_frames import families, run_fleet


def test_no_run_beats_the_bound() -> None:
    for spec in islice(families(), 6):
        run = run_fleet(spec, frames=3, scale=0.2)
        assert 0 < run.ratio <= 1, spec.name
        assert run.limited_by
