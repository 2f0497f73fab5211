"""`arena doctor`: what this machine has, and why not the rest."""

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, table

__all__ = ["doctor"]


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
    packages = [(item["package"], item["version"] or "absent") for item in found["packages"]]
    table(("package", "version"), packages, numbers=())
    return 0
