import json
from pathlib import Path
from typing import Any

import pytest

from planner.errors import DecodeError
from planner.problem import Problem
from planner.problem_file import decode_problem


def test_a_csv_is_live_ranges_in_input_order() -> None:
    found = decode_problem("size, id,lower,upper\n\n4,b,-3,2\n0,a,2,2\n")
    assert found.ids == ("b", "a")
    assert found.problem == Problem((4, 0), lifetimes=((-3, 2), (2, 2)))
    assert found.order is None


def test_a_header_alone_is_an_empty_problem() -> None:
    assert decode_problem("id,lower,upper,size\n").problem.n == 0


def test_precedence_is_transitive_and_kept() -> None:
    found = decode_problem('{"sizes": [1, 2, 3, 4], "edges": [[2, 0], [0, 1], [2, 0]]}')
    assert found.problem.conflict_masks == (0b1000, 0b1000, 0b1000, 0b0111)
    assert found.order == ((2, 0), (0, 1), (2, 0))
    assert found.ids == ("0", "1", "2", "3")


def test_conflicts_and_every_optional_key() -> None:
    text = json.dumps(
        {
            "sizes": [4, 2],
            "conflicts": [[1, 0], [0, 1]],
            "ids": ["x", "y"],
            "alignments": [4, 2],
            "pins": [[1, 6]],
            "blocks": [4, 8],
            "capacity": 12,
        }
    )
    found = decode_problem(text)
    assert found.ids == ("x", "y")
    assert found.problem == Problem(
        (4, 2), (2, 1), None, (4, 2), ((1, 6),), (4, 8), capacity_bytes=12
    )
    assert decode_problem('{"sizes": [], "conflicts": [], "capacity": null}').problem.n == 0


def test_the_public_instances_decode(shared_data: Path) -> None:
    counts = {
        path.name: decode_problem(path.read_text()).problem.n
        for path in sorted((shared_data / "dsa").glob("*/*.csv"))
    }
    assert counts["A.1048576.csv"] == 154
    assert counts["K.1048576.csv"] == 454
    assert len(counts) == 19


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no header, expected id,lower,upper,size or a JSON object"),
        (
            "id,lower,upper\n",
            "line 1: found columns ['id', 'lower', 'upper'], expected ['id', 'lower', 'upper', ",
        ),
        ("id,lower,upper,size\na,0,1\n", "line 2: found 3 cells, expected 4"),
        ("id,lower,upper,size\na,0,1,2\na,0,1,2\n", "line 3: id 'a' was used before"),
        ("id,lower,upper,size\na,3,1,2\n", "line 2: found [3, 1), expected lower <= upper"),
        (
            "id,lower,upper,size\na,0,x,2\n",
            "line 2, column upper: found 'x', expected a whole number",
        ),
        (
            "id,lower,upper,size\na,0,1,-2\n",
            "line 2, column size: found -2, expected a size of 0 to 2^62 bytes",
        ),
        ('id,lower,upper,size\n"a"b,0,1,2\n', "line 2: not CSV: "),
        (
            f"id,lower,upper,size\na,0,1,{2**62}\nb,0,1,1\n",
            "sizes: expected every size >= 0 and a sum of at most 2^62 bytes",
        ),
        ("{", "not JSON: Expecting property name"),
        ('{"a": ' + "[" * 100_000, "not JSON: "),
        ('{"sizes": [1], "sizes": []}', "sizes: key occurs twice"),
        ('{"size": [1]}', "size: unknown key; expected some of sizes, edges, conflicts"),
        ('{"sizes": [1]}', "expected exactly one of 'edges' and 'conflicts'"),
        (
            '{"sizes": [1], "edges": [], "conflicts": []}',
            "expected exactly one of 'edges' and 'conflicts'",
        ),
        ('{"edges": []}', "sizes: found nothing, expected a list"),
        ('{"sizes": {"a": 1}, "edges": []}', "sizes: found dict \"{'a': 1}\", expected a list"),
        ('{"sizes": [true], "edges": []}', "sizes[0]: found bool 'True', expected a whole number"),
        ('{"sizes": [1.0], "edges": []}', "sizes[0]: found float '1.0', expected a whole number"),
        ('{"sizes": [-1], "edges": []}', "sizes[0]: found -1, expected a size of 0 to 2^62"),
        ('{"sizes": [1], "edges": [[0]]}', "edges[0]: found list '[0]', expected a pair"),
        ('{"sizes": [1], "edges": [[0, "1"]]}', "edges[0][1]: found str '1', expected a whole"),
        ('{"sizes": [1], "edges": [[0, 1]]}', "edges[0]: found [0, 1], expected two of 1 buffers"),
        ('{"sizes": [1, 1], "conflicts": [[1, 1]]}', "conflicts[0]: found [1, 1], expected two"),
        (
            '{"sizes": [1, 1, 1, 1], "edges": [[0, 1], [1, 2], [2, 1], [2, 3]]}',
            "edges: the order has a cycle: 1 -> 2 -> 1",
        ),
        ('{"sizes": [1], "edges": [], "ids": [1]}', "ids[0]: found int '1', expected text"),
        ('{"sizes": [1, 1], "edges": [], "ids": ["a", "a"]}', "ids: found 1 different ids, expe"),
        ('{"sizes": [1], "edges": [], "alignments": [0]}', "alignments: expected none or 1, each"),
        ('{"sizes": [1], "edges": [], "pins": [[2, 0]]}', "pin (2, 0): expected a buffer index"),
        ('{"sizes": [1], "edges": [], "capacity": "1"}', "capacity: found str '1', expected a"),
    ],
)
def test_hostile_text_gets_a_named_error(text: str, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_problem(text)
    assert str(caught.value).startswith(message)


def test_too_many_buffers_for_a_matrix_are_refused() -> None:
    data: dict[str, Any] = {"sizes": [0] * 20_001, "edges": []}
    with pytest.raises(DecodeError, match=r"^sizes: found 20001 buffers, expected at most 20000"):
        decode_problem(json.dumps(data))
