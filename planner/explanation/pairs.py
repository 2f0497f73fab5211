"""Which pairs of instances, and of lanes, are worth a plan in which they take turns.

Turns free nothing where a clique remains that is as heavy as the plan is high: so most pairs are
seen to be useless by their conflicts alone, and the others are ranked by what a clique leaves open.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from planner.conflict import ConflictRelation
from planner.explanation.changes import Candidates, Change, ChangeKind, changed
from planner.model import InstanceId
from planner.pipeline import schedule_of
from planner.plan import Plan
from planner.units import align_up

__all__ = ["Pairs"]


class Pairs:
    """Pairs of one plan that might take turns; those of the culprits and the witness first."""

    def __init__(self, plan: Plan, culprits: Sequence[InstanceId], pairs_max: int) -> None:
        self._pairs_max = min(pairs_max, 1_000 * pairs_max // len(plan.instances))
        self._plan, self._culprits = plan, {*culprits}
        self._witness = {*plan.witness}
        self._sizes = plan.work_reserved
        self._heaviest = sorted(range(len(self._sizes)), key=lambda i: -self._sizes[i])

    def of_instances(self, most: int) -> Candidates:
        """Return pairs of instances in conflict, the `most` that may free most at first.

        They are culprits, or of the witness where no two culprits conflict. A pair frees at most
        the smaller of the two.
        """
        if not self._may_free_any():
            return Candidates([], [], 0)
        masks = list(self._masks(()))
        names = [row.id for row in self._plan.instances]
        pairs: list[tuple[int, int]] = []
        for wanted in (self._culprits, self._witness):
            chosen = [i for i in self._heaviest if names[i] in wanted and self._sizes[i]]
            pairs = [(i, j) for i, j in combinations(chosen, 2) if masks[i] >> j & 1]
            if pairs:
                break
        pairs.sort(key=lambda pair: -self._sizes[pair[1]])  # the lighter one stands second
        found = []
        for i, j in pairs[: self._pairs_max]:
            without = [*masks]
            without[i] ^= 1 << j
            without[j] ^= 1 << i
            change = Change(ChangeKind.EXCLUSIVE_INSTANCES, (names[i], names[j]))
            found.append((self._open_bytes(without, (i, j)), change))
        return self._ranked(found, most, len(pairs))

    def of_lanes(self, most: int) -> Candidates:
        """Return pairs of lanes, as the fleet names them, the `most` that may free most at first.

        A lane that each channel has of its own, or a pool, makes a pair with itself: its channels
        take turns.
        """
        if not self._may_free_any():
            return Candidates([], [], 0)
        lanes = self._lanes()
        plain = {row.lane for row in self._plan.instances}  # the others have lanes by other names
        pairs = (*((lane,) for lane in lanes if lane not in plain), *combinations(lanes, 2))
        changes = [Change(ChangeKind.EXCLUSIVE_LANES, pair) for pair in pairs[: self._pairs_max]]
        found = [(self._open_bytes(self._masks((change,))), change) for change in changes]
        return self._ranked(found, most, len(pairs))

    def _may_free_any(self) -> bool:
        """Return whether fewer conflicts can free bytes: not where all is in turns already."""
        return self._open_bytes([0] * len(self._sizes)) > 0

    def _lanes(self) -> list[str]:
        """Return the lanes, those first that hold the heaviest of culprits and witness."""
        templates: dict[str, set[str]] = {}
        for _, channel, step in self._plan.fleet.channel_steps():
            for lane in step.lanes_of(channel):
                templates.setdefault(lane, set()).add(step.lane_name)
        wanted = self._culprits | self._witness
        weights: dict[str, tuple[bool, int]] = {}
        for row in self._plan.instances:
            weight = row.id in wanted, row.work_bytes
            for template in templates[row.lane]:
                weights[template] = max(weights.get(template, weight), weight)
        return sorted(sorted(weights), key=lambda lane: weights[lane], reverse=True)

    def _ranked(self, found: Sequence[tuple[int, Change]], most: int, n_pairs: int) -> Candidates:
        """Return what leaves some bytes open, most first; the others of all pairs were not seen."""
        plan = self._plan
        useful = sorted((item for item in found if item[0] > 0), key=lambda item: -item[0])
        limit = plan.decisive_limit_bytes
        more: list[Change] = []
        if limit is not None and plan.decisive_bytes > limit:  # else streams are missing
            enough = plan.decisive_bytes - limit - plan.page_bytes  # whole pages were counted
            more = [change for open_bytes, change in useful[most:] if open_bytes >= enough]
        unseen = n_pairs - len(found) + len(useful[most:]) - len(more)
        return Candidates([change for _, change in useful[:most]], more, unseen)

    def _masks(self, changes: Sequence[Change]) -> Sequence[int]:
        """Return the conflicts after changes that keep all instances."""
        fleet, added = changed(self._plan.fleet, changes)
        return ConflictRelation.of_schedule(schedule_of(fleet, (*self._plan.added, *added))).masks

    def _open_bytes(self, masks: Sequence[int], out: Iterable[int] = ()) -> int:
        """Return how far below the plan's height a plan under other conflicts could be, in pages.

        Cliques are looked for from the heaviest, and from the witness, without each of `out`.
        """
        plan = self._plan
        witness = [i for i in self._heaviest if plan.instances[i].id in self._witness]
        orders = [self._heaviest, [*witness, *self._heaviest]]
        orders += [[*(k for k in witness if k != i), *self._heaviest] for i in out]
        left = max(_clique_weight(masks, self._sizes, order) for order in orders)
        return align_up(plan.height_bytes, plan.page_bytes) - align_up(left, plan.page_bytes)


def _clique_weight(masks: Sequence[int], sizes: Sequence[int], order: Iterable[int]) -> int:
    """Return the weight of the clique that takes in whoever conflicts with all before."""
    candidates, weight = (1 << len(sizes)) - 1, 0
    for i in order:
        if candidates >> i & 1:
            weight += sizes[i]
            candidates &= masks[i]
    return weight
