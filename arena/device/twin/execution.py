"""What executing a model does to memory: write a pattern of its own, fold, re-read, answer.

A twin has no operators. It shows what sharing memory wrongly does to results:

    begin     stamp every 512-byte granule of the work buffer with a number used only once
    steps     for each slice: check that its stamps are still ours, fill it with the number,
              fold a slice of the weights; other threads run between two steps
    inputs    folded at the beginning and at the end
    verify    every byte of the work buffer must still be the pattern
    outputs   a function of model, weights and inputs; every byte another one if there is damage
    end       the stamps once more: the last thing that decides about the outputs

Stamping, filling a chunk (with the check before it) and the last check hold the memory's bus lock,
so they are indivisible for one another. Hence the theorem that makes the twin a judge: **if two
executions overlap in time and both buffers hold one aligned granule start, the one that began first
gives wrong outputs.** For the stamp of the second lands between begin and end of the first, and
every write of the first to that granule is preceded by a check. Weights that were overwritten
change every later output of their instance, since they are read from memory at every execution.
"""

import ctypes
import hashlib
import itertools
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from arena.device.acl_codes import AclCode
from arena.device.twin.binding import CallFailed
from arena.device.twin.memory import DeviceMemory, Span
from planner.units import KiB, align_up

__all__ = ["Execution", "run_execution"]

_GRANULE_BYTES: Final = 512
"""Regions start at multiples of this (planner.model.DEFAULT_RULE)."""
_CHUNK_BYTES: Final = 256 * KiB
_WORD_BYTES: Final = 8
_ODD: Final = 0x9E37_79B9_7F4A_7C15
_FINITE_MAX: Final = 0x3F
_FINITE: Final = bytes(value & _FINITE_MAX for value in range(256))
"""Output bytes up to this are finite numbers below 2 in every floating-point type."""

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_compare.restype = ctypes.c_int
_counter = itertools.count(1)


class Execution:
    """One execution to run.

    Parameters
    ----------
    identity : bytes
        What distinguishes the model from others, apart from its weights.
    work, weights : tuple of int
        Device pointer and bytes.
    inputs, outputs : sequence of tuple of int
        Device pointer and bytes of each.
    """

    __slots__ = ("identity", "inputs", "outputs", "weights", "work")

    def __init__(
        self,
        identity: bytes,
        work: tuple[int, int],
        weights: tuple[int, int],
        inputs: Sequence[tuple[int, int]],
        outputs: Sequence[tuple[int, int]],
    ) -> None:
        self.identity = identity
        self.work = work
        self.weights = weights
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)


def run_execution(
    execution: Execution,
    memory: DeviceMemory,
    *,
    slices: int,
    duration_s: float,
    pause: Callable[[float], None],
) -> bool:
    """Run one execution; return whether its memory was left alone.

    Parameters
    ----------
    slices : int
        Steps; `pause` is called between them.
    duration_s : float
        Simulated duration, spread over the steps; what the twin itself needs is part of it.
    pause : callable
        Lets that many seconds pass.
    """

    def span(place: tuple[int, int], what: str) -> Span:
        return memory.require(*place, AclCode.RT_AICORE_EXCEPTION, what)

    work = _WorkBuffer(span(execution.work, "work"), memory) if execution.work[1] else None
    weights = span(execution.weights, "weights") if execution.weights[1] else None
    inputs = [span(place, f"input {i}") for i, place in enumerate(execution.inputs) if place[1]]
    outputs = [span(place, f"output {i}") for i, place in enumerate(execution.outputs) if place[1]]

    started_s = time.monotonic()
    folded = hashlib.blake2b(execution.identity + _crcs(inputs))
    weights_crc = 0
    for index in range(slices):
        if work is not None:
            work.fill(index, slices)
        if weights is not None:
            first, last = (weights.size_bytes * (index + k) // slices for k in (0, 1))
            weights_crc = zlib.crc32(weights.view[first:last], weights_crc)
        until_s = started_s + duration_s * (index + 1) / slices
        pause(max(0.0, until_s - time.monotonic()) if duration_s else 0.0)
    folded.update(weights_crc.to_bytes(4, "little"))
    folded.update(_crcs(inputs))

    if work is not None:
        work.verify()
    _write_outputs(folded.digest(), outputs)
    intact = work is None or work.end()
    if not intact:
        _write_outputs(folded.digest(), outputs, damage=1 + next(_counter) % _FINITE_MAX)
    if not all(part.block.live for part in (*inputs, *outputs)) or not (
        (work is None or work.live) and (weights is None or weights.block.live)
    ):
        raise CallFailed(
            AclCode.RT_AICORE_EXCEPTION, "memory of the execution was freed while it ran"
        )
    return intact


def _crcs(parts: Sequence[Span]) -> bytes:
    return b"".join(zlib.crc32(part.view).to_bytes(4, "little") for part in parts)


def _write_outputs(digest: bytes, outputs: Sequence[Span], damage: int = 0) -> None:
    """Fill every output; `damage` (1 to 63) makes each byte another one than without."""
    for index, part in enumerate(outputs):
        seed = hashlib.blake2b(digest, salt=index.to_bytes(16, "little")).digest()
        unit = seed.translate(_FINITE)
        if damage:
            unit = bytes(value ^ damage for value in unit)
        pattern = unit * (align_up(min(part.size_bytes, _CHUNK_BYTES), len(unit)) // len(unit))
        for start in range(0, part.size_bytes, len(pattern)):
            length = min(len(pattern), part.size_bytes - start)
            ctypes.memmove(part.address + start, pattern, length)


class _WorkBuffer:
    """The work buffer of an execution under way, and the pattern it must hold."""

    def __init__(self, span: Span, memory: DeviceMemory) -> None:
        self._span = span
        self._bus = memory.bus
        # A number used once: multiples of an odd number modulo 2^64 are all different.
        word = next(_counter) * _ODD & (1 << 64) - 1
        words = array("Q", [word])
        # One word more than a chunk, so that chunks may start at any address modulo 8.
        n_words = min(_CHUNK_BYTES, align_up(span.size_bytes, _WORD_BYTES)) // _WORD_BYTES + 1
        self._pattern = words.tobytes() * n_words
        self._pattern_address = (
            ctypes.cast(ctypes.c_char_p(self._pattern), ctypes.c_void_p).value or 0
        )
        self._lead = -span.pointer % _GRANULE_BYTES
        n_stamped = max(0, span.size_bytes - self._lead) // _WORD_BYTES
        stamped = span.view[self._lead : self._lead + n_stamped * _WORD_BYTES].cast("Q")
        self._stamps = stamped[:: _GRANULE_BYTES // _WORD_BYTES]
        self._expected_stamps = (words * len(self._stamps)).tobytes()
        self._intact = True
        with self._bus:
            self._stamps[:] = memoryview(words * len(self._stamps))

    @property
    def live(self) -> bool:
        """Whether the memory has not been freed."""
        return self._span.block.live

    def fill(self, index: int, slices: int) -> None:
        """Write the pattern to one of `slices` parts, after checking that nobody else did."""
        n_chunks = -(-self._span.size_bytes // _CHUNK_BYTES)
        if n_chunks >= slices:
            size = align_up(-(-self._span.size_bytes // slices), _CHUNK_BYTES)
        else:
            size = align_up(-(-self._span.size_bytes // slices), _GRANULE_BYTES)
        end = min((index + 1) * size, self._span.size_bytes)
        for start in range(index * size, end, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, end - start)
            with self._bus:
                self._check_stamps(start, start + length)
                ctypes.memmove(self._span.address + start, self._expected(start), length)

    def verify(self) -> None:
        """Compare every byte with the pattern, from the end to the beginning."""
        for start in reversed(range(0, self._span.size_bytes, _CHUNK_BYTES)):
            length = min(_CHUNK_BYTES, self._span.size_bytes - start)
            if _compare(self._span.address + start, self._expected(start), length):
                self._intact = False

    def end(self) -> bool:
        """Check all stamps at one instant; return whether nobody wrote here since the beginning."""
        with self._bus:
            self._check_stamps(0, self._span.size_bytes)
        return self._intact

    def _check_stamps(self, start: int, end: int) -> None:
        first, last = (-(-max(0, place - self._lead) // _GRANULE_BYTES) for place in (start, end))
        expected = self._expected_stamps[first * _WORD_BYTES : last * _WORD_BYTES]
        if self._stamps[first:last].tobytes() != expected:
            self._intact = False

    def _expected(self, start: int) -> int:
        """Return where in the pattern the bytes begin that belong at offset `start`."""
        return self._pattern_address + (self._span.pointer + start) % _WORD_BYTES
