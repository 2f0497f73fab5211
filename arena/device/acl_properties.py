"""What an open device tells about itself: chip, run mode, memory by kind, streams.

Each fact is asked for by itself; one that this version of the binding cannot tell is left out.
"""

from arena.device.acl_calls import AclCalls
from arena.device.acl_codes import AclCode
from arena.device.acl_memory import AclMemory
from arena.device.acl_types import MemoryAttribute

__all__ = ["read_properties"]


def read_properties(calls: AclCalls, memory: AclMemory) -> dict[str, object]:
    """Return the facts of a device.

    Parameters
    ----------
    calls : AclCalls
        Of a thread that has the device's context.
    memory : AclMemory
        Of the same device.

    Returns
    -------
    dict
        ``run_mode`` and ``memory`` (kind -> free and total bytes) always; ``soc``, ``acl_version``,
        ``visible_devices`` and ``streams_free`` where they are told.
    """
    found: dict[str, object] = {"run_mode": memory.run_mode.name.lower()}
    if calls.has("get_soc_name") and (soc := calls.plain("get_soc_name")):
        found["soc"] = str(soc)
    for key, name in (
        ("acl_version", "get_version"),
        ("visible_devices", "rt.get_device_count"),
        ("streams_free", "rt.get_stream_available_num"),
    ):
        if not calls.has(name):
            continue
        code, value = calls.attempt(name)
        if code == AclCode.SUCCESS:
            found[key] = ".".join(map(str, value)) if isinstance(value, tuple) else value
    found["memory"] = _memory_by_kind(calls)
    return found


def _memory_by_kind(calls: AclCalls) -> dict[str, dict[str, int]]:
    """Return kind -> free and total bytes, of the kinds that the chip has."""
    kinds = {}
    for attribute in MemoryAttribute:
        code, value = calls.attempt("rt.get_mem_info", attribute)
        if code == AclCode.SUCCESS and value[1] > 0:
            kinds[attribute.name.lower()] = {"free_bytes": value[0], "total_bytes": value[1]}
    return kinds
