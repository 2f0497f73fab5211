"""Plans as files: Plan -> canonical JSON -> Plan, with digests, and never another error.

    Plan --plan_to_mapping--> mapping --lay_out--> bytes
    Plan <------decode------- mapping <--parse---- bytes

A file holds, beside what makes a plan, values that follow from it, for readers that do not plan:
totals, reserved bytes, the steps of each channel with the locks and the order they rely on. A value
that contradicts what it follows from is an error: nothing in a plan file can be stale unnoticed.
docs/plan-format.md documents the file. Only the standard library: boards read plans.
"""

from planner.codec.canonical import lay_out
from planner.codec.decode import claims_plan, decode_plan, examine_plan
from planner.codec.mapping import (
    PLAN_FORMAT,
    PLAN_VERSION,
    fleet_digest,
    fleet_to_mapping,
    plan_digest,
    plan_to_mapping,
)
from planner.plan import Plan

__all__ = [
    "PLAN_FORMAT",
    "PLAN_VERSION",
    "claims_plan",
    "decode_plan",
    "encode_plan",
    "examine_plan",
    "fleet_digest",
    "fleet_to_mapping",
    "plan_digest",
    "plan_to_mapping",
]


def encode_plan(plan: Plan) -> bytes:
    """Return the plan file: UTF-8 JSON, one row a line. The same plan gives the same bytes.

    Raises
    ------
    PlanError
        A name in the plan cannot be written as UTF-8.
    """
    return lay_out(plan_to_mapping(plan))
