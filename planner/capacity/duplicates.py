"""Which weights are the same bytes, what sharing them saves, and what it could save yet."""

from dataclasses import dataclass

from planner.fleet import Dedupe
from planner.model import ModelId
from planner.plan import Plan
from planner.weights import lay_out_weights

__all__ = ["DedupeSavings", "Duplicate", "dedupe_savings"]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Models whose weight partitions are byte-identical though their files differ.

    Attributes
    ----------
    weights_digest : str
    models : tuple of ModelId
        In the fleet's order.
    extra_bytes : int
        Reserved bytes that ``dedupe: weights`` would save on them, beyond ``dedupe: file``.
    """

    weights_digest: str
    models: tuple[ModelId, ...]
    extra_bytes: int


@dataclass(frozen=True, slots=True)
class DedupeSavings:
    """Reserved weight bytes under each setting of ``dedupe``, and who shares content.

    Attributes
    ----------
    off_bytes, file_bytes, weights_bytes : int
        The weight reservation under each setting.
    current : Dedupe
    duplicates : tuple of Duplicate
        Most valuable first.
    """

    off_bytes: int
    file_bytes: int
    weights_bytes: int
    current: Dedupe
    duplicates: tuple[Duplicate, ...]

    @property
    def saved_bytes(self) -> int:
        """What the plan's setting saves against a weight buffer for each instance."""
        return self.off_bytes - self._of(self.current)

    @property
    def further_bytes(self) -> int:
        """What ``dedupe: weights`` would save beyond the plan's setting."""
        return self._of(self.current) - self.weights_bytes

    def _of(self, dedupe: Dedupe) -> int:
        return {
            Dedupe.OFF: self.off_bytes,
            Dedupe.FILE: self.file_bytes,
            Dedupe.WEIGHTS: self.weights_bytes,
        }[dedupe]


def dedupe_savings(plan: Plan) -> DedupeSavings:
    """Return what deduplication of weights by content saves, under each setting."""
    sizes = dict(plan.sizes)
    rows = [(row.id, row.model) for row in plan.instances]
    heights = {
        dedupe: lay_out_weights(rows, sizes, dedupe, plan.rule).height_bytes for dedupe in Dedupe
    }
    groups: dict[str, dict[str, list[ModelId]]] = {}
    for model, size in plan.sizes:
        if size.weights_digest and size.weight_bytes and not size.system_managed:
            files = groups.setdefault(size.weights_digest, {})
            files.setdefault(size.file_digest, []).append(model)
    duplicates = [
        Duplicate(
            digest,
            tuple(model for models in files.values() for model in models),
            (len(files) - 1)
            * plan.rule.reserved_bytes(sizes[next(iter(files.values()))[0]].weight_bytes),
        )
        for digest, files in groups.items()
        if len(files) > 1
    ]
    return DedupeSavings(
        heights[Dedupe.OFF],
        heights[Dedupe.FILE],
        heights[Dedupe.WEIGHTS],
        plan.fleet.device.dedupe,
        tuple(sorted(duplicates, key=lambda item: (-item.extra_bytes, item.weights_digest))),
    )
