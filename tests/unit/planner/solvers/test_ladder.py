"""The ladder: what each part contributes, where it ends, and what stops it."""

from contextlib import suppress
from itertools import count, pairwise
from typing import cast
from unittest.mock import MagicMock

import pytest

from planner.problem import Assignment, Bound, Problem, SolveStatus
from planner.solvers import branch_graph, cpsat, ladder, local_search
from planner.solvers.attempt import Attempt
from planner.solvers.ladder import Ladder
from planner.validator import validate

RING = Problem.of_edges([2] * 7, [(i, (i + 1) % 7) for i in range(7)])
STACKED = Assignment(tuple(range(0, 14, 2)))


def random_graph(n: int) -> tuple[Problem, Assignment]:
    pairs = [(i, j) for i in range(n) for j in range(i) if (i * 31 + j * 17) % 97 < 40]
    problem = Problem.of_edges([1 + (i * 37) % 23 for i in range(n)], pairs)
    start = branch_graph.fit(problem, sum(problem.sizes), 10_000).assignment
    assert start is not None
    return problem, start


def test_it_ends_at_the_optimum_and_says_every_step() -> None:
    heights: list[tuple[int, int]] = []

    def note() -> None:
        assert search.assignment is not None
        heights.append((search.assignment.height_bytes(RING), search.bound.lower_bound_bytes))

    search = Ladder(RING, STACKED, Bound(4), on_news=note)
    while not search.is_over:
        search.go_round()
    assert heights[-1] == (6, 6)
    assert heights == sorted(heights, key=lambda pair: (-pair[0], pair[1]))
    effort = search.effort
    search.go_round()
    assert search.effort == effort, "nothing is left to do"


def test_a_target_is_low_enough() -> None:
    search = Ladder(RING, STACKED, Bound(4))
    search.target_bytes = 12
    while not search.is_over:
        search.go_round()
    assert search.bound == Bound(4)


def test_without_an_incumbent_it_looks_below_the_limit() -> None:
    search = Ladder(RING, None, Bound(4), limit_bytes=8)
    while search.assignment is None:
        search.go_round()
    assert search.assignment.height_bytes(RING) <= 8
    hopeless = Ladder(RING, None, Bound(4), limit_bytes=5)
    for _ in range(4):
        hopeless.go_round()
    assert (hopeless.assignment, hopeless.is_over) == (None, True)
    assert hopeless.bound.lower_bound_bytes == 6


@pytest.mark.parametrize("stop_after", range(0, 40, 3))
def test_interrupted_at_any_moment_it_has_a_valid_plan(
    stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.solvers.branching.WORK_PER_CALL", 600)
    monkeypatch.setattr("planner.solvers.local_search._WORK_PER_CALL", 10_000)
    problem, start = random_graph(30)
    calls = count()

    def interrupt() -> bool:
        if next(calls) == stop_after:
            raise KeyboardInterrupt
        return False

    search = Ladder(problem, start, Bound(0))
    with suppress(KeyboardInterrupt):
        while not search.is_over:
            search.go_round(interrupt)
    assert search.assignment is not None
    assert list(validate(problem, search.assignment)) == []


def test_steps_end_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, start = random_graph(30)
    for stop_after in range(30):
        calls = count()
        search = Ladder(problem, start, Bound(0))
        search.go_round(lambda calls=calls, last=stop_after: next(calls) >= last)  # type: ignore[misc]
        assert search.assignment is not None


def test_kept_searches_go_on_where_they_stopped() -> None:
    problem, start = random_graph(90)
    search = Ladder(problem, start, Bound(0))
    search.target_bytes = 1
    efforts = []
    for _ in range(3):
        search.go_round()
        efforts.append(search.effort)
    assert efforts == sorted(set(efforts))
    assert any(kept.nodes > 0 for kept in search._kept.values())
    again = Ladder(problem, start, Bound(0))
    again.target_bytes = 1
    for _ in range(3):
        again.go_round()
    assert (again.assignment, again.effort) == (search.assignment, search.effort)


def test_with_no_memory_to_keep_searches_it_begins_them_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ladder, "_SIZE_MAX", 0)
    search = Ladder(RING, STACKED, Bound(4))
    for _ in range(5):
        search.go_round()
    assert search.assignment is not None
    assert search.assignment.height_bytes(RING) == 6


def test_too_many_conflicts_leave_annealing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "EDGES_MAX", 0)
    search = Ladder(RING, STACKED, Bound(4))
    search.go_round()
    assert search.assignment is not None
    assert search.assignment.height_bytes(RING) == 6
    assert not search.is_over
    monkeypatch.setattr(local_search, "BUFFERS_MAX", 6)
    assert Ladder(RING, STACKED, Bound(4)).is_over, "nothing that it can do"


def test_too_many_buffers_leave_branch_and_bound_on_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_search, "BUFFERS_MAX", 2)
    assert Ladder(RING, STACKED, Bound(4)).is_over
    line = Problem((2, 1, 1), lifetimes=((0, 4), (0, 2), (1, 4)))
    search = Ladder(line, Assignment((2, 0, 1)), Bound(3))
    search._anneal(lambda: False)
    assert search.effort == 0
    search.go_round()
    search.go_round()
    assert search.is_over


def rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rounds go by without a search."""
    for step in ("stand_on_foot", "_climb_rungs", "_dive", "_anneal"):
        monkeypatch.setattr(Ladder, step, MagicMock())


class FakeOpinion:
    """Says what it is told to, when asked the second time."""

    answer: Attempt

    def __init__(self, *_: object, below_bytes: int, **__: object) -> None:
        self.below_bytes = below_bytes
        self.attempt: Attempt | None = None
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(
    ("answer", "height", "bound", "asks_again"),
    [
        (Attempt.fits(Assignment((0, 2, 4, 6, 2, 4, 8)), nodes=1), 10, 4, True),
        (Attempt.exhausted(nodes=1), 14, 14, False),
        (Attempt.gave_up(nodes=1), 14, 4, False),
    ],
)
def test_a_second_opinion_is_heard(
    answer: Attempt, height: int, bound: int, asks_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpsat, "SecondOpinion", FakeOpinion)
    monkeypatch.setattr(cpsat, "is_available", lambda: True)
    monkeypatch.setattr(ladder, "_ROUND_OF_SECOND_OPINION", 0)
    rest(monkeypatch)
    search = Ladder(RING, STACKED, Bound(4), seconds=10)
    search.go_round()
    opinion = cast(FakeOpinion, search._opinion)
    search.go_round()
    assert search.bound == Bound(4), "it is still thinking"
    opinion.attempt = answer
    search.go_round()
    assert search.assignment is not None
    assert search.assignment.height_bytes(RING) == height
    assert search.bound.lower_bound_bytes == bound
    search.go_round()
    again = cast(FakeOpinion | None, search._opinion)
    assert again is not opinion
    assert (again is not None) == asks_again
    search.close()
    assert again is None or again.stopped


def test_a_second_opinion_is_asked_for_what_the_limit_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer above the limit is none: it would be asked for again and again."""
    monkeypatch.setattr(cpsat, "SecondOpinion", FakeOpinion)
    monkeypatch.setattr(cpsat, "is_available", lambda: True)
    monkeypatch.setattr(ladder, "_ROUND_OF_SECOND_OPINION", 0)
    rest(monkeypatch)
    search = Ladder(RING, STACKED, Bound(4), seconds=10, limit_bytes=8)
    search.go_round()
    assert cast(FakeOpinion, search._opinion).below_bytes == 10  # by granules of 2
    free = Ladder(RING, STACKED, Bound(4), seconds=10)
    free.go_round()
    assert cast(FakeOpinion, free._opinion).below_bytes == 14


def test_no_second_opinion_takes_a_core_from_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "SecondOpinion", FakeOpinion)
    monkeypatch.setattr(cpsat, "is_available", lambda: True)
    monkeypatch.setattr(ladder, "_ROUND_OF_SECOND_OPINION", 0)
    rest(monkeypatch)
    line = Problem((2, 1, 1), lifetimes=((0, 4), (0, 2), (1, 4)))
    search = Ladder(line, Assignment((0, 2, 3)), Bound(3), seconds=10)
    search.go_round()
    search.go_round()
    assert search._opinion is None


def test_a_second_opinion_is_asked_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ortools", reason="needs OR-tools, an optional part")
    monkeypatch.setattr(ladder, "_ROUND_OF_SECOND_OPINION", 0)
    monkeypatch.setattr(ladder, "_FIRST_ROUND_BUFFERS", 100)
    rest(monkeypatch)
    problem, start = random_graph(40)
    search = Ladder(problem, start, Bound(0), seconds=100)
    search.go_round()
    search.close()
    assert search._opinion is not None
    assert search._opinion.attempt is not None
    Ladder(problem, start, Bound(0)).close()


def test_statuses_are_never_optimal() -> None:
    assert SolveStatus.OPTIMAL not in {
        branch_graph.fit(RING, height, 1000).status for height in range(4, 9)
    }


def test_large_graphs_begin_with_short_rounds_and_double_them() -> None:
    problem, start = random_graph(100)
    search = Ladder(problem, start, Bound(0))
    efforts = [0]
    for _ in range(4):
        search.go_round()
        efforts.append(search.effort)
    rounds = [after - before for before, after in pairwise(efforts)]
    assert rounds[0] < 100 * 100 < rounds[3]
    assert search.work == search.effort * (100 // 2)
    on_line = Problem((2, 3), lifetimes=((0, 2), (1, 3)))
    line = Ladder(on_line, None, Bound(5, (0, 1)))
    line.go_round()
    assert line.work == line.effort > 0
