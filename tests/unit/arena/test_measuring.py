"""Measured beside planned: every reading is what the twin's own ledger says at that moment."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from arena.device.acl import AclDevice
from arena.device.adaptors import TrackingDevice
from arena.device.adaptors.adaptor import Adaptor
from arena.device.base import Device, DeviceRange, LoadOptions
from arena.device.cpu.device import CpuDevice
from arena.device.twin import Twin
from arena.exercise import exercise
from arena.session import attach, plan_and_load
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.measured import FleetReport, Reading, Stage
from planner.model import InstanceId, ModelId
from planner.units import KiB, MiB
from tests.fleets import small_fleet
from tests.networks import byte_images

X = bytes(64)


class Overheads(Adaptor):
    """A device that takes memory of its own: at each load, each stream and each first execution."""

    def __init__(self, inner: Device, **extra: int) -> None:
        super().__init__(inner)
        self._extra = extra
        self._ran: set[int] = set()
        self._own: list[DeviceRange] = []

    def around(self, name: str, call: Any, *arguments: Any, **named: Any) -> Any:
        result = call(*arguments, **named)
        size = self._extra.get(name, 0)
        if name == "finish":
            size = 0 if arguments[0].model in self._ran else size
            self._ran.add(arguments[0].model)
        if size:
            self._own.append(self.inner.alloc(size))
        return result

    def release(self) -> None:
        for memory in self._own:
            self.inner.free(memory)


class Ledger(TrackingDevice):
    """Writes down what the twin itself counts whenever the device is asked for its memory."""

    def __init__(self, twin: Twin, inner: Device) -> None:
        super().__init__(inner)
        self.seen: list[int] = []
        self._twin = twin

    def around(self, name: str, call: Any, *arguments: Any, **named: Any) -> Any:
        if name == "memory_info":
            self.seen.append(self._twin.devices[0].memory.used_bytes)
        return super().around(name, call, *arguments, **named)

    def cost(self, size_bytes: int) -> int:
        """Return what the twin counts for one block of `size_bytes`: whole pages."""
        if not size_bytes:
            return 0
        memory = self._twin.devices[0].memory
        before = memory.used_bytes
        block = self.inner.alloc(size_bytes)
        counted = memory.used_bytes - before
        self.inner.free(block)
        return counted


@dataclass
class Stand:
    """A twin, what it takes for itself, and the ledger before it."""

    ledger: Ledger
    overheads: Overheads


@pytest.fixture
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    twin = Twin()
    overheads = Overheads(AclDevice(acl=twin.acl, name="twin"), **getattr(request, "param", {}))
    ledger = Ledger(twin, overheads)
    ledger.open()
    yield Stand(ledger, overheads)
    overheads.release()
    ledger.close()


LOADED = ["big@main", "side@other", "small@main"]


def shown(report: FleetReport) -> list[tuple[str, str | None]]:
    return [(reading.stage.value, reading.instance) for reading in report.readings]


def test_without_overheads_every_byte_is_declared(stand: Stand) -> None:
    with plan_and_load(small_fleet(), device=stand.ledger) as fleet:
        exercise(fleet, 2)
        report = fleet.report()
    assert shown(report) == [
        ("reserved", None),
        *(("loaded", name) for name in LOADED),
        ("ready", None),
        *(("first run", name) for name in LOADED),
        ("asked", None),
    ]
    assert {reading.beyond_bytes for reading in report.readings} == {0}
    assert report.reserved_bytes == report.planned_bytes == fleet.plan.planned_bytes
    assert report.loaded_bytes == report.peak_bytes > report.planned_bytes  # inputs and outputs
    assert report.unmodelled_bytes == 0


@pytest.mark.parametrize(
    "stand",
    [
        {},
        {"load": 3 * MiB},
        {"finish": 200 * MiB},
        {"load": 8 * KiB, "create_stream": 16 * KiB, "finish": 64 * KiB},
    ],
    indirect=True,
    ids=repr,
)
def test_readings_are_what_the_ledger_says(stand: Stand) -> None:
    extra = stand.overheads._extra
    start = stand.ledger.inner.memory_info().used_bytes
    with plan_and_load(small_fleet(), device=stand.ledger) as fleet:
        stand.ledger.seen.clear()
        for step in ("first", "second", "beside"):
            fleet.run(f"p.{step}", X)
            fleet.run(f"p.{step}", X)
        asked = list(stand.ledger.seen)
        report = fleet.report()
    assert report.before_bytes == start
    by_stage = {stage: [r for r in report.readings if r.stage is stage] for stage in Stage}
    per_load, per_stream, per_run = (
        stand.ledger.cost(extra.get(name, 0)) for name in ("load", "create_stream", "finish")
    )
    assert [r.beyond_bytes for r in by_stage[Stage.RESERVED]] == [0]
    assert [r.beyond_bytes for r in by_stage[Stage.LOADED]] == [per_load * n for n in (1, 2, 3)]
    ready = 3 * per_load + 2 * per_stream
    assert [r.beyond_bytes for r in by_stage[Stage.READY]] == [ready]
    runs = [ready + per_run * n for n in (1, 2, 3)]
    assert [r.beyond_bytes for r in by_stage[Stage.FIRST_RUN]] == runs
    assert [r.instance for r in by_stage[Stage.FIRST_RUN]] == [
        "big@main",
        "small@main",
        "side@other",
    ]
    assert [start + r.taken_bytes for r in by_stage[Stage.FIRST_RUN]] == asked
    assert start + report.readings[-1].taken_bytes == stand.ledger.seen[-1]
    assert report.unmodelled_loading_bytes == ready
    assert report.unmodelled_running_bytes == report.unmodelled_bytes == runs[-1]
    assert report.loading_peak_bytes == by_stage[Stage.READY][0].taken_bytes
    assert report.running_peak_bytes == report.readings[-1].taken_bytes == report.peak_bytes


def test_an_application_that_brings_its_buffers_takes_less_than_declared() -> None:
    acl = Twin().acl
    acl.init()
    context = acl.rt.create_context(0)[0]
    streams = {lane: acl.rt.create_stream()[0] for lane in ("main", "other")}
    with attach(
        small_fleet(), context=context, streams=streams, acl=acl, options=LoadOptions(host_io=False)
    ) as fleet:
        report = fleet.report()
    assert report.readings[-1].beyond_bytes < 0
    assert report.unmodelled_bytes == 0
    assert report.device == "twin"  # no hardware, though an application brought it
    text = " ".join(report.text().split())
    assert "below 0 where something declared is not taken" in text
    assert "rounded up to the device's pages of 2.00 MiB" in text
    assert max(map(len, report.text().splitlines())) <= 80


def test_the_cpu_device_counts_its_blocks(tmp_path: Path) -> None:
    models = []
    for seed in (1, 2):
        file = tmp_path / f"net{seed}.onnx"
        onnx.save(byte_images(seed), file)
        models.append(ModelSpec(ModelId(file.stem), str(file)))
    steps = tuple(StepSpec(model.id, model.id, "one") for model in models)
    spec = FleetSpec("nets", tuple(models), (PipelineSpec("p", steps),))
    with plan_and_load(spec, device=CpuDevice()) as fleet:
        exercise(fleet, 1)
        report = fleet.report()
    assert {reading.taken_bytes for reading in report.readings} == {report.planned_bytes}
    assert {reading.beyond_bytes for reading in report.readings} == {0}
    assert len(report.readings) == 3 + 2 * len(models)


def report_of(*readings: Reading) -> FleetReport:
    return FleetReport("twin", 64 * MiB, MiB, 2 * MiB, 0, readings)


def test_text_has_80_columns_and_says_what_is_left_out() -> None:
    long = InstanceId("m" * 90 + "@lane")
    rows = [Reading(Stage.LOADED, long, 2 * MiB, 2 * MiB) for _ in range(20)]
    text = report_of(*rows).text()
    assert max(map(len, text.splitlines())) <= 80
    assert "... and 4 more readings" in text
    assert "1.00 MiB of it used before" in text
    empty = report_of()
    assert empty.peak_bytes == empty.unmodelled_bytes == empty.loaded_bytes == 0


def test_where_few_readings_fit_those_that_say_most_stay() -> None:
    rows = [
        Reading(Stage.RESERVED, None, MiB, MiB),
        *(
            Reading(Stage.LOADED, InstanceId(f"m{n}@x"), MiB + extra, MiB)
            for n, extra in enumerate([0, 0, 512, 512, 512, 4096, 4096])
        ),
        Reading(Stage.ASKED, None, MiB, MiB),
    ]
    report = report_of(*rows)
    assert report.shown(9) == report.readings
    assert [r.instance or r.stage for r in report.shown(4)] == [
        "reserved", "m2@x", "m5@x", "asked",
    ]  # fmt: skip


def test_memory_that_others_give_back_is_no_remainder() -> None:
    report = report_of(Reading(Stage.RESERVED, None, -MiB, 2 * MiB))
    assert report.unmodelled_bytes == 0
    assert report.reserved_bytes == -MiB
    assert replace(report, readings=()).unmodelled_bytes == 0
    assert report.below_words() in " ".join(report.text().split())
    assert replace(report, readings=()).below_words() == ""
