"""50 threads over shared memory: with the guard no byte is ever shared, without it the check fires.

An execution writes its mark, lets others run now and then, and must find its mark again.
"""

import random
import sys
import time
from collections.abc import Iterator

import pytest

from arena.errors import GuardError
from arena.guard import Call, Guard
from planner.fleet import StepSpec
from tests.storm import FLEET, N_EXECUTIONS, Storm, cell_of


class Marks:
    """Cells that hold the mark of whoever wrote last."""

    def __init__(self) -> None:
        self.cells: dict[str, object] = {}

    def execute(
        self, rng: random.Random, call: Call | None, spec: StepSpec, channel: int
    ) -> tuple[bool, object]:
        cell, mark = cell_of(spec, channel), object()
        self.cells[cell] = mark
        if rng.random() < 0.05:
            time.sleep(0)
        return self.cells[cell] is not mark, None


@pytest.fixture(autouse=True)
def _switch_threads_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


def test_fifty_threads_and_a_hundred_thousand_executions_share_no_byte() -> None:
    guard = Guard(FLEET)
    storm = Storm(guard, Marks(), N_EXECUTIONS)
    storm.run()
    assert storm.executions >= N_EXECUTIONS
    assert storm.refused > 0, "nothing failed or timed out"
    assert storm.mismatches == 0
    guard.close(timeout_s=0)
    with pytest.raises(GuardError, match="the guard is closed"):
        guard.open_frame("camera[0]")


def test_without_the_guard_the_check_fires() -> None:
    storm = Storm(None, Marks(), N_EXECUTIONS)
    storm.run()
    assert storm.mismatches > 0
