"""Which devices of a catalogue a plan fits."""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.columns import natural
from planner.errors import SpecError
from planner.plan import Plan
from planner.units import BYTES_MAX

__all__ = ["DeviceFit", "DeviceModel", "devices_fit"]


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One chip of a product, as its memory is seen by applications.

    Attributes
    ----------
    name : str
    products : tuple of str
    nominal_bytes : int
        As sold.
    total_bytes : int
        What the driver reports in all.
    idle_bytes : int
        What is taken on an idle device: driver, firmware, where memory is unified the system.
    source : str
        Where the figures come from.
    note : str
    """

    name: str
    products: tuple[str, ...]
    nominal_bytes: int
    total_bytes: int
    idle_bytes: int
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.idle_bytes <= self.total_bytes <= BYTES_MAX:
            raise SpecError(
                f"device {self.name!r}: total {self.total_bytes} and idle {self.idle_bytes}, "
                "expected 0 <= idle <= total <= 2^62 bytes"
            )

    @property
    def usable_bytes(self) -> int:
        """What an idle device has for applications, bytes: total less idle."""
        return self.total_bytes - self.idle_bytes


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """Whether a plan fits a device, and what is then left of its usable memory (or is missing)."""

    device: DeviceModel
    needed_bytes: int

    @property
    def headroom_bytes(self) -> int:
        """Usable memory less what is needed; negative where the plan does not fit."""
        return self.device.usable_bytes - self.needed_bytes

    @property
    def fits(self) -> bool:
        """Whether usable memory suffices."""
        return self.headroom_bytes >= 0


def devices_fit(plan: Plan, devices: Iterable[DeviceModel]) -> tuple[DeviceFit, ...]:
    """Return how `plan`, its reserves included, fits each device, the smallest device first."""
    ranked = sorted(devices, key=lambda device: (device.usable_bytes, natural(device.name)))
    return tuple(DeviceFit(device, plan.needed_bytes) for device in ranked)
