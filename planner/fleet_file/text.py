"""Text -> plain values: YAML by libyaml's events, JSON by the standard library, both with limits.

YAML is read by the core schema of its version 1.2, in which `off`, `no` and `on` are text: with
version 1.1, as PyYAML's loaders read it, `dedupe: off` would be the truth value false. Building the
values here, event by event, also refuses what those loaders accept: keys given twice, documents
that explode by their aliases, and nesting so deep that the C loader overflows its stack.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import yaml

from planner.errors import SpecError

__all__ = ["DEPTH_MAX", "NODES_MAX", "TEXT_BYTES_MAX", "parse_text"]

TEXT_BYTES_MAX: Final = 4 << 20
"""Longest fleet file; one of 5,000 steps takes a tenth."""
NODES_MAX: Final = 500_000
"""Most values, counting what an alias stands for each time it is used."""
DEPTH_MAX: Final = 32
"""Deepest nesting; a fleet file needs 6."""

_Plain: TypeAlias = Any
"""dict with text keys, list, str, int, float, bool or None."""
_Node: TypeAlias = Any
"""An event that begins a value: alias, scalar, sequence or mapping; yaml's types lack fields."""

# YAML 1.2.2, section 10.3.2 (core schema). What reads as a number in some other way stays text:
# leading zeros, and more digits than any size has.
_CORE: Final = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,18})"), int),
    (re.compile(r"0x[0-9a-fA-F]{1,16}"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]{1,19}|[0-9]{1,19}\.[0-9]{0,19})([eE][-+]?[0-9]{1,3})?"), float),
    (re.compile(r"[-+]?[0-9]{1,19}[eE][-+]?[0-9]{1,3}"), float),
)

_TEMPLATE: Final = re.compile(r"(?<![\"'\w.{-])[\w.-]*\{\w+\}[\w.-]*")
"""A name with a placeholder, as it stands in a file without quotes."""


def parse_text(text: str | bytes) -> _Plain:
    """Return the value of a YAML or JSON document.

    Parameters
    ----------
    text : str or bytes
        One document of at most `TEXT_BYTES_MAX` bytes; bytes are UTF-8.

    Raises
    ------
    SpecError
        Not UTF-8, neither YAML nor JSON, a key given twice, or beyond a limit. Nothing else,
        whatever the text.

    Examples
    --------
    >>> parse_text("dedupe: off"), parse_text('{"memory": 4096}')
    ({'dedupe': 'off'}, {'memory': 4096})
    """
    if len(text) > TEXT_BYTES_MAX:
        raise SpecError(f"found {len(text)} bytes, expected a file of at most {TEXT_BYTES_MAX}")
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        text.encode()  # libyaml cannot take half a surrogate pair
    except UnicodeError as error:
        raise SpecError(f"expected UTF-8 text: {error}") from None
    if text.lstrip()[:1] == "{":
        try:
            return _parse_json(text)
        except json.JSONDecodeError:
            pass  # YAML's flow style begins with a brace, too
    return _parse_yaml(text)


class _Pairs(list[tuple[str, _Plain]]):
    """Members of a JSON object as written, keys given twice included."""


def _parse_json(text: str) -> _Plain:
    try:
        data = json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_json_int, parse_constant=_json_constant
        )
    except RecursionError:
        raise SpecError(f"nested deeper than {DEPTH_MAX} levels") from None
    return _plain(data, "", 0)


def _json_int(text: str) -> int:
    if len(text) > 20:
        raise SpecError(f"found a number of {len(text)} digits, expected at most 2^62")
    return int(text)


def _json_constant(text: str) -> float:
    raise SpecError(f"found {text}, which is no JSON")


def _plain(value: _Plain, path: str, depth: int) -> _Plain:
    if depth > DEPTH_MAX:
        raise SpecError(f"nested deeper than {DEPTH_MAX} levels", path)
    if isinstance(value, _Pairs):
        members: dict[str, _Plain] = {}
        for key, member in value:
            if key in members:
                raise SpecError("is given twice", _join(path, key))
            members[key] = _plain(member, _join(path, key), depth + 1)
        return members
    if isinstance(value, list):
        return [_plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    return value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _parse_yaml(text: str) -> _Plain:
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        return _Builder(yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        found = error.problem or error.context
        way_out = _unquoted(text, mark.line, mark.column) if mark else ""
        raise SpecError(f"{place}{found}, expected YAML or JSON{way_out}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{' '.join(str(error).split())}, expected YAML or JSON") from None


def _unquoted(text: str, line: int, column: int) -> str:
    """Return the way out where the parser stumbled over a name such as ``cam-{channel}``."""
    # As YAML counts lines; a parser that stands behind the last one stumbled over its end.
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
    for name in _TEMPLATE.finditer(lines[line] if line < len(lines) else ""):
        if name.start() <= column <= name.end():
            return f'; a name with braces wants quotes: quote it, "{name[0]}"'
    return ""


class _Builder:
    """Builds the value of one document from its events."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._nodes = 0
        self._deepest = 0
        self._anchors: dict[str, tuple[_Plain, int, int]] = {}  # value, its nodes, its height

    def document(self) -> _Plain:
        """Return the value of the only document; None of an empty text."""
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), "", 0)
        next(self._events)  # the end of the document
        second = next(self._events)
        if not isinstance(second, yaml.StreamEndEvent):
            raise SpecError(f"found a second document{_line(second)}, expected one")
        return value

    def _value(self, event: _Node, path: str, depth: int) -> _Plain:
        before, nodes = self._deepest, self._nodes
        self._count(event, path, depth, nodes=1)
        self._deepest = depth
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event, path, depth)
        elif event.tag not in (None, "!"):
            raise SpecError(f"found the tag {event.tag!r}{_line(event)}, expected no tags", path)
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = (value, self._nodes - nodes, self._deepest - depth)
        self._deepest = max(before, self._deepest)
        return value

    def _alias(self, event: yaml.AliasEvent, path: str, depth: int) -> _Plain:
        if event.anchor not in self._anchors:
            raise SpecError(f"found the unknown alias *{event.anchor}{_line(event)}", path)
        value, nodes, height = self._anchors[event.anchor]
        self._count(event, path, depth + height, nodes)
        self._deepest = depth + height
        return value

    def _count(self, event: _Node, path: str, depth: int, nodes: int) -> None:
        self._nodes += nodes
        if depth > DEPTH_MAX:
            raise SpecError(f"nested deeper than {DEPTH_MAX} levels{_line(event)}", path)
        if self._nodes > NODES_MAX:
            raise SpecError(f"found more than {NODES_MAX} values{_line(event)}", path)

    def _sequence(self, path: str, depth: int) -> list[_Plain]:
        items: list[_Plain] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{path}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, _Plain]:
        members: dict[str, _Plain] = {}
        merged: list[_Plain] | None = None
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise SpecError(f"found a key that is no text{_line(event)}", path)
            key: str = event.value
            member = self._value(next(self._events), _join(path, key), depth + 1)
            is_merge = key == "<<" and event.implicit[0]
            if key in members or (is_merge and merged is not None):
                raise SpecError(f"is given twice{_line(event)}", _join(path, key))
            if is_merge:
                merged = member if isinstance(member, list) else [member]
            else:
                members[key] = member
        for source in merged or ():
            if not isinstance(source, dict):
                raise SpecError(
                    "expected a mapping, or a list of them, to merge", _join(path, "<<")
                )
            for key, member in source.items():
                members.setdefault(key, member)
        return members


def _scalar(event: yaml.ScalarEvent) -> _Plain:
    if event.implicit[0] and event.tag is None:  # plain style
        for pattern, convert in _CORE:
            if pattern.fullmatch(event.value):
                return convert(event.value)
    return event.value


def _line(event: _Node) -> str:
    return f" (line {event.start_mark.line + 1})"
