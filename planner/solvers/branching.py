"""Searches that take turns: one branch and bound, several preorders, doubled turns.

Which preorder finds a solution soon is not known beforehand and differs a thousandfold; so all of
them go on in turn, each where it stopped, with turns that double.

NumPy and the kernels are imported inside functions: nothing is paid by who does not search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from planner.problem import SolveStatus
from planner.solvers.attempt import Attempt
from planner.solvers.grid import Grid, starts
from planner.units import BYTES_MAX

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from planner.solvers.kernels.branch import State
    from planner.solvers.kernels.space import Ints

__all__ = ["WORK_PER_CALL", "Board", "Search", "fit"]

WORK_PER_CALL: Final = 500_000
"""Nodes times buffers between two looks at `should_stop`: a few hundredths of a second compiled."""


@dataclass(frozen=True)
class Board:
    """The conflicts on a grid, as a search at any capacity needs them.

    Attributes
    ----------
    grid : Grid
        With at least one buffer to place.
    spreads : float64 array, shape (n,)
        How much of the rest a buffer meets.
    group_start, groups, member_start, members : int64 arrays
        Sets of buffers that pairwise conflict, by buffer and by group (compressed rows); every
        buffer is in one.
    neighbour_start, neighbours : int64 arrays
        Conflicts by buffer.
    adjacent : uint8 array, shape (n, n); shape (0, 0) where groups are sections of a line
    """

    grid: Grid
    spreads: npt.NDArray[np.float64]
    group_start: Ints
    groups: Ints
    member_start: Ints
    members: Ints
    neighbour_start: Ints
    neighbours: Ints
    adjacent: npt.NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        grid: Grid,
        spreads: npt.NDArray[np.float64],
        members: Sequence[Sequence[int]],
        *,
        on_line: bool,
    ) -> Board:
        """Return the board whose groups have these members, each ascending."""
        import numpy as np

        n = len(grid.movable)
        rows: list[list[int]] = [[] for _ in range(n)]
        for g, group in enumerate(members):
            for v in group:
                rows[v].append(g)
        neighbour_start, neighbours = grid.neighbours()
        adjacent = np.zeros((0, 0) if on_line else (n, n), np.uint8)
        for v in range(len(adjacent)):
            adjacent[v, neighbours[neighbour_start[v] : neighbour_start[v + 1]]] = 1
        return cls(
            grid=grid,
            spreads=spreads,
            group_start=starts(rows),
            groups=np.array([g for row in rows for g in row], np.int64),
            member_start=starts(members),
            members=np.array([v for group in members for v in group], np.int64),
            neighbour_start=neighbour_start,
            neighbours=neighbours,
            adjacent=adjacent,
        )

    @cached_property
    def tallest(self) -> int:
        """Largest sum of sizes in a group, granules: no capacity below it can do."""
        import numpy as np

        return int(np.add.reduceat(self.grid.sizes[self.members], self.member_start[:-1]).max())


class Search:
    """One branch and bound at one capacity with one preorder, which can stop and go on.

    Parameters
    ----------
    board : Board
    capacity : int, granules
        At most 2^62.
    preorder : int
        Below `N_PREORDERS`.
    shake : float
        The preorder's first key shrinks at random by up to this part of it, 0 to 1.
    seed : int
        Of the shaking.

    Attributes
    ----------
    status : SolveStatus
        `UNKNOWN` while it can go on.
    nodes : int
        Visited so far.
    """

    def __init__(
        self, board: Board, capacity: int, preorder: int, *, shake: float = 0.0, seed: int = 0
    ) -> None:
        import numpy as np

        from planner.solvers.kernels import branch

        n = len(board.grid.movable)
        noise = 1.0 - shake * np.random.Generator(np.random.PCG64(seed)).random(n)
        self.capacity = capacity
        self._n = n
        self.nodes = 0
        self.status = SolveStatus.UNKNOWN
        self._offsets: Ints | None = None
        self._state: State | None = None
        space = board.grid.space(capacity)
        if space is None or board.tallest > capacity:
            self.status = SolveStatus.INFEASIBLE
            return
        self._shape = branch.Shape(
            space=space,
            spreads=board.spreads,
            noise=noise,
            preorder=preorder,
            group_start=board.group_start,
            groups=board.groups,
            member_start=board.member_start,
            members=board.members,
            neighbour_start=board.neighbour_start,
            neighbours=board.neighbours,
            adjacent=board.adjacent,
        )
        self._state = branch.fresh(self._shape)

    def go_on(self, nodes_max: int, should_stop: Callable[[], bool] | None = None) -> None:
        """Visit at most `nodes_max` more nodes; fewer if decided or told to stop."""
        from planner.solvers.kernels import branch

        end = self.nodes + nodes_max
        per_call = max(1, WORK_PER_CALL // self._n)
        while self._state is not None and self.nodes < end:
            if should_stop is not None and should_stop():
                return
            found = branch.search(self._shape, self._state, min(per_call, end - self.nodes))
            self.nodes = int(self._state.registers[branch.NODES])
            if found == branch.FULL:
                self._state = branch.roomier(self._state)
            elif found == branch.SOLVED:
                self.status, self._offsets = SolveStatus.FEASIBLE, self._state.offsets
                self._state = None
            elif found == branch.EXHAUSTED:
                self.status, self._state = SolveStatus.INFEASIBLE, None

    @property
    def offsets(self) -> Ints:
        """The solution, granules; only where the status is `FEASIBLE`."""
        assert self._offsets is not None
        return self._offsets


def fit(
    grid: Grid,
    board_of: Callable[[Grid], Board],
    preorders: Sequence[int],
    capacity_bytes: int,
    nodes_max: int,
    should_stop: Callable[[], bool] | None,
    *,
    shake: float = 0.0,
    seed: int = 0,
) -> Attempt:
    """Let one search of each preorder take turns until one is decided or the nodes are spent.

    `board_of` is asked only where there is something to place.
    """
    granules = grid.granules(capacity_bytes)
    capacity = min(granules, BYTES_MAX)
    if not grid.movable:
        space = grid.space(capacity)
        return (
            Attempt.exhausted(nodes=0)
            if space is None
            else Attempt.fits(grid.assignment(()), nodes=0)
        )
    board = board_of(grid)
    searches = [Search(board, capacity, preorder, shake=shake, seed=seed) for preorder in preorders]
    turn = 2 * len(grid.movable)
    while True:
        for search in searches:
            spent = sum(other.nodes for other in searches)
            if search.status is SolveStatus.UNKNOWN:
                if spent >= nodes_max or (should_stop is not None and should_stop()):
                    return Attempt.gave_up(nodes=spent)
                search.go_on(min(turn, nodes_max - spent), should_stop)
                spent = sum(other.nodes for other in searches)
            if search.status is SolveStatus.FEASIBLE:
                return Attempt.fits(grid.assignment(search.offsets), nodes=spent)
            if search.status is SolveStatus.INFEASIBLE:
                # Cut at 2^62 granules, a proof would not hold for the whole capacity.
                proven = granules == capacity
                return (Attempt.exhausted if proven else Attempt.gave_up)(nodes=spent)
        turn *= 2
