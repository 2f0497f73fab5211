"""The reservations of a plan, and which of their bytes each instance holds while it executes."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from planner.model import InstanceId
from planner.plan import Instance, Plan
from planner.units import align_up

__all__ = ["Holders", "Reservation", "reservations_of"]

Region: TypeAlias = tuple[str, int]
"""What tells a region from others of its reservation, and its reserved bytes."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One block of the device.

    Attributes
    ----------
    kind : str
        ``work`` or ``weights``.
    reserved_bytes : int
        In whole pages.
    regions : mapping of InstanceId to (key, bytes)
        What an instance holds while it executes; instances with one key hold the same bytes.
    """

    kind: str
    reserved_bytes: int
    regions: Mapping[InstanceId, Region]


def reservations_of(plan: Plan) -> tuple[Reservation, ...]:
    """Return the reservations that a plan makes, without those that need no byte."""

    def work(row: Instance) -> Region | None:
        size_bytes = plan.rule.reserved_bytes(row.work_bytes)
        return None if row.work_offset is None else (row.id, size_bytes)

    def weights(row: Instance) -> Region | None:
        size_bytes = plan.rule.reserved_bytes(row.weight_bytes)
        return None if row.weight_offset is None else (row.weights_key, size_bytes)

    kinds: Iterable[tuple[str, int, Callable[[Instance], Region | None]]] = (
        ("work", plan.height_bytes, work),
        ("weights", plan.weight_bytes, weights),
    )
    return tuple(
        Reservation(
            kind,
            align_up(height_bytes, plan.page_bytes),
            {row.id: region for row in plan.instances if (region := region_of(row)) is not None},
        )
        for kind, height_bytes, region_of in kinds
        if height_bytes
    )


class Holders:
    """What executes now, and how many bytes of one reservation it holds.

    Examples
    --------
    >>> a, b = InstanceId("m@x"), InstanceId("m@y")
    >>> weights = Reservation("weights", 2 << 20, {a: ("same", 512), b: ("same", 512)})
    >>> holders = Holders(weights)
    >>> [holders.change(a, 1), holders.change(b, 1), holders.change(a, -1), holders.change(b, -1)]
    [512, 512, 512, 0]
    """

    def __init__(self, reservation: Reservation) -> None:
        self.reservation = reservation
        self.used_bytes = 0
        self._users: Counter[str] = Counter()

    def change(self, instance: InstanceId, count: int) -> int:
        """Count executions of an instance that began (1) or ended (-1); return the bytes in use."""
        region = self.reservation.regions.get(instance)
        if region is not None:
            key, size_bytes = region
            was_used = self._users[key] > 0
            self._users[key] += count
            self.used_bytes += size_bytes * ((self._users[key] > 0) - was_used)
        return self.used_bytes
