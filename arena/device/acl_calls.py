"""Checked calls of pyACL: every return code is looked at, named and explained.

The binding returns codes and never raises them, masks numbers silently to 64 or 32 bits, and gives
a tuple here and a bare value there. All of that ends in this file.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from arena.device.acl_codes import AclCode, explain_code
from arena.errors import DeviceError

__all__ = ["AclCalls"]

_POINTER_MAX: Final = (1 << 64) - 1


class AclCalls:
    """The functions of one ``acl`` module.

    Parameters
    ----------
    module : module
        ``acl`` itself, or a twin's.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._functions: dict[str, Callable[..., Any]] = {}

    def has(self, name: str) -> bool:
        """Return whether this version of the binding has a function, such as ``rt.malloc``."""
        try:
            self._function(name)
        except AttributeError:
            return False
        return True

    def call(self, name: str, *arguments: Any, what: str) -> Any:
        """Call a function that returns a code; return what it gives beside the code.

        Parameters
        ----------
        name : str
            Without ``acl.``.
        what : str
            What is asked for, with pointers and sizes: the beginning of the error.

        Returns
        -------
        object
            None, one value, or a tuple of several.

        Raises
        ------
        DeviceError
            The code is not 0.
        """
        code, value = self.attempt(name, *arguments)
        if code != AclCode.SUCCESS:
            raise self.error(name, code, what)
        return value

    def attempt(self, name: str, *arguments: Any) -> tuple[int, Any]:
        """Call a function that returns a code; return the code and what stands beside it."""
        for argument in arguments:
            assert not isinstance(argument, int) or -(1 << 31) <= argument <= _POINTER_MAX, (
                "the binding would mask it silently"
            )
        result = self._function(name)(*arguments)
        if not isinstance(result, tuple):
            return int(result), None
        *values, code = result
        return int(code), values[0] if len(values) == 1 else tuple(values)

    def plain(self, name: str, *arguments: Any) -> Any:
        """Call a function that returns no code."""
        return self._function(name)(*arguments)

    def create(self, name: str, *arguments: Any, what: str) -> int:
        """Call a function that returns a handle and no code; 0 is failure."""
        handle = int(self._function(name)(*arguments))
        if handle == 0:
            raise self.error(name, AclCode.BAD_ALLOC, what)
        return handle

    def error(self, name: str, code: int, what: str) -> DeviceError:
        """Return the error for a code, with the device's own words where it has any."""
        message = f"{what}: acl.{name} returned {code} ({explain_code(code)})"
        if self.has("get_recent_err_msg") and (text := self.plain("get_recent_err_msg")):
            message += f"; the device says: {text}"
        return DeviceError(message, call=f"acl.{name}", code=code)

    def _function(self, name: str) -> Callable[..., Any]:
        function = self._functions.get(name)
        if function is None:
            found: Any = self._module
            for part in name.split("."):
                found = getattr(found, part)
            function = self._functions[name] = found
        return function
