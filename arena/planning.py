"""From a fleet file to a plan: read, measure, plan. What needs the planning rooms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arena.files import read_bytes, rebase_path
from arena.sizes import measure_models
from arena.sources import Readers
from planner.fit import fit_fleet
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, ScheduleSpec, StepSpec
from planner.fleet_file import parse_fleet
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan

__all__ = ["MeasuredFiles", "Planned", "measure_files", "plan_file", "plan_spec"]


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
    readers : mapping of model id to callable
        Models whose bytes the caller supplies.
    progress : callable
        Called with (bytes hashed, bytes in all).
    """
    fleet = parse_fleet(read_bytes(path), name=path.stem)
    if memory_bytes is not None:
        fleet = replace(fleet, device=replace(fleet.device, memory_bytes=memory_bytes))
    if fit_bytes is not None:
        fleet = replace(fleet, schedule=ScheduleSpec(fit_bytes))
    return plan_spec(fleet, path.parent, readers=readers, progress=progress)


def plan_spec(
    fleet: FleetSpec,
    base: Path,
    *,
    readers: Readers | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Planned:
    """Plan a fleet whose model files are relative to `base`; see `measure_models`.

    Where the fleet's schedule is to fit a size, order and locks are added until it does.
    """
    measured = measure_models(fleet, base, readers=readers, progress=progress)
    sizes = {model: item.size for model, item in measured.items()}
    planned = plan_fleet if fleet.schedule.fit_bytes is None else fit_fleet
    plan = planned(fleet, sizes)
    unused = (
        f"models.{name}: no step uses this model; it is not loaded"
        for name in fleet.unused_models()
    )
    notes = (f"models.{name}: {item.note}" for name, item in measured.items() if item.note)
    return Planned(plan, base, (*unused, *notes))


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
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredFiles:
    """Measure model files; each becomes a model named after its file, relative to `base`."""
    models: list[ModelSpec] = []
    sizes: dict[ModelId, ModelSize] = {}
    warnings: list[str] = []
    for path in paths:
        name = _unique(path.stem, sizes)
        file = rebase_path(path.as_posix(), old=Path(), new=base)
        model = ModelSpec(name, file=file)
        single = FleetSpec(name, (model,), (PipelineSpec("p", (StepSpec("s", name, "l"),)),))
        item = measure_models(single, base, progress=progress)[name]
        if item.size.gears:
            warnings.append(f"{path}: left out: wants a choice of {item.size.gears}")
            continue
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
