"""Fits of seeded fleets: how near the proven bound, how long, and against what people do by hand.

    python -m bench.bench_fit [--seeds N]            # writes bench/fit.md after each seed

Every fleet gets three budgets: a quarter, a half and three quarters of the way from everything in
turns to everything as it is. The baselines are planned by the same offset solver and scheduled by
40 list schedules, without constraint programming.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.fleets import layered, many_instances, model_box, video
from planner.fit import fit_fleet
from planner.fit.baselines import as_one_lane, lanes_of_pipelines, merged_lanes
from planner.fit.workload import Workload
from planner.fleet import FleetSpec, PipelineSpec, StepSpec
from planner.model import ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan

__all__ = ["BASELINES", "FAMILIES", "Run", "fits_of", "report"]

ROOT = Path(__file__).parents[1]
QUARTERS = (3, 2, 1)
BASELINES = ("everything in turns", "one lane for each pipeline", "lanes put together")
NEAR = 0.02


def lane_a_channel(seed: int, channels: int = 50) -> FleetSpec:
    """Return a pipeline of four steps in a row, a lane for each of its channels."""
    models = video(seed).models
    steps = tuple(
        StepSpec(model.id, model.id, "lane-{channel}", after=(models[k - 1].id,) if k else ())
        for k, model in enumerate(models)
    )
    pipeline = PipelineSpec("camera", steps, channels=channels)
    return FleetSpec(f"lane-a-channel-{channels}", models, (pipeline,))


FAMILIES: dict[str, Callable[[int], FleetSpec]] = {
    "200 steps on 8 lanes": lambda seed: layered(seed, 200, 8),
    "200 steps on 16 lanes": lambda seed: layered(seed, 200, 16),
    "5 channels of 40 steps on 8 lanes": lambda seed: layered(seed, 40, 8, channels=5),
    "10 channels of 20 steps on 4 lanes": lambda seed: layered(seed, 20, 4, channels=10),
    "video, 50 channels": lambda seed: video(seed, 50),
    "50 channels of 4 steps, a lane each": lane_a_channel,
    "box, 90 models on 8 lanes": lambda seed: model_box(seed, 90, 8),
    "10 pipelines of 20 steps on 2 lanes each": lambda seed: many_instances(
        200, seed, frames_in_flight=1
    ),
    "the same, 2 frames in flight": lambda seed: many_instances(200, seed),
}
LARGE: dict[str, Callable[[int], FleetSpec]] = {
    "1,000 steps on 16 lanes": lambda seed: layered(seed, 1_000, 16),
    "25 channels of 40 steps on 8 lanes": lambda seed: layered(seed, 40, 8, channels=25),
    "video, 250 channels": lambda seed: video(seed, 250),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One fleet within one budget; lengths in ns, None where a baseline does not fit."""

    family: str
    seed: int
    quarter: int
    plan: Plan
    seconds: float
    cpu_seconds: float
    baselines: tuple[int | None, ...]

    @property
    def gap(self) -> float:
        """How far the makespan is above its proven bound."""
        assert self.plan.price is not None
        return self.plan.price.makespan / self.plan.price.lower_bound - 1


def timed(fleet: FleetSpec, seed: int) -> FleetSpec:
    """Return the fleet with times between 1 and 20 ms, log-uniform."""
    rng = random.Random(seed)

    def with_times(pipeline: PipelineSpec) -> PipelineSpec:
        steps = (
            replace(step, time_ns=int(10 ** rng.uniform(6, 7.3)) // 10_000 * 10_000)
            for step in pipeline.steps
        )
        return replace(pipeline, steps=tuple(steps))

    return replace(fleet, pipelines=tuple(with_times(pipeline) for pipeline in fleet.pipelines))


def fits_of(family: str, fleet: FleetSpec, seed: int, *, baselines: bool = True) -> Iterator[Run]:
    """Yield the fits of a fleet within each budget, with what the baselines take there."""
    fleet = timed(fleet, seed)
    sizes = {m.id: ModelSize(m.work_bytes or 0, m.weight_bytes or 0) for m in fleet.models}
    free = plan_fleet(fleet, sizes)
    work = Workload.of_plan(free)
    ways: list[list[tuple[int, int]]] = []  # (height, length) of each way to do it by hand
    if baselines:
        for groupings in (
            [[0] * len(work.work_bytes)],
            [lanes_of_pipelines(work)],
            list(merged_lanes(work)),
        ):
            found = (as_one_lane(work, groups, exact_limit=0) for groups in groupings)
            ways.append([(plan.height, plan.length) for plan in found])
    for quarter in QUARTERS:
        height = work.least_height + (free.height_bytes - work.least_height) * quarter // 4
        started, cpu = time.perf_counter(), time.process_time()
        plan = fit_fleet(fleet, sizes, budget_bytes=free.weight_bytes + height)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        by_hand = [
            min((length for needed, length in way if needed <= height), default=None)
            for way in ways
        ]
        yield Run(family, seed, quarter, plan, seconds, cpu, tuple(by_hand))


def _best_by_hand(run: Run) -> int | None:
    return min((length for length in run.baselines if length is not None), default=None)


def _verdicts(runs: list[Run]) -> tuple[int, int, int]:
    """Return how often the fit is better than, equal to and worse than the best by hand."""
    better = equal = worse = 0
    for run in runs:
        other, price = _best_by_hand(run), run.plan.price
        assert price is not None
        if other is None or price.makespan < other:
            better += 1
        elif price.makespan == other:
            equal += 1
        else:
            worse += 1
    return better, equal, worse


def _row(family: str, runs: list[Run]) -> str:
    near = sum(run.gap <= NEAR for run in runs)
    gaps = " / ".join(_middle_and_worst(runs, quarter) for quarter in QUARTERS)
    ratios = [
        other / run.plan.price.makespan
        for run in runs
        if run.plan.price is not None and (other := _best_by_hand(run)) is not None
    ]
    added = max(len(run.plan.added) for run in runs)
    seconds, cpu = max(run.seconds for run in runs), max(run.cpu_seconds for run in runs)
    by_hand = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "-"
    return (
        f"| {family} | {gaps} | {near}/{len(runs)} | {by_hand} | {added:,} "
        f"| {cpu:.1f} | {seconds:.1f} |"
    )


def _middle_and_worst(runs: list[Run], quarter: int) -> str:
    gaps = [run.gap for run in runs if run.quarter == quarter]
    return f"{median(gaps):.1%} ({max(gaps):.1%})"


def report(
    runs: dict[str, list[Run]], large: dict[str, list[Run]], seeds: int, command: str
) -> str:
    """Return the page."""
    every = [run for some in runs.values() for run in some]
    largest = [run for some in large.values() for run in some]
    near = sum(run.gap <= NEAR for run in every)
    better, equal, worse = _verdicts(every)
    head = (
        "| family | above the bound, median (worst) | within 2 % | best by hand / fit | added "
        "| CPU s | s |"
    )
    rule = "|---|---|--:|--:|--:|--:|--:|"
    fit = sum(run.plan.fits for run in every)
    quick = sum(run.cpu_seconds <= 10 for run in every)
    return "\n".join(
        [
            "# Fits",
            "",
            f"Written by `{command}`. Fleets of about 200 executions, times between 1 and 20 ms, "
            f"{seeds} {'seed' if seeds == 1 else 'seeds'} of each family; for each budgets of "
            "three quarters, a half and a quarter of the work memory between everything in turns "
            "and everything as it is, one beside the other in the second column. The bound is "
            "proven for any order within the budget; it is not always reachable. The baselines are "
            "scheduled by lists alone. Two cores, busy with other work; the largest seconds of "
            "each row, of the processor and of the clock.",
            "",
            head,
            rule,
            *(_row(family, some) for family, some in runs.items()),
            "",
            f"- {fit} of {len(every)} fit their budget; {near} ({near / len(every):.0%}) are "
            f"within 2 % of the bound, {sum(run.gap == 0 for run in every)} of them proven "
            f"optimal; {quick} take at most 10 s of the processor.",
            f"- Against the best of {', '.join(BASELINES)}, at equal memory: better "
            f"{better}, equal {equal}, worse {worse} of {len(every)}.",
            "",
            "## 1,000 executions",
            "",
            "One seed of each; list schedules alone; no baselines.",
            "",
            head,
            rule,
            *(_row(family, some) for family, some in large.items()),
            "",
            f"- {sum(run.seconds <= 30 for run in largest)} of {len(largest)} take at most 30 s by "
            "the clock.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="fleets of each family")
    arguments = parser.parse_args()
    runs: dict[str, list[Run]] = {family: [] for family in FAMILIES}
    large: dict[str, list[Run]] = {}
    for seed in range(arguments.seeds):
        for family, make in FAMILIES.items():
            found = list(fits_of(family, make(seed), seed))
            runs[family] += found
            print(seed, _row(family, found), flush=True)
        for family, make in LARGE.items() if seed == 0 else ():
            large[family] = list(fits_of(family, make(0), 0, baselines=False))
            print(seed, _row(family, large[family]), flush=True)
        # After each seed: hours of work are not lost with the last minute of them.
        page = report(runs, large, seed + 1, f"python -m bench.bench_fit --seeds {seed + 1}")
        (ROOT / "bench" / "fit.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
