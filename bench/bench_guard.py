"""What the guard costs: one call on an idle lane, one frame, and 8 threads on 8 lanes.

    python -m bench.bench_guard

Each figure is the median of many repeats; the machine's noise shows in the spread between the
fastest tenth and the slowest tenth. The second table runs 8 threads on a lane each, where an
execution is a wait without the interpreter's lock, beside one thread and beside no guard.
"""

import statistics
import threading
import time
from collections.abc import Callable

from arena.guard import Guard
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId

N_REPEATS = 20_000
N_LANES = 8
EXECUTION_S = 0.002
N_EXECUTIONS = 200
N_ROUNDS = 5


def fleet(channels: int) -> FleetSpec:
    """Return cameras with two ordered steps on lanes of their own."""
    model = ModelId("model")
    steps = (
        StepSpec("detect", model, "a-{channel}"),
        StepSpec("read", model, "b-{channel}", after=("detect",), locks=("heavy-{channel}",)),
    )
    pipeline = PipelineSpec("camera", steps, channels=channels)
    return FleetSpec("bench", (ModelSpec(model, work_bytes=1, weight_bytes=0),), (pipeline,))


def microseconds(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return the 10th, 50th and 90th percentile of the time of one `work`, microseconds."""
    times = []
    for _ in range(N_REPEATS):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e3)
    tenths = statistics.quantiles(times, n=10)
    return tenths[0], tenths[4], tenths[8]


def time_threads(work: Callable[[int], None], count: int) -> float:
    """Return the wall time of `count` threads, each calling `work` with its index, seconds."""
    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    guard = Guard(fleet(N_LANES))

    def frame_of_two() -> None:
        with guard.open_frame("camera[0]") as frame:
            frame.enter("detect").done()
            frame.enter("read").done()

    print(f"{'idle lane, microseconds':34} {'fast':>8} {'median':>8} {'slow':>8}")
    with guard.open_frame("camera[0]") as frame:
        row("enter + done, one lock", lambda: frame.enter("detect").done())
        row("enter + done, two locks, a before", lambda: frame.enter("read").done())
    row("frame of two calls", frame_of_two)

    def guarded(lane: int) -> None:
        with guard.open_frame(f"camera[{lane}]") as frame:
            for _ in range(N_EXECUTIONS):
                with frame.enter("detect"):
                    time.sleep(EXECUTION_S)

    def bare(_lane: int) -> None:
        for _ in range(N_EXECUTIONS):
            time.sleep(EXECUTION_S)

    print(f"\n{N_EXECUTIONS} executions of {EXECUTION_S} s a thread: seconds, ratio to the first")
    one = best(bare, 1)
    print(f"{'1 thread, bare':34} {one:8.3f} {1:8.3f}")
    for name, work, threads in (
        ("1 thread, guarded", guarded, 1),
        (f"{N_LANES} threads, bare", bare, N_LANES),
        (f"{N_LANES} threads on {N_LANES} lanes, guarded", guarded, N_LANES),
    ):
        seconds = best(work, threads)
        print(f"{name:34} {seconds:8.3f} {seconds / one:8.3f}")


def best(work: Callable[[int], None], threads: int) -> float:
    """Return the least wall time of several rounds, seconds."""
    return min(time_threads(work, threads) for _ in range(N_ROUNDS))


def row(name: str, work: Callable[[], object]) -> None:
    """Print one line of the first table."""
    fast, median, slow = microseconds(work)
    print(f"{name:34} {fast:8.2f} {median:8.2f} {slow:8.2f}")


if __name__ == "__main__":
    main()
