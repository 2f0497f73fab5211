"""Fleets with pools on the twin: outputs compared, and every launch seen by the race check.

Channels with one frame in flight stack the instances of a pool that they alone use, so a run on the
wrong lane at the wrong time overwrites memory. The check has nothing to say, and the comparison
finds it when the guard is left out.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from arena.device import open_device
from arena.device.adaptors import Race, RaceCheck
from arena.device.twin import TwinConfig
from arena.exercise import exercise
from arena.plan_files import OpenedPlan
from arena.session import load_opened, plan_and_load
from arena.tensors import HostArray
from planner.fleet import CrossStream, DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.judge import judge
from planner.lanes import Assign, LanePool
from planner.model import InstanceId, ModelId
from planner.pipeline import plan_fleet
from planner.plan import Plan
from tests.fleets import declared_sizes

X = bytes(64)
SIZES = {"detector": 65_536, "reader": 32_768, "sorter": 16_384, "indexer": 262_144}
MODELS = tuple(
    ModelSpec(ModelId(name), work_bytes=work, weight_bytes=4096) for name, work in SIZES.items()
)


def spec_of(
    cross_stream: CrossStream = CrossStream.HOST,
    assign: Assign = Assign.ANY,
    *,
    channels: int = 3,
    frames_in_flight: int = 2,
) -> FleetSpec:
    """Cameras and a door read on one pool of two; the door looks where a desk indexes.

    What the desk alone runs is stacked on its pool, on whatever lane the door leaves free.
    """
    pool, own = LanePool("ocr", 2, assign), LanePool("desk", 3)
    detect, read, sort, index = (model.id for model in MODELS)
    camera = PipelineSpec(
        "camera",
        (
            StepSpec("detect", detect, "vision"),
            StepSpec("read", read, pool, ("detect",)),
            StepSpec("sort", sort, pool, ("detect",)),
        ),
        channels,
        frames_in_flight,
    )
    door = PipelineSpec("door", (StepSpec("read", read, pool), StepSpec("look", detect, own)), 2)
    desk = PipelineSpec(
        "desk", (StepSpec("index", index, own), StepSpec("read", read, own, ("index",)))
    )
    device = DeviceSpec(cross_stream=cross_stream)
    return FleetSpec("pools", MODELS, (camera, door, desk), device)


def planned(spec: FleetSpec) -> Plan:
    sizes = declared_sizes(spec)
    return plan_fleet(spec, sizes)


@pytest.mark.parametrize("assign", Assign)
@pytest.mark.parametrize("cross_stream", CrossStream)
def test_all_outputs_are_those_of_the_instance_that_ran(
    cross_stream: CrossStream, assign: Assign
) -> None:
    races: list[Race] = []
    twin = open_device("twin", twin=TwinConfig(step_ns=200_000))
    spec = spec_of(cross_stream, assign)
    with plan_and_load(spec, device=RaceCheck(twin, races)) as fleet:
        offsets = {row.id: row.work_offset for row in fleet.plan.instances}
        assert len({offsets[InstanceId(f"indexer@desk[{k}]")] for k in range(3)}) == 1
        outcome = exercise(fleet, 30, threads=4)
    twin.close()
    assert (outcome.executions, outcome.mismatches) == (30 * (3 * 3 + 2 * 2 + 2), 0)
    assert races == []


def test_without_the_guard_outputs_are_wrong() -> None:
    with plan_and_load(spec_of(), device="twin") as fleet:
        assert exercise(fleet, 60, threads=8, guarded=False).mismatches > 0


@pytest.mark.parametrize("cross_stream", CrossStream)
def test_runs_of_one_step_on_several_lanes_never_meet_in_their_memory(
    cross_stream: CrossStream,
) -> None:
    races: list[Race] = []
    twin = open_device("twin", twin=TwinConfig(step_ns=100_000))
    lanes = set()
    with plan_and_load(spec_of(cross_stream), device=RaceCheck(twin, races)) as fleet:
        alone = output(fleet.run("desk[0].index", X))
        for number in range(9):
            with fleet.frame("door[0]") as door, fleet.frame("desk[0]") as desk:
                for _ in range(number % 3):
                    door.submit("look", X)  # takes the first lane, for a while
                runs = [desk.submit("index", X) for _ in range(6)]
                assert all(output(future.result()) == alone for future in runs)
                lanes |= {future.call.lane for future in runs if future.call is not None}
    twin.close()
    assert races == []
    assert len(lanes) > 1, "the door never took the first lane"


def output(outputs: Mapping[str, HostArray]) -> bytes:
    (array,) = outputs.values()
    return memoryview(array).tobytes()


def test_a_slot_gives_the_instance_that_was_granted_and_two_meet_on_two_lanes() -> None:
    with plan_and_load(spec_of(), device="twin") as fleet:
        both = threading.Barrier(2, timeout=20)
        seen: dict[str, tuple[str, int, int]] = {}

        def hold(channel: str) -> None:
            with fleet.frame(channel) as frame, frame.slot("read", timeout_s=20) as slot:
                assert slot.work is not None
                seen[channel] = slot.instance, slot.stream, slot.work.pointer
                both.wait()

        threads = [threading.Thread(target=hold, args=(f"camera[{c}]",)) for c in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    instances, streams, pointers = (set(values) for values in zip(*seen.values(), strict=True))
    assert instances == {"reader@ocr[0]", "reader@ocr[1]"}
    assert len(streams) == len(pointers) == 2


def test_a_plan_that_takes_two_channels_for_one_is_refused_and_races() -> None:
    """Offsets of one channel, where the pool's lanes are stacked, under the fleet of two."""
    spec = spec_of()
    door = spec.pipelines[1]
    alone = replace(door, steps=door.steps[:1], channels=1)
    plan = planned(replace(spec, pipelines=(alone,)))
    assert judge(plan) == ()
    wrong = replace(plan, fleet=replace(spec, pipelines=(replace(alone, channels=2),)))
    found = [str(violation) for violation in judge(wrong)]
    assert any("reader@ocr[0]" in text and "reader@ocr[1]" in text for text in found)
    races: list[Race] = []
    twin = open_device("twin")
    barrier = threading.Barrier(2, timeout=20)
    with load_opened(OpenedPlan(wrong, Path()), device=RaceCheck(twin, races)) as fleet:

        def read(channel: str) -> None:
            with fleet.frame(channel) as frame:
                barrier.wait()
                for _ in range(30):
                    frame.run("read", X)

        threads = [threading.Thread(target=read, args=(f"door[{c}]",)) for c in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    twin.close()
    assert any("reader@ocr[0]" in str(race) and "reader@ocr[1]" in str(race) for race in races)
