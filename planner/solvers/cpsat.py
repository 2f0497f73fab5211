"""A second opinion by constraint programming: CP-SAT [1]_, in a thread of its own.

It sees what orders and branch and bound do not, and proves what they cannot; on hard kernels it
seldom improves a good plan. It is asked whether anything is lower, not for the least height: proofs
come many times as soon so (measured: kernels of 32 to 58 buffers in 0.6 to 1.9 s, the least height
in 2 to more than 8). Conflicts are one constraint on each maximal clique where these are few, else
on each clique of a cover. Read from the top downward a placement is one as well: without pins,
walls and alignments only one of the two is looked at.

References
----------
.. [1] L. Perron, F. Didier, S. Gay, "The CP-SAT-LP solver", CP 2023.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Final

from planner.problem import Assignment, Problem
from planner.solvers.attempt import Attempt
from planner.solvers.clique_cover import clique_cover, maximal_cliques
from planner.solvers.grid import Grid

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    from planner.solvers.kernels.space import Ints, Space

__all__ = ["SecondOpinion", "is_available"]

_GRANULES_MAX: Final = 1 << 60
_POLL_SECONDS: Final = 0.05
_CLIQUES_EACH: Final = 16
"""Maximal cliques a buffer that are all stated; more, and a cover of them does."""


def is_available() -> bool:
    """Return whether OR-tools is installed: it is an optional part of planning."""
    from importlib.util import find_spec

    return find_spec("ortools") is not None


class SecondOpinion:
    """A run of CP-SAT beside other work: `attempt` is None until it has ended.

    Parameters
    ----------
    problem : Problem
        Alignments, pins and blocks are kept.
    incumbent : Assignment
        Valid; a hint.
    below_bytes : int
        What is looked for is lower. The run ends with the first such assignment, which may be far
        from the lowest.
    seconds : float
        Wall-clock time allowed, > 0: CP-SAT counts nothing else that is worth limiting.
    workers : int
        Threads of the solver, >= 1.

    Attributes
    ----------
    attempt : Attempt or None
        `FEASIBLE`: lower. `INFEASIBLE`: nothing is. `UNKNOWN`: time ended, or heights are beyond
        2^60 granules. Nodes are CP-SAT's branches.

    Notes
    -----
    Not deterministic: time ends it. Needs OR-tools.

    Examples
    --------
    >>> ring = Problem.of_edges([2, 1, 2, 1], [(0, 1), (1, 2), (2, 3), (3, 0)])
    >>> stacked = Assignment((0, 2, 3, 5))
    >>> opinion = SecondOpinion(ring, stacked, below_bytes=4, seconds=10, workers=1)
    >>> opinion.wait(10)
    >>> opinion.attempt.assignment.height_bytes(ring)
    3
    """

    def __init__(
        self,
        problem: Problem,
        incumbent: Assignment,
        *,
        below_bytes: int,
        seconds: float,
        workers: int,
    ) -> None:
        from ortools.sat.python import cp_model

        self._grid = Grid(problem)
        self.attempt: Attempt | None = None
        self._solver = cp_model.CpSolver()
        self._solver.parameters.max_time_in_seconds = seconds
        self._solver.parameters.num_workers = workers
        # Its own handler would leave the process without Python's: Ctrl-C would then kill it.
        self._solver.parameters.catch_sigint_signal = False
        granule = self._grid.granule_bytes
        height = -(-below_bytes // granule) - 1
        if height >= _GRANULES_MAX:
            self.attempt = Attempt.gave_up(nodes=0)
            return
        space = self._grid.space(height) if height >= 0 else None
        if space is None:
            self.attempt = Attempt.exhausted(nodes=0)
            return
        model = cp_model.CpModel()
        hint = self._grid.offsets(incumbent)
        pair = _pair_to_order(problem, self._grid, space)
        if pair is not None and hint[pair[0]] > hint[pair[1]]:
            hint = (hint + space.sizes).max() - hint - space.sizes  # read downward
        places = _places(model, space, hint)
        if pair is not None:
            model.add(places[pair[0]] + int(space.sizes[pair[0]]) <= places[pair[1]])
        _keep_apart(model, self._grid, places)
        self._thread = Thread(target=self._run, args=(model, places), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the run has ended, at most `seconds`."""
        if self.attempt is None:
            self._thread.join(seconds)

    def stop(self) -> None:
        """End the run soon, with what it has."""
        while self.attempt is None:  # asked before the solver has begun, it does not hear
            self._solver.stop_search()
            self.wait(_POLL_SECONDS)

    def _run(self, model: cp_model.CpModel, places: list[cp_model.LinearExpr]) -> None:
        from ortools.sat.python import cp_model

        status = self._solver.solve(model)
        nodes = self._solver.num_branches
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            found = self._grid.assignment(self._solver.value(place) for place in places)
            self.attempt = Attempt.fits(found, nodes=nodes)
        elif status == cp_model.INFEASIBLE:
            self.attempt = Attempt.exhausted(nodes=nodes)
        else:
            self.attempt = Attempt.gave_up(nodes=nodes)


def _pair_to_order(problem: Problem, grid: Grid, space: Space) -> tuple[int, int] | None:
    """Return two conflicting buffers, large ones: the first may be taken to lie below the second.

    None where a placement read from the top downward need not be one, or nothing conflicts.
    """
    if problem.pins or problem.blocks or (space.aligns != 1).any():
        return None
    for v in sorted(range(len(grid.sizes)), key=lambda v: (-int(space.sizes[v]), v)):
        others = grid.conflict_row(v).nonzero()[0].tolist()
        if others:
            return v, min(others, key=lambda w: (-int(space.sizes[w]), w))
    return None


def _places(model: cp_model.CpModel, space: Space, hint: Ints) -> list[cp_model.LinearExpr]:
    """Return the offsets as multiples of their alignments, each kept to its legal places."""
    from ortools.sat.python import cp_model

    places = []
    for v, size in enumerate(space.sizes.tolist()):
        align = int(space.aligns[v])
        first, last = space.fence_start[v], space.fence_start[v + 1]
        # A place is legal where no fence meets it and no wall is inside it.
        gaps = [
            (low - size + 1, end - 1)
            for low, end in zip(
                space.fence_lows[first:last].tolist(),
                space.fence_ends[first:last].tolist(),
                strict=True,
            )
        ]
        gaps += [(wall - size + 1, wall - 1) for wall in space.walls.tolist()]
        legal, low = [], 0
        for gap_low, gap_high in [*sorted(gaps), (space.capacity - size + 1, space.capacity)]:
            legal.append([-(-low // align), (gap_low - 1) // align])
            low = max(low, gap_high + 1)
        domain = cp_model.Domain.from_intervals([pair for pair in legal if pair[0] <= pair[1]])
        multiple = model.new_int_var_from_domain(domain, "")
        model.add_hint(multiple, int(hint[v]) // align)
        places.append(align * multiple)
    return places


def _keep_apart(model: cp_model.CpModel, grid: Grid, places: list[cp_model.LinearExpr]) -> None:
    """State the conflicts."""
    spans = [
        model.new_fixed_size_interval_var(place, int(size), "")
        for place, size in zip(places, grid.sizes, strict=True)
    ]
    order = sorted(range(len(spans)), key=lambda v: (-grid.sizes[v], v))
    masks = grid.masks(order)
    cliques = maximal_cliques(masks, _CLIQUES_EACH * len(masks))
    for clique in clique_cover(masks) if cliques is None else cliques:
        if len(clique) > 1:
            model.add_no_overlap([spans[order[k]] for k in clique])
