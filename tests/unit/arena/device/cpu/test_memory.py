"""Host memory is accounted in pages of 2 MiB; weights can be made read-only page by page."""

import ctypes
import mmap
import os
import signal
import subprocess
import sys

import pytest

from arena.device.base import DeviceRange
from arena.device.cpu import memory as memory_module
from arena.device.cpu.memory import HostMemory, overlaps, protect
from arena.errors import DeviceError
from planner.errors import UsageError
from planner.units import MiB

PAGE = mmap.PAGESIZE


def test_blocks_count_in_pages_and_come_back() -> None:
    memory = HostMemory(10 * MiB)
    small, large = memory.alloc(1), memory.alloc(4 * MiB)
    assert small.size_bytes == 1
    assert large.pointer % 64 == 0
    assert memory.info().free_bytes == 4 * MiB
    assert memory.info().total_bytes == 10 * MiB
    assert memory.blocks == tuple(sorted((small, large), key=lambda block: block.pointer))
    memory.free(small)
    memory.free(large)
    assert memory.info().free_bytes == 10 * MiB
    assert memory.blocks == ()


def test_a_new_block_holds_zeros() -> None:
    memory = HostMemory(4 * MiB)
    block = memory.alloc(1000)
    assert ctypes.string_at(block.pointer, 1000) == bytes(1000)
    memory.free(block)


def test_without_a_size_the_device_is_the_machine() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert HostMemory(None).info().total_bytes == pages


def test_more_than_there_is_says_what_is_free() -> None:
    memory = HostMemory(4 * MiB)
    with pytest.raises(DeviceError, match=rf"{2 * MiB} of {4 * MiB} bytes \(2.00 MiB\) are free"):
        memory.alloc(memory.alloc(1).size_bytes + 2 * MiB)


def test_what_the_operating_system_refuses_is_told() -> None:
    with pytest.raises(DeviceError, match=r"the operating system refuses: ") as error:
        HostMemory(1 << 62).alloc(1 << 60)
    assert error.value.call == "mmap"
    assert error.value.code > 0


@pytest.mark.parametrize("size", [0, -1])
def test_no_empty_blocks(size: int) -> None:
    with pytest.raises(UsageError, match=rf"alloc of {size} bytes: expected a size > 0"):
        HostMemory(None).alloc(size)


def test_only_whole_blocks_are_freed_and_once() -> None:
    memory = HostMemory(None)
    block = memory.alloc(128)
    for wrong in (
        DeviceRange(block.pointer, 64),
        DeviceRange(block.pointer + 64, 64),
        DeviceRange(64, 1),
    ):
        with pytest.raises(UsageError, match=r"not a block that alloc returned"):
            memory.free(wrong)
    memory.free(block)
    with pytest.raises(UsageError, match=r"freed already"):
        memory.free(block)


def test_ranges_must_lie_inside_one_block() -> None:
    memory = HostMemory(None)
    block = memory.alloc(128)
    memory.require(DeviceRange(block.pointer + 64, 64), "a test")
    for wrong in (DeviceRange(block.pointer + 64, 65), DeviceRange(block.pointer - 1, 2)):
        with pytest.raises(UsageError, match=r"a test: .* is not inside one block"):
            memory.require(wrong, "a test")
    memory.free(block)


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ((64, 64), (128, 64), False),
        ((64, 65), (128, 64), True),
        ((64, 0), (64, 64), False),
        ((64, 64), (80, 0), False),
        ((64, 64), (80, 1), True),
    ],
)
def test_overlap_is_half_open(first: tuple[int, int], second: tuple[int, int], meet: bool) -> None:
    a, b = DeviceRange(*first), DeviceRange(*second)
    assert overlaps(a, b) is overlaps(b, a) is meet


def protected_pages(block: DeviceRange) -> list[bool]:
    """Return, page by page, whether the kernel refuses to write there for us (by a pipe)."""
    refused = []
    read, write = os.pipe()
    readv = ctypes.CDLL(None, use_errno=True).read
    readv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    for page in range(block.pointer, block.pointer + block.size_bytes, PAGE):
        os.write(write, b"x")
        refused.append(readv(read, page, 1) < 0)
        if refused[-1]:
            os.read(read, 1)
    os.close(read)
    os.close(write)
    return refused


def test_only_pages_wholly_inside_are_protected() -> None:
    memory = HostMemory(None)
    block = memory.alloc(5 * PAGE)
    part = DeviceRange(block.pointer + 64, 3 * PAGE)
    protect(part, writable=False)
    assert protected_pages(block) == [False, True, True, False, False]
    protect(part, writable=True)
    assert protected_pages(block) == [False] * 5
    protect(DeviceRange(block.pointer + 64, PAGE), writable=False)  # no whole page inside
    assert protected_pages(block) == [False] * 5
    memory.free(block)


def test_a_write_to_protected_weights_ends_the_process_that_does_it() -> None:
    program = (
        "import ctypes\n"
        "from arena.device.cpu.memory import HostMemory, protect\n"
        "memory = HostMemory(None)\n"
        "block = memory.alloc(1 << 16)\n"
        "protect(block, writable=False)\n"
        "ctypes.memset(block.pointer, 1, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == -signal.SIGSEGV


def test_a_refused_protection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_start: int, _size: int, _access: int) -> int:
        ctypes.set_errno(12)
        return -1

    monkeypatch.setattr(memory_module, "_PROTECT", refuse)
    with pytest.raises(DeviceError, match=r"cannot be made read-only: Cannot allocate memory"):
        protect(DeviceRange(PAGE, PAGE), writable=False)
    with pytest.raises(DeviceError, match=r"cannot be made writable"):
        protect(DeviceRange(PAGE, PAGE), writable=True)
