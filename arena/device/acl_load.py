"""Every way to load a model that the vendor has, behind one call (docs/loading.md).

file or bytes   x   memory of the caller or of the system   x   direct call or config handle
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from arena.device.acl_calls import AclCalls
from arena.device.acl_types import ConfigAttribute, LoadType
from arena.device.base import DeviceRange, LoadBy, LoadOptions

__all__ = ["ModelPlace", "load_model"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model is: in a file, or at an address.

    Attributes
    ----------
    path : str
        Empty for a model in memory.
    pointer, size_bytes : int
        Of a model in memory.
    """

    path: str = ""
    pointer: int = 0
    size_bytes: int = 0


def load_model(
    calls: AclCalls,
    place: ModelPlace,
    work: DeviceRange | None,
    weights: DeviceRange | None,
    options: LoadOptions,
    *,
    enter: Callable[[], None],
    what: str,
) -> int:
    """Load a model and return its id.

    Parameters
    ----------
    work, weights : DeviceRange or None
        None: the system's.
    enter : callable
        Gives the device's context to the thread that calls it.
    what : str
        Begins the error.
    """
    if options.by is LoadBy.DIRECT:
        return _load_directly(calls, place, work, weights, what)

    def load() -> int:
        enter()
        return _load_by_config(calls, place, work, weights, options, what)

    # A load by config handle sets a graph option of its thread (ge.exec.reuseZeroCopyMemory) and
    # leaves it set: later loads of that thread would inherit it. So it gets a thread of its own.
    return _in_new_thread(load)


def _load_directly(
    calls: AclCalls,
    place: ModelPlace,
    work: DeviceRange | None,
    weights: DeviceRange | None,
    what: str,
) -> int:
    content = (place.path,) if place.path else (place.pointer, place.size_bytes)
    name = "mdl.load_from_file" if place.path else "mdl.load_from_mem"
    if work is None and weights is None:
        return int(calls.call(name, *content, what=what))
    memory = (*_pair(work), *_pair(weights))
    return int(calls.call(f"{name}_with_mem", *content, *memory, what=what))


def _load_by_config(
    calls: AclCalls,
    place: ModelPlace,
    work: DeviceRange | None,
    weights: DeviceRange | None,
    options: LoadOptions,
    what: str,
) -> int:
    handle = calls.create("mdl.create_config_handle", what=what)
    try:
        for attribute, value in _attributes(place, work, weights, options):
            calls.call("mdl.set_config_opt", handle, attribute, value, what=f"{what}, {attribute}")
        return int(calls.call("mdl.load_with_config", handle, what=what))
    finally:
        # Whether the model is loaded is known by now; a handle that stays costs some host bytes.
        calls.attempt("mdl.destroy_config_handle", handle)


def _attributes(
    place: ModelPlace,
    work: DeviceRange | None,
    weights: DeviceRange | None,
    options: LoadOptions,
) -> list[tuple[ConfigAttribute, Any]]:
    with_memory = work is not None or weights is not None
    if place.path:
        load_type = LoadType.FILE_WITH_MEM if with_memory else LoadType.FILE
    else:
        load_type = LoadType.MEM_WITH_MEM if with_memory else LoadType.MEM
    rows: list[tuple[ConfigAttribute, Any]] = [
        (ConfigAttribute.LOAD_TYPE, int(load_type)),
        (ConfigAttribute.REUSE_ZERO_COPY, int(options.reuse_zero_copy)),
    ]
    if options.priority is not None:
        rows.append((ConfigAttribute.PRIORITY, options.priority))
    if place.path:
        rows.append((ConfigAttribute.PATH, place.path))
    else:
        rows.append((ConfigAttribute.MODEL_POINTER, place.pointer))
        rows.append((ConfigAttribute.MODEL_SIZE, place.size_bytes))
    for memory, pointer, size in (
        (work, ConfigAttribute.WORK_POINTER, ConfigAttribute.WORK_SIZE),
        (weights, ConfigAttribute.WEIGHT_POINTER, ConfigAttribute.WEIGHT_SIZE),
    ):
        if memory is not None:
            rows += [(pointer, memory.pointer), (size, memory.size_bytes)]
    return rows


def _pair(memory: DeviceRange | None) -> tuple[int, int]:
    return (0, 0) if memory is None else (memory.pointer, memory.size_bytes)


def _in_new_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own; return or raise what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="acl-load")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
