"""Errors of files, devices, loading and guarding; with those of `planner.errors`, all there are."""

from collections.abc import Sequence

from planner.errors import ArenaError, DecodeError, PlanError, SpecError, UsageError

__all__ = [
    "ArenaError",
    "DecodeError",
    "DeviceError",
    "FetchError",
    "FormatError",
    "GuardError",
    "GuardTimeoutError",
    "LoadError",
    "OpenAxesError",
    "PlanError",
    "RaceError",
    "SpecError",
    "UsageError",
]


class FormatError(DecodeError):
    """A model file is not what it claims to be.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    offset : int
        Byte position in the file.
    path : str
        Name of the file; empty where it has none.
    """

    fault = "the model file"

    def __init__(self, message: str, offset: int = 0, path: str = "") -> None:
        super().__init__(f"at byte {offset}: {message}", path)
        self.offset = offset


class OpenAxesError(SpecError):
    """A network leaves axes of an input open, and nobody said how long they are.

    Parameters
    ----------
    name : str
        The input.
    axes : sequence of int or str
        As the file has them: lengths, and names of open axes, ``?`` where they have none; empty
        where the file says nothing of its axes.

    Attributes
    ----------
    in_fleet, in_options : str
        How a fleet file and how a command line give the shape.

    Examples
    --------
    >>> error = OpenAxesError("x", [1, 3, "H", "W"])
    >>> str(error)
    'inputs.x: the file leaves axes open: write `inputs: {x: [1, 3, H, W]}` with numbers for H, W'
    >>> error.in_options
    '--shape x=1,3,H,W'
    """

    def __init__(self, name: str, axes: Sequence[int | str]) -> None:
        shown = [str(axis) for axis in axes] or ["..."]
        self.in_fleet = f"inputs: {{{name}: [{', '.join(shown)}]}}"
        self.in_options = f"--shape {name}={','.join(shown)}"
        unknown = ", ".join(dict.fromkeys(axis for axis in axes if isinstance(axis, str)))
        super().__init__(
            f"the file leaves axes open: write `{self.in_fleet}` with numbers for "
            f"{unknown or 'all of them'}",
            f"inputs.{name}",
        )


class FetchError(ArenaError):
    """A file of the demo cannot be fetched, or is not the one that was pinned."""

    fault = "the network"


class DeviceError(ArenaError):
    """A device call failed.

    Parameters
    ----------
    message : str
        What was asked, with pointers and sizes.
    call : str
        The call that failed, such as ``acl.mdl.load_from_file_with_mem``.
    code : int
        The device's return code; 0 where it gave none.
    unsettled : bool
        Whether an execution may still be running, so that its memory must not be used again.
    """

    fault = "the device"

    def __init__(
        self, message: str, *, call: str = "", code: int = 0, unsettled: bool = False
    ) -> None:
        super().__init__(message)
        self.call = call
        self.code = code
        self.unsettled = unsettled


class LoadError(DeviceError):
    """Loading a plan failed; everything that was loaded has been unloaded and freed."""


class GuardError(UsageError):
    """A call broke the rules of frames, steps and slots; the message names the way out."""


class GuardTimeoutError(GuardError):
    """A wait ran out of time; the message names what it waited for."""


class RaceError(GuardError):
    """Two executions share memory and nothing orders them; the second was not started."""
