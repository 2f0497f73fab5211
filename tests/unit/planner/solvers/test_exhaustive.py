from planner.problem import Assignment, Problem, SolveStatus
from planner.solvers import exhaustive

# Seven executions in a partial order; the heaviest antichain is 8 and no plan is below 9.
SIZES = [1, 3, 4, 4, 1, 4, 4]
ORDER = [(0, 2), (0, 5), (1, 5), (3, 0), (3, 1), (3, 4), (4, 5), (6, 1), (6, 2)]


def fixture() -> Problem:
    after = {i: {i} for i in range(7)}
    for _ in range(7):
        for i, j in ORDER:
            after[i] |= after[j]
    pairs = [(i, j) for i in range(7) for j in range(i)]
    return Problem.of_edges(
        SIZES, [(i, j) for i, j in pairs if j not in after[i] and i not in after[j]]
    )


def test_what_does_not_fit_is_proven() -> None:
    assert exhaustive.fit(fixture(), 8).status is SolveStatus.INFEASIBLE
    found = exhaustive.fit(fixture(), 9)
    assert found.assignment is not None
    assert found.assignment.height_bytes(fixture()) == 9


def test_limits_end_the_search_without_a_verdict() -> None:
    assert exhaustive.fit(fixture(), 8, nodes_max=3).status is SolveStatus.UNKNOWN
    assert exhaustive.fit(fixture(), 8, nodes_max=3).nodes == 3
    stopped = exhaustive.fit(fixture(), 9, should_stop=lambda: True)
    assert (stopped.status, stopped.nodes) == (SolveStatus.UNKNOWN, 0)


def test_pins_that_do_not_fit_leave_nothing_to_search() -> None:
    pinned = Problem((2, 1), conflict_masks=(2, 1), pins=((0, 3),))
    assert exhaustive.fit(pinned, 5).assignment is not None
    assert exhaustive.fit(pinned, 4).status is SolveStatus.INFEASIBLE
    empty = Problem((2, 0), conflict_masks=(2, 1), pins=((1, 1),))
    assert exhaustive.fit(empty, 2).assignment == Assignment((0, 1))
    clash = Problem((2, 2), conflict_masks=(2, 1), pins=((0, 3), (1, 4)))
    assert exhaustive.fit(clash, 99).status is SolveStatus.INFEASIBLE


def test_a_buffer_that_no_block_holds_ends_the_branch() -> None:
    blocked = Problem((2, 2), conflict_masks=(2, 1), blocks=(2, 1))
    assert exhaustive.fit(blocked, 99).status is SolveStatus.INFEASIBLE
