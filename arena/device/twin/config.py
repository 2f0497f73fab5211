"""What a rehearsed device is like: one frozen value, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from arena.device.acl_types import RunMode
from planner.errors import UsageError
from planner.units import KiB, MiB

__all__ = ["MemoryKind", "TwinConfig"]


class MemoryKind(StrEnum):
    """Which attribute of ``acl.rt.get_mem_info`` answers: DDR (310 family) or HBM (910 family)."""

    DDR = "ddr"
    HBM = "hbm"


@dataclass(frozen=True, slots=True)
class TwinConfig:
    """Everything that can be chosen about a twin.

    Attributes
    ----------
    memory_bytes : int
        Device memory of each device; the default is what users of an Atlas 300I Pro see.
    n_devices : int
    memory_kind : MemoryKind
    streams_max : int
        Streams of a device, those that loaded models and contexts take included.
    run_mode : RunMode
    soc : str
        What ``acl.get_soc_name`` returns; models compiled for another chip are then refused at
        load. Empty: no name, and no check.
    small_page_bytes, huge_page_bytes : int
        Page sizes that allocations round up to.
    huge_above_bytes : int
        Allocations larger than this take huge pages under the policy HUGE_FIRST.
    huge_memory_bytes : int or None
        How much memory can be had as huge pages; None: all of it.
    small_offset_bytes : int
        Blocks in small pages start this far behind a page boundary: the vendor promises 64-byte
        alignment and no more.
    garbage : int
        Byte value (1 to 255) of memory that nobody has written.
    slices : int
        Steps of one execution; other threads run between two steps.
    step_ns : int or callable
        Simulated duration of a whole execution in nanoseconds, what the twin itself needs for it
        included; a callable receives the model's name.

    References
    ----------
    .. [1] CANN documentation, aclrtMalloc: 4 KiB pages up to 1 MiB, 2 MiB pages above.
    .. [2] CANN documentation, stream management: 1984, 512, 1024 or 2048 streams by product.
    """

    memory_bytes: int = 21_527 * MiB
    n_devices: int = 1
    memory_kind: MemoryKind = MemoryKind.DDR
    streams_max: int = 1024
    run_mode: RunMode = RunMode.HOST
    soc: str = ""
    small_page_bytes: int = 4 * KiB
    huge_page_bytes: int = 2 * MiB
    huge_above_bytes: int = MiB
    huge_memory_bytes: int | None = None
    small_offset_bytes: int = 64
    garbage: int = 0xA5
    slices: int = 4
    step_ns: int | Callable[[str], int] = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("memory_bytes", 1),
            ("n_devices", 1),
            ("streams_max", 1),
            ("small_page_bytes", 1),
            ("huge_page_bytes", self.small_page_bytes),
            ("slices", 1),
            ("garbage", 1),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"twin: {name} is {getattr(self, name)}, expected >= {least}")
        if self.garbage > 255:
            raise UsageError(f"twin: garbage is {self.garbage}, expected a byte, 1 to 255")
        if self.n_devices > 8:
            raise UsageError(f"twin: n_devices is {self.n_devices}, expected 1 to 8")
        offset = self.small_offset_bytes
        if offset % 64 or not 0 <= offset < self.small_page_bytes:
            raise UsageError(
                f"twin: small_offset_bytes is {offset}, expected a multiple of 64 in a small page"
            )

    def step_ns_of(self, model_name: str) -> int:
        """Return the simulated duration of one execution of a model, nanoseconds."""
        return self.step_ns(model_name) if callable(self.step_ns) else self.step_ns
