"""Memory of this process as the system accounts for it.

Private memory is what ending the process would give back: pages that no other process maps. What
libraries bring with them is there before and after, so differences count what was loaded between.
"""

import ctypes
import gc
from pathlib import Path
from typing import Final

from arena.errors import DeviceError
from planner.units import KiB

__all__ = ["private_process_bytes", "return_freed_memory"]

SMAPS: Final = Path("/proc/self/smaps_rollup")


def private_process_bytes() -> int:
    """Return the private memory of this process, bytes, after a garbage collection.

    Raises
    ------
    DeviceError
        The system does not tell: Linux 4.14 and later do.

    References
    ----------
    .. [1] Linux, Documentation/filesystems/proc.rst: smaps_rollup, Private_Clean, Private_Dirty.
    """
    gc.collect()
    try:
        lines = SMAPS.read_text().splitlines()
    except OSError as error:
        raise DeviceError(
            f"{SMAPS} cannot be read: {error.strerror}; measuring needs Linux 4.14 or later"
        ) from error
    return sum(int(line.split()[1]) * KiB for line in lines if line.startswith("Private_"))


def return_freed_memory() -> None:
    """Have the C library return freed memory to the system, where it can (glibc).

    What is loaded afterwards would be given that memory again, and a difference would hide it.

    References
    ----------
    .. [1] malloc_trim(3).
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
