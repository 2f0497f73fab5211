"""A search that runs out of room gets more and goes on as if nothing had happened."""

from types import ModuleType

import pytest

from planner.problem import Problem, SolveStatus
from planner.solvers import branch_graph
from planner.solvers.branching import Search
from planner.solvers.grid import Grid
from tests.plain_kernels import PLAIN, uncompiled

# The 7-cycle's complement and some weights: takes a few hundred nodes to refuse.
HARD = Problem.of_edges(
    [3, 5, 2, 4, 6, 3, 5, 4],
    [(i, j) for i in range(8) for j in range(i) if (i - j) % 8 not in (1, 7) and (i * j) % 3 != 1],
)


def cramp(branch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let searches begin with hardly any room; count how often they are given more."""
    fresh, roomier = branch.fresh, branch.roomier
    given: list[int] = []

    def cramped(shape: object) -> object:
        state = fresh(shape)
        return state._replace(
            candidates=state.candidates[:1],
            pool=state.pool[: state.registers[6]],
            floored=state.floored[:1],
            floored_from=state.floored_from[:1],
            kept_by=state.kept_by[:1],
        )

    def counted(state: object) -> object:
        given.append(1)
        return roomier(state)

    monkeypatch.setattr(branch, "fresh", cramped)
    monkeypatch.setattr(branch, "roomier", counted)
    return given


def test_growing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with uncompiled():
        board = branch_graph.board_of(Grid(HARD))
        outcomes = []
        for is_cramped in (False, True):
            given = cramp(PLAIN["branch"], monkeypatch) if is_cramped else []
            for capacity in range(board.tallest, board.tallest + 4):
                search = Search(board, capacity, 1)
                search.go_on(10_000)
                assert search.status is not SolveStatus.UNKNOWN
                found = search.status is SolveStatus.FEASIBLE
                outcomes.append(
                    (search.status, search.nodes, search.offsets.tolist() if found else None)
                )
            assert bool(given) is is_cramped
    assert outcomes[:4] == outcomes[4:]
