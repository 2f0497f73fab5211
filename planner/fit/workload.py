"""A fleet as the search for a fit sees it: jobs, memory, and who may run beside whom anyway."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from planner.conflict import ConflictRelation
from planner.handover import BufferUse
from planner.makespan import Jobs
from planner.pipeline import schedule_of
from planner.plan import Plan
from planner.schedule import Schedule

__all__ = ["Workload"]


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """One frame of every channel, and the work memory that its instances share.

    Attributes
    ----------
    schedule : Schedule
        Of the fleet, before a fit adds anything.
    jobs : Jobs
    work_bytes : tuple of int
        Reserved work of each instance, and its block of inputs and outputs where that is planned:
        both are live together. 0: nothing in the arena.
    conflicts : tuple of int
        Bit j of ``conflicts[i]`` is set iff instances i and j conflict before a fit adds anything.
    homes : tuple of int or None
        Of each instance the only channel that uses it, where that has one frame in flight: there
        an order of the steps keeps it apart from others of the same home. None on lanes of pools,
        of which an execution may take another.
    """

    schedule: Schedule
    jobs: Jobs
    work_bytes: tuple[int, ...]
    conflicts: tuple[int, ...]
    homes: tuple[int | None, ...]

    @classmethod
    def of_plan(cls, plan: Plan) -> Self:
        """Return the workload of a plan: its fleet, its sizes, and what is added already."""
        schedule = schedule_of(plan.fleet, plan.added)
        blocks = {
            buffer.step: plan.rule.reserved_bytes(buffer.size_bytes)
            for buffer in plan.buffers
            if buffer.use is BufferUse.INSTANCE
        }
        users: list[set[int]] = [set() for _ in schedule.instances]
        in_pools: set[int] = set()
        for position, channel in enumerate(schedule.channels):
            for choices in channel.choices:
                for choice in choices:
                    users[choice.instance].add(position)
                    if len(choices) > 1:
                        in_pools.add(choice.instance)
        return cls(
            schedule=schedule,
            jobs=Jobs.of_schedule(schedule),
            work_bytes=tuple(
                blocks.get(row.id, 0) + reserved
                for row, reserved in zip(plan.instances, plan.work_reserved, strict=True)
            ),
            conflicts=ConflictRelation.of_schedule(schedule).masks,
            homes=tuple(
                None if instance in in_pools else _home(schedule, channels)
                for instance, channels in enumerate(users)
            ),
        )

    @property
    def lanes(self) -> list[str]:
        """Lane of each instance."""
        return [name.rpartition("@")[2] for name in self.schedule.instances]

    @property
    def least_height(self) -> int:
        """Height of the work reservation if everything ran serially, bytes."""
        return max(self.work_bytes)

    def job_bytes(self) -> list[int]:
        """Return the reserved bytes of the instance of each job."""
        return [self.work_bytes[instance] for instance in self.jobs.instances]

    def sequence(self, starts: Sequence[int]) -> list[int]:
        """Return the jobs by start; one without length stands before what starts at its end."""
        rank = {job: k for k, job in enumerate(self.jobs.line)}
        times = self.jobs.times
        return sorted(
            range(self.jobs.n), key=lambda job: (starts[job], starts[job] + times[job], rank[job])
        )

    def length_of(self, starts: Sequence[int]) -> int:
        """Return when the last job ends."""
        return max(start + time for start, time in zip(starts, self.jobs.times, strict=True))


def _home(schedule: Schedule, channels: set[int]) -> int | None:
    (first, *others) = sorted(channels)
    return None if others or schedule.channels[first].order.frames_in_flight > 1 else first
