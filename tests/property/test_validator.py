"""Laws of the validator: one planted fault in a valid assignment never goes unnoticed."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from planner.problem import Assignment, Problem
from planner.solvers import solve
from planner.validator import Rule, validate
from tests.oracles_solver import conflicting_pairs, problems


def rules_of(problem: Problem, assignment: Assignment) -> set[Rule]:
    return {violation.rule for violation in validate(problem, assignment)}


@given(problems(), st.data())
def test_a_planted_overlap_is_found(problem: Problem, data: st.DataObject) -> None:
    found = solve(problem).assignment
    pairs = conflicting_pairs(problem)
    assume(found is not None and pairs)
    assert found is not None
    i, j = data.draw(st.sampled_from(pairs))
    offsets = list(found.offsets)
    offsets[i] = offsets[j] + data.draw(st.integers(1 - problem.sizes[i], problem.sizes[j] - 1))
    assert Rule.OVERLAP in rules_of(problem, Assignment(tuple(offsets)))


@given(problems(), st.data())
def test_a_moved_buffer_breaks_its_rules(problem: Problem, data: st.DataObject) -> None:
    found = solve(problem).assignment
    assume(found is not None and problem.n)
    assert found is not None
    i = data.draw(st.integers(0, problem.n - 1))
    shift = data.draw(st.integers(1, 50))
    moved = list(found.offsets)
    moved[i] += shift
    rules = rules_of(problem, Assignment(tuple(moved)))
    assert (Rule.PIN in rules) == (i in dict(problem.pins))
    assert (Rule.ALIGNMENT in rules) == (shift % problem.alignment(i) != 0)
    sunk = [*found.offsets[:i], -shift, *found.offsets[i + 1 :]]
    assert Rule.NEGATIVE in rules_of(problem, Assignment(tuple(sunk)))


@given(problems())
def test_a_capacity_below_the_height_is_broken(problem: Problem) -> None:
    found = solve(problem).assignment
    assume(found is not None and found.height_bytes(problem))
    assert found is not None
    height = found.height_bytes(problem)
    for capacity, expected in ((height, set()), (height - 1, {Rule.CAPACITY})):
        assert rules_of(replace(problem, capacity_bytes=capacity), found) == expected


@given(problems())
def test_a_wrong_number_of_offsets_is_all_that_is_said(problem: Problem) -> None:
    too_many = Assignment((0,) * (problem.n + 1))
    assert [violation.rule for violation in validate(problem, too_many)] == [Rule.LENGTH]
