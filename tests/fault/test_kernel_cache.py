"""Compiled kernels survive on disk: a second process loads them, and no cache is no failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="needs numba, an optional part")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from planner.problem import Assignment, Problem
from planner.solvers import branch_graph, local_search

ring = Problem.of_edges([2] * 7, [(i, (i + 1) % 7) for i in range(7)])
print(branch_graph.fit(ring, 6, 1000).status.value, branch_graph.fit(ring, 5, 1000).status.value)
stacked = Assignment(tuple(range(0, 14, 2)))
print(local_search.improve(ring, stacked, 6, 500).height_bytes(ring))
"""


def run(root: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_second_process_runs_the_cached_kernels(tmp_path: Path) -> None:
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first = run(ROOT, **cache)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert written, "nothing was cached"
    assert run(ROOT, **cache) == first == "feasible infeasible\n6\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == written


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "planner", tmp_path / "planner", ignore=shutil.ignore_patterns("__pycache__")
    )
    # A file stands where the directory beside the source would be made, and there is no home.
    (tmp_path / "planner" / "solvers" / "kernels" / "__pycache__").touch()
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    assert run(tmp_path, **nowhere) == "feasible infeasible\n6\n"
    assert not list(tmp_path.rglob("*.nbc"))
