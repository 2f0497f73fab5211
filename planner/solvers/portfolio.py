"""The story of a solution: divide, take apart, closed forms, greedy, search, put together.

    problem ─► granule ─► cotree ─► each kernel: closed form, else greedy ─► whole
                 │                      └► while the whole is above its bound: search ─┘
                 └► long timelines: sweep first

Cheap and certain ideas come first; the whole stops as soon as its height equals the bound. Every
idea lives in a file of its own; here is only their order.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

from planner.bounds import lower_bound
from planner.mask_graph import conflict_masks
from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.solvers import exhaustive, first_fit, sweep, transitive
from planner.solvers.by_group import stack_groups
from planner.solvers.cotree import Cotree, Leaf
from planner.solvers.granule import bound_in_bytes, divide, multiply
from planner.solvers.ladder import Ladder
from planner.solvers.solution import Solution, SolveOptions
from planner.solvers.starts import lowest_start
from planner.units import BYTES_MAX

__all__ = ["Report", "solve"]

_DEFAULTS: Final = SolveOptions()

_SWEEP_FROM: Final = 1_000
"""Buffers of a timeline from which a compiled sweep comes before everything else."""
_KERNELS_TO: Final = 4_000
"""Buffers of a timeline up to which its kernels are looked for: masks grow with the square."""

_BUFFERS_PER_SHARE: Final = 256
"""Larger problems may search so many times as long: half a second for a thousand buffers."""
_NODES_UNCOMPILED: Final = 3_000
"""Nodes of the small exact search, about 30 ms: where they do not do, compiled ones take over."""

Report = Callable[[int | None, int], None]
"""Called with (height, lower bound) in bytes whenever one of them has improved."""


def solve(
    problem: Problem,
    options: SolveOptions = _DEFAULTS,
    *,
    bound: Bound | None = None,
    groups: Sequence[int] | None = None,
    report: Report | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Solution:
    """Return the lowest assignment found for `problem`, and what is proven of it.

    Parameters
    ----------
    problem : Problem
        n buffers; any conflicts, alignments, pins, blocks and capacity.
    options : SolveOptions
    bound : Bound or None
        A bound that the caller has proven, perhaps better than what conflicts alone give.
    groups : sequence of int, length n, or None
        Buffers of one group do not conflict (the lanes of a fleet): the answer is never above one
        maximum per group. Pinned buffers count as groups of their own below the others.
    report : callable or None
        Called with (height or None, bound) in bytes at every improvement.
    should_stop : callable or None
        Asked often; true ends the search with the best so far. This is how time comes in.

    Returns
    -------
    Solution
        Also after KeyboardInterrupt, with `options.anytime`: the best found until then.

    Raises
    ------
    UsageError
        `groups` is of the wrong length or puts conflicting buffers together. Caused by the caller.

    Notes
    -----
    Deterministic for the same arguments, unless time ends it or CP-SAT is let in by
    `options.seconds`.

    Examples
    --------
    >>> fleet = Problem.of_edges(sizes=[4, 2, 3], edges=[(0, 2), (1, 2)])
    >>> found = solve(fleet)
    >>> found.status.value, found.assignment.height_bytes(fleet), found.bound.witness
    ('optimal', 7, (0, 2))
    """
    run = _Run(problem, options, report, should_stop)
    try:
        run.start(bound, groups)
        run.search()
    except KeyboardInterrupt:
        if not options.anytime:
            raise
    finally:
        for ladder in run.ladders.values():
            ladder.close()
    return run.solution()


class _Run:
    """One call of `solve`: the problem counted in granules, and the best so far."""

    def __init__(
        self,
        problem: Problem,
        options: SolveOptions,
        report: Report | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.problem, self.granule = divide(problem)
        self.options, self.report = options, report
        self.should_stop = should_stop or (lambda: False)
        limits = [] if self.problem.capacity_bytes is None else [self.problem.capacity_bytes]
        limits += [sum(self.problem.blocks)] if self.problem.blocks else []
        self.limit = min([BYTES_MAX, *limits])
        # Above `BYTES_MAX` nothing is looked for: that nothing fits below it proves nothing then.
        self.is_limited = min(limits, default=BYTES_MAX + 1) <= BYTES_MAX
        self.bound = Bound(0)
        self.best: Assignment | None = None
        self.height: int | None = None
        self.solver = ""
        self.cotree: Cotree | None = None
        self.ladders: dict[Problem | None, Ladder] = {}
        self.is_impossible = False

    def target(self) -> int:
        """Return the height that ends the run, in granules."""
        wanted = (self.options.target_bytes or 0) // self.granule
        return max(self.bound.lower_bound_bytes, wanted)

    def is_over(self) -> bool:
        """Return whether nothing is left to find: low enough, or proven impossible."""
        proven = self.is_impossible or self.bound.lower_bound_bytes > self.limit
        return proven or (self.height is not None and self.height <= self.target())

    def start(self, bound: Bound | None, groups: Sequence[int] | None) -> None:
        """Bound the problem and find a first assignment by what is quick."""
        problem = self.problem
        if bound is not None:
            known = -(-bound.lower_bound_bytes // self.granule)
            self.bound = Bound(known, bound.witness)
        self.is_impossible = _is_contradictory(problem)
        if self.is_impossible:
            return
        self._offer(
            stack_groups(problem, range(problem.n) if groups is None else groups), "by_group"
        )
        if problem.lifetimes is not None:
            self._start_on_line()
            if self.is_over() or self.should_stop() or problem.n > _KERNELS_TO:
                return
        self.cotree = Cotree(
            problem, conflict_masks(problem), self.bound, self.options.clique_nodes_max
        )
        self._update()
        quick: dict[tuple[Problem, int], Leaf] = {}
        for leaf in self.cotree.leaves:
            if self.is_over() or self.should_stop():
                return
            twin = quick.setdefault((leaf.problem, leaf.floor_bytes), leaf)
            if twin is leaf:
                part = None if groups is None else [groups[i] for i in leaf.indices]
                _solve_quickly(leaf, part)
            else:
                leaf.learn(twin)
        self._update()

    def _start_on_line(self) -> None:
        """Bound and place a timeline by what takes no time, before its kernels are looked for."""
        problem = self.problem
        before = self.height, self.bound.lower_bound_bytes
        self.bound = max(self.bound, lower_bound(problem), key=_lower_bound_bytes)
        if problem.n >= _SWEEP_FROM:
            swept = sweep.solve(problem, self.target(), should_stop=self.should_stop)
            self._offer(swept, "sweep")
        else:
            by_size = sorted(range(problem.n), key=lambda i: (-problem.sizes[i], i))
            self._offer(first_fit.place(problem, by_size), "first_fit")
        self._say_news(before)
        if problem.n >= _SWEEP_FROM and self.options.rounds_max and not self.is_over():
            # Aimed at the bound, a long line is often solved at once, or not for long.
            self._ladder(None, self.target()).stand_on_foot(self.should_stop)

    def search(self) -> None:
        """Search the kernels that keep the whole above its target: small ones whole, then all."""
        if self.is_over() or self.should_stop() or not self.options.rounds_max:
            return
        nodes = min(self.options.nodes_max, _NODES_UNCOMPILED)
        for leaf in self._open_kinds():
            if leaf.problem.n <= exhaustive.BUFFERS_MAX:
                nodes -= self._exhaust(leaf, nodes)
                self._tell_twins(leaf)
                self._update()
        share = self.options.nodes_max * max(1, self.problem.n // _BUFFERS_PER_SHARE)
        work_max = share << (self.options.rounds_max - 1)

        def should_stop() -> bool:
            return self.is_over() or self._work() >= work_max or self.should_stop()

        while (todo := self._to_climb()) and self._work() < work_max:
            # The least searched next: everyone gets a turn before anyone gets two.
            min(todo, key=lambda ladder: ladder.work).go_round(should_stop)

    def _work(self) -> int:
        return sum(ladder.work for ladder in self.ladders.values())

    def _to_climb(self) -> list[Ladder]:
        """Return the searches of the open kernels that can still find something."""
        if self.is_over() or self.should_stop():
            return []
        targets = {leaf.indices: target for leaf, target in self._open_leaves()}
        ladders = [
            self._ladder(leaf, max(targets[leaf.indices], leaf.floor_bytes))
            for leaf in self._open_kinds()
        ]
        if self.problem.lifetimes is not None:
            # On a line the whole often yields where its kernel does not: what was taken off
            # tells the preorders how tight each time is. (Measured: minimalloc's H and I.)
            whole = self._ladder(None, self.target())
            if self.best is not None:
                whole.offer(self.best)
            ladders.insert(0, whole)
        return [ladder for ladder in ladders if not ladder.is_over]

    def _open_leaves(self) -> list[tuple[Leaf, int]]:
        return [] if self.cotree is None else self.cotree.open_leaves(self.target())

    def _open_kinds(self) -> list[Leaf]:
        """Return one open kernel for each different problem: channels bring many alike."""
        kinds: dict[Problem, Leaf] = {}
        for leaf, _ in self._open_leaves():
            kinds.setdefault(leaf.problem, leaf)
        return list(kinds.values())

    def _tell_twins(self, leaf: Leaf) -> None:
        assert self.cotree is not None
        for other in self.cotree.leaves:
            if other is not leaf and other.problem == leaf.problem:
                other.learn(leaf)

    def _ladder(self, leaf: Leaf | None, target: int) -> Ladder:
        """Return the search of a kernel, or of the whole, aimed at its target of today."""
        key = None if leaf is None else leaf.problem
        if key not in self.ladders:
            self.ladders[key] = Ladder(
                self.problem if leaf is None else leaf.problem,
                self.best if leaf is None else leaf.assignment,
                self.bound if leaf is None else leaf.bound,
                limit_bytes=self.limit,
                seed=self.options.seed,
                seconds=self.options.seconds,
                workers=self.options.workers,
                on_news=lambda: self._take_over(leaf, self.ladders[key]),
            )
        self.ladders[key].target_bytes = target
        return self.ladders[key]

    def _take_over(self, leaf: Leaf | None, ladder: Ladder) -> None:
        if leaf is None:
            before = self.height, self.bound.lower_bound_bytes
            self._offer(ladder.assignment, "ladder")
            self.bound = max(self.bound, ladder.bound, key=_lower_bound_bytes)
            self._say_news(before)
        else:
            leaf.offer(ladder.assignment, "ladder")
            leaf.raise_bound(ladder.bound.lower_bound_bytes)
            self._tell_twins(leaf)
            self._update()

    def _exhaust(self, leaf: Leaf, nodes_max: int) -> int:
        """Bring a small kernel to its least height, with proof, if the nodes do; return theirs."""
        nodes = 0
        while leaf.height_bytes is None or leaf.height_bytes > leaf.bound.lower_bound_bytes:
            capacity = self.limit if leaf.height_bytes is None else leaf.height_bytes - 1
            attempt = exhaustive.fit(
                leaf.problem, capacity, nodes_max - nodes, should_stop=self.should_stop
            )
            nodes += attempt.nodes
            if attempt.status is SolveStatus.FEASIBLE:
                leaf.offer(attempt.assignment, "exhaustive")
                continue
            if attempt.status is SolveStatus.INFEASIBLE:
                leaf.raise_bound(capacity + 1)
                self.is_impossible |= leaf.height_bytes is None
            break
        return nodes

    def _offer(self, assignment: Assignment | None, solver: str) -> None:
        if assignment is None:
            return
        height = assignment.height_bytes(self.problem)
        if self.height is None or height < self.height:
            self.best, self.height, self.solver = assignment, height, solver

    def _update(self) -> None:
        """Take over what the kernels have found, and say so if it is news."""
        assert self.cotree is not None
        before = self.height, self.bound.lower_bound_bytes
        self.bound = max(self.bound, self.cotree.bound(), key=_lower_bound_bytes)
        self._offer(self.cotree.assignment(), _finder(self.cotree.leaves))
        self._say_news(before)

    def _say_news(self, before: tuple[int | None, int]) -> None:
        if self.report is not None and (self.height, self.bound.lower_bound_bytes) != before:
            height = None if self.height is None else self.height * self.granule
            self.report(height, self.bound.lower_bound_bytes * self.granule)

    def solution(self) -> Solution:
        bound = bound_in_bytes(self.bound, self.granule)
        if self.is_impossible or self.bound.lower_bound_bytes > self.limit:
            is_proven = self.is_limited or _is_contradictory(self.problem)
            status = SolveStatus.INFEASIBLE if is_proven else SolveStatus.UNKNOWN
            return Solution(None, bound, status)
        if self.best is None or self.height is None or self.height > self.limit:
            return Solution(None, bound, SolveStatus.UNKNOWN)
        proven = self.height <= self.bound.lower_bound_bytes
        status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
        return Solution(multiply(self.best, self.granule), bound, status, self.solver)


def _solve_quickly(leaf: Leaf, groups: Sequence[int] | None) -> None:
    """Give a kernel its first assignment: by a closed form if there is one, else greedily."""
    problem = leaf.problem
    if problem.n <= 1:
        leaf.offer(first_fit.place(problem, range(problem.n)), "cotree")
        return
    if not (problem.alignments or problem.pins or problem.blocks):
        longest = transitive.solve(problem)
        if leaf.offer(longest, "transitive"):
            assert leaf.height_bytes is not None
            leaf.raise_bound(leaf.height_bytes)
            return
    if groups is not None:
        leaf.offer(stack_groups(problem, groups), "by_group")
    enough = max(leaf.bound.lower_bound_bytes, leaf.floor_bytes)
    leaf.offer(first_fit.solve(problem, enough), "first_fit")


_RANK = ("", "cotree", "transitive", "by_group", "first_fit", "sweep", "exhaustive", "ladder")


def _finder(leaves: Sequence[Leaf]) -> str:
    """Return who did the hardest part of the work."""
    return max((leaf.solver for leaf in leaves), key=_RANK.index, default="")


def _lower_bound_bytes(bound: Bound) -> int:
    return bound.lower_bound_bytes


def _is_contradictory(problem: Problem) -> bool:
    """Return whether pins and blocks alone rule out every assignment."""
    pins = dict(problem.pins)
    for i, size in enumerate(problem.sizes):
        start = lowest_start(problem, i, pins.get(i, 0)) if size else None
        if size and (start is None or start != pins.get(i, start)):
            return True
    for (i, start), (j, other) in combinations(problem.pins, 2):
        meets = start < other + problem.sizes[j] and other < start + problem.sizes[i]
        if meets and problem.sizes[i] and problem.sizes[j] and problem.in_conflict(i, j):
            return True
    return False
