"""The whole work reservation of a fit: work of instances, and tensors that steps hand on.

    set aside      work of a height, found without regard to tensors, and each tensor on top of it

    sharing        [ a ][ c ]     the same schedule, every two instances of a channel in the order
                   [ y  ][ b ]    that they have in it: then `y`, dead before b begins, may lie in
                                  the bytes of b. All is placed at once, as low as it goes.

Locks never keep a tensor apart: it lives from one execution to another. Orders do, which is why
sharing asks for all of a schedule's; those that nothing needs are dropped afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Final

from planner.conflict import ConflictRelation
from planner.fit.placing import TimedPlan
from planner.fit.sharing import constraints_of
from planner.fit.workload import Workload
from planner.handover import BufferUse
from planner.io_buffers import buffer_ends
from planner.masks import mask_indices
from planner.model import InstanceId
from planner.pipeline import schedule_of, work_problem
from planner.plan import AddedOrder, Plan
from planner.problem import Assignment, Problem
from planner.solvers import SolveOptions, solve

__all__ = ["Placed", "WholeWork", "place"]

_SEARCHED_MAX: Final = 60
"""More regions are placed without a search: a trial then takes hundredths of a second."""


def place(problem: Problem, target_bytes: int | None = None) -> Assignment:
    """Return offsets as low as a short search finds; `target_bytes` is low enough to stop at."""
    options = SolveOptions(
        target_bytes=target_bytes,
        nodes_max=20_000,
        clique_nodes_max=5_000,
        rounds_max=1 if problem.n <= _SEARCHED_MAX else 0,
        anytime=False,
    )
    assignment = solve(problem, options).assignment
    assert assignment is not None, "without a capacity there is always an assignment"
    return assignment


@dataclass(frozen=True, slots=True)
class Placed:
    """A schedule with what keeps sharers apart, and offsets of all: instances, then buffers."""

    length: int
    added: tuple[AddedOrder, ...]
    offsets: tuple[int, ...]
    height: int


class WholeWork:
    """Problems of all that lies in the work reservation.

    Parameters
    ----------
    work : Workload
    free : Plan
        Of which the workload is; its `added` stays whatever happens.

    Attributes
    ----------
    handed_bytes : int
        What tensors take that steps hand on, each in bytes of its own.
    """

    def __init__(self, work: Workload, free: Plan) -> None:
        self._work, self._free = work, free
        reserved = free.rule.reserved_bytes
        self._reserved = free.work_reserved
        self._handed = [b for b in free.buffers if b.use is not BufferUse.INSTANCE]
        self.handed_bytes = sum(reserved(buffer.size_bytes) for buffer in self._handed)
        self._shared: dict[TimedPlan, Placed] = {}

    def problem(self, added: tuple[AddedOrder, ...]) -> Problem:
        """Return the offsets to find with constraints added: instances, then buffers."""
        relation = ConflictRelation.of_schedule(
            schedule_of(self._free.fleet, self._free.added + added)
        )
        return work_problem(relation, self._reserved, self._free.buffers, self._free.rule)

    def set_aside(self, timed: TimedPlan) -> Placed:
        """Return a schedule with every tensor in bytes of its own, on top of the work."""
        return Placed(
            timed.length,
            constraints_of(self._work, timed),
            self._beside(timed.offsets),
            timed.height + self.handed_bytes,
        )

    def shared(self, timed: TimedPlan) -> Placed:
        """Return a schedule in all the order that it has, tensors among the work; kept."""
        if timed not in self._shared:
            added = constraints_of(self._work, timed, self._of_one_channel())
            problem = self.problem(added)
            found = place(problem)
            height = found.height_bytes(problem)
            self._shared[timed] = Placed(timed.length, added, found.offsets, height)
        return self._shared[timed]

    def _beside(self, offsets: Sequence[int]) -> tuple[int, ...]:
        """Return offsets of all: tensors one above the other, blocks behind the work of theirs."""
        reserved = self._free.rule.reserved_bytes
        top = max(map(sum, zip(offsets, self._work.work_bytes, strict=True)))
        stacked = accumulate((reserved(b.size_bytes) for b in self._handed), initial=top)
        ends = {
            row.id: offset + own
            for row, offset, own in zip(self._free.instances, offsets, self._reserved, strict=True)
        }
        blocks = self._free.buffers[len(self._handed) :]
        handed = tuple(stacked)[:-1]
        return (*offsets, *handed, *(ends[InstanceId(block.step)] for block in blocks))

    def _of_one_channel(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs of instances that one channel alone uses, which hands tensors on."""
        relation = ConflictRelation.of_schedule(self._work.schedule)
        ends = buffer_ends(relation, self._handed)
        handing = {self._work.homes[i] for mask in ends for i in mask_indices(mask)} - {None}
        for home in sorted(home for home in handing if home is not None):
            yield from combinations((i for i, h in enumerate(self._work.homes) if h == home), 2)
