"""How pyACL's functions behave as Python functions: argument parsing, shapes of results, errors.

A method marked with `acl_call` becomes a function of a module object. What the real binding does
with arguments is reproduced letter by letter (`PyArg_ParseTuple`): pointers and sizes are masked
silently to 64 bits, model ids to 32, and every wrong argument is one TypeError without a cause.

References
----------
.. [1] CANN runtime, python/pyACL (the binding's source) and the letters of PyArg_ParseTuple in the
       Python/C API reference.
"""

import operator
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from arena.device.acl_codes import AclCode

__all__ = ["CallFailed", "ErrorText", "acl_call", "export_calls"]

_MASK_64: Final = (1 << 64) - 1
_MASK_32: Final = (1 << 32) - 1
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1


class CallFailed(Exception):
    """A call of the twin ends with a return code other than 0.

    Parameters
    ----------
    code : int
    text : str
        What ``acl.get_recent_err_msg`` will say.
    """

    def __init__(self, code: AclCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class ErrorText:
    """The last error text of each thread; reading it clears it, as in AscendCL."""

    def __init__(self) -> None:
        self._local = threading.local()

    def put(self, text: str) -> None:
        """Remember what went wrong in this thread."""
        self._local.text = text

    def take(self) -> str | None:
        """Return and forget this thread's last text."""
        text: str | None = getattr(self._local, "text", None)
        self._local.text = None
        return text


def acl_call(
    letters: str = "",
    *,
    failed: tuple[Any, ...] = (),
    bare: bool = False,
    echo: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a method as a function of pyACL.

    Parameters
    ----------
    letters : str
        Argument letters of the binding; those after ``|`` are optional. Empty: the function takes
        no arguments and ignores those it gets.
    failed : tuple
        Values that stand before the return code when the call fails. Empty: the function returns
        the code alone.
    bare : bool
        The function returns its value without a return code; `failed` holds the value that says
        failure.
    echo : bool
        The first argument stands before the return code, whatever that is.
    """

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        method.__dict__["acl_call"] = (letters, failed, bare, echo)
        return method

    return mark


def export_calls(owner: object, module: ModuleType, errors: ErrorText) -> ModuleType:
    """Add every marked method of `owner` to `module` as a function, and return the module."""
    for name in dir(type(owner)):
        marked = getattr(type(owner), name).__dict__.get("acl_call") if name[0] != "_" else None
        if marked is not None:
            bound = getattr(owner, name)
            setattr(module, name, _function(f"{module.__name__}.{name}", bound, errors, *marked))
    return module


def _function(
    qualified: str,
    method: Callable[..., Any],
    errors: ErrorText,
    letters: str,
    failed: tuple[Any, ...],
    bare: bool,
    echo: bool,
) -> Callable[..., Any]:
    required, _, optional = letters.partition("|")
    converters = tuple(_CONVERTERS[letter] for letter in required + optional)
    n_least, n_most = len(required), len(converters)

    def call(*arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise TypeError(f"{method.__name__}() takes no keyword arguments")
        if not n_most:
            arguments = ()
        elif not n_least <= len(arguments) <= n_most:
            raise TypeError(f"{qualified} args parse failed")
        try:
            values = [convert(given) for convert, given in zip(converters, arguments, strict=False)]
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"{qualified} args parse failed") from None
        try:
            result = method(*values)
        except CallFailed as failure:
            errors.put(f"{qualified}: {failure.text}")
            if bare:
                return failed[0]
            if echo:
                return values[0], int(failure.code)
            return (*failed, int(failure.code)) if failed else int(failure.code)
        if bare:
            return result
        if echo:
            return values[0], 0
        if not failed:
            return 0
        return (*result, 0) if len(failed) > 1 else (result, 0)

    call.__name__ = method.__name__
    call.__qualname__ = qualified
    call.__doc__ = method.__doc__
    return call


def _unsigned_long(value: object) -> int:
    if not isinstance(value, int):  # numpy integers are none: the binding refuses them
        raise TypeError
    return int(value) & _MASK_64


def _unsigned_int(value: Any) -> int:
    return operator.index(value) & _MASK_32


def _signed_int(value: Any) -> int:
    number = operator.index(value)
    if not _INT_MIN <= number <= _INT_MAX:
        raise OverflowError
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    value.encode()  # lone surrogates cannot become a C string
    return value


def _anything(value: object) -> object:
    return value


_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "k": _unsigned_long,
    "K": _unsigned_long,
    "I": _unsigned_int,
    "i": _signed_int,
    "s": _text,
    "O": _anything,
}
