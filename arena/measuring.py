"""Readings of one device's memory while a plan is loaded and run: measured beside planned.

Nothing runs on its own here: a device is asked at the stages of `planner.measured`, in the thread
that reached them. What a device takes and gives back within one call stays unseen.
"""

import threading

from arena.device.base import Device
from arena.loader import LoadedInstance
from planner.measured import FleetReport, Reading, Stage
from planner.model import InstanceId, page_rounded
from planner.plan import Plan
from planner.units import align_up

__all__ = ["Meter"]


class Meter:
    """Asks one device what is used, relative to what was used when the meter was made.

    Parameters
    ----------
    plan : Plan
    device : Device
        Open.
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        info = device.memory_info()
        self._plan = plan
        self._device = device
        self._total_bytes = info.total_bytes
        self._before_bytes = info.used_bytes
        self._described_bytes = 0
        self._readings: list[Reading] = []
        self._lock = threading.Lock()

    def after_reserve(self) -> None:
        """Read after the reservation."""
        self._read(Stage.RESERVED)

    def after_load(self, item: LoadedInstance) -> None:
        """Read after one load, and count what the device's description adds to the plan."""
        size = self._plan.size_of(item.instance.model)
        if not self._plan.fleet.device.plans_io(size):
            self._described_bytes += page_rounded(self._device.io_bytes(item.handle))
        if size.system_managed:
            self._described_bytes += page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
        self._read(Stage.LOADED, item.instance.id)

    def when_ready(self) -> None:
        """Read once everything is loaded and every lane has its stream."""
        self._read(Stage.READY)

    def after_first_run(self, instance: InstanceId) -> None:
        """Read after the first execution of an instance."""
        self._read(Stage.FIRST_RUN, instance)

    def report(self) -> FleetReport:
        """Read once more, and return all there is."""
        self._read(Stage.ASKED)
        with self._lock:
            readings = tuple(self._readings)
        outside = align_up(self._described_bytes, self._plan.page_bytes)
        return FleetReport(
            device=self._device.name,
            total_bytes=self._total_bytes,
            before_bytes=self._before_bytes,
            planned_bytes=self._plan.planned_bytes,
            outside_bytes=max(self._plan.outside_bytes, outside),
            readings=readings,
            page_bytes=self._plan.page_bytes,
        )

    def _read(self, stage: Stage, instance: InstanceId | None = None) -> None:
        taken = self._device.memory_info().used_bytes - self._before_bytes
        declared = self._plan.planned_bytes + self._described_bytes
        with self._lock:
            self._readings.append(Reading(stage, instance, taken, declared))
