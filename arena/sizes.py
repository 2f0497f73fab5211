"""Measure the models of a fleet: sizes and digests from files, without a device.

Each distinct file is opened and hashed once, however many models name it. Declared models pass
through; ONNX files are compiled into the cache first; demo names resolve to fetched files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from arena.device.base import io_block_bytes
from arena.formats import ModelFacts, read_model_facts
from arena.sources import ONNX_SUFFIX, Reader, Readers, checked_reader, locate_model
from planner.errors import DecodeError, SpecError
from planner.fleet import FleetSpec, ModelSpec
from planner.model import ModelId, ModelSize, declared_tensors

__all__ = ["MeasuredModel", "measure_models", "read_facts"]

Progress: TypeAlias = Callable[[int, int], None]
SYSTEM_MANAGED: Final = (
    "shapes are undetermined, so the device manages its memory itself, outside the arena; how much "
    "work memory it takes is known only while it runs"
)


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """One used model: its sizes, and what is special about its file (empty mostly)."""

    size: ModelSize
    note: str = ""


def measure_models(
    fleet: FleetSpec,
    base: Path,
    *,
    readers: Readers | None = None,
    progress: Progress | None = None,
) -> dict[ModelId, MeasuredModel]:
    """Measure every used model of `fleet`.

    Parameters
    ----------
    fleet : FleetSpec
    base : Path
        Folder that the model files are relative to.
    readers : mapping of model id to callable
        Models whose bytes the caller supplies, instead of the file.
    progress : callable
        Called with (bytes hashed, bytes in all), file by file.

    Raises
    ------
    SpecError
        A model file is missing, or cannot be planned; the message names the model.
    FormatError
        A model file is damaged.
    """
    unused = set(fleet.unused_models())
    known: dict[Path, ModelFacts] = {}
    measured = {}
    for model in fleet.models:
        if model.id in unused:
            continue
        if readers and model.id in readers:
            if not model.file:
                raise SpecError(
                    "declares its sizes, so its bytes cannot come from a reader; give it a `file`",
                    f"models.{model.id}",
                )
            facts = _facts_of_bytes(model.id, readers[model.id], progress)
        elif model.file:
            path = locate_model(model, base).resolve()
            if path not in known:
                known[path] = read_facts(path, progress=progress)
            facts = known[path]
        else:
            assert model.work_bytes is not None
            assert model.weight_bytes is not None
            inputs, outputs = map(declared_tensors, (model.input_bytes, model.output_bytes))
            declared = ModelSize(
                model.work_bytes,
                model.weight_bytes,
                inputs=inputs,
                outputs=outputs,
                io_bytes=io_block_bytes(inputs, outputs),
            )
            measured[model.id] = MeasuredModel(declared)
            continue
        size = _size_of(model, facts)
        note = facts.note or (SYSTEM_MANAGED if size.system_managed else "")
        measured[model.id] = MeasuredModel(size, note)
    return measured


def _facts_of_bytes(model: str, reader: Reader, progress: Progress | None) -> ModelFacts:
    return read_model_facts(checked_reader(model, reader)(), model, progress=progress)


def read_facts(
    path: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress | None = None,
) -> ModelFacts:
    """Return the facts of a model file; of an ONNX file those of its compiled form, from the cache.

    Parameters
    ----------
    path : Path
    shapes : mapping of input name to axes
        Of the inputs that an ONNX file leaves open.
    progress : callable
        Called with (bytes hashed, bytes in all).

    Raises
    ------
    DecodeError
        It cannot be read, or is damaged (`FormatError`).
    SpecError
        An ONNX file leaves axes of its inputs open, or `shapes` does not fit it.
    """
    if path.suffix.lower() == ONNX_SUFFIX:
        from arena.device.cpu.compile import onnx_facts

        try:
            return onnx_facts(path, shapes)
        except SpecError as error:
            raise SpecError(error.message, error.path, file=str(path)) from error
    try:
        return read_model_facts(path, progress=progress)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read: {error.strerror}") from error


def _size_of(model: ModelSpec, facts: ModelFacts) -> ModelSize:
    if facts.size is None:
        raise SpecError(f"{facts.file}: cannot be planned: {facts.note}", f"models.{model.id}.file")
    if facts.format != "om" and not facts.format.startswith("om-"):
        return facts.size
    return replace(facts.size, io_bytes=io_block_bytes(facts.size.inputs, facts.size.outputs))
