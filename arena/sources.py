"""Where the bytes of a model come from: a file, the caller, or a generated stand-in.

ONNX files and demo models resolve to compiled files of the CPU device; its rooms are imported only
then. A declared model has no bytes: a rehearsal loads a generated .om of the declared sizes.
"""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from arena.device.base import ModelSource
from arena.files import DEMO_PREFIX
from planner.errors import SpecError, UsageError
from planner.fleet import ModelSpec
from planner.model import declared_tensors

__all__ = [
    "ONNX_SUFFIX",
    "Reader",
    "Readers",
    "checked_reader",
    "locate_model",
    "model_source",
    "stand_in",
]

Reader: TypeAlias = Callable[[], bytes]
Readers: TypeAlias = Mapping[str, Reader]
"""Model id -> a callable that returns the model's bytes: encrypted or generated models."""

ONNX_SUFFIX = ".onnx"


def model_source(model: ModelSpec, base: Path, readers: Readers | None = None) -> ModelSource:
    """Return where the bytes of `model` come from.

    Parameters
    ----------
    model : ModelSpec
    base : Path
        Folder that its file is relative to.
    readers : mapping of model id to callable
        Take the place of the file.

    Raises
    ------
    SpecError
        The file is missing. Caused by the fleet.
    """
    if readers and model.id in readers:
        return ModelSource(model.id, read=checked_reader(model.id, readers[model.id]))
    if model.file:
        path = locate_model(model, base)
        return ModelSource(str(path), path=path)
    return ModelSource(model.id, read=lambda: stand_in(model))


def checked_reader(model: str, reader: Reader) -> Reader:
    """Return a reader whose failures name the model, and which returns bytes and nothing else."""

    def read() -> bytes:
        try:
            data: object = reader()
        except Exception as error:
            raise UsageError(f"models.{model}: its reader failed: {error!r}") from error
        if not isinstance(data, bytes | bytearray | memoryview):
            raise UsageError(
                f"models.{model}: its reader returned {type(data).__name__}, expected bytes"
            )
        return bytes(data)

    return read


def locate_model(model: ModelSpec, base: Path) -> Path:
    """Return the file that a device loads for `model`: compiled first where it is an ONNX file.

    Raises
    ------
    SpecError
        There is no such file. Caused by the fleet.
    """
    place = f"models.{model.id}.file"
    if model.file.startswith(DEMO_PREFIX):
        from arena.device.cpu.compile import compiled_demo

        name = model.file.removeprefix(DEMO_PREFIX)
        return compiled_demo(name, dict(model.inputs), model.gear_shapes())
    path = base / model.file
    if not path.is_file():
        raise SpecError(f"there is no file {path}", place)
    if path.suffix.lower() == ONNX_SUFFIX:
        from arena.device.cpu.compile import compiled_path

        return compiled_path(path, dict(model.inputs), model.gear_shapes())
    for key, given in (("inputs", model.inputs), ("gears", model.gears)):
        if given:
            raise SpecError(
                f"{path.name} is compiled: its shapes are fixed in it; leave `{key}` out",
                f"models.{model.id}.{key}",
            )
    return path


def stand_in(model: ModelSpec) -> bytes:
    """Return a generated .om file of a declared model's sizes; weights differ from name to name."""
    from arena.formats.om_writer import OmSpec, om_bytes

    assert model.work_bytes is not None
    assert model.weight_bytes is not None
    # A side that is not declared gets one small tensor.
    inputs, outputs = model.input_bytes or (("x", 64),), model.output_bytes or (("y", 64),)
    return om_bytes(
        OmSpec(
            name=model.id,
            work_bytes=model.work_bytes,
            weight_bytes=model.weight_bytes,
            seed=zlib.crc32(model.id.encode()),
            inputs=declared_tensors(inputs),
            outputs=declared_tensors(outputs),
        )
    )
