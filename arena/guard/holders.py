"""What each thread holds, and what it must therefore not do: a self-deadlock is named at once.

    a thread that                    may                                  must not
    is inside a call                 finish it                            call, submit, open, leave
    serves a lane (`Guard.take`)     submit, open if a place is free      call, leave, close
    holds a frame                    all; open if a place is free         -

Whoever holds what others wait for must not wait for others.
"""

import threading

from arena.errors import GuardError

__all__ = ["Holder", "Holders"]


class Holder:
    """What one thread holds.

    Attributes
    ----------
    name : str
        Of the thread, for messages.
    frames : dict
        Frames that it opened and nobody left, in order.
    call : object or None
        The granted call that it executes.
    lane : str
        The lane that it serves; empty: none.
    """

    __slots__ = ("call", "frames", "lane", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames: dict[object, None] = {}
        self.call: object = None
        self.lane = ""

    def refuse_inside_call(self, *what: object) -> None:
        """Raise if this thread is inside a call; `what` are the words that say what it tried.

        Raises
        ------
        GuardError
            Names the call and the way out. Caused by the caller.
        """
        if self.call is not None:
            raise GuardError(
                f"{_sentence(what)}: thread {self.name!r} is inside {self.call}, and what it would "
                "wait for might wait for that; leave the slot first, or use another thread"
            )

    def refuse_to_wait(self, *what: object) -> None:
        """Raise if this thread is inside a call or serves a lane.

        Raises
        ------
        GuardError
            Names the call or the lane and the way out. Caused by the caller.
        """
        self.refuse_inside_call(*what)
        if self.lane:
            raise GuardError(
                f"{_sentence(what)}: thread {self.name!r} serves lane {self.lane!r}, and what it "
                "would wait for might wait for that; submit instead, or use a thread of your own"
            )

    def cannot_wait(self) -> str:
        """Say why this thread must not wait for a frame; empty if it may."""
        if self.frames:
            return f"thread {self.name!r} holds {next(iter(self.frames))}"
        return f"thread {self.name!r} serves lane {self.lane!r}" if self.lane else ""


class Holders(threading.local):
    """The holder of the current thread."""

    def __init__(self) -> None:
        self.current = Holder(threading.current_thread().name)


def _sentence(words: tuple[object, ...]) -> str:
    return " ".join(map(str, words))
