"""The happens-before checker: silent on every legal schedule, loud when one edge is missing."""

import threading
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from arena.device.adaptors.race import Race, RaceCheck
from arena.device.base import (
    Argument,
    DeviceRange,
    EventId,
    Launch,
    LoadOptions,
    MemoryInfo,
    ModelDescription,
    ModelHandle,
    ModelSource,
    StreamId,
)
from arena.errors import DeviceError, RaceError
from arena.guard import Guard
from planner.errors import UsageError
from planner.fleet import FleetSpec, PipelineSpec, StepSpec
from planner.plan import AddedOrder
from tests.oracles_guard import fleet_of, step

DEFAULT_OPTIONS = LoadOptions()


class PaperLaunch:
    """A launch that does nothing."""

    def __init__(self, model: ModelHandle, stream: StreamId) -> None:
        self.model = model
        self.stream = stream


class PaperDevice:
    """A device on paper: it takes every call, does nothing, and fails when told to."""

    name = "paper"
    page_bytes = 1
    align_bytes = 1

    def __init__(self) -> None:
        self.ids = count(1)
        self.log: list[str] = []
        self.fail: Exception | None = None

    def note(self, call: str) -> None:
        self.log.append(call)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error

    def open(self) -> None:
        self.note("open")

    def close(self) -> None:
        self.note("close")

    def memory_info(self) -> MemoryInfo:
        return MemoryInfo(free_bytes=3, total_bytes=5)

    def alloc(self, size_bytes: int) -> DeviceRange:
        return DeviceRange(64, size_bytes)

    def free(self, memory: DeviceRange) -> None:
        self.note(f"free {memory}")

    def fill(self, memory: DeviceRange, value: int) -> None:
        self.note(f"fill {memory} {value}")

    def query_size(self, source: ModelSource) -> tuple[int, int]:
        return 7, len(source.name)

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = DEFAULT_OPTIONS,
    ) -> ModelHandle:
        self.note(f"load {source.name}")
        return ModelHandle(next(self.ids))

    def unload(self, model: ModelHandle) -> None:
        self.note(f"unload {model}")

    def describe(self, model: ModelHandle) -> ModelDescription:
        return ModelDescription((), ())

    def io_bytes(self, model: ModelHandle) -> int:
        return int(model)

    def streams_free(self) -> int | None:
        return None

    def create_stream(self) -> StreamId:
        return StreamId(next(self.ids))

    def destroy_stream(self, stream: StreamId) -> None:
        self.note(f"destroy_stream {stream}")

    def launch(
        self,
        model: ModelHandle,
        inputs: Sequence[Argument],
        outputs: Sequence[Argument | None],
        stream: StreamId,
        *,
        gear: tuple[int, ...] = (),
    ) -> Launch:
        self.note(f"launch {model}")
        return PaperLaunch(model, stream)

    def finish(self, launch: Launch) -> tuple[bytearray | None, ...]:
        self.note(f"finish {launch.model}")
        return (bytearray(b"out"),)

    def synchronize(self, stream: StreamId) -> None:
        self.note(f"synchronize {stream}")

    def record_event(self, stream: StreamId) -> EventId:
        return EventId(next(self.ids))

    def wait_event(self, stream: StreamId, event: EventId) -> None:
        self.note(f"wait {event}")

    def destroy_event(self, event: EventId) -> None:
        self.note(f"destroy {event}")


class Bench:
    """A checked device with two streams and models that share memory."""

    def __init__(self) -> None:
        self.paper = PaperDevice()
        self.races: list[Race] = []
        self.device = RaceCheck(self.paper, self.races)
        self.x, self.y = self.device.create_stream(), self.device.create_stream()
        self.one = self.load("one", 0x1000, 0x200)
        self.other = self.load("other", 0x1100, 0x200)
        self.apart = self.load("apart", 0x4000, 0x200)

    def load(self, name: str, pointer: int, size: int) -> ModelHandle:
        source = ModelSource(name, read=lambda: b"")
        return self.device.load(source, work=DeviceRange(pointer, size), weights=None)

    def launch(self, model: ModelHandle, stream: StreamId) -> Launch:
        return self.device.launch(model, (), (), stream)

    def run(self, model: ModelHandle, stream: StreamId) -> None:
        self.device.finish(self.launch(model, stream))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_the_execution_whose_sharer_is_not_ordered_before_it_is_named(bench: Bench) -> None:
    bench.device.begin("detector@vision ('detect' of camera[0] frame 7)")
    bench.launch(bench.one, bench.x)
    bench.device.begin("tracker@tracking ('track' of camera[0] frame 7)")
    bench.launch(bench.other, bench.y)
    assert [str(race) for race in bench.races] == [
        "detector@vision ('detect' of camera[0] frame 7) on stream 1 and "
        "tracker@tracking ('track' of camera[0] frame 7) on stream 2 share [0x1100, 0x1200): "
        "no stream, event, wait or synchronisation orders the first before the second"
    ]


def test_models_that_share_no_byte_need_no_order(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.launch(bench.apart, bench.y)
    assert not bench.races


def test_one_stream_orders(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.launch(bench.other, bench.x)
    assert not bench.races


def test_finishing_before_launching_orders(bench: Bench) -> None:
    bench.run(bench.one, bench.x)
    bench.launch(bench.other, bench.y)
    assert not bench.races


def test_synchronising_orders(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.device.synchronize(bench.x)
    bench.launch(bench.other, bench.y)
    assert not bench.races


def test_a_recorded_event_orders_only_who_waits_for_it(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    event = bench.device.record_event(bench.x)
    bench.device.wait_event(bench.y, event)
    bench.device.destroy_event(event)
    bench.launch(bench.other, bench.y)
    assert not bench.races
    bench.launch(bench.other, bench.device.create_stream())
    assert len(bench.races) == 2, "neither the first nor the second run of the other is ordered"


def test_one_model_on_two_streams_shares_with_itself(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.launch(bench.one, bench.y)
    assert [(r.first, r.second) for r in bench.races] == [("one on stream 1", "one on stream 2")]


def test_having_happened_in_this_order_is_no_proof(bench: Bench) -> None:
    in_thread(lambda: bench.run(bench.one, bench.x))
    in_thread(lambda: bench.run(bench.other, bench.y))
    assert len(bench.races) == 1


def test_a_stamp_carries_the_order_from_thread_to_thread(bench: Bench) -> None:
    stamps: list[object] = []

    def first() -> None:
        bench.device.begin("first")
        bench.run(bench.one, bench.x)
        stamps.append(bench.device.end())

    def second() -> None:
        bench.device.begin("second", stamps)
        bench.run(bench.other, bench.y)

    in_thread(first)
    in_thread(second)
    assert not bench.races


def test_a_stamp_says_nothing_of_what_its_thread_did_not_finish(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    stamp = bench.device.end()

    def second() -> None:
        bench.device.begin("second", [stamp])
        bench.run(bench.other, bench.y)

    in_thread(second)
    assert len(bench.races) == 1


def test_what_was_over_before_a_thread_started_is_told_by_a_stamp_too(bench: Bench) -> None:
    bench.run(bench.one, bench.x)
    stamp = bench.device.end()

    def work() -> None:
        bench.device.begin("warm", [stamp])
        bench.launch(bench.other, bench.y)

    in_thread(work)
    assert not bench.races


def test_a_refused_launch_shares_nothing(bench: Bench) -> None:
    bench.paper.fail = UsageError("wrong size")
    with pytest.raises(UsageError, match="wrong size"):
        bench.launch(bench.one, bench.x)
    bench.launch(bench.other, bench.y)
    assert not bench.races


def test_only_stamps_are_shown(bench: Bench) -> None:
    with pytest.raises(UsageError, match="found 7 among the stamps"):
        bench.device.begin("x", [7])


def test_without_a_list_the_racing_launch_raises_and_does_not_take_place() -> None:
    bench = Bench()
    bench.device = RaceCheck(bench.paper)
    one, other = bench.load("one", 0x1000, 8), bench.load("other", 0x1004, 8)
    launch = bench.launch(one, bench.x)
    with pytest.raises(RaceError, match=r"share \[0x1004, 0x1008\).*; the second was not started"):
        bench.launch(other, bench.y)
    assert bench.paper.log[-1] == f"launch {one}"
    assert bench.device.finish(launch) == (bytearray(b"out"),)
    bench.run(other, bench.y)


def test_a_launch_that_failed_shares_nothing_and_forgets_nothing(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.paper.fail = DeviceError("no")
    with pytest.raises(DeviceError):
        bench.launch(bench.one, bench.x)
    bench.launch(bench.other, bench.y)
    assert len(bench.races) == 1, "the first run is still there"
    bench.races.clear()
    fresh = bench.load("fresh", 0x9000, 64)
    bench.paper.fail = DeviceError("no")
    with pytest.raises(DeviceError):
        bench.launch(fresh, bench.x)
    bench.launch(fresh, bench.y)
    assert not bench.races


@pytest.mark.parametrize(("unsettled", "n_races"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("call", ["finish", "synchronize"])
def test_a_failed_wait_orders_unless_the_execution_may_still_run(
    bench: Bench, call: str, unsettled: bool, n_races: int
) -> None:
    launch = bench.launch(bench.one, bench.x)
    bench.paper.fail = DeviceError("time out", unsettled=unsettled)
    with pytest.raises(DeviceError):
        bench.device.finish(launch) if call == "finish" else bench.device.synchronize(bench.x)
    bench.launch(bench.other, bench.y)
    assert len(bench.races) == n_races


def test_a_launch_that_may_be_running_although_it_failed_still_shares(bench: Bench) -> None:
    bench.paper.fail = DeviceError("lost", unsettled=True)
    with pytest.raises(DeviceError):
        bench.launch(bench.one, bench.x)
    bench.launch(bench.other, bench.y)
    assert len(bench.races) == 1


def test_an_unloaded_model_shares_no_more(bench: Bench) -> None:
    bench.launch(bench.one, bench.x)
    bench.device.unload(bench.one)
    bench.launch(bench.other, bench.y)
    assert not bench.races
    with pytest.raises(UsageError, match="unknown model handle"):
        bench.launch(bench.one, bench.x)


def test_system_managed_and_empty_work_memory_shares_with_nobody(bench: Bench) -> None:
    source = ModelSource("own", read=lambda: b"")
    own = bench.device.load(source, work=None, weights=None)
    empty = bench.device.load(source, work=DeviceRange(0x1000, 0), weights=None)
    for model in (own, empty):
        bench.launch(model, bench.x)
        bench.launch(model, bench.y)
    assert not bench.races


def test_a_foreign_launch_is_refused(bench: Bench) -> None:
    launch = bench.launch(bench.one, bench.x)
    assert (launch.model, launch.stream) == (bench.one, bench.x)
    with pytest.raises(UsageError, match="expected what `launch` of this device returned"):
        bench.device.finish(PaperLaunch(bench.one, bench.x))


# ---- with the guard


def sharing_fleet(*, ordered: bool, frames_in_flight: int = 1) -> FleetSpec:
    """Two steps on two lanes that share memory, since order keeps them apart; or not any more."""
    after = ["detect"] if ordered else []
    steps = (step("detect", "vision"), step("track", "tracking", after=after))
    return fleet_of(PipelineSpec("camera", steps, frames_in_flight=frames_in_flight))


class Rig:
    """A guard, a checked device and a stream for each lane."""

    def __init__(self, fleet: FleetSpec, cells: dict[str, int], added: Sequence[AddedOrder] = ()):
        self.guard = Guard(fleet, added)
        self.races: list[Race] = []
        self.device: RaceCheck = RaceCheck(PaperDevice(), self.races)
        self.streams = {lane: self.device.create_stream() for lane in self.guard.lanes}
        self.models = {
            instance: self.device.load(
                ModelSource(instance, read=lambda: b""),
                work=DeviceRange(cells[instance], 64),
                weights=None,
            )
            for instance in fleet.instances()
        }

    def serve(self, lane: str) -> None:
        while (call := self.guard.take(lane)) is not None:
            self.device.begin(f"{call.instance} ({call})", call.follows)
            launch = self.device.launch(self.models[call.instance], (), (), self.streams[call.lane])
            self.device.finish(launch)
            call.done(token=self.device.end())

    def run(self, frames: int, steps: Sequence[StepSpec]) -> None:
        servers = [threading.Thread(target=self.serve, args=(lane,)) for lane in self.guard.lanes]
        for server in servers:
            server.start()
        for _ in range(frames):
            with self.guard.open_frame("camera[0]") as frame:
                for spec in steps:
                    frame.submit(spec.id)
        self.guard.close()
        for server in servers:
            server.join()


def test_a_legal_schedule_of_threads_is_silent() -> None:
    fleet = sharing_fleet(ordered=True)
    rig = Rig(fleet, dict.fromkeys(fleet.instances(), 0x1000))
    rig.run(50, fleet.pipelines[0].steps)
    assert not rig.races


def test_an_order_edge_deleted_from_the_fleet_is_caught() -> None:
    fleet = sharing_fleet(ordered=False)
    rig = Rig(fleet, dict.fromkeys(fleet.instances(), 0x1000))
    rig.run(50, fleet.pipelines[0].steps)
    assert any(
        {"detect@vision", "track@tracking"} == {r.first.split()[0], r.second.split()[0]}
        for r in rig.races
    )


def test_followers_that_wait_on_the_device_are_silent_and_one_wait_less_is_caught() -> None:
    fleet = sharing_fleet(ordered=True)
    for waits, n_races in ((True, 0), (False, 1)):
        rig = Rig(fleet, dict.fromkeys(fleet.instances(), 0x1000))
        with rig.guard.open_frame("camera[0]") as frame:
            for name in ("detect", "track"):
                call = frame.enter(name)
                stream = rig.streams[call.lane]
                rig.device.begin(str(call))
                for event in call.follows if waits else ():
                    assert isinstance(event, int)
                    rig.device.wait_event(stream, EventId(event))
                rig.device.launch(rig.models[call.instance], (), (), stream)
                call.done(token=rig.device.record_event(stream))
        assert len(rig.races) == n_races


def test_a_frame_in_flight_too_many_is_caught() -> None:
    fleet = sharing_fleet(ordered=True, frames_in_flight=2)
    rig = Rig(fleet, dict.fromkeys(fleet.instances(), 0x1000))
    one, two = (rig.guard.open_frame("camera[0]") for _ in range(2))
    for frame, name in ((one, "detect"), (one, "track"), (two, "detect")):

        def work(frame=frame, name=name) -> None:  # type: ignore[no-untyped-def]
            call = frame.enter(name)
            rig.device.begin(str(call), call.follows)
            rig.device.finish(
                rig.device.launch(rig.models[call.instance], (), (), rig.streams[call.lane])
            )
            call.done(token=rig.device.end())

        in_thread(work)
    assert [(r.first, r.second) for r in rig.races] == [
        (
            f"'track' of camera[0] frame 0 on stream {rig.streams['tracking']}",
            f"'detect' of camera[0] frame 1 on stream {rig.streams['vision']}",
        )
    ]
