"""Text of a raw offset problem -> `Problem`: CSV of live ranges, or JSON of conflicts or an order.

    id,lower,upper,size      {"sizes": [4, 2], "edges": [[0, 1]]}       conflict unless one
    b1,0,3,4                                                            precedes the other
    b2,3,9,4                 {"sizes": [4, 2], "conflicts": [[0, 1]]}   conflict as listed

Nothing of a fleet belongs here (`fleet_file`), and no file is opened here (`arena.files`).
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.errors import DecodeError, SpecError
from planner.problem import Problem
from planner.units import BYTES_MAX

__all__ = ["BUFFERS_MAX", "ProblemFile", "decode_problem"]

BUFFERS_MAX: Final = 20_000
"""Buffers of a JSON problem: its conflict matrix has their square in bits."""

_COLUMNS: Final = ("id", "lower", "upper", "size")
_KEYS: Final = ("sizes", "edges", "conflicts", "ids", "alignments", "pins", "blocks", "capacity")


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """A problem and what its text said beyond it.

    Attributes
    ----------
    problem : Problem
    ids : tuple of str, length n
        The name of each buffer, in input order.
    order : tuple of (int, int), or None
        The pairs (first, second) of the order that the conflicts come from: an acyclic graph whose
        heaviest antichain bounds the height. None where conflicts were given otherwise.
    """

    problem: Problem
    ids: tuple[str, ...]
    order: tuple[tuple[int, int], ...] | None = None


def decode_problem(text: str) -> ProblemFile:
    r"""Return the problem in `text`: JSON if it starts with a brace, else CSV.

    Parameters
    ----------
    text : str
        CSV: a header ``id,lower,upper,size`` and one row a buffer; half-open live ranges in any
        unit of time, sizes in bytes. JSON: an object with ``sizes`` (bytes) and either ``edges``
        (pairs [first, second] of indices: first precedes second; buffers conflict unless one
        precedes the other, however indirectly) or ``conflicts`` (unordered pairs); optionally
        ``ids``, ``alignments`` (bytes, one a buffer), ``pins`` ([index, offset]), ``blocks`` and
        ``capacity`` (bytes).

    Raises
    ------
    DecodeError
        With the place: ``line 3`` or ``edges[4]``.

    Examples
    --------
    >>> decode_problem("id,lower,upper,size\na,0,3,4\nb,3,9,4\n").problem.lifetimes
    ((0, 3), (3, 9))
    >>> decode_problem('{"sizes": [4, 2, 3], "edges": [[0, 1]]}').problem.conflict_masks
    (4, 4, 3)
    """
    return _decode_json(text) if text.lstrip().startswith("{") else _decode_csv(text)


def _decode_csv(text: str) -> ProblemFile:
    reader = csv.reader(io.StringIO(text), strict=True)
    ids: dict[str, int] = {}
    sizes: list[int] = []
    lifetimes: list[tuple[int, int]] = []
    header: list[str] | None = None
    try:
        for row in reader:
            place = f"line {reader.line_num}"
            if not row:
                continue
            if header is None:
                header = [cell.strip() for cell in row]
                if sorted(header) != sorted(_COLUMNS):
                    raise DecodeError(f"found columns {header}, expected {list(_COLUMNS)}", place)
                continue
            if len(row) != len(header):
                raise DecodeError(f"found {len(row)} cells, expected {len(header)}", place)
            cells = dict(zip(header, row, strict=True))
            name = cells["id"].strip()
            if name in ids:
                raise DecodeError(f"id {name!r} was used before", place)
            ids[name] = len(ids)
            lower, upper = (_int_cell(cells, column, place) for column in ("lower", "upper"))
            if lower > upper:
                raise DecodeError(f"found [{lower}, {upper}), expected lower <= upper", place)
            lifetimes.append((lower, upper))
            sizes.append(_size(_int_cell(cells, "size", place), f"{place}, column size"))
    except csv.Error as error:
        raise DecodeError(f"not CSV: {error}", f"line {reader.line_num}") from None
    if header is None:
        raise DecodeError(f"found no header, expected {','.join(_COLUMNS)} or a JSON object")
    return ProblemFile(_problem(tuple(sizes), lifetimes=tuple(lifetimes)), tuple(ids))


def _int_cell(cells: Mapping[str, str], column: str, place: str) -> int:
    try:
        return int(cells[column])
    except ValueError:
        found = cells[column][:40]
        raise DecodeError(
            f"found {found!r}, expected a whole number", f"{place}, column {column}"
        ) from None


def _decode_json(text: str) -> ProblemFile:
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from None
    for key in data:
        if key not in _KEYS:
            raise DecodeError(f"unknown key; expected some of {', '.join(_KEYS)}", key)
    if ("edges" in data) == ("conflicts" in data):
        raise DecodeError("expected exactly one of 'edges' and 'conflicts'")
    found = _list(data, "sizes")
    n = len(found)
    if n > BUFFERS_MAX:
        raise DecodeError(f"found {n} buffers, expected at most {BUFFERS_MAX}", "sizes")
    sizes = tuple(_size(_whole(s, f"sizes[{k}]"), f"sizes[{k}]") for k, s in enumerate(found))
    order = None
    if "edges" in data:
        order = tuple(_pairs(data, "edges", n))
        masks = _incomparable(order, n)
    else:
        masks = [0] * n
        for i, j in _pairs(data, "conflicts", n):
            masks[i] |= 1 << j
            masks[j] |= 1 << i
    rules: dict[str, Any] = {}
    for key in ("alignments", "blocks"):
        if key in data:
            rules[key] = tuple(
                _whole(value, f"{key}[{k}]") for k, value in enumerate(_list(data, key))
            )
    if "pins" in data:
        rules["pins"] = tuple(
            _pair(value, f"pins[{k}]") for k, value in enumerate(_list(data, "pins"))
        )
    if data.get("capacity") is not None:
        rules["capacity_bytes"] = _whole(data["capacity"], "capacity")
    problem = _problem(sizes, conflict_masks=tuple(masks), **rules)
    return ProblemFile(problem, _ids(data, n), order)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DecodeError("key occurs twice", key)
        found[key] = value
    return found


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise DecodeError(f"found {_kind(value)}, expected a list", key)
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


def _whole(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError(f"found {_kind(value)}, expected a whole number", place)
    return value


def _size(value: int, place: str) -> int:
    if not 0 <= value <= BYTES_MAX:
        raise DecodeError(f"found {value}, expected a size of 0 to 2^62 bytes", place)
    return value


def _pair(value: object, place: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise DecodeError(f"found {_kind(value)}, expected a pair of numbers", place)
    return _whole(value[0], f"{place}[0]"), _whole(value[1], f"{place}[1]")


def _pairs(data: Mapping[str, Any], key: str, n: int) -> list[tuple[int, int]]:
    pairs = []
    for k, value in enumerate(_list(data, key)):
        i, j = _pair(value, f"{key}[{k}]")
        if not (0 <= i < n and 0 <= j < n) or i == j:
            raise DecodeError(f"found [{i}, {j}], expected two of {n} buffers", f"{key}[{k}]")
        pairs.append((i, j))
    return pairs


def _ids(data: Mapping[str, Any], n: int) -> tuple[str, ...]:
    if "ids" not in data:
        return tuple(map(str, range(n)))
    ids = _list(data, "ids")
    for k, name in enumerate(ids):
        if not isinstance(name, str):
            raise DecodeError(f"found {_kind(name)}, expected text", f"ids[{k}]")
    if len(ids) != n or len(set(ids)) != n:
        raise DecodeError(f"found {len(set(ids))} different ids, expected {n}", "ids")
    return tuple(ids)


def _incomparable(order: Sequence[tuple[int, int]], n: int) -> list[int]:
    """Return for each buffer the mask of those that neither precede nor follow it."""
    followers: list[list[int]] = [[] for _ in range(n)]
    waits = [0] * n
    for i, j in order:
        followers[i].append(j)
        waits[j] += 1
    ready = [i for i in range(n) if not waits[i]]
    before = [0] * n
    for i in ready:  # grows while it is walked
        for j in followers[i]:
            before[j] |= before[i] | 1 << i
            waits[j] -= 1
            if not waits[j]:
                ready.append(j)
    if len(ready) < n:
        # Whoever still waits, waits for one that still waits: walking back must repeat.
        waiting = {i for i in range(n) if waits[i]}
        back = {j: i for i, j in order if i in waiting}
        walk = [min(waiting)]
        while walk[-1] not in walk[:-1]:
            walk.append(back[walk[-1]])
        cycle = walk[walk.index(walk[-1]) :][::-1]
        raise DecodeError(f"the order has a cycle: {' -> '.join(map(str, cycle))}", "edges")
    after = [0] * n
    for i in reversed(ready):
        for j in followers[i]:
            after[i] |= after[j] | 1 << j
    everyone = (1 << n) - 1
    return [everyone & ~(before[i] | after[i] | 1 << i) for i in range(n)]


def _problem(sizes: tuple[int, ...], **parts: Any) -> Problem:
    try:
        return Problem(sizes, **parts)
    except SpecError as error:
        raise DecodeError(str(error)) from None
