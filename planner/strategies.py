"""What a fleet costs under the usual ways to give models memory, beside its plan and its bound."""

from dataclasses import dataclass

from planner.conflict import ConflictRelation
from planner.handover import BufferUse
from planner.model import RegionRule
from planner.pipeline import schedule_of
from planner.plan import Plan

__all__ = ["Strategy", "strategies"]


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to give the models of a fleet memory.

    Attributes
    ----------
    name : str
    work_bytes, weight_bytes : int
        Reserved, not page-rounded.
    legal : bool
        False: instances would share bytes while both run.
    meaning : str
    """

    name: str
    work_bytes: int
    weight_bytes: int
    legal: bool
    meaning: str

    @property
    def bytes(self) -> int:
        """Work and weights, bytes."""
        return self.work_bytes + self.weight_bytes


def strategies(plan: Plan) -> tuple[Strategy, ...]:
    """Return the strategies from no sharing to the bound, for the instances inside the arena.

    Notes
    -----
    Tensors that steps hand on count with the work memory: of their own at both ends where nothing
    is shared, once under the other strategies.

    ``one-max-per-device`` is what a vendor's model group does: one work buffer for everything. It
    is legal only where no two instances may overlap.
    """
    rule, sizes = plan.rule, dict(plan.sizes)
    private_work = private_weights = 0
    for pipeline in plan.fleet.pipelines:
        for model in {step.model for step in pipeline.steps}:
            if not sizes[model].system_managed:
                private_work += pipeline.channels * rule.reserved_bytes(sizes[model].work_bytes)
                private_weights += pipeline.channels * rule.reserved_bytes(
                    sizes[model].weight_bytes
                )
    lanes = _lane_maxima(plan, rule)
    private_work += plan.buffers_private_bytes
    own = sum(
        rule.reserved_bytes(buffer.size_bytes)
        for buffer in plan.buffers
        if buffer.use is not BufferUse.INSTANCE
    )
    weights = plan.weight_bytes
    bound = plan.lower_bound_bytes
    return (
        Strategy(
            "private", private_work, private_weights, True, "own memory for each channel and model"
        ),
        Strategy("shared-weights", private_work, weights, True, "own work memory, weights once"),
        Strategy(
            "one-max-per-device",
            max(lanes.values(), default=0) + own,
            weights,
            not _any_conflict(plan),
            "one work buffer for everything",
        ),
        Strategy(
            "one-max-per-lane", sum(lanes.values()) + own, weights, True, "one work buffer a lane"
        ),
        Strategy("planned", plan.height_bytes, weights, True, "this plan"),
        Strategy("bound", bound, weights, True, "no plan of this order is smaller"),
    )


def _lane_maxima(plan: Plan, rule: RegionRule) -> dict[str, int]:
    maxima: dict[str, int] = {}
    blocks = {
        buffer.step: rule.reserved_bytes(buffer.size_bytes)
        for buffer in plan.buffers
        if buffer.use is BufferUse.INSTANCE
    }
    for row, reserved in zip(plan.instances, plan.work_reserved, strict=True):
        own = reserved + blocks.get(row.id, 0)
        maxima[row.lane] = max(maxima.get(row.lane, 0), own)
    return maxima


def _any_conflict(plan: Plan) -> bool:
    masks = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added)).masks
    placed = sum(1 << i for i, row in enumerate(plan.instances) if row.work_offset is not None)
    return any(
        mask & placed
        for mask, row in zip(masks, plan.instances, strict=True)
        if row.work_offset is not None
    )
