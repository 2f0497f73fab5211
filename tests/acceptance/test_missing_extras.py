"""Without a package of an extra each command does its work, or names the extra to install."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.every_command import WORDS, commands, write_inputs

ROOT: Final = Path(__file__).resolve().parents[2]
EXTRAS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
OF_USERS: Final = ("cpu", "demo", "solve", "metrics")
"""The extras of `all`; the others are for work on this software."""

PROGRAM: Final = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder

hidden = set(json.loads(sys.argv[1]))


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
from arena.cli import execute

found = []
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = execute(words)
    found.append([words, code, err.getvalue()])
print(json.dumps(found))
"""


def _extras() -> dict[str, list[str]]:
    """Return the packages that each extra brings by itself."""
    found = {}
    for extra in OF_USERS:
        names = [Requirement(text).name for text in EXTRAS[extra]]
        found[extra] = [name for name in names if name != "npu-arena"]
    return found


def _modules(package: str) -> list[str]:
    """Return the modules that a package brings."""
    wanted = canonicalize_name(package)
    found = packages_distributions().items()
    return [module for module, owners in found if wanted in map(canonicalize_name, owners)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands are given."""
    return write_inputs(tmp_path_factory.mktemp("extras"))


def _outcomes(
    folder: Path, hidden: list[str], cache: Path | None
) -> list[tuple[list[str], int, str]]:
    """Run every command without some modules and without network; return its code and words."""
    lines = [[command, *rest] for command in commands() for rest in WORDS[command]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIP_NO_INDEX": "1"}
    environment.pop("ARENA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(hidden), json.dumps(lines)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment if cache is None else {**environment, "ARENA_CACHE_DIR": str(cache)},
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return [(words, code, err) for words, code, err in found]


@pytest.mark.parametrize(
    ("extra", "packages"),
    [
        *((extra, [package]) for extra, packages in _extras().items() for package in packages),
        ("all", [package for packages in _extras().values() for package in packages]),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value)[:20],
)
def test_no_command_fails_without_naming_what_to_install(
    extra: str, packages: list[str], folder: Path, tmp_path: Path
) -> None:
    hidden = [module for package in packages for module in _modules(package)]
    assert hidden, f"{packages} bring no module"
    (folder / "start.yaml").unlink(missing_ok=True)
    # The cache is empty, since what is there already needs less; the user's own is never made.
    cache = None if "platformdirs" in packages else tmp_path
    failed = []
    for words, code, err in _outcomes(folder, hidden, cache):
        if code in (0, 1):
            continue
        assert code in (2, 3), (words, code, err)
        line = err.strip().splitlines()[-1]
        if words == ["demo"] and "cannot be fetched" in line:
            continue  # All that it needs until then is there.
        wanted = OF_USERS if extra == "all" else (extra,)
        assert any(f"pip install 'npu-arena[{name}]'" in line for name in wanted), (words, line)
        failed.append(words[0])
    assert bool(failed) == (extra != "solve"), "what is missing must have been missed"
    if extra in ("demo", "all"):
        assert "demo" in failed
