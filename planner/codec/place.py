"""Values of a plan file with their places: every reading checks first."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from planner import units
from planner.codec.canonical import Json
from planner.errors import DecodeError, did_you_mean

__all__ = ["TEXT_MAX", "Place", "shown"]

TEXT_MAX: Final = 1 << 16
"""Longest text in a plan, characters."""

_E = TypeVar("_E", bound=StrEnum)


def shown(value: object) -> str:
    """Return what was found, with its type and shortened, for a message."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = units.shown(value) if isinstance(value, str | int | float | None) else ""
    return f"{type(value).__name__} {text}".rstrip()


@dataclass(frozen=True, slots=True)
class Place:
    """A value and its place in the file; every reading checks the value first."""

    value: Json
    path: str

    def wrong(self, wanted: str) -> DecodeError:
        """Return the error that says what was found here and what was expected."""
        return DecodeError(f"found {shown(self.value)}, expected {wanted}", self.path)

    def at(self, key: str, value: Json) -> "Place":
        """Return the place of a member."""
        return Place(value, f"{self.path}.{key}" if self.path else key)

    def integer(self, low: int = 0, high: int = units.BYTES_MAX) -> int:
        """Return the whole number in [low, high] that is here."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.wrong(
                f"a whole number from {low} to {'2^62' if high == units.BYTES_MAX else high}"
            )
        return self.value

    def text(self) -> str:
        """Return the text that is here, at most `TEXT_MAX` characters."""
        if type(self.value) is not str:
            raise self.wrong("text")
        if len(self.value) > TEXT_MAX:
            raise self.wrong(f"at most {TEXT_MAX} characters")
        try:
            self.value.encode()
        except UnicodeEncodeError:
            raise self.wrong("text that UTF-8 can write") from None
        return self.value

    def flag(self) -> bool:
        """Return the truth value that is here."""
        if type(self.value) is not bool:
            raise self.wrong("true or false")
        return self.value

    def one_of(self, kind: type[_E]) -> _E:
        """Return the member of `kind` that is named here."""
        choices = [choice.value for choice in kind]
        text = self.text()
        if text not in choices:
            raise self.wrong(f"one of {', '.join(choices)}{did_you_mean(text, choices)}")
        return kind(text)

    def items(self) -> "list[Place]":
        """Return the items of the list that is here."""
        if type(self.value) is not list:
            raise self.wrong("a list")
        return [Place(item, f"{self.path}[{index}]") for index, item in enumerate(self.value)]

    def entries(self) -> "list[tuple[str, Place]]":
        """Return the members of an object whose keys are free."""
        if type(self.value) is not dict:
            raise self.wrong("an object")
        return [(Place(key, self.path).text(), self.at(key, v)) for key, v in self.value.items()]

    def some_members(self, *keys: str) -> "dict[str, Place]":
        """Return the members of an object that has at least `keys`; others are for later."""
        found = dict(self.entries())
        for key in keys:
            if key not in found:
                raise DecodeError("is missing", self.at(key, None).path)
        return found

    def members(self, *keys: str, optional: tuple[str, ...] = ()) -> "dict[str, Place]":
        """Return the members of an object whose keys are fixed."""
        known = (*keys, *optional)
        for key, place in self.entries():
            if key not in known:
                message = f"unknown key, expected one of {', '.join(known)}"
                raise DecodeError(message + did_you_mean(key, known), place.path)
        return self.some_members(*keys)
