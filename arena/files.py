"""Bytes of fleet, plan and model files: bounded reads, atomic writes, paths."""

import os
import tempfile
from pathlib import Path
from typing import Final

from planner.errors import DecodeError, UsageError
from planner.units import MiB, format_bytes

__all__ = [
    "DEMO_PREFIX",
    "TEXT_BYTES_MAX",
    "read_bytes",
    "read_text",
    "rebase_path",
    "write_atomically",
]

TEXT_BYTES_MAX: Final = 256 * MiB
"""Largest fleet, plan or instance file that is read."""
DEMO_PREFIX: Final = "demo:"
"""A model file of this form names a demo model instead of a path."""


def read_bytes(path: Path, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """Return the content of a file of at most `bytes_max` bytes.

    Raises
    ------
    DecodeError
        There is no such file, it cannot be read, or it is larger. Caused by the caller or the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
            if len(data) > bytes_max:
                size = max(len(data), os.fstat(file.fileno()).st_size)
                raise DecodeError(
                    f"{path}: {format_bytes(size)}, expected at most {format_bytes(bytes_max)}"
                )
            return data
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read: {error.strerror}") from error


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text file; raises as `read_bytes`."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"{path}: byte {error.start} is not UTF-8 text; save the file as UTF-8"
        ) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it.

    Raises
    ------
    UsageError
        The folder is missing or not writable. Caused by the caller.
    """
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # A device or a pipe is written to, not replaced.
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def rebase_path(file: str, *, old: Path, new: Path) -> str:
    """Return `file`, relative to folder `old`, as seen from folder `new`, with forward slashes.

    Absolute paths, demo names and the empty name stay as they are.

    Examples
    --------
    >>> rebase_path("models/a.om", old=Path("/srv/fleet"), new=Path("/srv/plans"))
    '../fleet/models/a.om'
    """
    if not file or file.startswith(DEMO_PREFIX) or Path(file).is_absolute():
        return file
    # Folders are resolved, since `..` behind a link leads elsewhere; the file's own name stays.
    target = old / file
    target = target.parent.resolve() / target.name
    return Path(os.path.relpath(target, new.resolve())).as_posix()
