"""The JSON Schema of `capacity_figures`: what programs that read reports may rely on."""

from enum import StrEnum
from typing import Any, Final

from planner.capacity import GrowthStatus, Kind
from planner.explanation import ChangeKind
from planner.fleet import Dedupe
from planner.handover import BufferUse
from planner.makespan import MakespanUnit
from planner.measured import Stage
from planner.problem import SolveStatus
from planner.report.figures import REPORT_VERSION

__all__ = ["report_schema"]

_Schema = dict[str, Any]
_SIZE: Final[_Schema] = {"type": "integer", "minimum": 0}
_CHANGE: Final[_Schema] = {"type": "integer"}
_TEXT: Final[_Schema] = {"type": "string"}
_FLAG: Final[_Schema] = {"type": "boolean"}
_TEXTS: Final[_Schema] = {"type": "array", "items": _TEXT}


def report_schema() -> _Schema:
    """Return the schema of a report of `REPORT_VERSION`; every key is required, none other is.

    Examples
    --------
    >>> report_schema()["properties"]["report_version"]
    {'const': 1}
    """
    kinds = _record({kind.value: _SIZE for kind in Kind})
    growth = _record(
        {
            "pipeline": _or_null(_TEXT),
            "channels": _SIZE,
            "largest": _or_null(_SIZE),
            "status": _one_of(GrowthStatus),
            "rate_largest": _or_null(_SIZE),
            "rate_limited_by": _or_null(_TEXT),
        }
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "npu-arena report",
        **_record(
            {
                "report_version": {"const": REPORT_VERSION},
                **_plan(),
                "explanation": _or_null(_explanation()),
                "headroom_bytes": _or_null(_CHANGE),
                "bytes_by_kind": kinds,
                "accounts": _rows({"owner": _TEXT, "kind": _one_of(Kind), "bytes": _SIZE}),
                "shares": _rows(
                    {
                        "instance": _TEXT,
                        "reserved_bytes": _SIZE,
                        "alone_bytes": _SIZE,
                        "shared_bytes": _SIZE,
                    }
                ),
                "strategies": _rows(
                    {
                        "name": _TEXT,
                        "bytes": _SIZE,
                        "work_bytes": _SIZE,
                        "weight_bytes": _SIZE,
                        "legal": _FLAG,
                        "meaning": _TEXT,
                    }
                ),
                "dedupe": _dedupe(),
                "levers": _rows(
                    {
                        "instance": _TEXT,
                        "in_witness": _FLAG,
                        "shrink_bytes": _or_null(_SIZE),
                        "remove_bytes": _or_null(_SIZE),
                        "move_bytes": _or_null(_SIZE),
                        "move_lane": _TEXT,
                        "move_count": _SIZE,
                    }
                ),
                "channels_fit": {"type": "object", "additionalProperties": _or_null(_SIZE)},
                "growth": {"type": "array", "items": growth},
                "growth_together": growth,
                "devices_fit": _rows(
                    {
                        "device": _TEXT,
                        "usable_bytes": _SIZE,
                        "needed_bytes": _SIZE,
                        "headroom_bytes": _CHANGE,
                        "fits": _FLAG,
                    }
                ),
                "measured": {"type": "array", "items": _measured()},
                "warnings": _TEXTS,
            }
        ),
    }


def _plan() -> _Schema:
    sizes = (
        "height_bytes",
        "lower_bound_bytes",
        "weight_bytes",
        "total_bytes",
        "planned_bytes",
        "private_bytes",
        "private_total_bytes",
        "outside_bytes",
        "reserve_bytes",
        "needed_bytes",
        "short_bytes",
        "stream_count",
    )
    return {
        "fits": _FLAG,
        "status": _one_of(SolveStatus),
        **dict.fromkeys(sizes, _SIZE),
        "limit_bytes": _or_null(_SIZE),
        "fit_bytes": _or_null(_SIZE),
        "streams_max": _or_null(_SIZE),
        "witness": _TEXTS,
        "witness_buffers": _TEXTS,
        "buffers_private_bytes": _SIZE,
        "buffers_own_bytes": _SIZE,
        "buffers": _rows(
            {
                "buffer": _TEXT,
                "use": _one_of(BufferUse),
                "channel": _TEXT,
                "step": _TEXT,
                "tensor": _TEXT,
                "slot": _SIZE,
                "readers": _TEXTS,
                "offset": _SIZE,
                "bytes": _SIZE,
            }
        ),
        "counted": _TEXTS,
        "not_counted": _TEXTS,
        "added": _rows({"first": _TEXT, "second": _TEXT, "kind": _TEXT}),
        "price": _or_null(
            _record(
                {
                    "makespan_unit": _one_of(MakespanUnit),
                    "makespan": _SIZE,
                    "makespan_before": _SIZE,
                    "makespan_lower_bound": _SIZE,
                    "makespan_serial": _SIZE,
                    "is_proven": _FLAG,
                }
            )
        ),
        "gears": _rows(
            {
                "model": _TEXT,
                "gears": _TEXT,
                "choices": {"type": "array", "items": {"type": "array", "items": _SIZE}},
            }
        ),
        "instances": _rows(
            {
                "instance": _TEXT,
                "model": _TEXT,
                "lane": _TEXT,
                "work_offset": _or_null(_SIZE),
                "work_bytes": _SIZE,
                "weight_offset": _or_null(_SIZE),
                "weight_bytes": _SIZE,
            }
        ),
    }


def _dedupe() -> _Schema:
    sizes = ("off_bytes", "file_bytes", "weights_bytes", "saved_bytes")
    duplicates = {"weights_sha256": _TEXT, "models": _TEXTS, "extra_bytes": _SIZE}
    return _record(
        {
            "current": _one_of(Dedupe),
            **dict.fromkeys(sizes, _SIZE),
            "further_bytes": _SIZE,
            "duplicates": _rows(duplicates),
        }
    )


def _explanation() -> _Schema:
    change = {"kind": _one_of(ChangeKind), "names": _TEXTS, "count": _SIZE}
    return _record(
        {
            "culprits": _TEXTS,
            "culprits_needed_bytes": _SIZE,
            "culprits_lower_bound_bytes": _SIZE,
            "culprits_stream_count": _SIZE,
            "culprits_proven": _FLAG,
            "culprits_minimal": _FLAG,
            "ways_out": _rows(
                {
                    "what": _TEXT,
                    "changes": _rows(change),
                    "device": _or_null(_TEXT),
                    "bytes_freed": _CHANGE,
                    "time_added": _CHANGE,
                    "time_unit": _one_of(MakespanUnit),
                    "needed_bytes": _SIZE,
                    "limit_bytes": _or_null(_SIZE),
                    "fits": _FLAG,
                    "time_at_most": _FLAG,
                }
            ),
            "left_out": _SIZE,
        }
    )


def _measured() -> _Schema:
    """Return the schema of what one device was seen to use; others may return memory meanwhile."""
    sizes = (
        "total_bytes",
        "before_bytes",
        "planned_bytes",
        "outside_bytes",
        "unmodelled_loading_bytes",
        "unmodelled_running_bytes",
        "unmodelled_bytes",
    )
    changes = (
        "reserved_bytes",
        "loaded_bytes",
        "loading_peak_bytes",
        "running_peak_bytes",
        "peak_bytes",
    )
    reading = {
        "stage": _one_of(Stage),
        "instance": _or_null(_TEXT),
        "taken_bytes": _CHANGE,
        "declared_bytes": _SIZE,
        "beyond_bytes": _CHANGE,
    }
    return _record(
        {
            "device": _TEXT,
            **dict.fromkeys(sizes, _SIZE),
            **dict.fromkeys(changes, _CHANGE),
            "executions": _or_null(_SIZE),
            "mismatches": _or_null(_SIZE),
            "readings": _rows(reading),
        }
    )


def _record(properties: _Schema) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _rows(properties: _Schema) -> _Schema:
    return {"type": "array", "items": _record(properties)}


def _or_null(schema: _Schema) -> _Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _one_of(values: type[StrEnum]) -> _Schema:
    return {"enum": [value.value for value in values]}
