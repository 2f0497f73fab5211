"""A started twin, and models on it, as its tests need them again and again."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from arena.device.twin import Twin, TwinConfig
from arena.formats.om_writer import OmSpec, write_om
from planner.units import MiB
from tests.device_rigs import CHAINED_BYTES


class Stand:
    """A started twin and what tests do with it again and again."""

    def __init__(self, directory: Path, config: TwinConfig | None = None) -> None:
        self.directory = directory
        self.twin = Twin(config or TwinConfig(memory_bytes=64 * MiB))
        self.acl: ModuleType = self.twin.acl
        assert self.acl.init() == 0
        assert self.acl.rt.set_device(0) == 0

    def file(self, spec: OmSpec) -> str:
        path = self.directory / f"{spec.name}.om"
        write_om(path, spec)
        return str(path)

    def malloc(self, size: int) -> int:
        pointer, ret = self.acl.rt.malloc_align32(size, 0)
        assert ret == 0
        return int(pointer)

    def dataset(self, places: Sequence[tuple[int, int]]) -> int:
        handle = self.acl.mdl.create_dataset()
        for place in places:
            buffer = self.acl.create_data_buffer(*place)
            assert self.acl.mdl.add_dataset_buffer(handle, buffer) == (handle, 0)
        return int(handle)

    def read(self, pointer: int, size: int) -> bytes:
        data: bytes = self.acl.util.ptr_to_bytes(pointer, size)
        return data

    @property
    def used(self) -> int:
        return self.twin.devices[0].memory.used_bytes


class Runner:
    """One loaded model with its datasets."""

    def __init__(self, stand: Stand, spec: OmSpec, memory: tuple[int, int] | None = None) -> None:
        self.stand = stand
        path = stand.file(spec)
        if memory is None:
            self.model, ret = stand.acl.mdl.load_from_file(path)
        else:
            self.model, ret = stand.acl.mdl.load_from_file_with_mem(
                path, memory[0], spec.work_bytes, memory[1], spec.weight_bytes
            )
        assert ret == 0
        self.source, self.target = (stand.malloc(CHAINED_BYTES) for _ in range(2))
        self.inputs = stand.dataset([(self.source, CHAINED_BYTES)])
        self.outputs = stand.dataset([(self.target, CHAINED_BYTES)])

    def set_input(self, value: int) -> None:
        rt = self.stand.acl.rt
        assert rt.memset(self.source, CHAINED_BYTES, value, CHAINED_BYTES) == 0

    def execute(self) -> int:
        ret: int = self.stand.acl.mdl.execute(self.model, self.inputs, self.outputs)
        return ret

    def execute_async(self, stream: int) -> int:
        mdl = self.stand.acl.mdl
        ret: int = mdl.execute_async(self.model, self.inputs, self.outputs, stream)
        return ret

    @property
    def output(self) -> bytes:
        return self.stand.read(self.target, CHAINED_BYTES)

    def run(self, value: int = 1) -> bytes:
        self.set_input(value)
        assert self.execute() == 0
        return self.output
