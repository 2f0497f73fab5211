"""Fleet files: YAML or JSON text -> FleetSpec, and the JSON Schema of the format.

    text --parse_text--> mapping --msgspec--> sections --FleetSpec--> a fleet with its invariants

Types, unknown keys and missing keys are msgspec's to find; what a fleet means (cycles, unknown
names, ranges) is checked by `planner.fleet`. Either way the error is a SpecError with its place.
Opening files and resolving paths belongs to `arena`.
"""

from planner.fleet_file.decode import decode_fleet, parse_fleet
from planner.fleet_file.schema import FLEET_VERSION, fleet_schema
from planner.fleet_file.text import parse_text

__all__ = ["FLEET_VERSION", "decode_fleet", "fleet_schema", "parse_fleet", "parse_text"]
