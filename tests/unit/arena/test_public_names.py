"""What `arena` exports: cheap until it is used, and as docs/library.md tells it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import arena
import arena.errors
import planner.errors

ROOT = Path(__file__).resolve().parents[3]


def _errors() -> dict[str, type[planner.errors.ArenaError]]:
    """Return every error class of both packages."""
    found = [planner.errors.ArenaError]
    for error in found:
        found += [kind for kind in error.__subclasses__() if kind.__module__ == "arena.errors"]
        found += [kind for kind in error.__subclasses__() if kind.__module__ == "planner.errors"]
    return {kind.__name__: kind for kind in found}


def test_every_public_name_is_there() -> None:
    for name in arena.__all__:
        assert getattr(arena, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        arena.absent  # noqa: B018 (looked up for the error)


def test_every_error_is_exported() -> None:
    assert {*_errors()} <= {*arena.__all__}
    assert all(getattr(arena, name) is kind for name, kind in _errors().items())


def test_errors_cost_no_other_room() -> None:
    program = (
        "import sys, arena\n"
        "assert not [name for name in sys.modules if name.startswith(('arena.', 'planner'))]\n"
        "assert issubclass(arena.LoadError, arena.ArenaError)\n"
        "print(*sorted(name for name in sys.modules if name.startswith(('arena.', 'planner'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["arena.errors", "planner", "planner.errors"]


def test_the_page_tells_every_error_its_base_and_its_fault() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    rows = re.findall(r"^\| `(\w+Error)` \| `(\w+)` \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    told = {name: (base, fault) for name, base, fault in rows}
    assert len(rows) == len(told)
    assert told == {
        name: (kind.__mro__[1].__name__, kind.fault) for name, kind in _errors().items()
    }
