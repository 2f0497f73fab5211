"""List schedules that place memory as they go: a job starts when its locks and its bytes are free.

height |      [ c     ]          The first run of an instance chooses its offset among the gaps
       | [ a ][ d ]              between what runs at that moment; later runs need the same bytes
       | [ b           ]         free. So every schedule comes with offsets, and instances that
       +---------------- time    share bytes never run at the same time in it.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush

from planner.fit.workload import Workload

__all__ = ["GapRule", "TimedPlan", "place_in_time"]


class GapRule(Enum):
    """Which gap a region takes."""

    LOWEST = "lowest"
    TIGHTEST = "tightest"
    APART = "apart"
    """Large regions from below, small ones from above."""


@dataclass(frozen=True, slots=True)
class TimedPlan:
    """A schedule of one frame with offsets: sharers never run at the same time in it.

    Attributes
    ----------
    length : int
        When the last job ends.
    height : int
        Highest end of a region, bytes.
    starts : tuple of int
        Of each job.
    offsets : tuple of int
        Of each instance; 0 without work memory.
    """

    length: int
    height: int
    starts: tuple[int, ...]
    offsets: tuple[int, ...]


def place_in_time(
    work: Workload,
    priorities: Sequence[int],
    height_bytes: int,
    *,
    rule: GapRule = GapRule.LOWEST,
    is_strict: bool = False,
    floors: Sequence[int] = (),
) -> TimedPlan:
    """Return a schedule within `height_bytes`, at least the largest region.

    Parameters
    ----------
    work : Workload
    priorities : sequence of int
        Of each job; of those that may start, the largest goes first.
    height_bytes : int
    rule : GapRule
    is_strict : bool
        Whether nothing overtakes a job that waits for memory alone: large ones starve less.
    floors : sequence of int, optional
        When each job may start at the earliest.

    Notes
    -----
    Always ends: with nothing running, any job that may start has room. Ties by job.
    """
    assert height_bytes >= work.least_height, "the largest region fits"
    run = _Run(work, priorities, height_bytes, rule, is_strict, floors)
    while run.queues or run.running or run.early:
        run.start_what_fits()
        run.wait()
    ends = [o + s for o, s in zip(run.offsets, work.work_bytes, strict=True) if s and o >= 0]
    return TimedPlan(
        length=work.length_of(run.starts),
        height=max(ends, default=0),
        starts=tuple(run.starts),
        offsets=tuple(max(0, offset) for offset in run.offsets),
    )


class _Run:
    """The state of one schedule at one moment."""

    def __init__(
        self,
        work: Workload,
        priorities: Sequence[int],
        height: int,
        rule: GapRule,
        is_strict: bool,
        floors: Sequence[int],
    ) -> None:
        jobs = work.jobs
        self.work, self.jobs, self.priorities = work, jobs, priorities
        self.height, self.rule, self.is_strict = height, rule, is_strict
        self.starts = [0] * jobs.n
        self.offsets = [-1] * len(work.work_bytes)
        self.open_before = [0] * jobs.n
        self.busy = self.now = 0
        self.running: list[tuple[int, int]] = []
        self.regions: list[tuple[int, int]] = []  # (start, end) of what runs, upward
        self.queues: dict[int, list[tuple[int, int]]] = {}
        self.floors = floors or [0] * jobs.n
        self.early: list[tuple[int, int]] = []  # (floor, job), where only the floor is missing
        for later in jobs.after:
            for job in later:
                self.open_before[job] += 1
        for job in range(jobs.n):
            if not self.open_before[job]:
                self._queue(job)
        self.large = sorted(work.work_bytes)[len(work.work_bytes) // 2]
        self.too_large = height + 1  # for what has no offset yet, at this moment

    def start_what_fits(self) -> None:
        """Start, by priority, all jobs whose locks and bytes are free."""
        jobs = self.jobs
        self.too_large = self.height + 1
        candidates = [
            (queue[0], mask, 0) for mask, queue in self.queues.items() if not mask & self.busy
        ]
        heapify(candidates)
        while candidates:
            (_, job), mask, place = heappop(candidates)
            if mask & self.busy:
                continue
            queue = self.queues[mask]
            if self._take_bytes(jobs.instances[job]):
                del queue[place]
                if not queue:
                    del self.queues[mask]
                self.starts[job] = self.now
                self.busy |= mask
                heappush(self.running, (self.now + jobs.times[job], job))
            elif self.is_strict:
                return
            elif place + 1 < len(queue):
                heappush(candidates, (queue[place + 1], mask, place + 1))

    def wait(self) -> None:
        """Let time pass until something ends."""
        jobs = self.jobs
        if not self.running or (self.early and self.early[0][0] < self.running[0][0]):
            self.now = self.early[0][0]
        else:
            self.now = self.running[0][0]
        while self.early and self.early[0][0] <= self.now:
            self._queue(heappop(self.early)[1])
        while self.running and self.running[0][0] == self.now:
            _, ended = heappop(self.running)
            self.busy ^= jobs.locks[ended]
            instance = jobs.instances[ended]
            if size := self.work.work_bytes[instance]:
                start = self.offsets[instance]
                self.regions.remove((start, start + size))
            for job in jobs.after[ended]:
                self.open_before[job] -= 1
                if not self.open_before[job]:
                    self._queue(job)

    def _queue(self, job: int) -> None:
        """Let a job wait for its locks and bytes, or for its floor."""
        if self.floors[job] > self.now:
            heappush(self.early, (self.floors[job], job))
        else:
            queue = self.queues.setdefault(self.jobs.locks[job], [])
            insort(queue, (-self.priorities[job], job))

    def _take_bytes(self, instance: int) -> bool:
        """Return whether the instance has room now; if so, it has it."""
        size = self.work.work_bytes[instance]
        if not size:
            return True
        offset = self.offsets[instance]
        if offset >= 0:
            end = offset + size
            if any(start < end and offset < other_end for start, other_end in self.regions):
                return False
        else:
            # Gaps only shrink until something ends: what had no room then needs no second look.
            offset = -1 if size >= self.too_large else self._gap(size)
            if offset < 0:
                self.too_large = min(self.too_large, size)
                return False
            self.offsets[instance] = offset
        insort(self.regions, (offset, offset + size))
        return True

    def _gap(self, size: int) -> int:
        """Return where a region of `size` bytes goes; -1: there is no room."""
        wide = self._wide(size)
        if self.rule is GapRule.TIGHTEST:
            return min(wide, key=lambda gap: (gap[1] - gap[0], gap[0]), default=(-1, -1))[0]
        if self.rule is GapRule.APART and size < self.large:
            last = max(wide, default=None)
            return -1 if last is None else last[1] - size
        return next(wide, (-1, -1))[0]

    def _wide(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield the gaps with room for `size` bytes, (start, end) upward."""
        low = 0
        for start, end in self.regions:
            if start - low >= size:
                yield low, start
            low = end
        if self.height - low >= size:
            yield low, self.height
