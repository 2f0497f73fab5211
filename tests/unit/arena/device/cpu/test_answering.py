"""Machine code answers as the plain Python beside it would, and hands on what it does not know."""

import ctypes
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.device.cpu import answering
from arena.device.cpu.answering import (
    CODE,
    SOURCE,
    AnsweringAllocator,
    PlannedAnswers,
    machine_code,
    set_answers,
)
from arena.device.cpu.binding import ALLOCATE, OrtAllocator

BY_PYTHON = 77
LIVES_HERE = sys.platform.startswith("linux") and platform.machine() == "x86_64"


class Bench:
    """An allocator whose planned answers come from machine code."""

    def __init__(self) -> None:
        made = machine_code()
        assert made is not None
        self.code, getter, self.key = made
        self.handed_on: list[int] = []
        self._python = ALLOCATE(self._note)
        self._allocator = AnsweringAllocator(
            getter, self.key, self._python, OrtAllocator(20, self.code)
        )
        self._this = ctypes.addressof(self._allocator.allocator)

    def ask(self, size_bytes: int) -> int:
        return int(self.code(self._this, size_bytes))

    def _note(self, this: int, size_bytes: int) -> int:
        assert this == self._this
        self.handed_on.append(size_bytes)
        return BY_PYTHON


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    if not LIVES_HERE:
        pytest.skip("the machine code is for Linux on x86-64")
    bench = Bench()
    yield bench
    set_answers(bench.key, 0)


@given(
    planned=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1 << 40)), max_size=6),
    asked=st.lists(st.integers(0, 4), max_size=8),
    follow=st.integers(0, 6),
)
def test_it_answers_as_python_would(
    bench: Bench, planned: list[tuple[int, int]], asked: list[int], follow: int
) -> None:
    sizes, offsets = [size for size, _ in planned], [offset for _, offset in planned]
    native, plain = (PlannedAnswers(1 << 20, sizes, offsets) for _ in range(2))
    set_answers(bench.key, native.pointer)
    for size in sizes[:follow] + asked:
        bench.handed_on.clear()
        wanted = plain.next(size)
        assert bench.ask(size) == (BY_PYTHON if wanted is None else wanted)
        assert bench.handed_on == ([size] if wanted is None else [])
        assert native.count == plain.count


def test_stop_hands_everything_on_and_restart_begins_again(bench: Bench) -> None:
    answers = PlannedAnswers(0, [8, 8], [64, 128])
    set_answers(bench.key, answers.pointer)
    assert bench.ask(8) == 64
    answers.stop()
    assert bench.ask(8) == BY_PYTHON
    answers.restart()
    assert [bench.ask(8), bench.ask(8), bench.ask(8)] == [64, 128, BY_PYTHON]


def test_every_thread_has_answers_of_its_own(bench: Bench) -> None:
    set_answers(bench.key, PlannedAnswers(0, [8], [64]).pointer)
    found: list[int] = []

    def work(number: int) -> None:
        found.append(bench.ask(8))
        answers = PlannedAnswers(0, [8] * 1000, [number] * 1000)
        set_answers(bench.key, answers.pointer)
        found.extend({bench.ask(8) for _ in range(1000)})

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1, 2, 3, BY_PYTHON, BY_PYTHON, BY_PYTHON]


def test_the_bytes_are_what_the_assembler_makes_of_the_source(tmp_path: Path) -> None:
    assembler, copier = shutil.which("as"), shutil.which("objcopy")
    if assembler is None or copier is None or not LIVES_HERE:
        pytest.skip("wants binutils for x86-64")
    source, made, code = tmp_path / "a.s", tmp_path / "a.o", tmp_path / "a.bin"
    source.write_text(SOURCE)
    subprocess.run([assembler, "--64", source, "-o", made], check=True)
    subprocess.run([copier, "-O", "binary", "-j", ".text", made, code], check=True)
    assert code.read_bytes() == CODE


def test_elsewhere_python_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine_code() is None


def test_without_executable_pages_python_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict:
        pthread_key_create = staticmethod(lambda _key, _end: 0)
        pthread_getspecific = staticmethod(lambda _key: 0)
        mprotect = staticmethod(lambda *_arguments: -1)

    monkeypatch.setattr(answering, "_libc", Strict)
    assert machine_code() is None


def test_without_another_key_python_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        pthread_key_create = staticmethod(lambda _key, _end: 11)

    monkeypatch.setattr(answering, "_libc", Full)
    assert machine_code() is None
