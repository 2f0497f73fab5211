"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from arena.cli.overwriting import Reads

__all__ = [
    "DeviceModelName",
    "DeviceName",
    "FleetFile",
    "FleetOrPlanFile",
    "JsonFlag",
    "Memory",
    "PlanFile",
    "TimesFile",
]

JsonFlag: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")
]
FleetFile: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="FLEET", help="Fleet file, YAML or JSON."),
    Reads(is_fleet=True),
]
PlanFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="PLAN", help="Plan file."), Reads(is_fleet=True)
]
FleetOrPlanFile: TypeAlias = Annotated[
    Path,
    typer.Argument(metavar="FLEET_OR_PLAN", help="Fleet file (planned first) or plan file."),
    Reads(is_fleet=True),
]
Memory: TypeAlias = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Usable device memory, such as 21527MiB."),
]
TimesFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--times", metavar="FILE", help="Measured times (arena time FLEET -o FILE)."),
    Reads(),
]
DeviceModelName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--device-model", metavar="NAME", help="Usable memory of a catalogue device as the limit."
    ),
]
DeviceName: TypeAlias = Annotated[
    str | None,
    typer.Option("--device", metavar="cpu|twin|acl", help="Default: what the models are for."),
]
