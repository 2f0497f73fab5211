"""`arena schema`: the JSON Schema of the fleet file, for editors and checks."""

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json

__all__ = ["schema"]


def schema(as_json: JsonFlag = False) -> int:
    """Print the JSON Schema of the fleet file."""
    import json
    import sys

    from planner.fleet_file import fleet_schema

    if as_json:
        emit_json(fleet_schema())
    else:
        sys.stdout.write(json.dumps(fleet_schema(), indent=2) + "\n")
    return 0
