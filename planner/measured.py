"""What one device was seen to use while a plan was loaded and run, beside what was declared.

A device reports free and total memory, nothing more: whatever is taken beyond the reservations and
the declared rest is named as what it is, an unmodelled remainder. Several devices give several
reports; nothing is averaged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from planner.columns import cut, padded, wrapped
from planner.model import PAGE_BYTES, InstanceId
from planner.units import format_bytes, format_count

__all__ = ["FleetReport", "Reading", "Stage"]

ROWS_MAX = 16
"""Readings listed in text; the JSON has all."""
_BELOW = (
    "beyond: taken less declared; below 0 where something declared is not taken, such as buffers "
    "that the application brings, or where others gave memory back"
)


class Stage(StrEnum):
    """When a device was asked."""

    RESERVED = "reserved"
    """Both reservations are made, nothing is loaded."""
    LOADED = "loaded"
    """One more instance is loaded."""
    READY = "ready"
    """Every instance is loaded and every lane has its stream."""
    FIRST_RUN = "first run"
    """An instance executed for the first time: devices fill caches then."""
    ASKED = "asked"
    """Somebody asked for a report."""


_LOADING = (Stage.RESERVED, Stage.LOADED, Stage.READY)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device reported once, bytes.

    Attributes
    ----------
    stage : Stage
    instance : InstanceId or None
        Which one was loaded or ran.
    taken_bytes : int
        Used now, less what was used before the fleet was opened. What others take meanwhile counts
        here, what they give back makes it smaller: a device does not say whose memory is whose.
    declared_bytes : int
        What accounts for it: reservations in pages, and what the instances that are loaded so far
        take outside the arena.
    """

    stage: Stage
    instance: InstanceId | None
    taken_bytes: int
    declared_bytes: int

    @property
    def beyond_bytes(self) -> int:
        """Taken less declared; negative where something declared is not taken yet."""
        return self.taken_bytes - self.declared_bytes


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What was measured beside what was planned, bytes of one device.

    Attributes
    ----------
    device : str
    total_bytes, before_bytes : int
        What the device has, and what was used before the fleet was opened: by its system, contexts
        and other processes.
    planned_bytes, outside_bytes : int
        Reservations, page-rounded; and what is known to lie beside them: what the plan declares, or
        what the device's descriptions of the loaded models make it.
    readings : tuple of Reading
        In order of time.
    page_bytes : int
        What `planned_bytes` and `outside_bytes` are rounded up to.
    executions, mismatches : int or None
        Outputs compared with those of each model alone, and how many differ; None: nobody compared.
    """

    device: str
    total_bytes: int
    before_bytes: int
    planned_bytes: int
    outside_bytes: int
    readings: tuple[Reading, ...]
    page_bytes: int = PAGE_BYTES
    executions: int | None = None
    mismatches: int | None = None

    @property
    def reserved_bytes(self) -> int:
        """Taken after the reservation."""
        return self._last(Stage.RESERVED)

    @property
    def loaded_bytes(self) -> int:
        """Taken after the last load."""
        return self._last(Stage.LOADED)

    @property
    def loading_peak_bytes(self) -> int:
        """Most that was seen taken until the fleet was ready."""
        return max((r.taken_bytes for r in self.readings if r.stage in _LOADING), default=0)

    @property
    def running_peak_bytes(self) -> int:
        """Most that was seen taken since the fleet was ready."""
        return max((r.taken_bytes for r in self.readings if r.stage not in _LOADING), default=0)

    @property
    def peak_bytes(self) -> int:
        """Most that was seen taken since the fleet was opened."""
        return max(self.loading_peak_bytes, self.running_peak_bytes)

    @property
    def unmodelled_loading_bytes(self) -> int:
        """Most that was taken beyond what was declared then, until the fleet was ready."""
        return self._beyond(*_LOADING)

    @property
    def unmodelled_running_bytes(self) -> int:
        """Most that was taken beyond what was declared then, since the fleet was ready."""
        return self._beyond(Stage.FIRST_RUN, Stage.ASKED)

    @property
    def unmodelled_bytes(self) -> int:
        """Most that nothing declares: kernels, streams, caches of the device; 0 without any."""
        return self._beyond(*Stage)

    def rows(self) -> tuple[tuple[str, int], ...]:
        """Return the figures as (name, bytes), in the order in which they are read."""
        return (
            ("planned reservations", self.planned_bytes),
            ("declared outside the arena", self.outside_bytes),
            ("measured after reserving", self.reserved_bytes),
            ("measured after loading", self.loaded_bytes),
            ("measured at the peak: loading", self.loading_peak_bytes),
            ("measured at the peak: running", self.running_peak_bytes),
            ("unmodelled remainder: loading", self.unmodelled_loading_bytes),
            ("unmodelled remainder: running", self.unmodelled_running_bytes),
        )

    def pages_words(self) -> str:
        """Return how the first two figures are rounded, which the readings are not."""
        pages = format_bytes(self.page_bytes)
        return f"planned and declared: rounded up to the device's pages of {pages}"

    def compared_words(self) -> str:
        """Return how many outputs were compared and differ; nothing where nobody compared."""
        if self.executions is None or self.mismatches is None:
            return ""
        differ = "differs" if self.mismatches == 1 else "differ"
        return (
            f"{format_count(self.executions, 'output')} compared with those of each model alone: "
            f"{self.mismatches} {differ}"
        )

    def below_words(self) -> str:
        """Return what a reading below what is declared means; nothing where there is none."""
        return _BELOW if any(reading.beyond_bytes < 0 for reading in self.readings) else ""

    def summary(self) -> str:
        """Return the figures as text of at most 80 columns."""
        lines = [
            f"device {self.device}: {format_bytes(self.total_bytes)}, "
            f"{format_bytes(self.before_bytes)} of it used before"
        ]
        lines += [f"  {name:<31}{format_bytes(size):>14}{size:>18}" for name, size in self.rows()]
        lines.append(f"  {self.pages_words()}")
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """Return the figures and the readings as text of at most 80 columns."""
        lines = [
            self.summary(),
            f"  {'taken, stage by stage':<37}{'taken':>14}{'declared':>14}{'beyond':>13}",
        ]
        lines += self._stages()
        lines += [f"  {line}" for line in wrapped(self.below_words(), 78)]
        return "\n".join(lines) + "\n"

    def shown(self, most: int) -> tuple[Reading, ...]:
        """Return at most so many readings, in order of time: where few fit, those that say most.

        They are those of no instance, and those at which most was added beyond what is declared.
        """
        if len(self.readings) <= most:
            return self.readings
        before = (0, *(reading.beyond_bytes for reading in self.readings))

        def weight(index: int) -> tuple[bool, int, int]:
            reading = self.readings[index]
            return reading.instance is not None, before[index] - reading.beyond_bytes, index

        chosen = sorted(sorted(range(len(self.readings)), key=weight)[:most])
        return tuple(self.readings[index] for index in chosen)

    def _stages(self) -> Iterator[str]:
        for reading in self.shown(ROWS_MAX):
            name = reading.stage.value
            if reading.instance:
                name = f"{name} {reading.instance}"
            yield (
                f"  {padded(cut(name, 35), 37)}{format_bytes(reading.taken_bytes):>14}"
                f"{format_bytes(reading.declared_bytes):>14}"
                f"{format_bytes(reading.beyond_bytes):>13}"
            )
        if len(self.readings) > ROWS_MAX:
            yield f"  ... and {len(self.readings) - ROWS_MAX} more readings (the JSON has all)"

    def _last(self, stage: Stage) -> int:
        found = [reading.taken_bytes for reading in self.readings if reading.stage is stage]
        return found[-1] if found else 0

    def _beyond(self, *stages: Stage) -> int:
        return max([0, *(r.beyond_bytes for r in self.readings if r.stage in stages)])
