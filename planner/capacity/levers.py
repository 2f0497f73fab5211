"""What sets the height, and what each instance would free if it shrank or moved.

A plan that is proven optimal is as high as its witness: instances that pairwise conflict. As long
as all of them stay as they are, nothing else can lower the work reservation, so only they are
planned again; every other instance frees no work memory, without asking.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

from planner.capacity.variants import plan_variant
from planner.conflict import ConflictRelation
from planner.fleet import FleetSpec, StepSpec
from planner.lanes import LanePool
from planner.model import InstanceId
from planner.pipeline import PlanOptions, plan_work, schedule_of, work_problem
from planner.plan import Instance, Plan
from planner.problem import SolveStatus

__all__ = ["Lever", "LeverOptions", "levers"]


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
    """

    instance: InstanceId
    in_witness: bool
    shrink_bytes: int | None
    remove_bytes: int | None
    move_bytes: int | None
    move_lane: str = ""


@dataclass(frozen=True, slots=True)
class LeverOptions:
    """How much is planned again: counted, so that every machine gives the same answer.

    Attributes
    ----------
    planned_max : int
        Instances planned in all.
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
        key=lambda row: (row.id not in witness, row.work_offset is None, -row.work_bytes, row.id),
    )
    readers: dict[str, int] = {}
    for row in plan.instances:
        readers[row.weights_key] = readers.get(row.weights_key, 0) + 1
    asking = _Asking(plan, options)
    result = []
    for row in ranked:
        no_effect = plan.status is SolveStatus.OPTIMAL and row.id not in witness
        outside = row.work_offset is None
        shrink = 0 if no_effect or outside else asking.shrink(row)
        own_weights = row.weight_offset is not None and readers[row.weights_key] == 1
        weights = plan.rule.reserved_bytes(row.weight_bytes) if own_weights else 0
        move = (0, "") if no_effect or outside else asking.move(row)
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


class _Asking:
    """Plans variants of one plan while its budget lasts."""

    def __init__(self, plan: Plan, options: LeverOptions) -> None:
        self._plan = plan
        self._options = options
        self._left = options.planned_max
        self._relation: ConflictRelation | None = None
        self._moves: dict[tuple[str, _Lanes], tuple[int | None, str]] = {}

    def shrink(self, row: Instance) -> int | None:
        """Return what is freed if `row` needs no work memory."""
        plan = self._plan
        if not self._take():
            return None
        if self._relation is None:
            self._relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
        sizes = tuple(
            0
            if other.work_offset is None or other.id == row.id
            else plan.rule.reserved_bytes(other.work_bytes)
            for other in plan.instances
        )
        problem = work_problem(self._relation, sizes, plan.buffers, plan.rule)
        lanes = [other.lane for other in plan.instances]
        solution = plan_work(problem, self._relation, lanes, PlanOptions().solve)
        assert solution.assignment is not None
        # Without the instance the offsets of the plan still serve: nothing is ever lost.
        return max(0, plan.height_bytes - solution.assignment.height_bytes(problem))

    def move(self, row: Instance) -> tuple[int | None, str]:
        """Return what the best move of `row` frees, and the lane as the fleet would name it."""
        fleet = self._plan.fleet
        origins = _origins(fleet, row)
        key = row.model, origins
        if key not in self._moves:
            self._moves[key] = self._best_move(row, origins)
        return self._moves[key]

    def _best_move(self, row: Instance, origins: "_Lanes") -> tuple[int | None, str]:
        plan = self._plan
        best, best_lane = 0, ""
        lanes = dict.fromkeys(step.lane for _, _, step in plan.fleet.channel_steps())
        others = [lane for lane in lanes if isinstance(lane, str) and lane not in origins]
        targets = others[: self._options.lanes_max]
        for lane in targets:
            if not self._take():
                return (best, best_lane) if best else (None, "")
            fleet = _moved(plan.fleet, row, origins, lane)
            freed = plan.total_bytes - plan_variant(plan, fleet).total_bytes
            if freed > best:
                best, best_lane = freed, lane
        return best, best_lane

    def _take(self) -> bool:
        n = len(self._plan.instances)
        if n > self._left:
            return False
        self._left -= n
        return True


_Lanes: TypeAlias = tuple[str | LanePool, ...]


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
