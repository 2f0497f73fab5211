"""Which model files still are the files that a plan was made of."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from arena.files import DEMO_PREFIX
from arena.sources import locate_model
from planner.errors import SpecError
from planner.fleet import ModelSpec
from planner.model import ModelId
from planner.plan import Plan

__all__ = ["FileMatch", "MatchState", "compare_files"]


class MatchState(StrEnum):
    """How a model file compares with its plan."""

    MATCHES = "matches"
    CHANGED = "changed"
    MISSING = "missing"
    DECLARED = "declared"
    """The model has no file: its sizes are declared."""


@dataclass(frozen=True, slots=True)
class FileMatch:
    """One used model: its file as it was looked for, and how it compares."""

    model: ModelId
    file: str
    state: MatchState

    @property
    def is_stale(self) -> bool:
        """Whether the plan must not be loaded with this file."""
        return self.state in {MatchState.CHANGED, MatchState.MISSING}


def compare_files(plan: Plan, folder: Path) -> tuple[FileMatch, ...]:
    """Compare every model file of `plan` with the file of `folder`.

    A file is looked for as the plan names it, relative to `folder`, then by its name alone.
    """
    return tuple(
        _compared(plan.fleet.model(model), size.file_digest, folder) for model, size in plan.sizes
    )


def _compared(model: ModelSpec, digest: str, folder: Path) -> FileMatch:
    if not model.file:
        return FileMatch(model.id, "", MatchState.DECLARED)
    base, named = folder, model
    if not model.file.startswith(DEMO_PREFIX) and not (folder / model.file).is_file():
        named = ModelSpec(model.id, file=Path(model.file).name, inputs=model.inputs)
    shown = named.file if named.file.startswith(DEMO_PREFIX) else str(base / named.file)
    try:
        with locate_model(named, base).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (SpecError, OSError):
        return FileMatch(model.id, shown, MatchState.MISSING)
    state = MatchState.MATCHES if found == digest else MatchState.CHANGED
    return FileMatch(model.id, shown, state)
