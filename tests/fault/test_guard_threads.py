"""50 threads over shared memory: with the guard no byte is ever shared, without it the check fires.

Memory is one cell for each lane that all channels use, and one cell for the two private lanes of
each channel that only order keeps apart. An execution writes its mark, lets others run now and
then, and must find its mark again.
"""

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from arena.errors import GuardError, GuardTimeoutError
from arena.guard import Frame, Guard
from planner.fleet import PipelineSpec, StepSpec
from tests.oracles_guard import fleet_of, step

N_THREADS = 50
N_EXECUTIONS = 100_000

FLEET = fleet_of(
    PipelineSpec(
        "camera",
        (
            step("detect", "vision"),
            step("read", "ocr", after=["detect"]),
            step("embed", "own-{channel}", after=["read"]),
            step("match", "extra-{channel}", after=["embed"]),
        ),
        channels=6,
    ),
    PipelineSpec(
        "deep",
        (step("segment", "vision"), step("caption", "text", after=["segment"], locks=["ocr"])),
        channels=3,
        frames_in_flight=3,
    ),
)
CHANNELS = [(p, c) for p in FLEET.pipelines for c in range(p.channels)]


def cell_of(spec: StepSpec, channel: int) -> str:
    """Name the memory of a step: planned so that only lanes, locks and order keep sharers apart."""
    if spec.id in ("embed", "match"):
        return f"private-{channel}"
    return "ocr" if spec.id == "caption" else spec.lane


class Storm:
    """Threads that run frames of random steps, in topological order, and check their memory."""

    def __init__(self, guard: Guard | None) -> None:
        self.guard = guard
        self.memory: dict[str, object] = {}
        self.mismatches = 0
        self.executions = 0
        self.refused = 0
        self.errors: list[BaseException] = []
        self.count = threading.Lock()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self.work, args=(seed,), daemon=True)
            for seed in range(N_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
            assert not thread.is_alive(), "a thread waits for ever"
        if self.errors:
            raise self.errors[0]

    def work(self, seed: int) -> None:
        rng = random.Random(seed)
        try:
            while self.executions < N_EXECUTIONS:
                pipeline, channel = rng.choice(CHANNELS)
                self.work_frame(rng, pipeline, channel)
        except BaseException as error:  # shown by `run`
            self.errors.append(error)

    def work_frame(self, rng: random.Random, pipeline: PipelineSpec, channel: int) -> None:
        timeout_s = 0.002 if rng.random() < 0.05 else None
        try:
            with self.opened(f"{pipeline.id}[{channel}]", timeout_s) as frame:
                done = 0
                for spec in pipeline.steps:
                    for _ in range(rng.choice([0, 1, 1, 2])):
                        self.execute(rng, frame, spec, channel, timeout_s)
                        done += 1
                with self.count:
                    self.executions += done
        except (GuardTimeoutError, ZeroDivisionError):
            self.refused += 1

    def opened(self, name: str, timeout_s: float | None) -> AbstractContextManager[Frame | None]:
        return nullcontext() if self.guard is None else self.guard.open_frame(name, timeout_s)

    def execute(
        self,
        rng: random.Random,
        frame: Frame | None,
        spec: StepSpec,
        channel: int,
        timeout_s: float | None,
    ) -> None:
        call = nullcontext() if frame is None else frame.enter(spec.id, timeout_s)
        with call:
            cell, mark = cell_of(spec, channel), object()
            self.memory[cell] = mark
            if rng.random() < 0.05:
                time.sleep(0)
            if self.memory[cell] is not mark:
                self.mismatches += 1
            if rng.random() < 0.001:
                raise ZeroDivisionError


@pytest.fixture(autouse=True)
def _switch_threads_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


def test_fifty_threads_and_a_hundred_thousand_executions_share_no_byte() -> None:
    guard = Guard(FLEET)
    storm = Storm(guard)
    storm.run()
    assert storm.executions >= N_EXECUTIONS
    assert storm.refused > 0, "nothing failed or timed out"
    assert storm.mismatches == 0
    guard.close(timeout_s=0)
    with pytest.raises(GuardError, match="the guard is closed"):
        guard.open_frame("camera[0]")


def test_without_the_guard_the_check_fires() -> None:
    storm = Storm(None)
    storm.run()
    assert storm.mismatches > 0
