"""The runtime asks us for every byte, on the thread of the run, and survives what Python does."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from arena.device.cpu import runtime as runtime_module
from arena.device.cpu.network import Network, Session
from arena.device.cpu.placement import HeapPlacement, Placement, PlannedPlacement, TracedPlacement
from arena.device.cpu.runtime import runtime, shielded
from arena.errors import DeviceError
from tests.networks import Array, compiled, convolutions, inputs_for, read_arena


class Bench:
    """A network over a payload of its own, outside any device."""

    def __init__(self, path: Path) -> None:
        self.model, payload = read_arena(path)
        self.payload = ctypes.create_string_buffer(payload)
        self.session: Session = runtime().open_session(
            ctypes.addressof(self.payload), self.model.payload_bytes
        )
        self.network = Network(self.session, self.model.inputs, self.model.outputs)
        self.inputs = inputs_for(self.model.inputs)

    def run(self, placement: Placement) -> Array:
        output = np.zeros(self.model.outputs[0].shape, np.float32)
        pointers = [array.ctypes.data for array in (*self.inputs, output)]
        self.network.run(placement, pointers)
        return output


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(compiled(convolutions(), tmp_path_factory.mktemp("networks")))


def test_there_is_one_runtime_however_many_ask_at_once() -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(runtime())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert runtime().version == runtime().api.version


def test_a_trace_is_the_same_every_time_and_the_one_in_the_file(bench: Bench) -> None:
    traces = []
    for _ in range(3):
        placement = TracedPlacement()
        with runtime().tracing():
            bench.run(placement)
        placement.finish()
        traces.append((placement.sizes, placement.lifetimes))
    plan = bench.model.allocations
    assert traces[0] == traces[1] == traces[2]
    assert traces[0] == (list(plan.sizes), list(zip(plan.starts, plan.ends, strict=True)))


def test_outside_a_trace_nobody_hears_of_released_blocks(bench: Bench) -> None:
    placement = TracedPlacement()
    bench.run(placement)
    heard = len(placement.lifetimes) * 2 - len(placement._open)
    placement.finish()
    assert heard == len(placement.sizes)


def test_other_threads_run_on_while_one_traces(bench: Bench) -> None:
    wanted = bench.run(HeapPlacement()).tobytes()
    results: list[bytes] = []

    def run_many() -> None:
        for _ in range(20):
            placement = HeapPlacement()
            results.append(bench.run(placement).tobytes())
            placement.release()

    threads = [threading.Thread(target=run_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        placement = TracedPlacement()
        with runtime().tracing():
            bench.run(placement)
        placement.finish()
        assert len(placement.sizes) == len(bench.model.allocations.sizes)
    for thread in threads:
        thread.join()
    assert results == [wanted] * 60


def test_a_plan_is_answered_alike_by_machine_code_and_by_python(bench: Bench) -> None:
    plan = bench.model.allocations
    block = ctypes.create_string_buffer(bench.model.work_bytes + 64)
    base = -(-ctypes.addressof(block) // 64) * 64
    results = set()
    for by_machine_code in (True, False, True):
        placement = PlannedPlacement(base, plan.sizes, plan.offsets)
        if not by_machine_code:
            placement.answers_pointer = 0
        for _ in range(2):
            ctypes.memset(block, 255, len(block))
            results.add(bench.run(placement).tobytes())
            assert placement.finish() == ""
    assert results == {bench.run(HeapPlacement()).tobytes()}


def test_outputs_of_unknown_shape_are_read_from_a_run(bench: Bench) -> None:
    placement = HeapPlacement()
    network = Network(bench.session, bench.model.inputs, bench.session.tensors("Output"))
    specs = network.output_specs(placement, [array.ctypes.data for array in bench.inputs])
    placement.release()
    assert tuple(specs) == bench.model.outputs


def test_a_refused_run_says_why(bench: Bench) -> None:
    network = Network(bench.session, bench.model.outputs, bench.model.inputs)
    buffer = np.zeros(1 << 16, np.float32)
    with pytest.raises(DeviceError, match=r"Run failed with code 2: .*y") as error:
        network.run(HeapPlacement(), [buffer.ctypes.data] * 2)
    assert error.value.call == "Run"


def test_allocations_nobody_answers_come_from_the_heap() -> None:
    pointer = runtime()._on_allocate(0, 100)
    assert pointer is not None
    ctypes.memset(pointer, 1, 100)
    assert runtime()._on_allocate(0, 0) is None
    runtime()._on_free(0, pointer)
    runtime()._strays.release()


def test_without_glibc_releases_are_real_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> None:
        raise OSError("no such library")

    assert runtime_module._empty_function() is not None
    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert runtime_module._empty_function() is None


def test_shielded_hands_on_results_and_errors() -> None:
    here = threading.get_ident()
    assert shielded(threading.get_ident) != here
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.append(shielded(threading.get_ident)))
    thread.start()
    ident = thread.ident
    thread.join()
    assert others == [ident]  # a thread without signals needs no shield
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: 1 // 0)


def test_an_interrupt_leaves_the_call_to_its_end_and_takes_back_what_it_made() -> None:
    gate, taken_back = threading.Event(), threading.Event()

    def work() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        gate.wait()
        return "made"

    def undo(made: str) -> None:
        assert made == "made"
        taken_back.set()

    with pytest.raises(KeyboardInterrupt):
        shielded(work, undo=undo)
    assert not taken_back.is_set()
    gate.set()
    assert taken_back.wait(10)


def test_an_interrupted_call_that_fails_has_made_nothing() -> None:
    gate, calls = threading.Event(), []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        gate.wait()
        calls.append("work")
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        shielded(work, undo=lambda _made: calls.append("undo"))
    gate.set()
    for thread in threading.enumerate():
        if "shielded" in thread.name:
            thread.join()
    assert calls == ["work"]


def test_interrupts_never_reach_a_callback(tmp_path: Path) -> None:
    """A process that is interrupted all the time while it loads and runs ends well."""
    path = compiled(convolutions(), tmp_path)
    program = f"""
import os, signal, threading, time
from pathlib import Path
from arena.device.base import ModelSource
from arena.device.cpu.device import CpuDevice

class Interrupted(Exception):
    pass

def handler(*_):
    raise Interrupted

def interrupt():
    start.wait()
    while not over:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.0005)

start, over, count = threading.Event(), [], 0
thread = threading.Thread(target=interrupt)
thread.start()
device = CpuDevice()
device.open()
stream = device.create_stream()
source, x = ModelSource("m", Path({str(path)!r})), bytes(6912)
model = device.load(source, work=None, weights=None)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
start.set()
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        signal.signal(signal.SIGUSR1, handler)
        device.load(source, work=None, weights=None)
        device.finish(device.launch(model, [x], [None], stream))
    except Exception as error:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        count += isinstance(error, Interrupted) or isinstance(error.__context__, Interrupted)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
over.append(True)
thread.join()
device.synchronize(stream)
result = device.finish(device.launch(model, [x], [None], stream))
print("interrupted" if count > 10 else count, len(result[0]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "interrupted 18432\n"), done.stderr
