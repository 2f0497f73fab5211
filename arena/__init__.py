"""Everything with consequences: model files, devices, arenas, loading, guarding, the command line.

Planning is `planner`, which this package may import and never the reverse. What reads, judges and
loads a plan imports the standard library and `acl` alone (docs/design.md section 3).

What an application needs can be imported from here: `plan_and_load`, `attach` and `patch_acl`, the
loaded `Fleet` with its `FleetReport`, and the errors that it catches (docs/library.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena.errors import (
        DeviceError,
        FetchError,
        FormatError,
        GuardError,
        GuardTimeoutError,
        LoadError,
        OpenAxesError,
        RaceError,
    )
    from arena.patching import patch_acl
    from arena.session import Fleet, FleetReport, attach, plan_and_load
    from planner.errors import ArenaError, DecodeError, PlanError, SpecError, UsageError

__all__ = [
    "ArenaError",
    "DecodeError",
    "DeviceError",
    "FetchError",
    "Fleet",
    "FleetReport",
    "FormatError",
    "GuardError",
    "GuardTimeoutError",
    "LoadError",
    "OpenAxesError",
    "PlanError",
    "RaceError",
    "SpecError",
    "UsageError",
    "attach",
    "patch_acl",
    "plan_and_load",
]

_SESSION = {"Fleet", "FleetReport", "attach", "plan_and_load"}


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: reading a model file needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _SESSION:
        room = "arena.session"
    elif name == "patch_acl":
        room = "arena.patching"
    else:
        room = "arena.errors"
    return getattr(import_module(room), name)
