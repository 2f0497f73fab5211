"""The memory limit of a command: given in bytes, or as a device of the catalogue."""

from planner.errors import SpecError, UsageError
from planner.fleet import FleetSpec
from planner.units import parse_bytes

__all__ = ["counted_twice", "limit_of", "size_of"]

_SYSTEM = {"system", "os", "driver"}
"""Names of reserves that mean what an idle device takes."""


def size_of(text: str, option: str) -> int:
    """Return the size, bytes, that an option gives.

    Raises
    ------
    UsageError
        It is no size. Caused by the caller, not by a fleet.
    """
    try:
        return parse_bytes(text)
    except SpecError as error:
        raise UsageError(f"{option}: {error}") from None


def limit_of(memory: str | None, device_model: str | None) -> int | None:
    """Return the limit in bytes; None: the fleet's own.

    Raises
    ------
    UsageError
        Both are given, or what one gives is no size or no known device. Caused by the caller.
    """
    if memory is not None and device_model is not None:
        raise UsageError("found --memory and --device-model; each gives the limit: leave one out")
    if device_model is not None:
        from arena.catalogue import device_model as known_device

        try:
            return known_device(device_model).usable_bytes
        except UsageError as error:
            raise UsageError(f"--device-model: {error}") from None
    return None if memory is None else size_of(memory, "--memory")


def counted_twice(fleet: FleetSpec, device_model: str | None) -> tuple[str, ...]:
    """Return warnings of reserves that the usable memory of a catalogue device leaves out already.

    Examples
    --------
    >>> from planner.fleet import DeviceSpec, ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> m = ModelSpec(ModelId("m"), work_bytes=1, weight_bytes=0)
    >>> p = PipelineSpec("p", (StepSpec("s", m.id, "l"),))
    >>> len(counted_twice(FleetSpec("f", (m,), (p,), DeviceSpec(1, (("system", 9),))), "X"))
    1
    """
    if device_model is None:
        return ()
    return tuple(
        f"device.reserve.{name}: usable memory of {device_model} leaves out what an idle device "
        "takes; a reserve for the system counts it twice"
        for name, size in fleet.device.reserve
        if size and name.lower() in _SYSTEM
    )
