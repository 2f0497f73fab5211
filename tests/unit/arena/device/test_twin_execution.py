"""What sharing memory does to results: any overlap in time and in bytes shows, nothing else does.

Interleavings are forced, not hoped for: an execution stands still between two steps until the
schedule gives it the next turn.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.device.twin import Twin, TwinConfig
from arena.device.twin.binding import CallFailed
from arena.device.twin.execution import Execution, run_execution
from arena.device.twin.memory import DeviceMemory
from planner.units import KiB, MiB
from tests.device_rigs import chained_spec
from tests.twin_stand import Runner, Stand

ARENA = 64 * KiB
SLICES = 2
IO = 64


class Bench:
    """Device memory with an arena in it, and executions that use parts of it."""

    def __init__(self, slices: int = SLICES) -> None:
        self.memory = DeviceMemory(TwinConfig(memory_bytes=64 * MiB), 0)
        self.arena = self.memory.allocate(2 * MiB, 0, tail_bytes=0).pointer
        self.slices = slices
        self._inputs = self.memory.allocate(MiB, 0, tail_bytes=0).pointer

    def execution(
        self, name: bytes, work: tuple[int, int], weights: tuple[int, int] = (0, 0)
    ) -> tuple[Execution, int]:
        """Return an execution and where its output will be."""
        target = self.memory.allocate(IO, 0, tail_bytes=32).pointer
        execution = Execution(
            name,
            (self.arena + work[0], work[1]),
            (self.arena + weights[0], weights[1]),
            [(self._inputs, IO)],
            [(target, IO)],
        )
        return execution, target

    def output(self, target: int) -> bytes:
        span = self.memory.find(target, IO)
        assert span is not None
        return bytes(span.view)

    def run(self, execution: Execution, pause: Callable[[float], None] = lambda _: None) -> bool:
        return run_execution(
            execution, self.memory, slices=self.slices, duration_s=0.0, pause=pause
        )


def take_turns(bench: Bench, executions: Sequence[Execution], turns: Sequence[int]) -> list[bool]:
    """Run executions in threads, one segment a turn; `turns` holds indices of executions."""
    gates = [threading.Semaphore(0) for _ in executions]
    done = threading.Semaphore(0)
    results = [False] * len(executions)

    def run(index: int) -> None:
        def pause(_seconds: float) -> None:
            done.release()
            gates[index].acquire()

        gates[index].acquire()
        results[index] = bench.run(executions[index], pause)
        done.release()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(executions))]
    for thread in threads:
        thread.start()
    for index in turns:
        gates[index].release()
        done.acquire()
    for thread in threads:
        thread.join()
    return results


def interleavings(n_segments: int) -> Iterator[tuple[int, ...]]:
    """Yield every order in which two executions of n segments can take turns."""
    for places in itertools.combinations(range(2 * n_segments), n_segments):
        yield tuple(0 if turn in places else 1 for turn in range(2 * n_segments))


def meet(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return first[0] < sum(second) and second[0] < sum(first)


LAYOUTS = [
    ((0, 16 * KiB), (0, 16 * KiB)),  # the same buffer
    ((0, 16 * KiB), (8 * KiB, 16 * KiB)),
    ((0, 16 * KiB), (15 * KiB + 512, 16 * KiB)),  # one granule
    ((4 * KiB, 512), (0, 16 * KiB)),  # one inside the other
    ((0, 16 * KiB), (16 * KiB, 16 * KiB)),  # neighbours
    ((0, 512), (1024, 512)),
]


@pytest.mark.parametrize(("work_0", "work_1"), LAYOUTS)
def test_the_first_of_two_that_overlap_is_always_wrong(
    work_0: tuple[int, int], work_1: tuple[int, int]
) -> None:
    bench = Bench()
    pairs = [bench.execution(b"0", work_0), bench.execution(b"1", work_1)]
    executions, targets = zip(*pairs, strict=True)
    alone = []
    for execution, target in pairs:
        assert bench.run(execution)
        alone.append(bench.output(target))
    for turns in interleavings(SLICES + 1):
        intact = take_turns(bench, executions, turns)
        right = [bench.output(target) == own for target, own in zip(targets, alone, strict=True)]
        assert right == intact
        first = turns[0]
        other_began = turns.index(1 - first)
        first_ended = len(turns) - 1 - turns[::-1].index(first)
        if not meet(work_0, work_1) or first_ended < other_began:
            assert intact == [True, True], turns
        else:
            assert not intact[first], turns


@settings(max_examples=60)
@given(
    starts=st.tuples(*[st.integers(0, 40)] * 2),
    lengths=st.tuples(*[st.integers(1, 24 * 512)] * 2),
    slices=st.integers(1, 5),
    at=st.integers(0, 4),
)
def test_an_execution_inside_another_spoils_it_iff_their_bytes_meet(
    starts: tuple[int, int], lengths: tuple[int, int], slices: int, at: int
) -> None:
    bench = Bench(slices)
    outer_work, inner_work = (
        (start * 512, length) for start, length in zip(starts, lengths, strict=True)
    )
    inner, _ = bench.execution(b"inner", inner_work)
    outer, target = bench.execution(b"outer", outer_work)
    assert bench.run(outer)
    alone = bench.output(target)
    pauses = itertools.count()
    intact_inner: list[bool] = []

    def pause(_seconds: float) -> None:
        if next(pauses) == at % slices:
            intact_inner.append(bench.run(inner))

    intact = bench.run(outer, pause)
    assert intact_inner == [True]
    assert intact is not meet(outer_work, inner_work)
    assert (bench.output(target) == alone) is intact


def write_at_pause(number: int, view: memoryview) -> Callable[[float], None]:
    """Return a pause that changes the first byte of a view when it comes for the n-th time."""
    pauses = itertools.count(1)

    def pause(_seconds: float) -> None:
        if next(pauses) == number:
            view[0] ^= 0xFF

    return pause


@pytest.mark.parametrize("size", [1, 7, 8, 9, 511, 512, 513, 300 * KiB, MiB + 3])
@pytest.mark.parametrize("start", [0, 64, 8 * KiB + 192])
def test_every_byte_of_the_work_buffer_is_watched(size: int, start: int) -> None:
    bench = Bench()
    execution, target = bench.execution(b"m", (start, size))
    assert bench.run(execution)
    alone = bench.output(target)
    for at in sorted({0, size // 2, size - 1}):
        place = bench.memory.find(bench.arena + start + at, 1)
        assert place is not None

        assert not bench.run(execution, write_at_pause(SLICES, place.view))  # after the last fill
        assert all(mine != other for mine, other in zip(bench.output(target), alone, strict=True))
    outside = bench.memory.find(bench.arena + start + size, 1)
    assert outside is not None
    assert bench.run(execution, lambda _: outside.view.__setitem__(0, 0))
    assert bench.output(target) == alone


def test_work_over_anothers_weights_changes_its_later_results() -> None:
    bench = Bench()
    weights = (32 * KiB, 8 * KiB)
    reader, target = bench.execution(b"reader", (0, 4 * KiB), weights)
    writer, _ = bench.execution(b"writer", (39 * KiB + 512, 8 * KiB))
    assert bench.run(reader)
    alone = bench.output(target)
    assert bench.run(writer)
    assert bench.run(reader)  # its own work is untouched
    assert bench.output(target) != alone


def test_input_that_changes_under_an_execution_changes_the_result() -> None:
    bench = Bench()
    execution, target = bench.execution(b"m", (0, 4 * KiB))
    assert bench.run(execution)
    alone = bench.output(target)
    place = bench.memory.find(execution.inputs[0][0], 1)
    assert place is not None
    bench.run(execution, write_at_pause(2, place.view))
    assert bench.output(target) != alone


def test_memory_freed_under_an_execution_fails_it() -> None:
    for victim in ("work", "weights", "input", "output"):
        bench = Bench()
        places = {
            name: bench.memory.allocate(8 * KiB, 0, tail_bytes=0).pointer
            for name in ("work", "weights", "input", "output")
        }
        execution = Execution(
            b"m",
            (places["work"], 8 * KiB),
            (places["weights"], 8 * KiB),
            [(places["input"], IO)],
            [(places["output"], IO)],
        )

        def free(_seconds: float, bench: Bench = bench, pointer: int = places[victim]) -> None:
            if bench.memory.find(pointer, 1) is not None:
                bench.memory.release(pointer)

        with pytest.raises(CallFailed, match="was freed while it ran") as caught:
            bench.run(execution, free)
        assert caught.value.code == 507015


# ---------------------------------------------------------------------- streams


class Meeting:
    """A simulated duration that begins only when as many executions have begun."""

    def __init__(self, n_parties: int) -> None:
        self.barrier = threading.Barrier(n_parties)
        self.order: list[str] = []
        self.active = False

    def __call__(self, name: str) -> int:
        self.order.append(name)
        if self.active:
            self.barrier.wait(timeout=60)
            return 20_000_000
        return 0


def shared_runners(stand: Stand, n_runners: int, *, apart: bool) -> list[Runner]:
    """Return models with weights of their own and one work buffer, or several."""
    spec = chained_spec("m", 1)
    runners = []
    work = stand.malloc(spec.work_bytes)
    for index in range(n_runners):
        weights = stand.malloc(spec.weight_bytes)
        runners.append(Runner(stand, spec, (work, weights)))
        runners[-1].set_input(index)
        if apart:
            work = stand.malloc(spec.work_bytes)
    return runners


@pytest.mark.parametrize("apart", [True, False])
def test_streams_run_side_by_side(tmp_path: Path, apart: bool) -> None:
    meeting = Meeting(2)  # nobody gets past it alone
    stand = Stand(tmp_path, TwinConfig(memory_bytes=64 * MiB, step_ns=meeting))
    runners = shared_runners(stand, 2, apart=apart)
    alone = []
    for runner in runners:
        assert runner.execute() == 0
        alone.append(runner.output)
    streams = [stand.acl.rt.create_stream()[0] for _ in runners]
    meeting.active = True
    for runner, stream in zip(runners, streams, strict=True):
        assert runner.execute_async(stream) == 0
    for stream in streams:
        assert stand.acl.rt.synchronize_stream(stream) == 0
    right = [runner.output == own for runner, own in zip(runners, alone, strict=True)]
    assert all(right) is apart
    assert (stand.twin.devices[0].n_damaged == 0) is apart


def test_one_stream_keeps_its_order(tmp_path: Path) -> None:
    meeting = Meeting(1)
    stand = Stand(tmp_path, TwinConfig(memory_bytes=64 * MiB, step_ns=meeting))
    names = [f"m{index}" for index in range(5)]
    runners = [Runner(stand, chained_spec(name, 1)) for name in names]
    stream, _ = stand.acl.rt.create_stream()
    for runner in runners * 4:
        assert runner.execute_async(stream) == 0
    assert stand.acl.rt.synchronize_stream(stream) == 0
    assert meeting.order == names * 4


def test_sharers_on_one_stream_never_spoil_each_other(stand_64: Stand) -> None:
    runners = shared_runners(stand_64, 4, apart=False)
    alone = []
    for runner in runners:
        assert runner.execute() == 0
        alone.append(runner.output)
    for runner in runners * 50:
        assert runner.execute_async(0) == 0
    assert stand_64.acl.rt.synchronize_stream(0) == 0
    assert [runner.output for runner in runners] == alone
    assert stand_64.twin.devices[0].n_damaged == 0


def test_synchronous_executions_of_two_threads_can_overlap(tmp_path: Path) -> None:
    meeting = Meeting(2)
    stand = Stand(tmp_path, TwinConfig(memory_bytes=64 * MiB, step_ns=meeting))
    runners = shared_runners(stand, 2, apart=False)
    context, _ = stand.acl.rt.get_context()
    meeting.active = True
    codes: list[int] = []

    def run(runner: Runner) -> None:
        stand.acl.rt.set_context(context)
        codes.append(runner.execute())

    threads = [threading.Thread(target=run, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert stand.twin.devices[0].n_damaged >= 1


def test_a_mistake_of_the_twin_itself_is_not_swallowed(tmp_path: Path) -> None:
    def broken(_name: str) -> int:
        raise ZeroDivisionError

    stand = Stand(tmp_path, TwinConfig(step_ns=broken))
    runner = Runner(stand, chained_spec("m", 1))
    assert runner.execute_async(0) == 0
    with pytest.raises(ZeroDivisionError):
        stand.acl.rt.synchronize_stream(0)


@pytest.fixture
def stand_64(tmp_path: Path) -> Stand:
    return Stand(tmp_path, TwinConfig(memory_bytes=64 * MiB))


def test_two_twins_share_nothing() -> None:
    first, second = Twin(), Twin()
    assert first.acl.init() == second.acl.init() == 0
    assert first.acl.rt.set_device(0) == 0
    assert second.acl.rt.get_context() == (0, 107002)
