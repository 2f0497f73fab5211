"""A device of which only part of the memory may be taken."""

from typing import Final

from arena.device.adaptors.adaptor import Adaptor, used_or_close
from arena.device.base import (
    Device,
    DeviceRange,
    LoadOptions,
    MemoryInfo,
    ModelHandle,
    ModelSource,
)
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.units import format_bytes

__all__ = ["LimitedDevice"]

_DEFAULT_OPTIONS: Final = LoadOptions()


class LimitedDevice(Adaptor):
    """A device of which only part of the memory may be taken.

    Counted is what the wrapped device reports as used beyond what it was when it was opened, so
    system-managed models and datasets count like reservations.

    Parameters
    ----------
    inner : Device
    limit_bytes : int
        At least 0.
    """

    def __init__(self, inner: Device, *, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise UsageError(f"memory limit is {limit_bytes} bytes, expected 0 or more")
        super().__init__(inner)
        self._limit_bytes = limit_bytes
        self._base_bytes: int | None = None

    def open(self) -> None:
        """Acquire the device, and take what is used now as not ours."""
        super().open()
        if self._base_bytes is None:
            self._base_bytes = used_or_close(self.inner)

    def close(self) -> None:
        """Release the device."""
        super().close()
        self._base_bytes = None

    def _used(self) -> int:
        return max(0, self.inner.memory_info().used_bytes - (self._base_bytes or 0))

    def memory_info(self) -> MemoryInfo:
        """Return free and total memory under the limit."""
        info = super().memory_info()
        used = max(0, info.used_bytes - (self._base_bytes or 0))
        total = min(self._limit_bytes, info.total_bytes)
        return MemoryInfo(max(0, min(info.free_bytes, total - used)), total)

    def alloc(self, size_bytes: int) -> DeviceRange:
        """Reserve one block, and free it again if that went beyond the limit."""
        what = f"allocating {size_bytes} bytes ({format_bytes(size_bytes)})"
        used = self._used()
        if used + size_bytes > self._limit_bytes:
            raise self._refuse(what, used)
        memory = super().alloc(size_bytes)
        try:
            wanted = self._used()
        except DeviceError:
            self.inner.free(memory)
            raise
        if wanted > self._limit_bytes:  # pages count
            self.inner.free(memory)
            raise self._refuse(what, used, wanted)
        return memory

    def load(
        self,
        source: ModelSource,
        *,
        work: DeviceRange | None,
        weights: DeviceRange | None,
        options: LoadOptions = _DEFAULT_OPTIONS,
    ) -> ModelHandle:
        """Load a model, and unload it again if that went beyond the limit."""
        model = super().load(source, work=work, weights=weights, options=options)
        try:
            used = self._used()
        except DeviceError:
            self.inner.unload(model)
            raise
        if used > self._limit_bytes:
            self.inner.unload(model)
            raise self._refuse(f"model {source.name!r}: loading", self._used(), used)
        return model

    def _refuse(self, what: str, used: int, wanted: int | None = None) -> DeviceError:
        limit = self._limit_bytes
        more = "" if wanted is None else f" takes {wanted - used} bytes in pages:"
        return DeviceError(
            f"{what}:{more} {used} bytes are used, {max(0, limit - used)} free of the limit of "
            f"{limit} bytes ({format_bytes(limit)})",
            call="limit",
        )
