"""Many threads that run frames of random steps over memory that only the guard keeps apart.

Memory is one cell for each lane that all channels use, and one cell for the two private lanes of
each channel that only order keeps apart; what one step of another pipeline shares with a lane, only
a lock keeps apart.
"""

import random
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from arena.errors import GuardTimeoutError
from arena.guard import Call, Frame, Guard
from planner.fleet import PipelineSpec, StepSpec
from tests.oracles_guard import fleet_of, step

__all__ = ["FLEET", "N_EXECUTIONS", "Memory", "Storm", "cell_of"]

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
    return "ocr" if spec.id == "caption" else spec.lane_of(channel)


class Memory(Protocol):
    """What executions write to."""

    def execute(
        self, rng: random.Random, call: Call | None, spec: StepSpec, channel: int
    ) -> tuple[bool, object]:
        """Execute a step; return whether its memory was damaged, and the call's token."""
        ...


class Storm:
    """The threads; each runs frames in topological order, with skips, repeats and failures.

    Parameters
    ----------
    guard : Guard or None
        None: nothing keeps executions apart.
    memory : Memory
    n_executions : int
        Of all threads together, at least.
    """

    def __init__(self, guard: Guard | None, memory: Memory, n_executions: int) -> None:
        self.guard = guard
        self.memory = memory
        self.n_executions = n_executions
        self.mismatches = 0
        self.executions = 0
        self.refused = 0
        self.errors: list[BaseException] = []
        self.count = threading.Lock()

    def run(self) -> None:
        """Run until enough executions took place; raise what went wrong in a thread."""
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
            while self.executions < self.n_executions:
                pipeline, channel = rng.choice(CHANNELS)
                self.work_frame(rng, pipeline, channel)
        except BaseException as error:  # shown by `run`
            self.errors.append(error)

    def work_frame(self, rng: random.Random, pipeline: PipelineSpec, channel: int) -> None:
        timeout_s = 0.002 if rng.random() < 0.05 else None
        try:
            with self.opened(f"{pipeline.id}[{channel}]", timeout_s) as frame:
                for spec in pipeline.steps:
                    for _ in range(rng.choice([0, 1, 1, 2])):
                        self.execute(rng, frame, spec, channel, timeout_s)
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
        call = None if frame is None else frame.enter(spec.id, timeout_s)
        fails = rng.random() < 0.001
        damaged, token = self.memory.execute(rng, call, spec, channel)
        if call is not None:
            call.done(failed=fails, token=token)
        with self.count:
            self.executions += 1
            self.mismatches += damaged
        if fails:
            raise ZeroDivisionError
