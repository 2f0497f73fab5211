"""Planned allocations answered by 65 bytes of machine code, without the interpreter.

    Alloc(this, size):                              state of the thread's run
        state = pthread_getspecific(key)            +---------------------------+
        if state and state.k < state.n              | k, n, sizes*, addresses*  |
                 and state.sizes[state.k] == size:  +---------------------------+
            return state.addresses[state.k++]
        return python(this, size)                   tail call: a trace, a departure, no plan

A callback into Python costs 0.7 microseconds inside a run, and needs the interpreter lock: a
network of a millisecond that makes 67 allocations loses 4 % to it, and far more beside a thread
that computes in Python. Where this code cannot be used, the callback answers everything.
"""

import ctypes
import mmap
import platform
import sys
from collections.abc import Sequence
from typing import Any, Final

from arena.device.cpu.binding import ALLOCATE, OrtAllocator

__all__ = ["AnsweringAllocator", "PlannedAnswers", "machine_code", "set_answers"]

SOURCE: Final = """
    endbr64
    push   %rsi
    push   %rdi
    sub    $8, %rsp                 # calls want the stack at a multiple of 16
    mov    -24(%rdi), %rax          # pthread_getspecific
    mov    -16(%rdi), %rdi          # key
    call   *%rax
    add    $8, %rsp
    pop    %rdi
    pop    %rsi
    test   %rax, %rax
    jz     1f
    mov    (%rax), %rcx             # k
    cmp    8(%rax), %rcx            # n
    jae    1f
    mov    16(%rax), %rdx           # sizes
    cmp    %rsi, (%rdx,%rcx,8)
    jne    1f
    incq   (%rax)
    mov    24(%rax), %rdx           # addresses
    mov    (%rdx,%rcx,8), %rax
    ret
1:  jmp    *-8(%rdi)                # python
"""
"""What `CODE` is, in the assembler's language for x86-64 with the System V calling convention."""

CODE: Final = bytes.fromhex(
    "f30f1efa 56 57 4883ec08 488b47e8 488b7ff0 ffd0 4883c408 5f 5e 4885c0 741f 488b08 483b4808"
    "7316 488b5010 483934ca 750c 48ff00 488b5018 488b04ca c3 ff67f8"
)

_libc: Final = ctypes.CDLL(None)
_SET: Final[Any] = getattr(_libc, "pthread_setspecific", None)


class AnsweringAllocator(ctypes.Structure):
    """An allocator with, before it, what the machine code reads at negative offsets."""

    _fields_ = (
        ("get_specific", ctypes.c_void_p),
        ("key", ctypes.c_uint64),
        ("python", ALLOCATE),
        ("allocator", OrtAllocator),
    )


class PlannedAnswers:
    """Sizes to expect and the addresses to answer with, where machine code finds them.

    Attributes
    ----------
    pointer : int
        Address of the state: k, n, sizes, addresses.
    sizes, addresses : array of int64
        Of the n planned allocations, in order.
    """

    __slots__ = ("_state", "addresses", "pointer", "sizes")

    def __init__(self, base: int, sizes: Sequence[int], offsets: Sequence[int]) -> None:
        n = len(sizes)
        self.sizes = (ctypes.c_int64 * n)(*sizes)
        self.addresses = (ctypes.c_int64 * n)(*(base + offset for offset in offsets))
        self._state = (ctypes.c_int64 * 4)(
            0, n, ctypes.addressof(self.sizes), ctypes.addressof(self.addresses)
        )
        self.pointer = ctypes.addressof(self._state)

    @property
    def count(self) -> int:
        """How many allocations were answered."""
        return self._state[0]

    def restart(self) -> None:
        """Answer from the first allocation on."""
        self._state[0], self._state[1] = 0, len(self.sizes)

    def stop(self) -> None:
        """Answer nothing more: whatever is asked for goes to Python."""
        self._state[1] = 0

    def next(self, size_bytes: int) -> int | None:
        """Answer as the machine code does; None where it turns to Python."""
        k = self._state[0]
        if k >= self._state[1] or self.sizes[k] != size_bytes:
            return None
        self._state[0] = k + 1
        return self.addresses[k]


def machine_code() -> tuple[Any, int, int] | None:
    """Return the code as a function, `pthread_getspecific` and a new key; None where it cannot be.

    It wants Linux on x86-64, and a system that lets pages become executable.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return None
    key = ctypes.c_uint()
    if _libc.pthread_key_create(ctypes.byref(key), None) != 0:
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))  # keeps the page as well
    executable = mmap.PROT_READ | mmap.PROT_EXEC
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), executable) != 0:
        return None
    getter = ctypes.cast(_libc.pthread_getspecific, ctypes.c_void_p).value
    assert getter is not None, "it was found"
    _kept.append(page)
    return ctypes.cast(address, ALLOCATE), getter, key.value


def set_answers(key: int, pointer: int) -> None:
    """Let the thread at hand be answered from the state at `pointer`; 0: from Python."""
    _SET(key, ctypes.c_void_p(pointer))


_kept: list[mmap.mmap] = []
"""Pages of code, for the life of the process: the runtime keeps their address."""
