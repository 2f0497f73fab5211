"""Where the bytes of a model come from: a file, the caller, or a generated stand-in.

ONNX files and demo models resolve to compiled files of the CPU device; its rooms are imported only
then. What the twin cannot execute it rehearses with a generated .om: of a declared model's sizes,
or of a compiled network's sizes, tensors and gears.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from arena.device.base import ModelSource
from arena.files import DEMO_PREFIX
from planner.errors import SpecError, UsageError
from planner.fleet import ModelSpec
from planner.model import TensorSpec, declared_tensors

__all__ = [
    "ONNX_SUFFIX",
    "Reader",
    "Readers",
    "checked_reader",
    "is_for_cpu",
    "locate_model",
    "model_source",
    "source_for",
    "stand_in",
    "stand_in_of_network",
]

Reader: TypeAlias = Callable[[], bytes]
Readers: TypeAlias = Mapping[str, Reader]
"""Model id -> a callable that returns the model's bytes: encrypted or generated models."""

ONNX_SUFFIX = ".onnx"
CPU_SUFFIXES: Final = (ONNX_SUFFIX, ".arena")


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


def is_for_cpu(model: ModelSpec) -> bool:
    """Return whether a model is a network that the ``cpu`` device executes."""
    is_demo = model.file.startswith(DEMO_PREFIX)
    return is_demo or Path(model.file).suffix.lower() in CPU_SUFFIXES


def source_for(
    device: str, model: ModelSpec, base: Path, readers: Readers | None = None
) -> ModelSource:
    """Return what a device loads for `model`: a network for ``cpu`` is rehearsed elsewhere.

    Parameters
    ----------
    device : str
        Its name.
    model, base, readers
        As in `model_source`.

    Raises
    ------
    SpecError
        The file is missing. Caused by the fleet.
    """
    source = model_source(model, base, readers)
    if device == "cpu" or not is_for_cpu(model):
        return source
    path, read = source.path, source.read
    if read is None:
        assert path is not None
        return ModelSource(source.name, read=lambda: stand_in_of_network(model.id, path))
    return ModelSource(source.name, read=lambda: stand_in_of_network(model.id, read()))


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
    path = base / model.file
    if model.file.startswith(DEMO_PREFIX):
        return _compiled(model, path)
    if not path.is_file():
        tried = "" if path.is_absolute() else f" (looked for as {path.absolute()})"
        raise SpecError(f"there is no file {path}{tried}", place)
    if path.suffix.lower() == ONNX_SUFFIX:
        return _compiled(model, path)
    for key, given in (("inputs", model.inputs), ("gears", model.gears)):
        if given:
            raise SpecError(
                f"{path.name} is compiled: its shapes are fixed in it; leave `{key}` out",
                f"models.{model.id}.{key}",
            )
    return path


def _compiled(model: ModelSpec, path: Path) -> Path:
    """Return what a network is compiled to; what is wrong with it names the model and its file."""
    from arena.device.cpu.compile import compiled_demo, compiled_path

    shapes, gears = dict(model.inputs), model.gear_shapes()
    try:
        if model.file.startswith(DEMO_PREFIX):
            return compiled_demo(model.file.removeprefix(DEMO_PREFIX), shapes, gears)
        return compiled_path(path, shapes, gears)
    except SpecError as error:
        place = ".".join(part for part in ("models", model.id, error.path) if part)
        raise SpecError(f"{model.file}: {error.message}", place) from error


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


def stand_in_of_network(name: str, network: Path | bytes) -> bytes:
    """Return a generated .om file with the sizes, tensors and gears of a compiled .arena file.

    Weights differ from network to network. With gears, an axis is open where it differs.

    Raises
    ------
    FormatError
        The compiled file is damaged.
    """
    from arena.device.acl_types import GEARS_INPUT
    from arena.formats.arena_file import read_model
    from arena.formats.om_tensors import Gears, GearsKind
    from arena.formats.om_writer import OmSpec, om_bytes

    model = read_model(network)
    spec = OmSpec(
        name=name,
        work_bytes=model.work_bytes,
        weight_bytes=model.weight_bytes,
        seed=zlib.crc32(model.payload_sha256.encode()),
        inputs=model.inputs,
        outputs=model.outputs,
    )
    if not model.gears:
        return om_bytes(spec)
    choices = tuple(gear.choice for gear in model.gears)
    kind = GearsKind.BATCH if len(choices[0]) == 1 else GearsKind.DIMS
    hidden = TensorSpec(GEARS_INPUT, "int32", (len(choices[0]),), 4 * len(choices[0]))
    inputs = map(_over_gears, zip(*(gear.inputs for gear in model.gears), strict=True))
    at_gears = zip(*(gear.outputs for gear in model.gears), strict=True)
    outputs = tuple(max(tensors, key=lambda tensor: tensor.size_bytes) for tensors in at_gears)
    gears = Gears(kind, choices)
    return om_bytes(replace(spec, inputs=(*inputs, hidden), outputs=outputs, gears=gears))


def _over_gears(tensors: Sequence[TensorSpec]) -> TensorSpec:
    """Return an input as files with gears tell it: open axes, the largest size."""
    shape = tuple(
        lengths[0] if len(set(lengths)) == 1 else -1
        for lengths in zip(*(tensor.shape for tensor in tensors), strict=True)
    )
    return replace(tensors[0], shape=shape, size_bytes=max(tensor.size_bytes for tensor in tensors))
