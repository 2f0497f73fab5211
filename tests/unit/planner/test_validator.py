import pytest

from planner.problem import Assignment, Problem
from planner.validator import Rule, Violation, validate

PROBLEM = Problem(
    sizes=(4, 4, 0),
    lifetimes=((0, 2), (1, 3), (0, 9)),
    alignments=(2, 4, 2),
    pins=((1, 4),),
    blocks=(4, 8),
    capacity_bytes=8,
)


def test_a_valid_assignment_breaks_nothing() -> None:
    assert list(validate(PROBLEM, Assignment((0, 4, 0)))) == []
    assert list(validate(PROBLEM, Assignment((0, 4, 20)))) == []  # empty: no block, no capacity


@pytest.mark.parametrize(
    ("offsets", "rule", "text"),
    [
        ((0, 4), Rule.LENGTH, "length: found 2 offsets, expected 3"),
        ((-4, 4, 0), Rule.NEGATIVE, "negative: buffer 0: [-4, 0) starts below 0"),
        (
            (0, 4, 1),
            Rule.ALIGNMENT,
            "alignment: buffer 2: [1, 1) does not start at a multiple of 2",
        ),
        ((0, 8, 0), Rule.PIN, "pin: buffer 1: [8, 12) is pinned at 4"),
        ((2, 4, 0), Rule.BLOCK, "block: buffer 0: [2, 6) lies inside none of blocks (4, 8)"),
        ((8, 4, 0), Rule.CAPACITY, "capacity: buffer 0: [8, 12) ends above 8"),
        ((6, 4, 0), Rule.OVERLAP, "overlap: buffers 0 and 1: [6, 10) and [4, 8) share bytes"),
        ((4, 4, 0), Rule.OVERLAP, "overlap: buffers 0 and 1: [4, 8) and [4, 8) share bytes"),
    ],
)
def test_each_rule_names_buffers_and_ranges(
    offsets: tuple[int, ...], rule: Rule, text: str
) -> None:
    found = {violation.rule: str(violation) for violation in validate(PROBLEM, Assignment(offsets))}
    assert found[rule] == text


def test_every_violation_is_reported_singles_first() -> None:
    found = list(validate(PROBLEM, Assignment((-1, -1, 1))))
    assert [violation.rule for violation in found] == [
        Rule.NEGATIVE,
        Rule.ALIGNMENT,
        Rule.BLOCK,
        Rule.NEGATIVE,
        Rule.ALIGNMENT,
        Rule.PIN,
        Rule.BLOCK,
        Rule.ALIGNMENT,
        Rule.OVERLAP,
    ]
    assert found[-1] == Violation(Rule.OVERLAP, (0, 1), "[-1, 3) and [-1, 3) share bytes")


def test_ranges_that_touch_and_buffers_apart_may_share() -> None:
    chain = Problem.of_edges(sizes=[2, 2, 2], edges=[(0, 1)])
    assert list(validate(chain, Assignment((0, 2, 0)))) == []
    assert [v.buffers for v in validate(chain, Assignment((0, 1, 0)))] == [(0, 1)]
