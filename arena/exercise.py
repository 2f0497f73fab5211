"""Drive a loaded fleet hard and compare every output: what `arena run` does.

    reference    every instance alone, before anything runs beside it, for a few inputs
    drive        threads open frames, several of one channel at a time, and submit steps in
                 topological order without waiting: only the guard makes them wait
    compare      an output that differs from the reference for the same input is a mismatch

Without the guard (twin only) the same threads execute at once on streams of their own: memory that
instances share is then overwritten, which shows that the comparison can fail.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Final, TypeAlias

from arena.device.adaptors import RaceCheck
from arena.device.base import Argument, Device, StreamId
from arena.errors import DeviceError
from arena.loader import LoadedInstance
from arena.session import Fleet
from arena.tensors import ELEMENT_TYPES
from planner.errors import UsageError
from planner.fleet import PipelineSpec, channel_name, instance_id
from planner.model import InstanceId, TensorSpec

__all__ = ["Outcome", "Outputs", "execute_once", "exercise", "seeded_inputs"]

INPUTS_EACH: Final = 3
"""Different inputs of each instance: enough that a stale output is noticed."""

Outputs: TypeAlias = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drive did and found.

    Attributes
    ----------
    executions : int
    mismatches : int
        Executions whose output differs from that of the same input alone in the same memory.
    """

    executions: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class _Case:
    """One input of one instance, and what it gives alone."""

    inputs: Mapping[str, bytes]
    outputs: Outputs


_Cases: TypeAlias = Mapping[InstanceId, Sequence[_Case]]


def seeded_inputs(tensors: Sequence[TensorSpec], seed: int) -> dict[str, bytes]:
    """Return one deterministic input for each tensor, as bytes that networks digest.

    Floats lie in [0, 1), integers in [0, 100), flags are 0 or 1.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    inputs = {}
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype if tensor.dtype in ELEMENT_TYPES else "uint8")
        n = tensor.size_bytes // dtype.itemsize
        values = rng.random(n) if dtype.kind == "f" else rng.integers(0, 100, n)
        if dtype.kind == "b":
            values = values % 2
        inputs[tensor.name] = values.astype(dtype).tobytes().ljust(tensor.size_bytes, b"\0")
    return inputs


def exercise(
    fleet: Fleet,
    frames: int,
    *,
    threads: int = 1,
    guarded: bool = True,
    on_frame: Callable[[], None] | None = None,
) -> Outcome:
    """Run `frames` frames of every channel, every step once in each, and compare all outputs.

    Parameters
    ----------
    fleet : Fleet
        Loaded; nothing else may run on it.
    frames : int
        Of each channel, >= 0.
    threads : int
        That open frames, >= 1.
    guarded : bool
        False: no places, order or locks. Only for the twin, where corruption harms nobody.
    on_frame : callable
        Called after each frame, for progress.

    Raises
    ------
    UsageError
        Unguarded on a device that is not the twin. Caused by the caller.
    """
    if not guarded and fleet.device.name != "twin":
        raise UsageError(
            f"without the guard, memory would be corrupted on device {fleet.device.name!r}; only "
            "the twin may run so"
        )
    cases = {
        instance: _cases_of(fleet, item) for instance, item in fleet.runner.loaded.instances.items()
    }
    fleet.runner.settle()
    jobs = _jobs(fleet, frames)
    lock = threading.Lock()
    stop = threading.Event()

    handles = {instance: threading.Lock() for instance in cases}

    def work(run_frame: Callable[[_Job], int]) -> Outcome:
        executions = mismatches = 0
        while True:
            with lock:
                job = None if stop.is_set() else next(jobs, None)
            if job is None:
                return Outcome(executions, mismatches)
            mismatches += run_frame(job)
            executions += len(job.pipeline.steps)
            if on_frame is not None:
                on_frame()

    def work_guarded() -> Outcome:
        return work(lambda job: _guarded(fleet, job, cases))

    def work_unguarded() -> Outcome:
        stream = fleet.device.create_stream()
        try:
            return work(lambda job: _unguarded(fleet, job, cases, stream, handles))
        finally:
            fleet.device.destroy_stream(stream)

    target = work_guarded if guarded else work_unguarded
    with ThreadPoolExecutor(threads, thread_name_prefix="arena-exercise") as pool:
        try:
            futures = [pool.submit(target) for _ in range(threads)]
            outcomes = [future.result() for future in as_completed(futures)]
        except BaseException:
            stop.set()  # Interrupted, or a thread failed: the others end with their frame.
            raise
    return Outcome(sum(o.executions for o in outcomes), sum(o.mismatches for o in outcomes))


@dataclass(frozen=True, slots=True)
class _Job:
    """One frame of one channel; `number` chooses its inputs."""

    pipeline: PipelineSpec
    channel: int
    number: int

    def steps(self) -> Iterator[tuple[str, InstanceId, int]]:
        """Yield (step, instance, case) in topological order."""
        order = TopologicalSorter({step.id: step.after for step in self.pipeline.steps})
        for index, step_id in enumerate(order.static_order()):
            step = self.pipeline.step(step_id)
            instance = instance_id(step.model, step.lane_of(self.channel))
            yield step_id, instance, (self.number + self.channel + index) % INPUTS_EACH


def _jobs(fleet: Fleet, frames: int) -> Iterator[_Job]:
    for number in range(frames):
        for pipeline in fleet.plan.fleet.pipelines:
            for channel in range(pipeline.channels):
                yield _Job(pipeline, channel, number)


def _cases_of(fleet: Fleet, item: LoadedInstance) -> list[_Case]:
    """Execute one instance alone, once for each of its inputs."""
    visible = [t for t in item.description.inputs if t.name not in item.description.hidden]
    stream = fleet.runner.streams[item.instance.lane]
    cases = []
    for seed in range(INPUTS_EACH):
        inputs = seeded_inputs(visible, seed)
        outputs = execute_once(fleet.device, item, list(inputs.values()), stream)
        fleet.runner.note_run(item.instance.id)
        cases.append(_Case(inputs, outputs))
    return cases


def execute_once(
    device: Device, item: LoadedInstance, arguments: Sequence[Argument], stream: StreamId
) -> Outputs:
    """Execute one instance and return the bytes of its outputs."""
    wanted = [None] * len(item.description.outputs)
    launch = device.launch(item.handle, arguments, wanted, stream)
    return tuple(bytes(data) for data in device.finish(launch) if data is not None)


def _guarded(fleet: Fleet, job: _Job, cases: _Cases) -> int:
    with fleet.frame(channel_name(job.pipeline.id, job.channel), timeout_s=None) as frame:
        submitted = [
            (frame.submit(step, cases[instance][case].inputs), cases[instance][case])
            for step, instance, case in job.steps()
        ]
        return sum(
            tuple(memoryview(array).tobytes() for array in future.result().values()) != case.outputs
            for future, case in submitted
        )


def _unguarded(
    fleet: Fleet,
    job: _Job,
    cases: _Cases,
    stream: StreamId,
    handles: Mapping[InstanceId, threading.Lock],
) -> int:
    """Execute at once; a lock for each handle alone, since a device takes one call of a model."""
    # The race check would refuse what this is to show.
    device = fleet.device.inner if isinstance(fleet.device, RaceCheck) else fleet.device
    mismatches = 0
    for _, instance, number in job.steps():
        case = cases[instance][number]
        item = fleet.runner.loaded.instances[instance]
        try:
            with handles[instance]:
                outputs = execute_once(device, item, list(case.inputs.values()), stream)
        except DeviceError:
            outputs = ()
        mismatches += outputs != case.outputs
    return mismatches
