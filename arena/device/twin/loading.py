"""How the twin loads a model: the checks, what is taken from the device, and what is not said.

References
----------
.. [1] CANN graph engine, davinci_model.cc (InitWeightMem, InitFeatureMapAndP2PMem): a buffer that
       is too small is 145000; sink_weight_assigner.cc (GetOrCreateWeightMem): a dynamic model
       falls back in silence.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from arena.device.acl_codes import AclCode
from arena.device.acl_types import MallocPolicy
from arena.device.twin.binding import CallFailed
from arena.device.twin.images import Content, ModelImage, copy_weights, query_sizes
from arena.device.twin.memory import Block
from arena.device.twin.process import Context, LoadedModel, Process
from arena.formats.om import OmSizes

__all__ = ["Memory", "load_model", "query_model", "unload_model"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Work and weight memory of the caller; pointer 0: the system's."""

    work_pointer: int = 0
    work_bytes: int = 0
    weight_pointer: int = 0
    weight_bytes: int = 0


def query_model(process: Process, content: Content) -> OmSizes:
    """Return the sizes of a model without a device."""
    process.require_initialised(AclCode.GE_EXEC_NOT_INIT)
    return query_sizes(content)


def load_model(
    process: Process, content: Content, memory: Memory, *, priority: int = 0
) -> LoadedModel:
    """Load a model into the caller's memory, or into memory of the device's own."""
    process.require_initialised(AclCode.GE_EXEC_NOT_INIT)
    context = process.current()
    if not 0 <= priority <= 7:
        raise CallFailed(AclCode.GE_PARAM_INVALID, f"priority is {priority}, expected 0 to 7")
    image = process.images.read(content)
    soc = process.config.soc
    if soc and image.om.soc and soc != image.om.soc:
        raise CallFailed(
            AclCode.GE_FAILURE, f"the model is compiled for {image.om.soc}, the device is {soc}"
        )
    context.device.take_streams(image.om.stream_count)
    owned: list[Block] = []
    try:
        weights = _place_weights(image, context, memory, owned)
        work = _place_work(image, context, memory, owned, reuse=process.reuse_zero_copy)
        if weights[1]:
            place = context.device.memory.find(*weights)
            assert place is not None, "checked or allocated just now"
            copy_weights(content, image, place)
    except BaseException:
        _give_back(context, owned, image)
        raise
    with process.lock:
        process.n_loads += 1
        model = LoadedModel(process.n_loads, image, context, work, weights, owned)
        process.models[model.number] = model
    return model


def unload_model(process: Process, number: int) -> None:
    """Unload a model; memory of the caller stays the caller's."""
    model = process.model(number)
    process.drop(process.models, number, AclCode.GE_EXEC_MODEL_ID_INVALID, "model")
    _give_back(model.context, model.owned, model.image)


def _give_back(context: Context, owned: Sequence[Block], image: ModelImage) -> None:
    for block in owned:
        context.device.memory.release(block.pointer)
    context.device.give_streams(image.om.stream_count)


def _place_weights(
    image: ModelImage, context: Context, memory: Memory, owned: list[Block]
) -> tuple[int, int]:
    """Return where the weights lie."""
    needed = image.om.weight_bytes
    if needed == 0:
        return 0, 0
    if memory.weight_pointer and memory.weight_bytes >= needed:
        _require_live(context, memory.weight_pointer, needed, "weights")
        return memory.weight_pointer, needed
    if memory.weight_pointer and not image.om.dynamic:
        raise CallFailed(
            AclCode.GE_PARAM_INVALID,
            f"E13025: weights need {needed} bytes, {memory.weight_bytes} are given",
        )
    # A dynamic model gets memory of its own without a word: the caller's stays unused.
    return _allocate(context, needed, owned).pointer, needed


def _place_work(
    image: ModelImage, context: Context, memory: Memory, owned: list[Block], *, reuse: bool
) -> tuple[int, int]:
    """Return where the work buffer lies, and how much of it executions write."""
    needed = image.om.work_bytes
    if image.om.dynamic or needed == 0:
        return 0, 0
    least = needed - image.om.zero_copy_bytes
    if memory.work_pointer:
        if memory.work_bytes < least:
            raise CallFailed(
                AclCode.GE_PARAM_INVALID,
                f"work needs at least {least} bytes, {memory.work_bytes} are given",
            )
        length = min(needed, memory.work_bytes)
        _require_live(context, memory.work_pointer, length, "work")
        return memory.work_pointer, length
    length = least if reuse else needed
    if length == 0:
        return 0, 0
    block = _allocate(context, length, owned)
    ctypes.memset(block.address, 0, length)
    return block.pointer, length


def _require_live(context: Context, pointer: int, size_bytes: int, what: str) -> None:
    context.device.memory.require(pointer, size_bytes, AclCode.GE_EXEC_MODEL_ADDR_INVALID, what)


def _allocate(context: Context, size_bytes: int, owned: list[Block]) -> Block:
    try:
        block = context.device.memory.allocate(size_bytes, MallocPolicy.HUGE_FIRST, tail_bytes=0)
    except CallFailed as failure:
        raise CallFailed(AclCode.GE_MEMORY_ALLOCATION, failure.text) from None
    owned.append(block)
    return block
