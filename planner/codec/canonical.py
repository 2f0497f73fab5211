"""JSON of plans: the canonical bytes that digests are of, the layout of files, strict parsing."""

import hashlib
import json
from typing import Any, Final, TypeAlias

from planner.errors import DecodeError, PlanError

__all__ = ["BYTES_OF_FILE_MAX", "Json", "canonical_bytes", "digest_of", "lay_out", "parse"]

Json: TypeAlias = Any
"""dict with text keys, list, str, int, float (never written), bool or None."""

BYTES_OF_FILE_MAX: Final = 256 << 20
"""Longest plan file; 5,000 instances take about 5 MiB."""
_DIGITS_MAX: Final = 20


def canonical_bytes(value: Json) -> bytes:
    """Return the canonical form: UTF-8, keys sorted by code point, no blanks, no floats.

    Raises
    ------
    PlanError
        A text holds half a surrogate pair, which UTF-8 has no bytes for.

    Examples
    --------
    >>> canonical_bytes({"b": [1, True], "a": None})
    b'{"a":null,"b":[1,true]}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _utf_8(text)


def digest_of(value: Json) -> str:
    """Return the SHA-256 of the canonical form, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def lay_out(mapping: dict[str, Json]) -> bytes:
    """Return a file's bytes: one row of a table a line, so that changes show line by line.

    Examples
    --------
    >>> print(lay_out({"rows": [{"a": 1}, {"a": 2}], "flat": {"b": [3]}}).decode(), end="")
    {
     "rows": [
      {"a": 1},
      {"a": 2}
     ],
     "flat": {"b": [3]}
    }
    """
    return _utf_8(_laid_out(mapping, "\n") + "\n")


def _laid_out(value: Json, newline: str) -> str:
    """Return JSON text with a line for each part that is or holds an object."""
    parts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(part, dict) for part in parts):
        return json.dumps(value, ensure_ascii=False)
    inner = newline + " "
    if isinstance(value, list):
        rows = f",{inner}".join(json.dumps(row, ensure_ascii=False) for row in value)
        return f"[{inner}{rows}{newline}]"
    members = f",{inner}".join(
        f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(part, inner)}"
        for key, part in value.items()
    )
    return f"{{{inner}{members}{newline}}}"


def _utf_8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        place = text[max(0, error.start - 20) : error.start + 20]
        raise PlanError(f"text {place!r} of the plan cannot be written as UTF-8") from None


def parse(data: bytes) -> tuple[Json, list[str]]:
    """Return the value of JSON bytes, and the keys that an object gives twice.

    Numbers too long for any size come back as floats, which no part of a plan accepts.

    Raises
    ------
    DecodeError
        Not JSON in UTF-8, nested too deep, or longer than `BYTES_OF_FILE_MAX`.
    """
    if len(data) > BYTES_OF_FILE_MAX:
        raise DecodeError(f"found {len(data)} bytes, expected at most {BYTES_OF_FILE_MAX}")
    twice: list[str] = []

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [key for key, _ in pairs]
            twice.extend(sorted({key for key in names if names.count(key) > 1}))
        return found

    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=members,
            parse_int=lambda text: int(text) if len(text) <= _DIGITS_MAX else float(text),
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise DecodeError(f"byte {error.start} is not UTF-8: expected a JSON file") from None
    except json.JSONDecodeError as error:
        raise DecodeError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DecodeError("nested too deep for a plan") from None
    return value, twice


def _refuse_constant(text: str) -> float:
    raise DecodeError(f"found {text}, which is no JSON")
