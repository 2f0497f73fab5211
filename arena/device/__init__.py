"""Devices behind one port: `acl` (pyACL), `twin` (rehearsed on the host), `cpu`, adaptors.

`open_device` is the factory: it alone knows them all, and imports the one that is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from arena.device.adaptors import LimitedDevice
from arena.device.base import Device
from arena.errors import DeviceError
from planner.errors import UsageError

if TYPE_CHECKING:
    from arena.device.twin import TwinConfig

__all__ = ["DEVICES", "open_device"]

DEVICES: Final = ("acl", "twin", "cpu")


def open_device(
    name: str,
    *,
    device_id: int = 0,
    timeout_s: float | None = None,
    memory_bytes: int | None = None,
    limit_bytes: int | None = None,
    twin: "TwinConfig | None" = None,
) -> Device:
    """Return an open device.

    Parameters
    ----------
    name : str
        ``acl``, ``twin`` or ``cpu``.
    device_id : int
        Which of several; ``cpu`` has number 0 alone.
    timeout_s : float or None
        Longest wait for a stream of ``acl`` and ``twin``; None: for ever.
    memory_bytes : int or None
        What a ``twin`` or ``cpu`` has; None: their own default. Real devices have what they have.
    limit_bytes : int or None
        Take no more than this (`LimitedDevice`).
    twin : TwinConfig or None
        Everything else about a twin.

    Raises
    ------
    UsageError
        No such device, or an option that it does not have. Caused by the caller.
    DeviceError
        Its software is missing, or it cannot be opened; says what to do.
    """
    if name not in DEVICES:
        raise UsageError(f"unknown device {name!r}, expected {', '.join(DEVICES)}")
    if twin is not None and name != "twin":
        raise UsageError(f"device {name!r} takes no configuration of a twin")
    if memory_bytes is not None and name == "acl":
        raise UsageError("device 'acl' has the memory that it has: pass limit_bytes")
    device = _create(name, device_id, timeout_s, memory_bytes, twin)
    if limit_bytes is not None:
        device = LimitedDevice(device, limit_bytes=limit_bytes)
    device.open()
    return device


def _create(
    name: str,
    device_id: int,
    timeout_s: float | None,
    memory_bytes: int | None,
    config: "TwinConfig | None",
) -> Device:
    if name == "cpu":
        if device_id:
            raise UsageError(f"device 'cpu' has number 0 alone, not {device_id}")
        return _create_cpu(memory_bytes)
    from arena.device.acl import AclDevice

    if name == "acl":
        return AclDevice(device_id, timeout_s=timeout_s)
    from dataclasses import replace

    from arena.device.twin import Twin, TwinConfig

    if config is None:
        config = TwinConfig(n_devices=device_id + 1)
    if memory_bytes is not None:
        config = replace(config, memory_bytes=memory_bytes)
    return AclDevice(device_id, timeout_s=timeout_s, acl=Twin(config).acl, name="twin")


def _create_cpu(memory_bytes: int | None) -> Device:
    try:
        module = import_module("arena.device.cpu.device")
    except ImportError as error:
        raise DeviceError(
            f"device 'cpu' cannot be used: {error}; install the extra: pip install 'npu-arena[cpu]'"
        ) from error
    device: Device = module.CpuDevice(memory_bytes)
    return device
