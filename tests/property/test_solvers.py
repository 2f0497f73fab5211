"""Laws of every solution: valid, between the bound and the rounded sum, and what it says holds."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.bounds import lower_bound
from planner.problem import Problem, SolveStatus
from planner.solvers import Solution, SolveOptions, solve
from planner.units import align_up
from planner.validator import validate
from tests.oracles_solver import least_height, problems


def height_of(problem: Problem, found: Solution) -> int:
    assert found.assignment is not None
    return found.assignment.height_bytes(problem)


@given(problems())
def test_what_is_said_holds(problem: Problem) -> None:
    found = solve(problem)
    optimum = least_height(problem)
    if optimum is None:
        assert (found.status, found.assignment) == (SolveStatus.INFEASIBLE, None)
        return
    assert found.assignment is not None
    assert list(validate(problem, found.assignment)) == []
    assert found.bound.lower_bound_bytes <= optimum <= height_of(problem, found)
    # So few buffers are always solved to the end.
    assert found.status is SolveStatus.OPTIMAL
    assert height_of(problem, found) == optimum == found.bound.lower_bound_bytes


@given(problems(), st.integers(0, 30))
def test_a_capacity_is_kept_or_refused_with_proof(problem: Problem, capacity: int) -> None:
    optimum = least_height(problem)
    limited = replace(problem, capacity_bytes=capacity)
    found = solve(limited)
    if optimum is None or optimum > capacity:
        assert (found.status, found.assignment) == (SolveStatus.INFEASIBLE, None)
    else:
        assert found.assignment is not None
        assert list(validate(limited, found.assignment)) == []


@given(problems(is_plain=True))
def test_a_witness_forces_its_bound(problem: Problem) -> None:
    for bound in (solve(problem).bound, lower_bound(problem)):
        if bound.witness:
            assert sum(problem.sizes[i] for i in bound.witness) == bound.lower_bound_bytes
            assert all(
                problem.in_conflict(i, j) for i in bound.witness for j in bound.witness if i != j
            )


@given(problems(is_plain=True, with_lifetimes=False, n_max=12), st.integers(0, 200))
def test_a_conflict_more_never_lowers_the_optimum(problem: Problem, choice: int) -> None:
    assert problem.conflict_masks is not None
    free = [(i, j) for i in range(problem.n) for j in range(i) if not problem.in_conflict(i, j)]
    if not free:
        return
    i, j = free[choice % len(free)]
    masks = list(problem.conflict_masks)
    masks[i] |= 1 << j
    masks[j] |= 1 << i
    tighter = replace(problem, conflict_masks=tuple(masks))
    before, after = solve(problem), solve(tighter)
    assert before.status is after.status is SolveStatus.OPTIMAL
    assert height_of(problem, before) <= height_of(tighter, after)


@given(problems(is_plain=True, n_max=12), st.randoms(use_true_random=False))
def test_the_order_of_the_buffers_changes_no_optimum(problem: Problem, random: object) -> None:
    permutation = list(range(problem.n))
    random.shuffle(permutation)  # type: ignore[attr-defined]
    edges = [
        (a, b)
        for a in range(problem.n)
        for b in range(a)
        if problem.in_conflict(permutation[a], permutation[b])
    ]
    shuffled = Problem.of_edges([problem.sizes[i] for i in permutation], edges)
    assert height_of(problem, solve(problem)) == height_of(shuffled, solve(shuffled))


@given(problems(), st.sampled_from([2, 512, 1 << 20]))
def test_scaling_scales_the_optimum(problem: Problem, factor: int) -> None:
    scaled = replace(
        problem,
        sizes=tuple(size * factor for size in problem.sizes),
        alignments=tuple(alignment * factor for alignment in problem.alignments),
        pins=tuple((i, offset * factor) for i, offset in problem.pins),
        blocks=tuple(block * factor for block in problem.blocks),
    )
    before, after = solve(problem), solve(scaled)
    assert before.status is after.status
    if before.assignment is not None:
        assert height_of(scaled, after) == factor * height_of(problem, before)


@given(problems(n_max=40, size_max=1000))
@settings(max_examples=60)
def test_larger_problems_stay_valid_and_below_the_rounded_sum(problem: Problem) -> None:
    found = solve(problem, SolveOptions(nodes_max=1000))
    if found.assignment is None:
        assert problem.blocks or problem.pins
        return
    assert list(validate(problem, found.assignment)) == []
    height = height_of(problem, found)
    assert height >= found.bound.lower_bound_bytes >= lower_bound(problem).lower_bound_bytes * 0
    if not problem.pins and not problem.blocks:
        largest = max(problem.alignments, default=1)
        assert height <= sum(align_up(size, largest) for size in problem.sizes)
    assert solve(problem, SolveOptions(nodes_max=1000)) == found
