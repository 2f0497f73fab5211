"""The catalogue of device models: shipped with the package, extended by a file of the user's."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from arena.files import read_text
from planner.capacity import DeviceModel
from planner.errors import DecodeError, SpecError, UsageError, did_you_mean
from planner.units import MiB

__all__ = ["CATALOGUE_VARIABLE", "device_catalogue", "device_model", "parse_catalogue"]

CATALOGUE_VARIABLE: Final = "NPU_ARENA_DEVICES"
"""Environment variable that names a catalogue file of the user's."""
_VERSION: Final = 1
_SIZES: Final = ("nominal", "total", "idle")
_TEXTS: Final = ("source", "note")
_KEYS: Final = {*_SIZES, *_TEXTS, "products"}
_MIB_MAX: Final = 1 << 42


def device_catalogue() -> tuple[DeviceModel, ...]:
    """Return the shipped devices, and those of the file that `NPU_ARENA_DEVICES` names.

    An entry of the user's replaces the shipped one of the same name.

    Raises
    ------
    DecodeError
        The user's file is missing or not of the form of the shipped one; says where.
    """
    shipped = (files("arena") / "devices.yaml").read_text(encoding="utf-8")
    known = {device.name: device for device in parse_catalogue(shipped, "devices.yaml")}
    if own := os.environ.get(CATALOGUE_VARIABLE):
        known |= {device.name: device for device in parse_catalogue(read_text(Path(own)), own)}
    return tuple(known.values())


def device_model(name: str) -> DeviceModel:
    """Return a device of the catalogue by its name, upper and lower case alike.

    Raises
    ------
    UsageError
        There is none of that name. Caused by the caller.
    """
    devices = {device.name.lower(): device for device in device_catalogue()}
    if name.lower() not in devices:
        names = [device.name for device in devices.values()]
        raise UsageError(
            f"unknown device model {name[:80]!r}; `arena devices` lists {len(names)}"
            f"{did_you_mean(name, names)}"
        )
    return devices[name.lower()]


def parse_catalogue(text: str, where: str) -> tuple[DeviceModel, ...]:
    """Return the devices of a catalogue's text, YAML or JSON; sizes in it are MiB.

    Raises
    ------
    DecodeError
        Not a catalogue; the message names the place.

    Examples
    --------
    >>> text = "{version: 1, devices: {X1: {total: 2048, idle: 48, source: measured}}}"
    >>> parse_catalogue(text, "own.yaml")[0].usable_bytes // MiB
    2000
    """
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DecodeError(f"is not YAML: {first}", where) from None
    head = value if isinstance(value, dict) else {}
    if head.get("version") != _VERSION or not isinstance(head.get("devices"), dict):
        raise DecodeError("expected `version: 1` and a mapping `devices`", where)
    return tuple(_device(name, entry, where) for name, entry in head["devices"].items())


def _device(name: object, entry: object, where: str) -> DeviceModel:
    place = f"{where}: devices.{str(name)[:80]}"
    if not isinstance(name, str) or not name.isprintable() or not isinstance(entry, dict):
        raise DecodeError("expected a printable name and a mapping", place)
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        near = did_you_mean(str(unknown[0]), _KEYS)
        raise DecodeError(f"unknown key {str(unknown[0])[:80]!r}{near}", place)
    total = _size(entry, "total", place)
    try:
        return DeviceModel(
            name=name,
            products=_products(entry, place),
            nominal_bytes=_size(entry, "nominal", place, default=total),
            total_bytes=total,
            idle_bytes=_size(entry, "idle", place),
            source=_text(entry, "source", place),
            note=_text(entry, "note", place, default=""),
        )
    except SpecError as error:
        raise DecodeError(str(error), place) from None


def _size(entry: Mapping[object, object], key: str, place: str, default: int | None = None) -> int:
    """Return a size in bytes; the file counts MiB."""
    value = entry.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MIB_MAX:
        raise DecodeError("expected a whole number of MiB, 0 to 2^42", f"{place}.{key}")
    return value * MiB


def _text(entry: Mapping[object, object], key: str, place: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        raise DecodeError("expected text", f"{place}.{key}")
    return value


def _products(entry: Mapping[object, object], place: str) -> tuple[str, ...]:
    value = entry.get("products", [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DecodeError("expected a list of texts", f"{place}.products")
    return tuple(value)
