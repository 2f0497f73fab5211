"""The arena of a plan on one device: one reservation for work, one for weights, frozen once open.

Regions are slices of the two reservations at the plan's offsets. Nothing is allocated or moved
after `reserve`; what lies outside the arena belongs to the device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from arena.device.base import Device, DeviceRange
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.handover import ChannelBuffer
from planner.plan import Instance, Plan
from planner.units import align_up, format_bytes

__all__ = ["Arena", "failure_of", "reserve"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arena:
    """Both reservations of a plan, page-rounded; None where it needs no bytes of that kind."""

    work: DeviceRange | None
    weights: DeviceRange | None

    def work_of(self, instance: Instance) -> DeviceRange | None:
        """Return the work region of an instance, exactly as long as load wants it."""
        return _slice(self.work, instance.work_offset, instance.work_bytes)

    def buffer(self, buffer: ChannelBuffer) -> DeviceRange:
        """Return the region of a tensor that steps hand on, exactly as long as the tensor."""
        found = _slice(self.work, buffer.offset, buffer.size_bytes)
        assert found is not None, "a plan with buffers has a work reservation"
        return found

    def weights_of(self, instance: Instance) -> DeviceRange | None:
        """Return the weight region of an instance; sharers get the same range."""
        return _slice(self.weights, instance.weight_offset, instance.weight_bytes)


def reserve(plan: Plan, device: Device) -> Arena:
    """Reserve work and weights of `plan` on `device`, one block each, and clear the work block.

    Blocks are whole pages, so that their bases are aligned to pages and regions to the plan's rule.

    The vendor advises to clear work memory once, since only memory that the device allocates itself
    for a model is cleared by it.

    Raises
    ------
    DeviceError
        The device cannot give a block that large; says what it can give. Nothing stays reserved.
    """
    blocks: list[DeviceRange | None] = []
    try:
        for height_bytes, what in ((plan.height_bytes, "work"), (plan.weight_bytes, "weights")):
            blocks.append(_reserve(plan, device, height_bytes, what))
        work, weights = blocks
        if work is not None:
            device.fill(work, 0)
    except BaseException as error:
        left = [
            f"block {block} stays reserved: {failure}"
            for block in blocks
            if block is not None and (failure := failure_of(device.free, block))
        ]
        if left:
            raise DeviceError(f"{error}; {'; '.join(left)}") from error
        raise
    return Arena(work, weights)


def failure_of(call: Callable[[T], None], argument: T) -> DeviceError | UsageError | None:
    """Make a call that gives something back, twice if it fails; return what failed, or None.

    A transient failure must not strand memory.
    """
    failure: DeviceError | UsageError | None = None
    for _ in range(2):
        try:
            call(argument)
        except (DeviceError, UsageError) as error:
            failure = error
        else:
            return None
    return failure


def _reserve(plan: Plan, device: Device, height_bytes: int, what: str) -> DeviceRange | None:
    if height_bytes == 0:
        return None
    size_bytes = align_up(height_bytes, plan.page_bytes)
    try:
        block = device.alloc(size_bytes)
    except DeviceError as error:
        free = device.memory_info().free_bytes
        raise DeviceError(
            f"reservation of {size_bytes} bytes ({format_bytes(size_bytes)}) for {what} in one "
            f"block refused by device {device.name!r}, which has {free} bytes "
            f"({format_bytes(free)}) free: {error}; free memory on the device, lower the fleet's "
            "demand, or plan with --memory to see what fits",
            call=error.call,
            code=error.code,
        ) from error
    if block.pointer % plan.rule.align_bytes:
        device.free(block)
        raise DeviceError(
            f"device {device.name!r} gave {what} memory at {block.pointer:#x}, expected a multiple "
            f"of {plan.rule.align_bytes}: regions would not be aligned"
        )
    return block


def _slice(block: DeviceRange | None, offset: int | None, size_bytes: int) -> DeviceRange | None:
    if block is None or offset is None:
        return None
    assert offset + size_bytes <= block.size_bytes, "the judge lets no region leave its reservation"
    return DeviceRange(block.pointer + offset, size_bytes)
