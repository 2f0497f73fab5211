"""What people do by hand: everything in turns, one lane for each pipeline, lanes put together.

Each is a choice of lanes that run as one. They are candidates as any other, so a fit is never worse
than they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from planner.fit.placing import TimedPlan
from planner.fit.workload import Workload
from planner.fleet import channel_name
from planner.handover import BufferUse, ChannelBuffer
from planner.makespan import shortest
from planner.problem import Problem
from planner.solvers import SolveOptions, solve

__all__ = ["as_one_lane", "handing_on", "lanes_of_pipelines", "merged_lanes"]


def lanes_of_pipelines(work: Workload) -> list[int]:
    """Return a group for each instance: lanes that one pipeline uses are in one group."""
    group = {lane: k for k, lane in enumerate(dict.fromkeys(work.lanes))}
    for pipeline in work.schedule.spec.pipelines:
        lanes = {
            lane
            for channel in range(pipeline.channels)
            for step in pipeline.steps
            for lane in step.lanes_of(channel)
        }
        together = {group[lane] for lane in lanes}
        group = {lane: min(together) if k in together else k for lane, k in group.items()}
    return [group[lane] for lane in work.lanes]


def merged_lanes(work: Workload) -> Iterator[list[int]]:
    """Yield groups of lanes, always the two put together that save most: until one is left.

    Two groups save what the smaller one's largest region takes, so the two with the largest
    regions go together. Ties by first use.
    """
    largest: dict[str, int] = {}
    for lane, size in zip(work.lanes, work.work_bytes, strict=True):
        largest[lane] = max(largest.get(lane, 0), size)
    by_size = sorted(largest, key=lambda lane: -largest[lane])
    for count in range(2, len(by_size) + 1):
        first = set(by_size[:count])
        yield [0 if lane in first else 1 + by_size.index(lane) for lane in work.lanes]


def as_one_lane(work: Workload, groups: Sequence[int], *, exact_limit: float) -> TimedPlan:
    """Return the schedule and the offsets of instances whose groups run in turns."""
    members: dict[int, int] = {}
    for instance, group in enumerate(groups):
        members[group] = members.get(group, 0) | 1 << instance
    problem = Problem(
        work.work_bytes,
        conflict_masks=tuple(
            mask & ~members[group] for mask, group in zip(work.conflicts, groups, strict=True)
        ),
    )
    assignment = solve(problem, SolveOptions(rounds_max=0, anytime=False), groups=groups).assignment
    assert assignment is not None, "without a capacity there is always an assignment"
    used = (*work.jobs.locks, *work.jobs.certain)
    first = max(mask.bit_length() for mask in used)
    together = [1 << first + groups[instance] for instance in work.jobs.instances]
    jobs = replace(
        work.jobs,
        locks=tuple(mask | one for mask, one in zip(work.jobs.locks, together, strict=True)),
        certain=tuple(mask | one for mask, one in zip(work.jobs.certain, together, strict=True)),
    )
    found = shortest(jobs, exact_limit=exact_limit)
    return TimedPlan(
        length=found.length,
        height=assignment.height_bytes(problem),
        starts=found.starts,
        offsets=assignment.offsets,
    )


def handing_on(work: Workload, buffers: Sequence[ChannelBuffer]) -> TimedPlan:
    """Return everything in turns, so that what steps hand on takes little meanwhile.

    Of the steps that may run the one goes first that adds the fewest bytes: what it writes, less
    what nobody reads after it. Ties go to the one that became ready last: its tensors are waiting.
    """
    jobs = work.jobs
    number = {
        (channel_name(e.pipeline, e.channel), e.step): job for job, e in enumerate(jobs.executions)
    }
    fed = [buffer for buffer in buffers if buffer.use is BufferUse.FEED and not buffer.slot]
    readers = [{number[row.channel, step] for step, _ in row.readers} for row in fed]
    grows = [0] * jobs.n
    for row in fed:
        grows[number[row.channel, row.step]] += row.size_bytes
    waits = [0] * jobs.n
    for later in (job for after in jobs.after for job in after):
        waits[later] += 1
    starts, now = [0] * jobs.n, 0
    ready = [job for job in reversed(jobs.line) if not waits[job]]
    while ready:
        ends = [0] * jobs.n
        for row, left in zip(fed, readers, strict=True):
            if len(left) == 1:
                ends[next(iter(left))] += row.size_bytes
        job = min(reversed(ready), key=lambda job: grows[job] - ends[job])
        ready.remove(job)
        for left in readers:
            left.discard(job)
        starts[job] = now
        now += jobs.times[job]
        for later in reversed(jobs.after[job]):
            waits[later] -= 1
            if not waits[later]:
                ready.append(later)
    return TimedPlan(now, work.least_height, tuple(starts), (0,) * len(work.work_bytes))
