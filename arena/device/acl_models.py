"""Models of the `acl` device: where their bytes come from, and what they say of themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from arena.device.acl_calls import AclCalls
from arena.device.acl_gears import GearSet, read_gears
from arena.device.acl_io import InstanceIo
from arena.device.acl_load import ModelPlace
from arena.device.acl_memory import AclMemory
from arena.device.acl_streams import AclLaunch
from arena.device.acl_types import AIPP_INPUT, DATA_TYPES, GEARS_INPUT
from arena.device.base import DeviceRange, ModelDescription, ModelSource
from planner.errors import UsageError
from planner.model import TensorSpec

__all__ = ["LoadedModel", "describe_model", "located"]


@dataclass(eq=False, slots=True)
class LoadedModel:
    """A loaded model.

    Attributes
    ----------
    io : InstanceIo
        Its datasets, and its description.
    memory : tuple of DeviceRange
        The caller's memory that it lies in.
    launch : AclLaunch or None
        Its last execution.
    unloaded : bool
        The device has forgotten it; its datasets are still to be given back.
    """

    name: str
    io: InstanceIo
    memory: tuple[DeviceRange, ...]
    launch: AclLaunch | None = None
    unloaded: bool = False


@contextmanager
def located(source: ModelSource, memory: AclMemory) -> Iterator[ModelPlace]:
    """Have a model where calls find it, as long as the `with` block lasts.

    Bytes are needed during the call alone: the graph engine copies what it keeps (it frees its own
    copy of a file as soon as that is loaded).
    """
    if source.path is not None:
        path = os.fspath(source.path)
        if "\0" in path:
            raise UsageError(f"model source {source.name!r}: {path!r} is no path")
        yield ModelPlace(path=path)
        return
    assert source.read is not None, "a source has a path or a callable"
    data: object = source.read()
    if not isinstance(data, bytes) or not data:
        raise UsageError(
            f"model source {source.name!r}: its callable returned {type(data).__name__} "
            f"{data!r:.20}, expected the bytes of a model"
        )
    with memory.model_bytes(data) as pointer:
        yield ModelPlace(pointer=pointer, size_bytes=len(data))


def describe_model(
    calls: AclCalls, number: int, name: str
) -> tuple[ModelDescription, GearSet | None]:
    """Return inputs and outputs of a loaded model, and what it can be set to."""
    what = f"model {name!r}: describing"
    desc = calls.create("mdl.create_desc", what=what)
    try:
        calls.call("mdl.get_desc", desc, number, what=what)
        inputs, outputs = (
            tuple(
                _tensor(calls, desc, side, index, what)
                for index in range(calls.plain(f"mdl.get_num_{side}s", desc))
            )
            for side in ("input", "output")
        )
        gears = read_gears(calls, desc, inputs, what)
    finally:
        calls.attempt("mdl.destroy_desc", desc)
    names = [spec.name for spec in inputs]
    hidden = tuple(name for name in (GEARS_INPUT, AIPP_INPUT) if name in names)
    return ModelDescription(inputs, outputs, hidden), gears


def _tensor(calls: AclCalls, desc: int, side: str, index: int, what: str) -> TensorSpec:
    number = calls.plain(f"mdl.get_{side}_data_type", desc, index)
    dims = calls.call(f"mdl.get_{side}_dims", desc, index, what=what)["dims"]
    return TensorSpec(
        name=calls.plain(f"mdl.get_{side}_name_by_index", desc, index),
        dtype=DATA_TYPES.get(number, "bytes"),
        shape=tuple(dims) if min(dims, default=0) >= -1 else (),
        size_bytes=calls.plain(f"mdl.get_{side}_size_by_index", desc, index),
    )
