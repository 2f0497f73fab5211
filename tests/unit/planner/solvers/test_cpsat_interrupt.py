"""CP-SAT must leave Python's interrupt handler in place: Ctrl-C ends a search, not the process."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, time
from planner.problem import Assignment, Problem
from planner.solvers.cpsat import SecondOpinion

problem = Problem.of_edges([4, 3, 5, 2, 6], [(0, 2), (1, 2), (0, 1), (3, 4), (2, 4)])
SecondOpinion(
    problem, Assignment((0, 4, 7, 0, 12)), below_bytes=14, seconds=1.0, workers=1
).wait(10)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print("still here")
"""


def test_an_interrupt_after_a_solve_is_an_exception() -> None:
    pytest.importorskip("ortools")
    # A shell's background job ignores SIGINT: the program asks for Python's handler itself.
    program = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[4],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "still here"
