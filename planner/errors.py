"""The error tree of both packages: every error says who is at fault.

An error that a user, a file or a device can cause is raised as one of these, with a message that
says what was found, where, what was expected and the way out. A broken invariant of our own is an
`assert`.
"""

from typing import ClassVar

__all__ = ["ArenaError", "DecodeError", "PlanError", "SpecError", "UsageError"]


class ArenaError(Exception):
    """Base of all errors of `planner` and `arena`; `fault` names the party that can mend it."""

    fault: ClassVar[str] = "this software"


class SpecError(ArenaError):
    """The fleet specification is wrong.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    path : str
        Place inside the specification, such as ``pipelines.camera.steps.read.after[0]``; empty
        where the whole is meant.
    """

    fault = "the fleet specification"

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class DecodeError(ArenaError):
    """A file or a mapping cannot be decoded; `path` is the place inside it."""

    fault = "the file"

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class PlanError(ArenaError):
    """A plan is refused: it is invalid, stale, or does not fit."""

    fault = "the plan"


class UsageError(ArenaError):
    """The caller broke a rule of an interface."""

    fault = "the caller"
