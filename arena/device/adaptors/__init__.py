"""Devices that wrap a device: a limit, faults, accounting, a race check. They stack in any order.

TrackingDevice(FaultyDevice(LimitedDevice(device, limit_bytes=1 * GiB), fail_call=3))
"""

from arena.device.adaptors.adaptor import Adaptor
from arena.device.adaptors.faults import FaultyDevice
from arena.device.adaptors.limit import LimitedDevice
from arena.device.adaptors.race import Race, RaceCheck, Stamp
from arena.device.adaptors.tracking import TrackingDevice, Usage

__all__ = [
    "Adaptor",
    "FaultyDevice",
    "LimitedDevice",
    "Race",
    "RaceCheck",
    "Stamp",
    "TrackingDevice",
    "Usage",
]
