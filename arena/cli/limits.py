"""The memory limit of a command: given in bytes, or as a device of the catalogue."""

from planner.errors import UsageError
from planner.units import parse_bytes

__all__ = ["limit_of"]


def limit_of(memory: str | None, device_model: str | None) -> int | None:
    """Return the limit in bytes; None: the fleet's own.

    Raises
    ------
    UsageError
        Both are given. Caused by the caller.
    """
    if memory is not None and device_model is not None:
        raise UsageError("found --memory and --device-model; each gives the limit: leave one out")
    if device_model is not None:
        from arena.catalogue import device_model as known_device

        return known_device(device_model).usable_bytes
    return None if memory is None else parse_bytes(memory, "--memory")
