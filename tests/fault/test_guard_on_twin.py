"""50 threads on the twin over shared work memory: outputs are those of each instance alone.

The race check sees every launch and, with the guard, has nothing to say.
"""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.device.acl import AclDevice
from arena.device.adaptors import Race, RaceCheck
from arena.device.base import ModelSource
from arena.device.twin import Twin, TwinConfig
from arena.guard import Call, Guard
from planner.fleet import StepSpec
from planner.model import InstanceId, ModelId
from planner.units import MiB
from tests.device_rigs import CHAINED_BYTES, chained_spec, om_source
from tests.oracles_guard import instance_of
from tests.storm import FLEET, N_EXECUTIONS, Storm, cell_of

WORK_BYTES = 1024


class TwinMemory:
    """Instances loaded where the cells of their steps lie, and what each computes alone."""

    def __init__(self, directory: Path) -> None:
        self.races: list[Race] = []
        twin = Twin(TwinConfig(memory_bytes=64 * MiB))
        self.device = RaceCheck(AclDevice(acl=twin.acl, name="twin", timeout_s=60), self.races)
        self.device.open()
        sources: dict[ModelId, ModelSource] = {
            model.id: om_source(
                directory, chained_spec(model.id, i, work_bytes=WORK_BYTES, weight_bytes=512)
            )
            for i, model in enumerate(FLEET.models, start=1)
        }
        cells = {name: self.device.alloc(WORK_BYTES) for name in sorted(set(self.cells().values()))}
        instances = FLEET.instances()
        self.memory = list(cells.values())
        self.models = {}
        for instance, name in self.cells().items():
            self.memory.append(weights := self.device.alloc(512))
            model, _ = instances[instance]
            self.models[instance] = self.device.load(
                sources[model], work=cells[name], weights=weights
            )
        lanes = {lane for _, lane in instances.values()}
        self.streams = {lane: self.device.create_stream() for lane in sorted(lanes)}
        self.alone = {
            instance: self.run(instance, instances[instance][1]) for instance in self.models
        }
        self.before = self.device.end()
        self.own = {instance: threading.Lock() for instance in self.models}
        assert len(set(self.alone.values())) == len(sources), "models compute differently"

    @staticmethod
    def cells() -> dict[InstanceId, str]:
        """Return instance -> the cell of its work memory."""
        return {
            instance_of(spec, channel): cell_of(spec, channel)
            for _, channel, spec in FLEET.channel_steps()
        }

    def run(self, instance: InstanceId, lane: str) -> bytes:
        launch = self.device.launch(
            self.models[instance], [bytes(CHAINED_BYTES)], [None], self.streams[lane]
        )
        (output,) = self.device.finish(launch)
        assert output is not None
        return bytes(output)

    def execute(
        self, rng: random.Random, call: Call | None, spec: StepSpec, channel: int
    ) -> tuple[bool, object]:
        instance = instance_of(spec, channel)
        follows = () if call is None else call.follows
        self.device.begin(f"{instance} ({call})", (self.before, *follows))
        with self.own[instance]:  # The device refuses two executions of one model anyway.
            output = self.run(instance, spec.lane_of(channel))
        return output != self.alone[instance], self.device.end()

    def close(self) -> None:
        for model in self.models.values():
            self.device.unload(model)
        for stream in self.streams.values():
            self.device.destroy_stream(stream)
        for block in self.memory:
            self.device.free(block)
        self.device.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[TwinMemory]:
    memory = TwinMemory(tmp_path)
    yield memory
    memory.close()


@pytest.mark.slow
def test_with_the_guard_every_output_is_that_of_the_instance_alone(memory: TwinMemory) -> None:
    storm = Storm(Guard(FLEET), memory, N_EXECUTIONS)
    storm.run()
    assert storm.executions >= N_EXECUTIONS
    assert storm.mismatches == 0
    assert memory.races == []


def test_without_the_guard_outputs_are_wrong_and_the_check_says_who_raced(
    memory: TwinMemory,
) -> None:
    storm = Storm(None, memory, N_EXECUTIONS // 50)
    storm.run()
    assert storm.mismatches > 0
    assert memory.races
