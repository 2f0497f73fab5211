"""From a fleet file to a plan: read, measure, plan. What needs the planning rooms."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from arena.files import read_bytes, rebase_path
from arena.plan_files import is_plan_file
from arena.sizes import MeasuredModel, measure_models
from arena.sources import Readers
from planner.errors import DecodeError, SpecError, UsageError, did_you_mean
from planner.fit import FitOptions, Fitter, fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec, filled
from planner.fleet_file import parse_fleet
from planner.frontier import Frontier, frontier
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan
from planner.times import Times, parse_times, with_times

__all__ = [
    "MeasuredFiles",
    "Planned",
    "PlannedFrontier",
    "blamed_on",
    "measure_files",
    "plan_file",
    "plan_frontier",
    "plan_spec",
    "read_fleet",
]


_TRIALS: Final = 20_000
"""Instances times plans times searches for offsets, while constraints of a frontier are dropped."""
_FRONTIER_FIT: Final = FitOptions(exact_limit=0.02)
"""Many budgets are asked for at once: less is done for each height."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan whose model paths are relative to `base`, and what its user should know.

    Attributes
    ----------
    plan : Plan
    base : Path
        Folder that the model files of the plan are relative to.
    warnings : tuple of str
    """

    plan: Plan
    base: Path
    warnings: tuple[str, ...]


def plan_file(
    path: Path,
    *,
    memory_bytes: int | None = None,
    fit_bytes: int | None = None,
    times: Path | None = None,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Planned:
    """Plan the fleet of a file.

    Parameters
    ----------
    path : Path
        Fleet file, YAML or JSON; model files are relative to its folder. Its name defaults to the
        file's stem.
    memory_bytes : int or None
        Replaces the fleet's own limit, bytes.
    fit_bytes : int or None
        Replaces what the fleet's own schedule is to fit, bytes.
    times : Path or None
        Times file; what was measured goes before what the fleet says.
    readers : mapping of model id to callable
        Models whose bytes the caller supplies.
    progress : callable
        Called with (bytes hashed, bytes in all).
    """
    fleet = read_fleet(path, memory_bytes)
    if fit_bytes is not None:
        fleet = replace(fleet, schedule=ScheduleSpec(fit_bytes))
    measured = None if times is None else _read_times(times)
    with blamed_on(path):
        return plan_spec(fleet, path.parent, times=measured, readers=readers, progress=progress)


def plan_spec(
    fleet: FleetSpec,
    base: Path,
    *,
    times: Times | None = None,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Planned:
    """Plan a fleet whose model files are relative to `base`; see `measure_models`.

    Measured times go before those of the fleet, in the plan too. Where the fleet's schedule is to
    fit a size, order and locks are added until it does.
    """
    measured = measure_models(fleet, base, readers=readers, progress=progress)
    sizes = {model: item.size for model, item in measured.items()}
    if times is not None:
        fleet = with_times(fleet, times.of_steps(fleet, sizes))
    planned = plan_fleet if fleet.schedule.fit_bytes is None else fit_fleet
    plan = planned(fleet, sizes)
    return Planned(plan, base, (*_notes(fleet, measured), *(times.noise_words() if times else ())))


def read_fleet(path: Path, memory_bytes: int | None = None) -> FleetSpec:
    """Return the fleet of a file, with a limit of `memory_bytes` where one is given.

    Raises
    ------
    SpecError
        The file is no fleet; the message names the file and the place in it.
    UsageError
        The file is a plan. Caused by the caller.
    """
    data = read_bytes(path)
    if is_plan_file(data):
        raise UsageError(
            f"{path}: is a plan file, expected a fleet file; plans are for `arena check`, `run`, "
            "`report`, `verify`, `diff` and `export`"
        )
    with blamed_on(path):
        fleet = parse_fleet(data, name=path.stem)
    if memory_bytes is None:
        return fleet
    return replace(fleet, device=replace(fleet.device, memory_bytes=memory_bytes))


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Name the fleet file in what is found wrong with the fleet."""
    try:
        yield
    except SpecError as error:
        raise SpecError(error.message, error.path, file=str(path)) from error


def _notes(fleet: FleetSpec, measured: Mapping[ModelId, MeasuredModel]) -> tuple[str, ...]:
    """Return what a user should know of the models of a fleet."""
    unused = (
        f"models.{name}: no step uses this model; it is not loaded"
        for name in fleet.unused_models()
    )
    notes = (f"models.{name}: {item.note}" for name, item in measured.items() if item.note)
    return (*unused, *_lone_locks(fleet), *notes)


def _lone_locks(fleet: FleetSpec) -> Iterator[str]:
    """Yield a warning of each lock that one execution of the fleet alone can ever hold.

    Lanes are locks, too. A lock with a placeholder is one in each channel: all must be alone.
    """
    holders: Counter[str] = Counter()
    for pipeline, channel, step in fleet.channel_steps():
        locks = {filled(lock, channel) for lock in step.locks}
        for name in locks.union(step.lanes_of(channel)):
            holders[name] += pipeline.frames_in_flight
    for pipeline in fleet.pipelines:
        for step in pipeline.steps:
            for index, lock in enumerate(step.locks):
                own = {filled(lock, channel) for channel in range(pipeline.channels)}
                if all(holders[name] == 1 for name in own):
                    near = did_you_mean(lock, sorted(name for name in holders if name not in own))
                    yield (
                        f"pipelines.{pipeline.id}.steps.{step.id}.locks[{index}]: no other "
                        f"execution ever holds {lock!r}, so it excludes nothing{near}"
                    )


@dataclass(frozen=True, slots=True)
class PlannedFrontier:
    """A frontier whose model files are relative to `base`, and what its user should know."""

    frontier: Frontier
    base: Path
    warnings: tuple[str, ...]


def plan_frontier(
    path: Path,
    *,
    memory_bytes: int | None = None,
    times: Path | None = None,
    plans_max: int = 24,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PlannedFrontier:
    """Return the frontier of memory and time of the fleet of a file.

    Parameters
    ----------
    path : Path
        Fleet file. What its schedule is to fit is no matter here.
    memory_bytes : int or None
        Replaces the fleet's own limit, bytes.
    times : Path or None
        Times file; what was measured goes before what the fleet says.
    plans_max : int
        Most points, >= 2, and plans that are made to find them; as many more find each point's
        makespan in less memory.
    readers : mapping of model id to callable
    progress : callable
        Called with (plans made, most plans).
    """
    fleet = read_fleet(path, memory_bytes)
    with blamed_on(path):
        models = measure_models(fleet, path.parent, readers=readers)
    sizes = {model: item.size for model, item in models.items()}
    measured = None if times is None else _read_times(times)
    known = None if measured is None else measured.of_steps(fleet, sizes)
    fitter = Fitter(fleet, sizes, times=known, fit=_FRONTIER_FIT)
    executions = sum(1 for _ in fleet.channel_steps())
    is_alike = executions > _FRONTIER_FIT.exact_jobs_max  # then `--fit` does no more either
    whole = fitter if is_alike else Fitter(fleet, sizes, times=known)
    made = count(2)
    # Constraints that are not needed are dropped from the points alone: trials cost the most.
    trials_max = max(4, _TRIALS // (plans_max * len(fitter.free.instances)))

    def within(budget_bytes: int) -> Plan:
        plan = fitter.within(budget_bytes, trials_max=0)
        progress(next(made), 2 * plans_max)
        return plan

    def finish(plan: Plan) -> Plan:
        found = whole.within(plan.total_bytes, trials_max=trials_max)
        if found.over_budget_bytes:  # tensors may need a budget above what they take at last
            assert plan.fleet.schedule.fit_bytes is not None, "a fitted plan has its budget"
            found = whole.within(plan.fleet.schedule.fit_bytes, trials_max=trials_max)
        return found

    found = frontier(
        fitter.free,
        within,
        slowdowns={} if measured is None else measured.slowdowns(),
        plans_max=plans_max,
        tries_max=plans_max,
        finish=finish,
    )
    noise = () if measured is None else measured.noise_words()
    return PlannedFrontier(found, path.parent, (*_notes(fleet, models), *noise))


def _read_times(path: Path) -> Times:
    try:
        return parse_times(read_bytes(path))
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class MeasuredFiles:
    """Model files as models of a fleet, in the order given.

    Attributes
    ----------
    models : tuple of ModelSpec
        Files relative to the folder that was asked for.
    sizes : mapping of ModelId to ModelSize
    warnings : tuple of str
        Files that are left out, and what is special about the others.
    """

    models: tuple[ModelSpec, ...]
    sizes: dict[ModelId, ModelSize]
    warnings: tuple[str, ...]


def measure_files(
    paths: Sequence[Path],
    base: Path,
    *,
    shapes: Sequence[Mapping[str, Sequence[int]]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredFiles:
    """Measure model files; each becomes a model named after its file, relative to `base`.

    Parameters
    ----------
    paths : sequence of Path
    base : Path
    shapes : sequence of mapping of input name to axes, as long as `paths`
        Of the inputs that ONNX files leave open.
    progress : callable
        Called with (bytes hashed, bytes in all).

    Raises
    ------
    SpecError
        A file cannot be planned, or leaves axes open; the message names it.
    """
    models: list[ModelSpec] = []
    sizes: dict[ModelId, ModelSize] = {}
    warnings: list[str] = []
    for path, axes in zip(paths, shapes or [{}] * len(paths), strict=True):
        name = _unique(path.stem, sizes)
        file = rebase_path(path.as_posix(), old=Path(), new=base)
        inputs = tuple((key, tuple(own)) for key, own in axes.items())
        model = ModelSpec(name, file=file, inputs=inputs)
        single = FleetSpec(name, (model,), (PipelineSpec("p", (StepSpec("s", name, "l"),)),))
        try:
            item = measure_models(single, base, progress=progress)[name]
        except SpecError as error:
            # What is wrong with the network itself knows of no fleet.
            own = error.__cause__ if isinstance(error.__cause__, SpecError) else error
            raise SpecError(own.message, own.path, file=str(path)) from own
        if item.size.gears and not item.size.gear_choices:
            warnings.append(f"{path}: left out: wants a choice of {item.size.gears}")
            continue
        if item.size.gears:
            warnings.append(f"{path}: planned at its largest gear of {item.size.gears}")
        if item.note:
            warnings.append(f"{path}: {item.note}")
        models.append(model)
        sizes[name] = item.size
    return MeasuredFiles(tuple(models), sizes, tuple(warnings))


def _unique(stem: str, taken: Mapping[ModelId, object]) -> ModelId:
    """Return a model name made of a file's stem that is not taken."""
    plain = "".join(char if char.isprintable() and char != "@" else "-" for char in stem)
    base = plain.strip() or "model"
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}-{count}"
    return ModelId(name)
