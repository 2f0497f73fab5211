"""The kernels uncompiled: the same source, loaded once more where `jit` does nothing.

The uncompiled form is the oracle of the compiled one, and what runs where numba is not installed.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import planner.solvers.kernels as package

NAMES = ("space", "branch", "orders", "line", "buckets")
_PATH = "planner.solvers.kernels."


def _load_plain() -> dict[str, ModuleType]:
    def unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    stand_in = ModuleType(_PATH + "jit")
    stand_in.jit = stand_in.inlined = unchanged  # type: ignore[attr-defined]
    with _in_place({"jit": stand_in}):
        for name in NAMES:
            sys.modules.pop(_PATH + name, None)
        return {name: import_module(_PATH + name) for name in NAMES}


@contextmanager
def _in_place(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let imports of kernels find `modules`; afterwards everything is as before."""
    names = ("jit", *NAMES)
    before = {name: sys.modules.get(_PATH + name) for name in names}
    try:
        for name, module in modules.items():
            sys.modules[_PATH + name] = module
            setattr(package, name, module)
        yield
    finally:
        for name, old in before.items():
            sys.modules.pop(_PATH + name, None)
            vars(package).pop(name, None)
            if old is not None:
                sys.modules[_PATH + name] = old
                setattr(package, name, old)


PLAIN = _load_plain()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within, solvers run their kernels as plain Python."""
    with _in_place(PLAIN):
        yield
