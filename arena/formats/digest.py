"""SHA-256 of a model file and of its weights: in one pass, on two cores, in 16 MiB.

    reader      | read 0 | read 1 | read 2 | ...
    file        |        | hash 0 | hash 1 | ...      one thread per digest, fed in order;
    weights     |        | hash 0 | hash 1 | ...      hashlib releases the GIL

Two digests over the same bytes are twice the work of one: they run side by side, and reading the
next chunk hides behind both.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from arena.formats.source import ByteSource, ModelInput, Span, open_source

__all__ = ["Digests", "Progress", "digest_model", "file_digest", "weights_digest"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) after each chunk, from the caller's thread."""

_CHUNK_BYTES: Final = 4 << 20
_BUFFERS: Final = 4  # one being read, the others waiting for the slower digest


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 (hex) of a whole file, and of its weights: "" where it has no weight bytes."""

    file_sha256: str
    weights_sha256: str


def digest_model(
    file: ModelInput, weight_spans: Sequence[Span], progress: Progress | None = None
) -> Digests:
    """Return both digests of a model file, reading it once.

    Parameters
    ----------
    file : path, bytes, open binary file, or ByteSource
    weight_spans : sequence of (start, end)
        Where the weights are, ascending: `OmFile.weight_spans`. Their bytes are hashed one after
        the other, so a file of several models has one digest for all its weights.
    progress : callable, optional

    Raises
    ------
    FormatError
        The file is shorter than it was. The model file is at fault.
    OSError
        The path cannot be read. Caused by the caller.
    """
    with open_source(file) as source:
        whole, weights = hashlib.sha256(), hashlib.sha256()
        everything = [(0, source.size_bytes)]
        _hash(source, [(whole, everything), (weights, list(weight_spans))], progress)
        return Digests(whole.hexdigest(), _hex(weights.hexdigest(), weight_spans))


def weights_digest(
    file: ModelInput, weight_spans: Sequence[Span], progress: Progress | None = None
) -> str:
    """Return the digest of the weights, reading nothing else; parameters as `digest_model`."""
    with open_source(file) as source:
        weights = hashlib.sha256()
        _hash(source, [(weights, list(weight_spans))], progress)
        return _hex(weights.hexdigest(), weight_spans)


def file_digest(file: ModelInput, progress: Progress | None = None) -> str:
    """Return the digest of the whole file; parameters as `digest_model`."""
    with open_source(file) as source:
        whole = hashlib.sha256()
        _hash(source, [(whole, [(0, source.size_bytes)])], progress)
        return whole.hexdigest()


def _hex(digest: str, spans: Sequence[Span]) -> str:
    """Return "" instead of the digest of nothing."""
    return digest if any(start < end for start, end in spans) else ""


def _hash(
    source: ByteSource, jobs: Sequence[tuple[_Hash, Sequence[Span]]], progress: Progress | None
) -> None:
    """Feed each hash the bytes of its ranges; the first job's ranges cover those of the others."""
    ranges = list(_chunks(jobs[0][1]))
    total_bytes = sum(end - start for start, end in ranges)
    buffer_bytes = min(_CHUNK_BYTES, total_bytes)
    done_bytes = 0
    pending: deque[tuple[int, memoryview, list[Future[None]]]] = deque()
    spare: list[memoryview] = []

    def finish_oldest() -> None:
        nonlocal done_bytes
        size_bytes, buffer, futures = pending.popleft()
        for future in futures:
            future.result()
        if not source.in_memory:
            spare.append(buffer)
        done_bytes += size_bytes
        if progress is not None:
            progress(done_bytes, total_bytes)

    with ExitStack() as stack:
        lanes = [stack.enter_context(ThreadPoolExecutor(max_workers=1)) for _ in jobs]
        for start, end in ranges:
            if len(pending) == _BUFFERS:
                finish_oldest()
            if source.in_memory:
                chunk = source.view(start, end)
            else:
                chunk = spare.pop() if spare else memoryview(bytearray(buffer_bytes))
                source.read_into(start, chunk[: end - start])
            futures = [
                lane.submit(hasher.update, chunk[low - start : high - start])
                for lane, (hasher, spans) in zip(lanes, jobs, strict=True)
                for low, high in _overlaps(start, end, spans)
            ]
            pending.append((end - start, chunk, futures))
        while pending:
            finish_oldest()


def _chunks(spans: Sequence[Span]) -> Iterator[Span]:
    """Cut ranges into pieces of at most one chunk."""
    for start, end in spans:
        for low in range(start, end, _CHUNK_BYTES):
            yield low, min(low + _CHUNK_BYTES, end)


def _overlaps(start: int, end: int, spans: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts of [start, end) that lie in `spans`."""
    for low, high in spans:
        if max(low, start) < min(high, end):
            yield max(low, start), min(high, end)
