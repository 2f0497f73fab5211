"""Where a mapping departs from the fleet file's types, what was found and what was expected.

msgspec refuses such a mapping, but its place does not tell the keys of mappings, and its message
not the value. So the mapping is compared with the types once more, with the keys in hand.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.inspect import (
    DictType,
    EnumType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from planner import units
from planner.errors import SpecError, did_you_mean

__all__ = ["find_fault", "shown"]


def find_fault(value: object, section: type) -> SpecError | None:
    """Return the first fault of `value` against a section's type; None where there is none."""
    return _fault(value, type_info(section), "")


def shown(value: object) -> str:
    """Return what was found, with its type and shortened, for a message."""
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    kind = "text" if isinstance(value, str) else type(value).__name__
    return f"{kind} {units.shown(value)}"


def _fault(value: object, kind: Type, path: str) -> SpecError | None:
    match _bare(kind):
        case StructType() as section if isinstance(value, Mapping):
            return _section_fault(value, section, path)
        case DictType() as entries if isinstance(value, Mapping):
            return _entries_fault(value, entries, path)
        case ListType() as items if isinstance(value, list | tuple):
            faults = (_fault(v, items.item_type, f"{path}[{i}]") for i, v in enumerate(value))
            return next(filter(None, faults), None)
        case UnionType() as union:
            return _union_fault(value, union, path)
        case leaf:
            if _fits(value, leaf):
                return None
            near = did_you_mean(value, _choices(leaf)) if isinstance(value, str) else ""
            return SpecError(f"found {shown(value)}, expected {_wanted(kind)}{near}", path)


def _section_fault(value: Mapping[Any, Any], kind: StructType, path: str) -> SpecError | None:
    fields = {field.name: field for field in kind.fields}
    for key in value:
        if key not in fields:
            names = ", ".join(fields)
            near = did_you_mean(str(key), fields)
            return SpecError(f"unknown key, expected one of {names}{near}", _join(path, key))
    for name, field in fields.items():
        if name not in value:
            if field.required:
                return SpecError(f"is missing, expected {_wanted(field.type)}", _join(path, name))
        elif fault := _fault(value[name], field.type, _join(path, name)):
            return fault
    return None


def _entries_fault(value: Mapping[Any, Any], kind: DictType, path: str) -> SpecError | None:
    for key, member in value.items():
        if not isinstance(key, str):
            return SpecError(f"found {shown(key)} as a name, expected text", path)
        if fault := _fault(member, kind.value_type, _join(path, key)):
            return fault
    return None


def _union_fault(value: object, kind: UnionType, path: str) -> SpecError | None:
    faults = [(choice, _fault(value, choice, path)) for choice in kind.types]
    if any(fault is None for _, fault in faults):
        return None
    for choice, fault in faults:
        match _bare(choice):
            case DictType() | StructType() if isinstance(value, Mapping):
                return fault
            case ListType() if isinstance(value, list | tuple):
                return fault
    return SpecError(f"found {shown(value)}, expected {_wanted(kind)}", path)


def _fits(value: object, kind: Type) -> bool:
    match kind:
        case IntType():
            low, high = _ends(kind)
            return type(value) is int and low <= value <= high
        case StrType():
            return isinstance(value, str)
        case LiteralType(values=values):
            return type(value) is int and value in values
    return isinstance(value, str) and value in _choices(kind)


def _ends(kind: IntType) -> tuple[int, int]:
    assert kind.ge is not None, "every number of the format has both ends"
    assert kind.le is not None, "every number of the format has both ends"
    return kind.ge, kind.le


def _choices(kind: Type) -> tuple[str, ...]:
    return tuple(str(choice.value) for choice in kind.cls) if isinstance(kind, EnumType) else ()


def _wanted(kind: Type) -> str:
    """Return the words for what is expected."""
    examples = _examples(kind)
    match _bare(kind):
        case IntType() as number:
            low, high = _ends(number)
            return f"a whole number from {low} to {'2^62' if high == units.BYTES_MAX else high}"
        case StrType():
            return f"text such as {examples[0]}" if examples else "text"
        case LiteralType(values=values):
            return " or ".join(map(str, values))
        case EnumType() as choice:
            return f"one of {', '.join(_choices(choice))}"
        case ListType(item_type=item) if isinstance(_bare(item), StrType):
            return "a list of names such as [detect, read]"
        case ListType(item_type=item) if isinstance(_bare(item), ListType):
            return "a list of shapes such as [[1, 3], [8, 3]]"
        case ListType():
            return "a list of whole numbers"
        case UnionType(types=types):
            return " or ".join(map(_wanted, types))
    return "a mapping"


def _examples(kind: Type) -> list[str]:
    """Return the examples of a type, whichever of its descriptions has them."""
    found: list[str] = []
    while isinstance(kind, Metadata):
        found = found or (kind.extra_json_schema or {}).get("examples", [])
        kind = kind.type
    return found


def _bare(kind: Type) -> Type:
    while isinstance(kind, Metadata):
        kind = kind.type
    return kind


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
