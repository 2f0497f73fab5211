"""Figures as JSON mappings: exact bytes, the keys of docs/design.md sections 6 and 7."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from planner.capacity import Capacity, ChannelsFit, DeviceModel, RateChannels, WhatIf, bytes_by_kind
from planner.explanation import Explanation
from planner.measured import FleetReport
from planner.plan import Plan, SchedulePrice
from planner.report.buffers import buffer_figures
from planner.report.explanation import explanation_figures

__all__ = [
    "COUNTED",
    "NOT_COUNTED",
    "REPORT_VERSION",
    "capacity_figures",
    "device_figures",
    "measured_figures",
    "plan_figures",
    "price_figures",
    "what_if_figures",
]

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
REPORT_VERSION: Final = 1
"""Of the mapping that `capacity_figures` returns; raised when a key changes its meaning."""


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
        "private_total_bytes": plan.private_total_bytes,
        "outside_bytes": plan.outside_bytes,
        "reserve_bytes": plan.fleet.device.reserve_bytes,
        "needed_bytes": plan.needed_bytes,
        "limit_bytes": plan.fleet.device.memory_bytes,
        "short_bytes": plan.short_bytes,
        "fit_bytes": plan.fleet.schedule.fit_bytes,
        "stream_count": plan.stream_count,
        "streams_max": plan.fleet.device.streams_max,
        "counted": list(COUNTED),
        "not_counted": list(NOT_COUNTED),
        "witness": list(plan.witness),
        **buffer_figures(plan),
        "added": [
            {"first": item.first, "second": item.second, "kind": item.kind.value}
            for item in plan.added
        ],
        "price": None if plan.price is None else price_figures(plan.price),
        "gears": [
            {"model": model, "gears": size.gears, "choices": list(map(list, size.gear_choices))}
            for model, size in plan.sizes
            if size.gears
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


def price_figures(price: SchedulePrice) -> dict[str, Any]:
    """Return what an added order costs; every number in `makespan_unit`."""
    return {
        "makespan_unit": price.unit.value,
        "makespan": price.makespan,
        "makespan_before": price.before,
        "makespan_lower_bound": price.lower_bound,
        "makespan_serial": price.serial,
        "is_proven": price.is_proven,
    }


def device_figures(device: DeviceModel) -> dict[str, Any]:
    """Return one device of the catalogue, sizes in exact bytes."""
    return {
        "device": device.name,
        "products": list(device.products),
        "nominal_bytes": device.nominal_bytes,
        "total_bytes": device.total_bytes,
        "idle_bytes": device.idle_bytes,
        "usable_bytes": device.usable_bytes,
        "source": device.source,
        "note": device.note,
    }


def measured_figures(report: FleetReport) -> dict[str, Any]:
    """Return what one device was seen to use, sizes in exact bytes."""
    return {
        "device": report.device,
        "total_bytes": report.total_bytes,
        "before_bytes": report.before_bytes,
        "planned_bytes": report.planned_bytes,
        "outside_bytes": report.outside_bytes,
        "reserved_bytes": report.reserved_bytes,
        "loaded_bytes": report.loaded_bytes,
        "loading_peak_bytes": report.loading_peak_bytes,
        "running_peak_bytes": report.running_peak_bytes,
        "peak_bytes": report.peak_bytes,
        "unmodelled_loading_bytes": report.unmodelled_loading_bytes,
        "unmodelled_running_bytes": report.unmodelled_running_bytes,
        "unmodelled_bytes": report.unmodelled_bytes,
        "executions": report.executions,
        "mismatches": report.mismatches,
        "readings": [
            {
                "stage": reading.stage.value,
                "instance": reading.instance,
                "taken_bytes": reading.taken_bytes,
                "declared_bytes": reading.declared_bytes,
                "beyond_bytes": reading.beyond_bytes,
            }
            for reading in report.readings
        ],
    }


def capacity_figures(
    capacity: Capacity,
    measured: Sequence[FleetReport] = (),
    explanation: Explanation | None = None,
) -> dict[str, Any]:
    """Return everything that a report says, beside the figures of its plan.

    ``measured`` has one entry for each device that the plan was run on. ``channels_fit`` maps each
    pipeline to the most channels that fit, null where nothing limits them; ``growth`` says how each
    number is meant, and as ``rate_largest`` how many the declared rate allows at most. The parts of
    ``accounts`` and of ``bytes_by_kind`` each sum to ``needed_bytes``. ``explanation`` says why a
    plan does not fit; null where it does.
    """
    savings = capacity.dedupe
    return {
        "report_version": REPORT_VERSION,
        **plan_figures(capacity.plan),
        "explanation": explanation_figures(explanation, capacity.plan),
        "headroom_bytes": capacity.headroom_bytes,
        "bytes_by_kind": {
            kind.value: size for kind, size in bytes_by_kind(capacity.accounts).items()
        },
        "accounts": [
            {"owner": account.owner, "kind": account.kind.value, "bytes": account.bytes}
            for account in capacity.accounts
        ],
        "shares": [
            {
                "instance": share.instance,
                "reserved_bytes": share.reserved_bytes,
                "alone_bytes": share.alone_bytes,
                "shared_bytes": share.shared_bytes,
            }
            for share in capacity.shares
        ],
        "strategies": [
            {
                "name": strategy.name,
                "bytes": strategy.bytes,
                "work_bytes": strategy.work_bytes,
                "weight_bytes": strategy.weight_bytes,
                "legal": strategy.legal,
                "meaning": strategy.meaning,
            }
            for strategy in capacity.strategies
        ],
        "dedupe": {
            "current": savings.current.value,
            "off_bytes": savings.off_bytes,
            "file_bytes": savings.file_bytes,
            "weights_bytes": savings.weights_bytes,
            "saved_bytes": savings.saved_bytes,
            "further_bytes": savings.further_bytes,
            "duplicates": [
                {
                    "weights_sha256": item.weights_digest,
                    "models": list(item.models),
                    "extra_bytes": item.extra_bytes,
                }
                for item in savings.duplicates
            ],
        },
        "levers": [
            {
                "instance": lever.instance,
                "in_witness": lever.in_witness,
                "shrink_bytes": lever.shrink_bytes,
                "remove_bytes": lever.remove_bytes,
                "move_bytes": lever.move_bytes,
                "move_lane": lever.move_lane,
                "move_count": lever.move_count,
            }
            for lever in capacity.levers
        ],
        "channels_fit": {item.pipeline: item.largest for item in capacity.channels},
        "growth": [_growth(item, capacity.rate_of(item.pipeline)) for item in capacity.channels],
        "growth_together": _growth(capacity.together, None),
        "devices_fit": [
            {
                "device": fit.device.name,
                "usable_bytes": fit.device.usable_bytes,
                "needed_bytes": fit.needed_bytes,
                "headroom_bytes": fit.headroom_bytes,
                "fits": fit.fits,
            }
            for fit in capacity.devices
        ],
        "measured": [measured_figures(report) for report in measured],
    }


def what_if_figures(tables: Iterable[WhatIf]) -> list[dict[str, Any]]:
    """Return what other numbers of channels would need, exact bytes."""
    return [
        {
            "pipeline": table.pipeline,
            "points": [[channels, needed] for channels, needed in table.points],
            "streams": list(table.streams),
            "constant": table.constant,
        }
        for table in tables
    ]


def _growth(found: ChannelsFit, allowed: RateChannels | None) -> dict[str, Any]:
    return {
        "pipeline": found.pipeline or None,
        "channels": found.channels,
        "largest": found.largest,
        "status": found.status.value,
        "rate_largest": None if allowed is None else allowed.most,
        "rate_limited_by": None if allowed is None or allowed.most is None else allowed.limited_by,
    }
