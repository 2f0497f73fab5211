"""What this machine offers: interpreter, packages, devices, and why a device is not there."""

import platform
import sys
from importlib import metadata
from typing import Any

from arena.device import DEVICES, open_device
from arena.errors import DeviceError
from planner.errors import ArenaError
from planner.units import format_bytes

__all__ = ["diagnose"]

PACKAGES = (
    "npu-arena",
    "numpy",
    "networkx",
    "msgspec",
    "PyYAML",
    "numba",
    "ortools",
    "onnxruntime",
    "onnx",
)


def diagnose() -> dict[str, Any]:
    """Return facts about this machine as a JSON mapping; opens each device for a moment."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "executable": sys.executable,
        "packages": [{"package": name, "version": _version(name)} for name in PACKAGES],
        "devices": [_device(name) for name in DEVICES],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device(name: str) -> dict[str, Any]:
    try:
        device = open_device(name)
        try:
            memory = device.memory_info()
        finally:
            device.close()
    except (ArenaError, DeviceError) as error:
        return {"device": name, "available": False, "detail": str(error)}
    return {
        "device": name,
        "available": True,
        "detail": f"{format_bytes(memory.free_bytes)} free of {format_bytes(memory.total_bytes)}",
        "free_bytes": memory.free_bytes,
        "total_bytes": memory.total_bytes,
    }
