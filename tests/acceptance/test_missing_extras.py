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

from arena.cli import execute
from arena.cli.app import app
from tests.fleets import write_fleet

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

ONNX_FLEET: Final = """\
version: 1
models: {net: {file: net.onnx}}
pipelines: {p: {steps: {s: {model: net}}}}
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
    """Fleets of .om files and of a network, a plan of each, and an instance."""
    from tests.networks import convolutions, saved

    folder = tmp_path_factory.mktemp("extras")
    (folder / "corner").symlink_to(write_fleet(folder / "street").parent)
    saved(convolutions(), folder, "net")
    (folder / "net.yaml").write_text(ONNX_FLEET)
    (folder / "raw.csv").write_text("id,lower,upper,size\na,0,2,4\nb,1,3,4\n")
    assert execute(["plan", str(folder / "street/fleet.yaml"), "-o", str(folder / "p.json")]) == 0
    assert execute(["plan", str(folder / "net.yaml"), "-o", str(folder / "n.json")]) == 0
    return folder


WORDS: Final[dict[str, list[list[str]]]] = {
    "inspect": [["street/models/det.om"], ["net.onnx"]],
    "advise": [["street/models/det.om"], ["net.onnx", "-o", "start.yaml"]],
    "plan": [["street/fleet.yaml"], ["street/fleet.yaml", "--fit", "1MiB"], ["net.yaml"]],
    "check": [["p.json"], ["n.json", "--against", "."]],
    "frontier": [["street/fleet.yaml", "--points", "3"], ["net.yaml"]],
    "run": [
        ["street/fleet.yaml", "--frames", "1"],
        ["street/fleet.yaml", "--frames", "1", "--metrics", "0"],
        ["net.yaml", "--frames", "1"],
        ["n.json", "--device", "twin", "--frames", "1"],
    ],
    "verify": [["net.yaml"]],
    "solve": [["raw.csv", "--seconds", "1"]],
    "time": [["street/fleet.yaml", "--repeats", "1"], ["net.yaml", "--repeats", "1"]],
    "report": [["p.json", "--html", "p.html"], ["net.yaml"]],
    "diff": [["p.json", "street/fleet.yaml"], ["n.json", "net.yaml"]],
    "export": [["p.json", "--csv"]],
    "devices": [[]],
    "schema": [[]],
    "doctor": [[]],
    "demo": [[]],
    "compile": [["net.onnx", "-o", "net.arena"]],
}


def _outcomes(
    folder: Path, hidden: list[str], cache: Path | None
) -> list[tuple[list[str], int, str]]:
    """Run every command without some modules and without network; return its code and words."""
    commands = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    lines = [[command, *rest] for command in commands for rest in WORDS[command]]
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
