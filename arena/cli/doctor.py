"""`arena doctor`: what this machine has, and why not the rest."""

from collections.abc import Mapping
from typing import Any, Final

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, table

__all__ = ["doctor"]

VERSIONS: Final = ("cann_version", "driver_version")
TOLD: Final = ("soc", "run_mode", "acl_version", "visible_devices", "streams_free")


def doctor(as_json: JsonFlag = False) -> int:
    """Say which devices this machine has and why not the others, and which extras are installed."""
    from arena.diagnosis import diagnose

    found = diagnose()
    if as_json:
        emit_json(found)
        return 0
    devices = [
        (item["device"], "yes" if item["available"] else "no", item["detail"])
        for item in found["devices"]
    ]
    table(("device", "there", "detail"), devices, numbers=())
    _print_properties(found)
    packages = [
        (item["package"], item["version"] or "absent", item["extra"] or "-")
        for item in found["packages"]
    ]
    table(("package", "version", "extra"), packages, numbers=())
    return 0


def _print_properties(found: Mapping[str, Any]) -> None:
    """Print what Ascend devices tell about themselves, and what is missing where there is none."""
    from planner.units import format_bytes

    software = found["ascend"]
    versions = [f"{key.partition('_')[0]} {software[key] or 'not found'}" for key in VERSIONS]
    visible = software["visible"] or "all"
    rows = [("ascend", f"{', '.join(versions)}; visible devices: {visible}")]
    rows += [("", reason) for reason in software["missing"]]
    for item in found["devices"]:
        if "memory" not in item:
            continue
        told = [f"{key.replace('_', ' ')} {item[key]}" for key in TOLD if key in item]
        kinds = (
            f"{kind} {format_bytes(size['free_bytes'])} free of {format_bytes(size['total_bytes'])}"
            for kind, size in item["memory"].items()
        )
        rows.append((item["device"], ", ".join([*told, *kinds])))
    table(("about", "what it tells"), rows, numbers=())
