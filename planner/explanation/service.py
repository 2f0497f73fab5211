"""Changes that give up service: fewer channels, pipelines and frames in flight."""

from collections.abc import Iterator
from itertools import chain

from planner.bounds.clique import clique_weight
from planner.capacity import GrowthOptions, channels_of
from planner.conflict import ConflictRelation
from planner.explanation.changes import Candidates, Change, ChangeKind
from planner.fleet import PipelineSpec, instance_id
from planner.mask_graph import grown_clique
from planner.masks import mask_indices
from planner.pipeline import plan_outside, schedule_of
from planner.plan import Plan
from planner.units import align_up

__all__ = ["Service"]

_GROWTH = GrowthOptions(planned_max=4_000)


class Service:
    """What pipelines of one plan give back, and which of them are worth a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
        self._masks, self._sizes = relation.masks, plan.work_reserved
        index = {row.id: i for i, row in enumerate(plan.instances)}
        self._used = {item.id: 0 for item in plan.fleet.pipelines}
        for pipeline, channel, step in plan.fleet.channel_steps():
            for lane in step.lanes_of(channel):
                self._used[pipeline.id] |= 1 << index[instance_id(step.model, lane)]
        self._witness = sum(1 << index[name] for name in plan.witness)
        self._models = dict(plan.sizes)

    def fewer_channels(self, most: int) -> Candidates:
        """Return as many channels of each pipeline as fit, and one fewer; at first of some.

        What may be enough if it is left out as a whole comes after these.
        """
        several = len(self._plan.fleet.pipelines) > 1
        ranked = sorted(self._plan.fleet.pipelines, key=lambda item: -self._own_bytes(item))
        first: list[Change] = []
        while ranked and len(first) < most:
            item = ranked.pop(0)
            largest = channels_of(self._plan, item.id, _GROWTH).largest or 0
            first += [
                Change(ChangeKind.FEWER_CHANNELS, (item.id,), count)
                for count in sorted({item.channels - 1, largest}, reverse=True)
                if count < item.channels and (count or several)
            ]
        without = [
            Change(ChangeKind.FEWER_CHANNELS, (item.id,), 0)
            for item in ranked
            if self._may_fit_without(item)
        ]
        asked = sum(1 if item.channels == 1 else 2 for item in ranked)
        return Candidates(first[:most], (*first[most:], *without), asked - len(without))

    def fewer_frames(self, most: int) -> Candidates:
        """Return one frame in flight everywhere, then one fewer, and one, of each pipeline."""
        several = [item.id for item in self._plan.fleet.pipelines if item.frames_in_flight > 1]
        ranked = sorted(
            self._plan.fleet.pipelines,
            key=lambda item: -self._work_bytes(self._used[item.id] & self._witness),
        )
        every = [*chain.from_iterable(map(_frames, ranked))]
        if len(several) > 1:
            every.insert(0, Change(ChangeKind.FEWER_FRAMES, tuple(several), 1))
        return Candidates(every[:most], every[most:])

    def _own_bytes(self, item: PipelineSpec) -> int:
        """Return about what is freed without a pipeline: of the witness, and of weights."""
        left = self._left(item)
        gone = self._used[item.id] & ~left
        weights = self._weight_bytes((1 << len(self._sizes)) - 1) - self._weight_bytes(left)
        return self._work_bytes(gone & self._witness) + weights

    def _left(self, item: PipelineSpec) -> int:
        """Return the instances that other pipelines use."""
        left = 0
        for name, used in self._used.items():
            left |= used if name != item.id else 0
        return left

    def _work_bytes(self, mask: int) -> int:
        return sum(self._sizes[i] for i in mask_indices(mask))

    def _weight_bytes(self, mask: int) -> int:
        """Return what the weights that some instances read take."""
        rows = [self._plan.instances[i] for i in mask_indices(mask)]
        reserved = self._plan.rule.reserved_bytes
        return sum(
            {
                row.weights_key: reserved(row.weight_bytes)
                for row in rows
                if row.weight_offset is not None
            }.values()
        )

    def _may_fit_without(self, item: PipelineSpec) -> bool:
        """Return whether a bound leaves it open that the plan fits without a pipeline.

        Instances that it shares with others may lose conflicts: the clique is of those it never
        uses.
        """
        plan, left = self._plan, self._left(item)
        limit = plan.decisive_limit_bytes
        if limit is None or plan.decisive_bytes <= limit:
            return True  # streams are missing, not bytes
        clique = grown_clique(self._masks, self._sizes, left & ~self._used[item.id], ())
        work, weights = clique_weight(self._sizes, clique), self._weight_bytes(left)
        if plan.over_budget_bytes:
            return work + weights <= limit
        page = plan.page_bytes
        models = [plan.instances[i].model for i in mask_indices(left)]
        outside = plan_outside(models, self._models, page, plan.fleet.device)
        beside = outside + plan.fleet.device.reserve_bytes
        return align_up(work, page) + align_up(weights, page) + beside <= limit


def _frames(item: PipelineSpec) -> Iterator[Change]:
    for frames in sorted({item.frames_in_flight - 1, 1}, reverse=True):
        if 1 <= frames < item.frames_in_flight:
            yield Change(ChangeKind.FEWER_FRAMES, (item.id,), frames)
