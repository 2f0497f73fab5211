"""Where made and fetched files are kept between runs, and how two processes share them.

An entry is written aside and renamed into place, so a reader sees all of it or nothing; a lock
beside it keeps a second process from doing the same work at the same time.
"""

import os
from collections.abc import Callable
from pathlib import Path

from arena.errors import DeviceError
from arena.files import write_atomically

__all__ = ["cache_folder", "made_once"]


def cache_folder() -> Path:
    """Return the folder of all caches: ARENA_CACHE_DIR, else the user's cache folder.

    Raises
    ------
    DeviceError
        The package that knows the user's folder is missing: of the extra `cpu`.
    """
    chosen = os.environ.get("ARENA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return user_cache_path("npu-arena", appauthor=False)


def made_once(path: Path, *, is_good: Callable[[Path], bool], make: Callable[[], bytes]) -> Path:
    """Return `path`, whose content one process makes while others wait, unless it is good already.

    Parameters
    ----------
    path : Path
        The entry; its folder is made where it is missing.
    is_good : callable
        Judges an entry that exists.
    make : callable
        Returns the content. An exception leaves everything as it was.

    Raises
    ------
    DeviceError
        The package that locks it is missing: of the extra `cpu`.
    """
    if path.exists() and is_good(path):
        return path
    try:
        from filelock import FileLock
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        if not (path.exists() and is_good(path)):  # another process may have made it meanwhile
            write_atomically(path, make())
    return path


def _missing(error: ModuleNotFoundError) -> DeviceError:
    """Return the error that names the extra; what needs this cache runs on the CPU device."""
    return DeviceError(
        f"models for the CPU device want the package {error.name}, which is not there; install it "
        "with: pip install 'npu-arena[cpu]'"
    )
