"""Laws of the raw format: what was written decodes, anything else is a DecodeError."""

import csv
import io
import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from planner.errors import DecodeError
from planner.problem import Problem
from planner.problem_file import decode_problem
from tests.oracles_solver import conflicting_pairs, problems

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["sizes", "edges", "conflicts", "ids", "pins", "blocks", "capacity", "x"])


@given(problems(is_plain=True, with_lifetimes=True))
def test_a_written_csv_reads_back(problem: Problem) -> None:
    assert problem.lifetimes is not None
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "lower", "upper", "size"])
    for i, (lower, upper) in enumerate(problem.lifetimes):
        writer.writerow([i, lower, upper, problem.sizes[i]])
    assert decode_problem(text.getvalue()).problem == problem


@given(problems(is_plain=True, with_lifetimes=False))
def test_written_conflicts_read_back(problem: Problem) -> None:
    pairs = [(i, j) for i in range(problem.n) for j in range(i) if problem.in_conflict(i, j)]
    text = json.dumps({"sizes": problem.sizes, "conflicts": pairs})
    assert decode_problem(text).problem == problem
    assert set(conflicting_pairs(problem)) <= {(j, i) for i, j in pairs}


@given(st.integers(0, 9), st.data())
def test_buffers_conflict_unless_a_path_joins_them(n: int, data: st.DataObject) -> None:
    index = st.integers(0, max(n - 1, 0))
    pairs = (
        data.draw(st.lists(st.tuples(index, index).filter(lambda p: p[0] < p[1]))) if n > 1 else []
    )
    found = decode_problem(json.dumps({"sizes": [1] * n, "edges": pairs})).problem
    reach = [[i == j or (i, j) in pairs for j in range(n)] for i in range(n)]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                reach[i][j] |= reach[i][k] and reach[k][j]
    for i in range(n):
        for j in range(n):
            assert found.in_conflict(i, j) == (not reach[i][j] and not reach[j][i])


@given(st.dictionaries(KEYS, VALUES))
def test_any_object_decodes_or_is_a_decode_error(data: dict[str, object]) -> None:
    with suppress(DecodeError):
        decode_problem(json.dumps(data))


@given(
    st.text()
    | st.text(alphabet="id,lowerupsz\n\"'0123456789- ").map("id,lower,upper,size\n".__add__)
)
def test_any_text_decodes_or_is_a_decode_error(text: str) -> None:
    with suppress(DecodeError):
        decode_problem(text)
