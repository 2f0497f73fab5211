"""Search one kernel: aim at the lower bound, climb a ladder of capacities, improve what is found.

    height so far ──┬── dives: shaken searches given few nodes, aimed just below the height
                    ├── rungs: capacities in between, each searched by every preorder
    lower bound  ───┴── foot: searched most; it is reached more often than one would think

Rounds visit the three and the annealing in turn and double what each may spend. Searches of foot
and rungs go on where they stopped. Whoever solves a capacity lowers the height; a search that is
exhausted raises the bound. How hard a capacity is does not fall with it: no bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final, NamedTuple

from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.solvers import branch_graph, branch_intervals, cpsat, local_search
from planner.solvers.branching import Board, Search
from planner.solvers.grid import EDGES_MAX, Grid
from planner.units import BYTES_MAX

__all__ = ["Ladder"]

_SIZE_MAX: Final = 4_000_000
"""Buffers and group entries of all searches kept alive, together: some hundred megabytes."""

_LONG_LINE: Final = 1_000  # buffers
_DIVES: Final = 16
_DEPTHS: Final = (0.3, 0.1, 0.03)
_SHAKES: Final = (0.0, 0.05, 0.15, 0.3)
_MOVES: Final = 8  # a buffer, in round 0
_FIRST_ROUND_BUFFERS: Final = 32  # larger graphs begin with less than round 0
_ROUND_OF_SECOND_OPINION: Final = 4
_BUFFERS_OF_SECOND_OPINION: Final = 500
_BUFFERS_OF_EARLY_OPINION: Final = 128  # proofs that no search of ours brings


def _go_on_for_ever() -> bool:
    return False


class _Pace(NamedTuple):
    """How the rounds go on one kind of problem.

    `nodes` for each buffer and rung in round 0; `rungs` of a round; so many rungs' nodes at the
    `foot`; and the step that a round begins with.
    """

    preorders: tuple[int, ...]
    nodes: float
    rungs: int
    foot: int
    first: int


_LINE: Final = _Pace(branch_intervals.PREORDERS, nodes=2, rungs=16, foot=16, first=0)
# Away from a line the bound is seldom met at once, and dives lower the rungs.
_GRAPH: Final = _Pace(branch_graph.PREORDERS, nodes=2, rungs=4, foot=4, first=2)
# What is solved at all on a long line is solved with few steps back, mostly tightest first; and the
# foot was tried before the first round.
_LONG: Final = _Pace(branch_intervals.PREORDERS[::-1], nodes=1.25, rungs=3, foot=1, first=1)


class Ladder:
    """A search that goes on round by round, with the best so far and what is proven.

    Parameters
    ----------
    problem : Problem
    incumbent : Assignment or None
        Valid; None where none is known.
    bound : Bound
        Proven for `problem`.
    limit_bytes : int
        Heights above it are of no use.
    seed : int
        Of everything random.
    seconds : float or None
        Wall-clock time for a second opinion on a graph by CP-SAT; None: it is not asked.
    workers : int
        Its threads.
    on_news : callable, optional
        Called whenever `assignment` or `bound` has improved.

    Attributes
    ----------
    assignment : Assignment or None
        Lowest so far.
    bound : Bound
        Best so far; without a witness once a search has raised it.
    target_bytes : int
        A height that is low enough; may change between rounds.
    effort : int
        Search nodes visited and moves tried.
    """

    def __init__(
        self,
        problem: Problem,
        incumbent: Assignment | None,
        bound: Bound,
        *,
        limit_bytes: int = BYTES_MAX,
        seed: int = 0,
        seconds: float | None = None,
        workers: int = 1,
        on_news: Callable[[], None] | None = None,
    ) -> None:
        self.assignment, self.bound = incumbent, bound
        self.target_bytes = self.effort = 0
        self._problem, self._grid, self._seed = problem, Grid(problem), seed
        self._granule = self._grid.granule_bytes
        self._seconds, self._workers = seconds, workers
        self._on_news = on_news or (lambda: None)
        # The lowest height that is of no use, granules: what is looked for lies below it.
        self._height = min(self._grid.granules(limit_bytes), BYTES_MAX - 1) + 1
        if incumbent is not None:
            self._height = min(self._height, -(-incumbent.height_bytes(problem) // self._granule))
        self._kept: dict[tuple[int, int], Search] = {}
        self._dives = self._asked_height = 0
        self._round = 0
        n = len(self._grid.movable)
        if problem.lifetimes is None:
            # The cost of a node grows so fast on a graph that round 0 of a large one takes seconds.
            self._round = -max(0, 2 * (n // _FIRST_ROUND_BUFFERS).bit_length() - 1)
            self._pace = _GRAPH
        else:
            self._pace = _LONG if n >= _LONG_LINE else _LINE
        self._opinion: cpsat.SecondOpinion | None = None

    @property
    def work(self) -> int:
        """The effort in nodes on a line: one on a graph counts half of its buffers times.

        So planning a fleet takes a fraction of what compiling a model may.
        """
        n = len(self._grid.movable)
        return self.effort * max(1, n // 2) if self._problem.lifetimes is None else self.effort

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to find, or nothing this search can do."""
        return self._foot >= self._height or not (self._can_anneal or self._board)

    @property
    def _can_anneal(self) -> bool:
        n = len(self._grid.movable)
        return self.assignment is not None and 1 < n <= local_search.BUFFERS_MAX

    @property
    def _foot(self) -> int:
        return -(-max(self.bound.lower_bound_bytes, self.target_bytes) // self._granule)

    @cached_property
    def _board(self) -> Board | None:
        """The conflicts laid out for search; None where they are too many to hold."""
        grid = self._grid
        if not grid.movable or grid.n_conflicts > EDGES_MAX:
            return None
        if self._problem.lifetimes is not None:
            return branch_intervals.board_of(grid)
        if len(grid.movable) > local_search.BUFFERS_MAX:
            return None
        return branch_graph.board_of(grid)

    def go_round(self, should_stop: Callable[[], bool] = _go_on_for_ever) -> None:
        """Search for one round, which may do twice as much as the round before."""
        steps = [self.stand_on_foot, self._climb_rungs, self._dive, self._anneal]
        steps = steps[self._pace.first :] + steps[: self._pace.first]
        self._ask_second_opinion()
        for step in steps:
            if self.is_over or should_stop():
                return
            if self._has_second_opinion():
                break
            step(lambda: self._has_second_opinion() or should_stop())
        self._hear_second_opinion()
        self._round += 1

    def close(self) -> None:
        """End what runs beside."""
        if self._opinion is not None:
            self._opinion.stop()

    def _in_round(self, count: int) -> int:
        """Return what `count` of round 0 comes to in this round: twice as much as in the last."""
        return count << self._round if self._round >= 0 else max(1, count >> -self._round)

    @property
    def _unit(self) -> int:
        return self._in_round(int(self._pace.nodes * len(self._grid.movable)))

    def stand_on_foot(self, should_stop: Callable[[], bool]) -> None:
        """Search at the bound for as long as a round does; a later round goes on from there."""
        for preorder in self._pace.preorders:
            if not self.is_over:
                self._search(self._foot, preorder, self._pace.foot * self._unit, should_stop)

    def _climb_rungs(self, should_stop: Callable[[], bool]) -> None:
        """Search capacities between bound and height, lowest first, until one is solved."""
        low, high = self._foot + 1, self._height - 1
        count = min(self._pace.rungs, high - low + 1)
        for k in range(count):
            capacity = low + (high - low) * k // max(1, count - 1)
            for preorder in self._pace.preorders:
                self._search(capacity, preorder, self._unit, should_stop)
                if self._height <= capacity or should_stop():
                    return

    def _dive(self, should_stop: Callable[[], bool]) -> None:
        """Search once and shortly, each time shaken anew, at capacities near the height."""
        if self._board is None:
            return
        for _ in range(self._in_round(_DIVES)):
            if self.is_over or should_stop():
                return
            k, self._dives = self._dives, self._dives + 1
            k, turn = divmod(k, len(self._pace.preorders))
            preorder = self._pace.preorders[turn]
            depth = _DEPTHS[k % len(_DEPTHS)]
            shake = _SHAKES[k // len(_DEPTHS) % len(_SHAKES)]
            capacity = self._height - 1 - int((self._height - 1 - self._foot) * depth)
            search = Search(
                self._board, capacity, preorder, shake=shake, seed=self._seed + self._dives
            )
            self._go_on(search, 3 * len(self._grid.movable), should_stop)

    def _anneal(self, should_stop: Callable[[], bool]) -> None:
        if not self._can_anneal:
            return
        assert self.assignment is not None
        n = len(self._grid.movable)
        # Even the least round of a large graph has whole dives: some moves beside them.
        moves = max(_MOVES * n, 2 * local_search.MOVES_PER_RUN)
        moves = max(self._in_round(moves), n // 2)
        local_search.improve(
            self._problem,
            self.assignment,
            self._foot * self._granule,
            moves,
            seed=self._seed + max(0, self._round),
            should_stop=should_stop,
            on_best=self.offer,
        )
        self.effort += moves

    def _search(
        self, capacity: int, preorder: int, nodes_max: int, should_stop: Callable[[], bool]
    ) -> None:
        """Go on with the search at a capacity, and keep it where memory allows."""
        if self._board is None:
            return
        search = self._kept.get((capacity, preorder))
        if search is None:
            search = Search(self._board, capacity, preorder)
            size = len(self._grid.movable) + len(self._board.groups)
            if (len(self._kept) + 1) * size <= _SIZE_MAX:
                self._kept[capacity, preorder] = search
        self._go_on(search, nodes_max, should_stop)

    def _go_on(self, search: Search, nodes_max: int, should_stop: Callable[[], bool]) -> None:
        before = search.nodes
        search.go_on(nodes_max, should_stop)
        self.effort += search.nodes - before
        if search.status is SolveStatus.FEASIBLE:
            self.offer(self._grid.assignment(search.offsets))
        elif search.status is SolveStatus.INFEASIBLE:
            self._raise_bound(search.capacity + 1)

    def offer(self, assignment: Assignment) -> None:
        """Keep an assignment that is lower than the best, and forget searches above it."""
        height = -(-assignment.height_bytes(self._problem) // self._granule)
        if height < self._height:
            self.assignment, self._height = assignment, height
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] < height}
            self._on_news()

    def _raise_bound(self, granules: int) -> None:
        if granules * self._granule > self.bound.lower_bound_bytes:
            self.bound = Bound(granules * self._granule)
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] >= granules}
            self._on_news()

    def _ask_second_opinion(self) -> None:
        """Start CP-SAT on a graph: small ones early, after some rounds where they are larger.

        On a line it has found and proven nothing that the search here did not, and takes a core.
        """
        n = len(self._grid.movable)
        is_early = n <= _BUFFERS_OF_EARLY_OPINION and self.effort > 0
        if (
            self._seconds is not None
            and self._problem.lifetimes is None
            and self._opinion is None
            and (is_early or self._round >= _ROUND_OF_SECOND_OPINION)
            and self.assignment is not None
            and n <= _BUFFERS_OF_SECOND_OPINION
            and cpsat.is_available()
        ):
            self._asked_height = self._height
            self._opinion = cpsat.SecondOpinion(
                self._problem,
                self.assignment,
                below_bytes=self._height * self._granule,
                seconds=self._seconds,
                workers=self._workers,
            )

    def _has_second_opinion(self) -> bool:
        return self._opinion is not None and self._opinion.attempt is not None

    def _hear_second_opinion(self) -> None:
        """Take what CP-SAT says once it has ended; ask again only if it found something."""
        attempt = None if self._opinion is None else self._opinion.attempt
        if attempt is None:
            return
        self._opinion = None
        if attempt.assignment is not None:
            self.offer(attempt.assignment)
            return
        self._seconds = None
        if attempt.status is SolveStatus.INFEASIBLE:
            self._raise_bound(self._asked_height)
