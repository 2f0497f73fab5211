"""Commands as scripts call them: with `--json`, and one object in return."""

import json
from pathlib import Path
from typing import Any

import pytest

from arena.cli import execute

__all__ = ["arena"]


def arena(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run a command with --json and return its one object; anything else on stdout fails."""
    found = execute([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert found == code, (found, out, err)
    value = json.loads(out)
    assert isinstance(value, dict)
    return value
