"""`arena devices`: the catalogue of device models, with usable memory and sources."""

import sys

from arena.cli.arguments import JsonFlag
from arena.cli.output import emit_json, table

__all__ = ["devices"]


def devices(as_json: JsonFlag = False) -> int:
    """List the device models that --device-model knows: usable memory, not nominal.

    A file of your own, named by the environment variable NPU_ARENA_DEVICES, adds devices.
    """
    from arena.catalogue import device_catalogue
    from planner.report.figures import device_figures
    from planner.units import format_bytes

    known = device_catalogue()
    if as_json:
        emit_json({"devices": [device_figures(device) for device in known]})
        return 0
    rows = [
        (
            device.name,
            ", ".join(device.products) or "-",
            format_bytes(device.nominal_bytes),
            format_bytes(device.usable_bytes),
        )
        for device in known
    ]
    table(("device model", "products", "nominal", "usable"), rows, numbers=(2, 3))
    sys.stdout.write("\n~ marks what was not read twice; --json has each source\n")
    return 0
