"""What this machine offers: interpreter, packages, devices, and why a device is not there."""

import os
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from arena.device import DEVICES, open_device
from arena.device.acl import AclDevice
from arena.errors import DeviceError
from planner.errors import ArenaError
from planner.units import format_bytes

__all__ = ["ascend_software", "diagnose", "wanted_packages"]

DISTRIBUTION = "npu-arena"
USERS_EXTRA = "all"
"""The extra that has all the others of users; what else there is serves work on this software."""

CANN_HOMES = ("cann", "ascend-toolkit/latest", "nnrt/latest", "nnae/latest")
"""Where CANN lies below the vendor's folder: from 8.5 on, before, and its smaller packages [1]_.

.. [1] CANN 8.0.0 and 8.5.0, software installation guide, "File Paths" (instg_0044).
"""
CANN_INFOS = ("*-linux/ascend_*_install.info", "ascend_*_install.info", "*/version.info")
"""The files there that tell a version."""


def diagnose() -> dict[str, Any]:
    """Return facts about this machine as a JSON mapping; opens each device for a moment."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "executable": sys.executable,
        "packages": [
            _package(name, extra)
            for name, extra in [(DISTRIBUTION, None), *wanted_packages(_requirements())]
        ],
        "ascend": ascend_software(),
        "devices": [_device(name) for name in DEVICES],
    }


def _requirements() -> list[str]:
    """Return what this software requires, as its metadata says, or the checkout that it runs in."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        try:
            text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
        except OSError:
            return []  # Copied to a board, which needs none of it.
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    return [
        *project["dependencies"],
        *(f'{wanted}; extra == "{extra}"' for extra in extras for wanted in extras[extra]),
    ]


def wanted_packages(requirements: Iterable[str]) -> list[tuple[str, str | None]]:
    """Return the packages that a user may want, each with its extra; None: wanted by all.

    Parameters
    ----------
    requirements : iterable of str
        As the metadata of a package has them. Extras that name other extras may be written out, as
        some builders do: a package is then of several, and the smallest of them is told.

    Examples
    --------
    >>> wanted_packages(
    ...     [
    ...         "numpy>=1.26",
    ...         "onnx>=1.17; extra == 'cpu'",
    ...         "ruff; extra == 'test'",
    ...         "npu-arena[cpu]; extra == 'all'",
    ...     ]
    ... )
    [('numpy', None), ('onnx', 'cpu')]
    """
    packages: dict[str, set[str]] = {}
    parts: dict[str, set[str]] = {}
    names: dict[str, bool] = {}
    for text in requirements:
        named = re.match(r"([\w.-]+)\s*(?:\[([^]]*)\])?", text)
        assert named is not None, f"{text!r} names a package"
        extra = re.search(r"extra == ['\"]([\w-]+)", text)
        if extra is None:
            names[named[1]] = True
        elif named[1] == DISTRIBUTION:
            parts.setdefault(extra[1], set()).update(re.findall(r"[\w-]+", named[2] or ""))
        else:
            packages.setdefault(extra[1], set()).add(named[1])
            names.setdefault(named[1], False)

    def brought_by(extra: str) -> set[str]:
        return packages.get(extra, set()).union(*map(brought_by, parts.get(extra, ())))

    brought = {extra: brought_by(extra) for extra in sorted({*packages, *parts})}
    found: list[tuple[str, str | None]] = []
    for name, is_for_all in names.items():
        if is_for_all:
            found.append((name, None))
        elif name in brought.get(USERS_EXTRA, ()):
            owners = (extra for extra, members in brought.items() if name in members)
            # `all` may be as small as the one extra in it.
            rank = {extra: (extra == USERS_EXTRA, len(brought[extra])) for extra in owners}
            found.append((name, min(rank, key=rank.__getitem__)))
    return found


def _package(name: str, extra: str | None) -> dict[str, str | None]:
    """Return a package's row, named as it names itself where it is installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return {"package": name, "extra": extra, "version": None}
    return {"package": found.name, "extra": extra, "version": found.version}


def _device(name: str) -> dict[str, Any]:
    try:
        device = open_device(name)
        try:
            memory = device.memory_info()
            properties = device.properties() if isinstance(device, AclDevice) else {}
        finally:
            device.close()
    except (ArenaError, DeviceError) as error:
        return {"device": name, "available": False, "detail": str(error)}
    return {
        "device": name,
        "available": True,
        "detail": f"{format_bytes(memory.free_bytes)} free of {format_bytes(memory.total_bytes)}",
        "free_bytes": memory.free_bytes,
        "total_bytes": memory.total_bytes,
        **properties,
    }


def ascend_software(
    root: Path = Path("/usr/local/Ascend"),
    environment: Mapping[str, str] = os.environ,
    devices: Path = Path("/dev"),
) -> dict[str, Any]:
    """Return which of the vendor's software and device files are here.

    Parameters
    ----------
    root : Path
        Where the vendor installs by default.
    environment : mapping of str to str
        ``ASCEND_HOME_PATH`` and ``ASCEND_TOOLKIT_HOME`` name other places, as the vendor's
        set_env.sh sets them; ``ASCEND_RT_VISIBLE_DEVICES`` narrows devices.
    devices : Path
        Folder of device files.

    Returns
    -------
    dict
        ``cann_version`` and ``driver_version`` (None: not found), ``device_files`` (names),
        ``visible`` (None: no limit is set), and ``missing``: what to do about what is not there.
    """
    named = (environment.get(name) for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"))
    homes = [*map(Path, filter(None, named)), *(root / home for home in CANN_HOMES)]
    infos = [info for home in homes for part in CANN_INFOS for info in sorted(home.glob(part))]
    cann = next(filter(None, map(_version_in, infos)), None)
    driver = _version_in(root / "driver" / "version.info")
    files = sorted(path.name for path in devices.glob("davinci[0-9]*"))
    missing = []
    if not files:
        missing.append("no device files davinci*: no NPU, or not passed into this container")
    if driver is None:
        missing.append(f"no driver in {root / 'driver'}: install the NPU driver, or mount it")
    if cann is None:
        missing.append("no CANN: install it and source its set_env.sh")
    return {
        "cann_version": cann,
        "driver_version": driver,
        "device_files": files,
        "visible": environment.get("ASCEND_RT_VISIBLE_DEVICES"),
        "missing": missing,
    }


def _version_in(path: Path) -> str | None:
    """Return the version that one of the vendor's info files tells; None: no such file or line."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*version\s*=\s*(\S+)", text, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else None
