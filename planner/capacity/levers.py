"""What sets the height, and what each instance would free if it shrank or moved.

Where a plan is as high as its witness, instances that pairwise conflict, nothing else lowers the
work reservation as long as all of them stay as they are: every other instance frees no work memory,
without asking. A plan may also be proven optimal by a search, which leaves no witness: then every
instance is asked about.

Parts that conflict throughout lie one above the other, so of a proven plan an instance is planned
again with its own part alone, and parts that differ in names alone are planned once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from planner.capacity.budget import Budget
from planner.capacity.variants import plan_variant
from planner.columns import natural
from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec, StepSpec
from planner.lanes import LanePool
from planner.mask_graph import co_components, renumber
from planner.masks import mask_indices
from planner.model import InstanceId
from planner.pipeline import plan_work, schedule_of, work_problem
from planner.plan import Instance, Plan
from planner.problem import Problem, SolveStatus
from planner.solvers import SolveOptions, solve

__all__ = ["Lever", "LeverOptions", "levers"]

_OPTIONS: Final = SolveOptions(anytime=False)


@dataclass(frozen=True, slots=True)
class Lever:
    """What one instance would free, reserved bytes, page rounding left out.

    Attributes
    ----------
    instance : InstanceId
    in_witness : bool
        Whether it is one of those that set the bound.
    shrink_bytes : int or None
        Freed if it needed no work memory; None: not asked, the search ended before.
    remove_bytes : int or None
        Freed if it were gone: the same, and its weights where nobody else reads them.
    move_bytes : int or None
        Freed by the best move of its steps to another lane that the fleet has: it then runs in turn
        with what is there, so the price is time.
    move_lane : str
        That lane, as the fleet file would name it; empty where no move frees anything. Steps on a
        pool move off all its lanes; no move leads into a pool.
    move_count : int
        Instances that move then: a step has one lane in the fleet file, so where that names a lane
        for each channel, the instances of all channels move together.
    """

    instance: InstanceId
    in_witness: bool
    shrink_bytes: int | None
    remove_bytes: int | None
    move_bytes: int | None
    move_lane: str = ""
    move_count: int = 0


@dataclass(frozen=True, slots=True)
class LeverOptions:
    """How much is planned again: counted, so that every machine gives the same answer.

    Attributes
    ----------
    planned_max : int
        Instances planned in all; what lies in no part of the instance asked about does not count.
    lanes_max : int
        Lanes tried for each instance, in the fleet's order.
    """

    planned_max: int = 4_000
    lanes_max: int = 8


def levers(plan: Plan, options: LeverOptions = LeverOptions()) -> tuple[Lever, ...]:
    """Return a lever for each instance: those of the witness first, the largest first."""
    witness = set(plan.witness)
    ranked = sorted(
        plan.instances,
        key=lambda row: (
            row.id not in witness,
            row.work_offset is None,
            -row.work_bytes,
            natural(row.id),
        ),
    )
    readers: dict[str, int] = {}
    for row in plan.instances:
        readers[row.weights_key] = readers.get(row.weights_key, 0) + 1
    witness_sets = _witness_bytes(plan) == plan.height_bytes
    asking = _Asking(plan, options)
    result = []
    for row in ranked:
        no_effect = witness_sets and row.id not in witness
        outside = row.work_offset is None
        shrink = 0 if no_effect or outside else asking.shrink(row)
        own_weights = row.weight_offset is not None and readers[row.weights_key] == 1
        weights = plan.rule.reserved_bytes(row.weight_bytes) if own_weights else 0
        # Moved it still needs its bytes: without it the fleet needs no more than that.
        move = asking.move(row) if shrink != 0 else (0, "", 0)
        result.append(
            Lever(
                row.id,
                row.id in witness,
                shrink,
                None if shrink is None else shrink + weights,
                *move,
            )
        )
    return tuple(result)


def _witness_bytes(plan: Plan) -> int:
    """Return what the witness reserves, bytes."""
    instances, buffers = set(plan.witness), set(plan.witness_buffers)
    rows = zip(plan.instances, plan.work_reserved, strict=True)
    sizes = [reserved for row, reserved in rows if row.id in instances]
    sizes += [plan.rule.reserved_bytes(b.size_bytes) for b in plan.buffers if b.name in buffers]
    return sum(sizes)


@dataclass(frozen=True, slots=True)
class _Part:
    """What fills a stretch of the work reservation that nothing else uses: positions in a problem.

    Instances come first, then what their steps hand on.
    """

    members: tuple[int, ...]
    extent_bytes: int


class _Asking:
    """Plans variants of one plan while its budget lasts."""

    def __init__(self, plan: Plan, options: LeverOptions) -> None:
        self._plan = plan
        self._options = options
        self._budget = Budget(options.planned_max)
        self._positions = {row.id: position for position, row in enumerate(plan.instances)}
        self._relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
        self._problem = work_problem(self._relation, plan.work_reserved, plan.buffers, plan.rule)
        self._parts = self._take_apart()
        self._heights: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._moves: dict[tuple[str, _Lanes], _Move] = {}

    def shrink(self, row: Instance) -> int | None:
        """Return what is freed if `row`, which has work in the arena, needs none."""
        position = self._positions[row.id]
        part, masks = self._parts[position], self._problem.conflict_masks or ()
        own = tuple(renumber(masks[i], part.members) for i in part.members)
        sizes = tuple(0 if i == position else self._problem.sizes[i] for i in part.members)
        if (sizes, own) not in self._heights:
            if not self._budget.take(len(part.members)):
                return None
            self._heights[sizes, own] = self._height(part.members, sizes, own)
        # Without the instance the offsets of the plan still serve: nothing is ever lost.
        return max(0, part.extent_bytes - self._heights[sizes, own])

    def _take_apart(self) -> dict[int, _Part]:
        """Return the part of each position of size > 0; one for all where parts interleave.

        A plan that is not proven optimal may be lowered anywhere: it is planned again as a whole.
        """
        plan, sizes = self._plan, self._problem.sizes
        starts = [row.work_offset or 0 for row in plan.instances]
        starts += [buffer.offset for buffer in plan.buffers]
        alive = sum(1 << i for i, size in enumerate(sizes) if size)
        parts = []
        for joined in co_components(self._problem.conflict_masks or (), alive):
            members = tuple(mask_indices(joined))
            end = max(starts[i] + sizes[i] for i in members)
            parts.append(_Part(members, end - min(starts[i] for i in members)))
        stacked = sum(part.extent_bytes for part in parts) == plan.height_bytes
        if not stacked or plan.status is not SolveStatus.OPTIMAL:
            parts = [_Part(tuple(range(len(sizes))), plan.height_bytes)]
        return {i: part for part in parts for i in part.members}

    def _height(self, members: Sequence[int], sizes: tuple[int, ...], own: tuple[int, ...]) -> int:
        """Return how high `members` are with these sizes, planned by themselves."""
        align = (self._plan.rule.align_bytes,) * len(sizes)
        problem = Problem(sizes, conflict_masks=own, alignments=align)
        lanes = [row.lane for row in self._plan.instances]
        if len(sizes) == self._problem.n:
            solution = plan_work(problem, self._relation, lanes, _OPTIONS)
        else:
            first = {lane: position for position, lane in reversed([*enumerate(lanes)])}
            groups = [first[lanes[i]] if i < len(lanes) else i for i in members]
            solution = solve(problem, _OPTIONS, groups=groups)
        assert solution.assignment is not None
        return solution.assignment.height_bytes(problem)

    def move(self, row: Instance) -> "_Move":
        """Return what the best move of `row` frees, its lane, and how many instances move."""
        fleet = self._plan.fleet
        origins = _origins(fleet, row)
        key = row.model, origins
        if key not in self._moves:
            self._moves[key] = self._best_move(row, origins)
        return self._moves[key]

    def _best_move(self, row: Instance, origins: "_Lanes") -> "_Move":
        plan = self._plan
        best: _Move = (0, "", 0)
        lanes = dict.fromkeys(step.lane for _, _, step in plan.fleet.channel_steps())
        others = [lane for lane in lanes if isinstance(lane, str) and lane not in origins]
        targets = others[: self._options.lanes_max]
        for lane in targets:
            if not self._budget.take(len(plan.instances)):
                return best if best[0] else (None, "", 0)
            fleet = _moved(plan.fleet, row, origins, lane)
            freed = plan.total_bytes - plan_variant(plan, fleet).total_bytes
            if freed > (best[0] or 0):
                gone = plan.fleet.instances().keys() - fleet.instances().keys()
                best = freed, lane, len(gone)
        return best


_Lanes: TypeAlias = tuple[str | LanePool, ...]
_Move: TypeAlias = tuple[int | None, str, int]
"""Bytes freed, or None where it was not asked; the lane, as the fleet names it; instances."""


def _origins(fleet: FleetSpec, row: Instance) -> _Lanes:
    """Return the lanes and pools, as the fleet has them, of the steps that the instance serves."""
    return tuple(
        dict.fromkeys(
            step.lane
            for _, channel, step in fleet.channel_steps()
            if step.model == row.model and row.lane in step.lanes_of(channel)
        )
    )


def _moved(fleet: FleetSpec, row: Instance, origins: _Lanes, lane: str) -> FleetSpec:
    def placed(step: StepSpec) -> StepSpec:
        return (
            replace(step, lane=lane) if step.model == row.model and step.lane in origins else step
        )

    pipelines = tuple(
        replace(pipeline, steps=tuple(placed(step) for step in pipeline.steps))
        for pipeline in fleet.pipelines
    )
    return replace(fleet, pipelines=pipelines)
