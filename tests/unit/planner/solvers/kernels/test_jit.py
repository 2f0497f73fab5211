"""Compilation is a matter of speed alone: without it everything still runs."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from planner.solvers.kernels.jit import inlined, jit


def double(x: int) -> int:
    return 2 * x


def test_without_numba_functions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert jit(double) is double
    assert inlined(double) is double


def test_compiled_functions_compute_the_same() -> None:
    pytest.importorskip("numba", reason="needs numba, an optional part")
    assert jit(double) is not double
    assert jit(double)(21) == inlined(double)(21) == 42


def test_where_no_cache_can_be_written_it_compiles_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, bool]] = []

    def njit(**options: bool) -> Callable[..., Any]:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    numba = ModuleType("numba")
    numba.njit = njit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numba", numba)
    assert jit(double) is double
    assert asked == [{"cache": True, "nogil": True}, {"nogil": True}]
