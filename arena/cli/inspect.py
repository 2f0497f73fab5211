"""`arena inspect`: sizes and facts of model files, without a device."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, progress, table

if TYPE_CHECKING:
    from arena.formats import ModelFacts

__all__ = ["inspect"]


def inspect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Model files.")],
    as_json: JsonFlag = False,
) -> int:
    """Print sizes and facts of model files; no device is needed."""
    from arena.sizes import read_facts
    from planner.units import format_bytes

    with progress("reading") as advance:
        facts = [read_facts(file, progress=advance) for file in files]
    if as_json:
        emit_json({"models": [_mapping(item) for item in facts]})
        return 0
    rows = [
        (
            item.file,
            item.format,
            "system" if item.dynamic else format_bytes(item.work_bytes),
            format_bytes(item.weight_bytes),
            item.weights_sha256[:12] or "-",
            item.soc or "-",
        )
        for item in facts
    ]
    table(("file", "format", "work", "weights", "weights sha256", "soc"), rows, numbers=(2, 3))
    return 0


def _mapping(facts: "ModelFacts") -> dict[str, Any]:
    return {
        "file": facts.file,
        "format": facts.format,
        "work_bytes": facts.work_bytes,
        "weight_bytes": facts.weight_bytes,
        "weights_sha256": facts.weights_sha256,
        "file_sha256": facts.file_sha256,
        "dynamic": facts.dynamic,
        "soc": facts.soc,
        "note": facts.note,
        "details": dict(facts.details),
    }
