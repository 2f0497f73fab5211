"""Compile a kernel where numba is installed, leave it plain Python where it is not.

Importing this module imports numba, which costs a third of a second: solvers import their kernels
inside the function that needs them, so that a problem without a search pays nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["inlined", "jit"]

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def jit(function: _Kernel) -> _Kernel:
    """Return `function` compiled on its first call, or `function` itself without numba.

    The compiled form is cached beside the source, else in the user's cache directory, else in
    NUMBA_CACHE_DIR; where none of them can be written it lives as long as the process. It runs
    without holding the interpreter's lock.
    """
    try:
        import numba
    except ImportError:
        return function
    try:
        return cast("_Kernel", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no directory to cache in can be written
        return cast("_Kernel", numba.njit(nogil=True)(function))


def inlined(function: _Kernel) -> _Kernel:
    """Return `function` for use inside one kernel, whose compiled form it becomes a part of.

    A compiled call counts a reference to each array that it passes: with some thirty arrays that
    is dearer than most helpers.
    """
    try:
        import numba
    except ImportError:
        return function
    return cast("_Kernel", numba.njit(inline="always")(function))
