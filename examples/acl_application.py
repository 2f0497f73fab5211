"""What applications of pyACL bring along: context, streams, datasets. Used by the two examples.

Nothing here knows of plans. It is written in the manner of such applications, against the
documented calls, so that the examples show where this library meets them.
"""

import random
from pathlib import Path
from types import ModuleType
from typing import Any

from arena.device.twin import Twin
from arena.formats.om_writer import OmSpec, write_om
from planner.model import TensorSpec

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2


def find_acl() -> tuple[ModuleType, Any]:
    """Return pyACL where it is installed, else a twin (kept alive by the second value)."""
    try:
        import acl
    except ImportError:
        twin = Twin()
        return twin.acl, twin
    return acl, None


def write_models(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Write stand-ins for compiled models: name -> (work bytes, weight bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (work, weights)) in enumerate(sizes.items()):
        spec = OmSpec(
            name=name,
            work_bytes=work,
            weight_bytes=weights,
            seed=seed,
            inputs=(TensorSpec("x", "uint8", (1024,), 1024),),
            outputs=(TensorSpec("y", "uint8", (256,), 256),),
        )
        write_om(folder / f"{name}.om", spec)


def check(what: str, code: int) -> None:
    """Stop with the call's name where AscendCL reports an error."""
    if code != 0:
        raise SystemExit(f"{what} failed with {code}")


class Datasets:
    """Input and output datasets of one model, in device memory of the application's."""

    def __init__(self, acl: ModuleType, model_id: int) -> None:
        self.acl = acl
        self.description = acl.mdl.create_desc()
        check("get_desc", acl.mdl.get_desc(self.description, model_id))
        count_in = acl.mdl.get_num_inputs(self.description)
        count_out = acl.mdl.get_num_outputs(self.description)
        size_in, size_out = acl.mdl.get_input_size_by_index, acl.mdl.get_output_size_by_index
        self.inputs = self._dataset([size_in(self.description, i) for i in range(count_in)])
        self.outputs = self._dataset([size_out(self.description, i) for i in range(count_out)])

    def _dataset(self, sizes: list[int]) -> tuple[int, list[tuple[int, int, int]]]:
        dataset = self.acl.mdl.create_dataset()
        buffers = []
        for size in sizes:
            pointer, code = self.acl.rt.malloc(size, 0)
            check("malloc", code)
            buffer = self.acl.create_data_buffer(pointer, size)
            _, code = self.acl.mdl.add_dataset_buffer(dataset, buffer)
            check("add_dataset_buffer", code)
            buffers.append((buffer, pointer, size))
        return dataset, buffers

    def fill(self, data: bytes) -> None:
        """Copy `data` into the first input."""
        _, pointer, size = self.inputs[1][0]
        source = self.acl.util.bytes_to_ptr(data)
        check("memcpy", self.acl.rt.memcpy(pointer, size, source, len(data), HOST_TO_DEVICE))

    def result(self) -> bytes:
        """Copy the first output out."""
        _, pointer, size = self.outputs[1][0]
        host, code = self.acl.rt.malloc_host(size)
        check("malloc_host", code)
        check("memcpy", self.acl.rt.memcpy(host, size, pointer, size, DEVICE_TO_HOST))
        data: bytes = self.acl.util.ptr_to_bytes(host, size)
        check("free_host", self.acl.rt.free_host(host))
        return data

    def destroy(self) -> None:
        """Give everything back."""
        for dataset, buffers in (self.inputs, self.outputs):
            for buffer, pointer, _ in buffers:
                check("destroy_data_buffer", self.acl.destroy_data_buffer(buffer))
                check("free", self.acl.rt.free(pointer))
            check("destroy_dataset", self.acl.mdl.destroy_dataset(dataset))
        check("destroy_desc", self.acl.mdl.destroy_desc(self.description))


def picture(seed: int) -> bytes:
    """Return what a camera would: 1,024 bytes."""
    return random.Random(seed).randbytes(1024)
