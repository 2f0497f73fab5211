"""Pipelined frames: how near their throughput comes to the bound of order and locks.

    python -m bench.bench_frames [--frames N] [--scale F]

Fleets run on the twin, whose executions take simulated times, as `arena run` drives them: as many
frames of every channel in progress as may be in flight. Measured until the first channel has had
all its frames, since what remains of the others has the machine to itself. The bound is the least
time for the frames that were over by then: the greatest cycle ratio of the channels' event graphs,
or the time that the busiest lock is held (`planner.rate`). The ratio is bound / measured.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from arena.device import open_device
from arena.device.twin import TwinConfig
from arena.exercise import exercise
from arena.session import plan_and_load
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from planner.rate import round_bound
from planner.schedule import Schedule
from planner.units import KiB

GOAL = 0.95


def fleet(name: str, times_ms: Mapping[str, int], *pipelines: PipelineSpec) -> FleetSpec:
    """Return a fleet with a small declared model for each name in `times_ms`."""
    models = tuple(
        ModelSpec(ModelId(model), work_bytes=16 * KiB, weight_bytes=4 * KiB) for model in times_ms
    )
    timed = tuple(
        PipelineSpec(
            p.id,
            tuple(
                StepSpec(s.id, s.model, s.lane, s.after, s.locks, times_ms[s.model] * 1_000_000)
                for s in p.steps
            ),
            p.channels,
            p.frames_in_flight,
        )
        for p in pipelines
    )
    return FleetSpec(name, models, timed)


def _step(name: str, lane: str, *after: str, locks: tuple[str, ...] = ()) -> StepSpec:
    return StepSpec(name, ModelId(name), lane, after, locks)


def families() -> Iterator[FleetSpec]:
    """Yield fleets by what bounds them: a path, frames in flight, a lane, a lock, and at random."""
    ocr = (_step("detect", "a"), _step("read", "b", "detect"))
    for d in (1, 2, 3):
        times = {"detect": 12, "read": 9}
        yield fleet(f"one camera, d = {d}", times, PipelineSpec("camera", ocr, 1, d))
    times = {"detect": 8, "read": 6}
    for d in (1, 2):
        yield fleet(f"4 cameras on 2 lanes, d = {d}", times, PipelineSpec("camera", ocr, 4, d))
    own = (_step("detect", "a-{channel}"), _step("read", "b-{channel}", "detect"))
    yield fleet("4 cameras, lanes of their own, d = 2", times, PipelineSpec("camera", own, 4, 2))
    diamond = (
        _step("detect", "a"),
        _step("read", "b", "detect"),
        _step("track", "c", "detect", locks=("heavy",)),
        _step("join", "d", "read", "track", locks=("heavy",)),
    )
    times = {"detect": 7, "read": 9, "track": 12, "join": 6}
    yield fleet("diamond with a lock, d = 3", times, PipelineSpec("camera", diamond, 1, 3))
    for seed in range(4):
        yield _random_fleet(seed)


def _random_fleet(seed: int) -> FleetSpec:
    """Return two pipelines of up to five steps each over five lanes."""
    rng = random.Random(seed)
    times: dict[str, int] = {}
    pipelines = []
    for name in ("p", "q"):
        names = [f"{name}{i}" for i in range(rng.randint(2, 5))]
        steps = [
            _step(
                step,
                f"lane-{rng.randrange(5)}",
                *(before for before in names[:i] if rng.random() < 0.5),
            )
            for i, step in enumerate(names)
        ]
        times |= {step: rng.randint(4, 15) for step in names}
        pipelines.append(PipelineSpec(name, tuple(steps), rng.randint(1, 3), rng.randint(1, 3)))
    return fleet(f"random {seed}", times, *pipelines)


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: seconds that the frames took, and at least take; what bounds them."""

    measured_s: float
    bound_s: float
    limited_by: str

    @property
    def ratio(self) -> float:
        """Throughput as a share of the bound's."""
        return self.bound_s / self.measured_s


def run_fleet(spec: FleetSpec, *, frames: int, scale: float) -> Run:
    """Run `frames` frames of every channel, every simulated time multiplied by `scale`."""
    times = {(p.id, s.id): int(scale * (s.time_ns or 0)) for p in spec.pipelines for s in p.steps}
    of_model = {s.model: times[p.id, s.id] for p in spec.pipelines for s in p.steps}
    config = TwinConfig(slices=1, step_ns=lambda model: of_model[ModelId(model)])
    device = open_device("twin", twin=config)
    ends: list[tuple[float, str]] = []
    starts: list[int] = []
    try:
        with plan_and_load(spec, device=device) as fleet:
            # The first frame starts; what ran before, alone, asked no guard.
            fleet.runner.watch(lambda _event, _record, time_ns: starts.append(time_ns))
            outcome = exercise(
                fleet, frames, on_frame=lambda name: ends.append((time.perf_counter(), name))
            )
    finally:
        device.close()
    if outcome.mismatches:
        raise SystemExit(f"{spec.name}: {outcome.mismatches} mismatches")
    end_s, done = _until_one_is_done(ends, frames)
    bound = round_bound(Schedule.of_fleet(spec), times, done)
    return Run(end_s - starts[0] / 1e9, float(bound.period) / 1e9, bound.limited_by)


def _until_one_is_done(
    ends: Sequence[tuple[float, str]], frames: int
) -> tuple[float, Counter[str]]:
    """Return when the first channel has ended `frames` frames, and how many each has by then."""
    done: Counter[str] = Counter()
    for end_s, channel in ends:
        done[channel] += 1
        if done[channel] == frames:
            return end_s, done
    raise ValueError(f"no channel has {frames} frames")


def main() -> None:
    """Run every family and print its ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100, help="of every channel")
    parser.add_argument("--scale", type=float, default=5.0, help="of the simulated times")
    arguments = parser.parse_args()
    print(f"{'fleet':38} {'bound':>9} {'measured':>9} {'ratio':>6}  bounded by")
    ratios = []
    for spec in families():
        run = run_fleet(spec, frames=arguments.frames, scale=arguments.scale)
        ratios.append(run.ratio)
        print(
            f"{spec.name:38} {run.bound_s:7.2f} s {run.measured_s:7.2f} s {run.ratio:6.3f}"
            f"  {run.limited_by}",
            flush=True,
        )
    reached = sum(ratio >= GOAL for ratio in ratios)
    print(f"{reached} of {len(ratios)} at {GOAL} or above; least {min(ratios):.3f}")


if __name__ == "__main__":
    main()
