"""Random access to the bytes of a model file: a path, an open file, or bytes in memory.

Readers ask for ranges, so a gigabyte of weights costs nothing until somebody hashes it. Nothing
here knows a format.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from arena.errors import FormatError

__all__ = ["ByteSource", "ModelInput", "SeekableFile", "Span", "open_source"]

Span: TypeAlias = tuple[int, int]
"""Half-open byte range [start, end) of a file."""

_READ_BYTES_MAX: Final = 1 << 30  # Linux returns at most 2^31 - 4096 bytes from one read


class SeekableFile(Protocol):
    """What is asked of an open binary file."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset` and return the position."""
        ...

    def read(self, size: int = -1, /) -> bytes | None:
        """Return at most `size` bytes; empty at the end."""
        ...


class ByteSource:
    """The bytes of one model file, read by ranges.

    Attributes
    ----------
    name : str
        For messages; empty where the bytes have no name.
    size_bytes : int
        Of the whole file, when it was opened.
    """

    __slots__ = ("_file", "_memory", "name", "size_bytes")

    def __init__(self, content: "SeekableFile | memoryview", name: str = "") -> None:
        self.name = name
        self._memory: memoryview | None = None
        self._file: SeekableFile | None = None
        if isinstance(content, memoryview):
            self._memory = content
            self.size_bytes = content.nbytes
        else:
            self._file = content
            self.size_bytes = content.seek(0, os.SEEK_END)

    @property
    def in_memory(self) -> bool:
        """True if ranges are views of memory: reading them copies nothing."""
        return self._memory is not None

    def refuse(self, offset: int, message: str) -> FormatError:
        """Return the error for what was found at `offset`."""
        return FormatError(message, offset, self.name)

    def view(self, start: int, end: int) -> memoryview:
        """Return the bytes [start, end), without a copy where they are in memory.

        Raises
        ------
        FormatError
            The range leaves the file, or the file shrank since it was opened.
        """
        if not 0 <= start <= end <= self.size_bytes:
            raise self.refuse(start, f"needs bytes up to {end}, the file has {self.size_bytes}")
        if self._memory is not None:
            return self._memory[start:end]
        buffer = memoryview(bytearray(end - start))
        self.read_into(start, buffer)
        return buffer

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on; raises as `view` does."""
        if self._memory is not None:
            buffer[:] = self._memory[start : start + len(buffer)]
            return
        assert self._file is not None
        self._file.seek(start)
        read_into = getattr(self._file, "readinto", None)
        filled = 0
        while filled < len(buffer):
            rest = buffer[filled : filled + _READ_BYTES_MAX]
            if read_into is not None:
                count = read_into(rest) or 0
            else:
                piece = self._file.read(len(rest)) or b""
                count = len(piece)
                rest[:count] = piece
            if count == 0:
                raise self.refuse(
                    start + filled,
                    f"the file ends here, it had {self.size_bytes} bytes when it was opened",
                )
            filled += count


ModelInput: TypeAlias = "Path | str | bytes | bytearray | memoryview | SeekableFile | ByteSource"
"""A path, the bytes themselves, an open binary file, or a source that is already open."""


@contextmanager
def open_source(file: ModelInput, name: str = "") -> Iterator[ByteSource]:
    """Open a model file for reading by ranges; only what was opened here is closed again.

    Parameters
    ----------
    file : path, bytes, open binary file, or ByteSource
    name : str
        For messages; a path is its own name.

    Raises
    ------
    OSError
        The path cannot be opened, or the file cannot seek. Caused by the caller.
    """
    if isinstance(file, ByteSource):
        yield file
    elif isinstance(file, bytes | bytearray | memoryview):
        yield ByteSource(memoryview(file).cast("B"), name)
    elif isinstance(file, str | Path):
        # Unbuffered: each range is read once, and read-ahead of a buffer would touch the weights.
        with Path(file).open("rb", buffering=0) as opened:
            yield ByteSource(opened, name or str(file))
    else:
        yield ByteSource(file, name or str(getattr(file, "name", "")))
