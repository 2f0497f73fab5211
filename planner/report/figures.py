"""The figures of a plan as a JSON mapping: exact bytes, the keys of docs/design.md section 6."""

from typing import Any, Final

from planner.plan import Plan

__all__ = ["COUNTED", "NOT_COUNTED", "plan_figures"]

COUNTED: Final = (
    "work reservation",
    "weight reservation",
    "inputs and outputs that model files describe",
    "weights of system-managed models",
    "named reserves",
    "streams of instances and lanes",
)
NOT_COUNTED: Final = (
    "kernels, task tables and handles of loaded models",
    "work memory of system-managed models",
    "contexts of this and other processes",
    "caches that the device fills at the first inference",
)


def plan_figures(plan: Plan) -> dict[str, Any]:
    """Return every figure of `plan`, sizes in exact bytes; offsets outside the arena are None."""
    return {
        "fits": plan.fits,
        "height_bytes": plan.height_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "status": plan.status.value,
        "weight_bytes": plan.weight_bytes,
        "total_bytes": plan.total_bytes,
        "planned_bytes": plan.planned_bytes,
        "private_bytes": plan.private_bytes,
        "outside_bytes": plan.outside_bytes,
        "reserve_bytes": plan.fleet.device.reserve_bytes,
        "needed_bytes": plan.needed_bytes,
        "limit_bytes": plan.fleet.device.memory_bytes,
        "short_bytes": plan.short_bytes,
        "stream_count": plan.stream_count,
        "streams_max": plan.fleet.device.streams_max,
        "counted": list(COUNTED),
        "not_counted": list(NOT_COUNTED),
        "witness": list(plan.witness),
        "added": [
            {"first": item.first, "second": item.second, "kind": item.kind.value}
            for item in plan.added
        ],
        "instances": [
            {
                "instance": row.id,
                "model": row.model,
                "lane": row.lane,
                "work_offset": row.work_offset,
                "work_bytes": row.work_bytes,
                "weight_offset": row.weight_offset,
                "weight_bytes": row.weight_bytes,
            }
            for row in plan.instances
        ],
    }
