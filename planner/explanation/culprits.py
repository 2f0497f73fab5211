"""Instances that cannot fit together, as few as possible: without any one the others fit.

    ranked:   a b c d e f g h        what sets the height first, then the heaviest
              fits ----> | no        the shortest beginning that does not fit, by bisection;
              a b c d e f            then whatever can go without making the rest fit goes,
              a . c . . f            the lightest first. What is left is the answer

"Together" means: a plan of these instances alone, under the order and locks of the whole fleet,
with the weights they read held once, the tensors that only they hand on, what they take outside the
arena, and all reserves. A set that fits stays fitting when it loses members, so an instance that
was needed once stays needed, and the answer is minimal by inclusion. It need not be the smallest
such set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from planner.bounds.clique import clique_weight
from planner.conflict import ConflictRelation
from planner.handover import BufferUse
from planner.io_buffers import buffer_ends
from planner.mask_graph import grown_clique
from planner.masks import mask_indices, mask_of
from planner.model import InstanceId
from planner.pipeline import PlanOptions, plan_outside, plan_work, schedule_of, work_problem
from planner.plan import Plan
from planner.units import align_up

__all__ = ["Culprits", "find_culprits"]


@dataclass(frozen=True, slots=True)
class Culprits:
    """Instances that cannot fit together.

    Attributes
    ----------
    instances : tuple of InstanceId
        In the order of the plan; empty: the reserves alone are above the limit.
    needed_bytes : int
        What the best plan found of these alone needs, with all reserves.
    lower_bound_bytes : int
        No plan of these alone needs less: under the order and locks of the fleet, and whatever is
        added where planning chooses the order.
    stream_count : int
        Streams that these alone take.
    is_proven : bool
        Whether the bound or the streams are above the limit; else no plan was found that fits.
    is_minimal : bool
        Whether without any one of them a plan of the rest was found that fits; false: the counted
        search ended before.
    solved : int
        Offset problems that were solved to find out.
    """

    instances: tuple[InstanceId, ...]
    needed_bytes: int
    lower_bound_bytes: int
    stream_count: int
    is_proven: bool
    is_minimal: bool
    solved: int


def find_culprits(plan: Plan, may_plan: Callable[[int], bool]) -> Culprits:
    """Return instances of a plan that does not fit which cannot fit together.

    Parameters
    ----------
    plan : Plan
        Does not fit its limit of memory or of streams.
    may_plan : callable
        Called with the number of instances before each offset problem; false: too much was asked.

    Notes
    -----
    One maximum for each lane and the heaviest clique found answer most questions without solving.

    References
    ----------
    .. [1] J. W. Chinneck, E. W. Dravnieks, "Locating minimal infeasible constraint sets in linear
       programs", ORSA Journal on Computing 3(2), 1991: the deletion filter.
    .. [2] U. Junker, "QuickXplain: preferred explanations and relaxations for over-constrained
       problems", AAAI 2004: a ranking, and bisection for the first member that breaks it.
    """
    question = _Question(plan, may_plan)
    if question.fits(()) is False:
        return question.answer((), is_minimal=True)
    ranked = question.ranked()
    low, high = 0, len(ranked)  # the first `low` fit, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if question.fits(ranked[:middle]) is False else (middle, high)
    kept = ranked[:high]
    is_minimal = True
    for member in reversed(ranked[:high]):
        fewer = [other for other in kept if other != member]
        answer = question.fits(fewer)
        if answer is False:
            kept = fewer
        is_minimal = is_minimal and answer is not None
    return question.answer(kept, is_minimal=is_minimal)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What is known of some instances together, bytes; `upper_bytes` is reached by a plan."""

    lower_bytes: int
    upper_bytes: int


class _Question:
    """Whether some instances of a plan fit together, counted as in the plan."""

    def __init__(self, plan: Plan, may_plan: Callable[[int], bool]) -> None:
        self._plan, self._may_plan = plan, may_plan
        self._relation = ConflictRelation.of_schedule(schedule_of(plan.fleet, plan.added))
        self._problem = work_problem(self._relation, plan.work_reserved, plan.buffers, plan.rule)
        self._sizes = self._problem.sizes
        self._masks = self._problem.conflict_masks or ()
        self._models = dict(plan.sizes)
        self._n = len(plan.instances)
        self._ends = buffer_ends(self._relation, plan.buffers)
        witness = {*plan.witness, *plan.witness_buffers}
        names = [*(row.id for row in plan.instances), *(row.name for row in plan.buffers)]
        self._witness = [k for k, name in enumerate(names) if name in witness]
        offsets = [row.work_offset or 0 for row in plan.instances]
        offsets += [row.offset for row in plan.buffers]
        # Of which instances and buffers offsets are known, and these.
        self._placed = [((1 << len(offsets)) - 1, offsets)]
        self.solved = 0

    def ranked(self) -> list[int]:
        """Return all instances: the witness first, else what weighs most with its weights."""
        plan, witness = self._plan, set(self._plan.witness)

        def weight(i: int) -> int:
            row = plan.instances[i]
            own = 0 if row.weight_offset is None else plan.rule.reserved_bytes(row.weight_bytes)
            return self._sizes[i] + own

        return sorted(
            range(len(plan.instances)),
            key=lambda i: (plan.instances[i].id not in witness, -weight(i), i),
        )

    def fits(self, members: Sequence[int]) -> bool | None:
        """Return whether a plan of the members alone is found that fits; None: not asked."""
        device = self._plan.fleet.device
        if device.streams_max is not None and self._streams(members) > device.streams_max:
            return False
        limit = self._plan.decisive_limit_bytes
        if limit is None:
            return True
        needs = self._bounds(members)
        if needs.lower_bytes <= limit < needs.upper_bytes:
            solved = self._solved(members)
            if solved is None:
                return None
            needs = solved
        return needs.upper_bytes <= limit

    def answer(self, members: Sequence[int], *, is_minimal: bool) -> Culprits:
        """Return the members as culprits, with what they need."""
        plan = self._plan
        needs = self._bounds(members)
        if needs.lower_bytes < needs.upper_bytes:
            needs = self._solved(members) or needs
        if plan.price is not None:  # planning chose the order: another one may need less
            least = self._least_height(members)
            needs = replace(needs, lower_bytes=self._needs(members, least, least).lower_bytes)
        device, streams = plan.fleet.device, self._streams(members)
        limit, streams_max = plan.decisive_limit_bytes, device.streams_max
        return Culprits(
            instances=tuple(plan.instances[i].id for i in sorted(members)),
            needed_bytes=needs.upper_bytes,
            lower_bound_bytes=needs.lower_bytes,
            stream_count=streams,
            is_proven=(limit is not None and needs.lower_bytes > limit)
            or (streams_max is not None and streams > streams_max),
            is_minimal=is_minimal,
            solved=self.solved,
        )

    def _needs(self, members: Sequence[int], lower: int, upper: int) -> _Needs:
        """Return the needs of members whose work reservation lies between two heights."""
        plan = self._plan
        rows = [plan.instances[i] for i in members]
        weights = {
            row.weights_key: plan.rule.reserved_bytes(row.weight_bytes)
            for row in rows
            if row.weight_offset is not None
        }
        if plan.over_budget_bytes:  # the two reservations alone are limited
            return _Needs(lower + sum(weights.values()), upper + sum(weights.values()))
        beside = (
            align_up(sum(weights.values()), plan.page_bytes)
            + plan_outside(
                [row.model for row in rows], self._models, plan.page_bytes, plan.fleet.device
            )
            + plan.fleet.device.reserve_bytes
        )
        page = plan.page_bytes
        return _Needs(align_up(lower, page) + beside, align_up(upper, page) + beside)

    def _least_height(self, members: Sequence[int]) -> int:
        """Return what no work reservation of the members alone is below, whatever order is added.

        While an instance runs its region is live, its block of inputs and outputs, and in one of
        its runs at least any tensor that it writes or reads; states are live always.
        """
        kept = {*self._with_buffers(members)}
        states = 0
        beside = dict.fromkeys(members, 0)
        blocks = dict.fromkeys(members, 0)
        for k, (row, ends) in enumerate(zip(self._plan.buffers, self._ends, strict=True), self._n):
            if k not in kept:
                continue
            if row.use is BufferUse.STATE:
                states += self._sizes[k]
                continue
            for i in mask_indices(ends):
                if row.use is BufferUse.INSTANCE:
                    blocks[i] = self._sizes[k]
                else:
                    beside[i] = max(beside[i], self._sizes[k])
        return states + max((self._sizes[i] + blocks[i] + beside[i] for i in members), default=0)

    def _with_buffers(self, members: Sequence[int]) -> list[int]:
        """Return members with the buffers all of whose ends are among them."""
        mask = mask_of(members)
        kept = (k for k, ends in enumerate(self._ends, start=self._n) if not ends & ~mask)
        return [*members, *kept]

    def _bounds(self, members: Sequence[int]) -> _Needs:
        """Return the needs by a clique and by what is placed already, without solving."""
        lanes: dict[str, int] = {}
        for i in members:
            lane = self._plan.instances[i].lane
            lanes[lane] = max(lanes.get(lane, 0), self._sizes[i])
        members = self._with_buffers(members)
        wanted = mask_of(members)
        heights = [
            max((offsets[i] + self._sizes[i] for i in members if self._sizes[i]), default=0)
            for placed, offsets in self._placed
            if not wanted & ~placed
        ]
        stacked = sum(lanes.values()) + sum(self._sizes[i] for i in members if i >= self._n)
        rows = [i for i in members if i < self._n]
        # Those of the witness pairwise conflict: all of them are in the clique.
        clique = grown_clique(self._masks, self._sizes, wanted, self._witness)
        lower = clique_weight(self._sizes, clique)
        return self._needs(rows, lower, min(stacked, *heights))

    def _solved(self, members: Sequence[int]) -> _Needs | None:
        """Return the needs of the members by planning their work; None: not asked."""
        if not self._may_plan(self._problem.n):
            return None
        self.solved += 1
        chosen = set(self._with_buffers(members))
        sizes = tuple(size if i in chosen else 0 for i, size in enumerate(self._sizes))
        problem = replace(self._problem, sizes=sizes)
        lanes = [row.lane for row in self._plan.instances]
        solution = plan_work(problem, self._relation, lanes, PlanOptions().solve)
        assert solution.assignment is not None
        self._placed.append((mask_of(chosen), list(solution.assignment.offsets)))
        return self._needs(
            members,
            solution.bound.lower_bound_bytes,
            solution.assignment.height_bytes(problem),
        )

    def _streams(self, members: Sequence[int]) -> int:
        rows = [self._plan.instances[i] for i in members]
        return len({row.lane for row in rows}) + sum(
            self._models[row.model].stream_count for row in rows
        )
