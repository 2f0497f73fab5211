"""Everything with consequences: model files, devices, arenas, loading, guarding, the command line.

Planning is `planner`, which this package may import and never the reverse. What reads, judges and
loads a plan imports the standard library and `acl` alone (docs/design.md section 3).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena.patching import patch_acl
    from arena.session import Fleet, FleetReport, attach, plan_and_load

__all__ = ["Fleet", "FleetReport", "attach", "patch_acl", "plan_and_load"]


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: reading a model file needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from arena import patching, session

    return getattr(patching if name == "patch_acl" else session, name)
