"""The legal moves of frames and calls: one table each, drawn in docs/guard.md.

    frame   waiting ──start──► open ──leave──► leaving ──end──► ended
               └───withdraw──► withdrawn    (open ──call──► open)

    call    blocked ──clear──► queued ──grant──► running ──finish──► over
               └────────────────┴──withdraw──► withdrawn

A move that its table does not hold is an error that names what is allowed and the way out. Who may
move when, and what a move brings about, is the machine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from arena.errors import GuardError

__all__ = [
    "CALL_MOVES",
    "FRAME_MOVES",
    "CallEvent",
    "CallState",
    "FrameEvent",
    "FrameState",
    "MoveTable",
]


class FrameState(StrEnum):
    """Where a frame stands."""

    WAITING = "waiting"
    """For its turn; it has no number yet."""
    OPEN = "open"
    """Calls may be made."""
    LEAVING = "leaving"
    """No further call may be made; those made are not all over."""
    ENDED = "ended"
    """Every call of it is over: frame t + d may start."""
    WITHDRAWN = "withdrawn"
    """Gave up waiting for its turn and used no number."""


class FrameEvent(StrEnum):
    """What moves a frame."""

    START = "start"
    CALL = "call"
    LEAVE = "leave"
    END = "end"
    WITHDRAW = "withdraw"


class CallState(StrEnum):
    """Where a call stands."""

    BLOCKED = "blocked"
    """Waits for earlier calls on its predecessors."""
    QUEUED = "queued"
    """Waits for its locks, all of them at once."""
    RUNNING = "running"
    """Holds its locks."""
    OVER = "over"
    """Its execution ended, well or not."""
    WITHDRAWN = "withdrawn"
    """Never ran and never will."""


class CallEvent(StrEnum):
    """What moves a call."""

    CLEAR = "clear"
    GRANT = "grant"
    FINISH = "finish"
    WITHDRAW = "withdraw"


_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class MoveTable(Generic[_State, _Event]):
    """The legal moves of one kind of subject.

    Attributes
    ----------
    moves : mapping of state -> event -> state
        Every state is a key; a state that nothing leaves maps to nothing.
    ways_out : mapping of state -> str
        What a caller should have done who tried an illegal move in that state.

    Examples
    --------
    >>> CALL_MOVES.after(CallState.QUEUED, CallEvent.GRANT, "call 'detect'").value
    'running'
    >>> CALL_MOVES.after(CallState.OVER, CallEvent.FINISH, "call 'detect'")
    Traceback (most recent call last):
    arena.errors.GuardError: call 'detect': finish while over; allowed: nothing; make a new call
    """

    moves: Mapping[_State, Mapping[_Event, _State]]
    ways_out: Mapping[_State, str]

    def after(self, state: _State, event: _Event, subject: object) -> _State:
        """Return the state that `event` leads to from `state`.

        Raises
        ------
        GuardError
            There is no such move; the message names `subject`, what is allowed and the way out.
            Caused by the caller.
        """
        try:
            return self.moves[state][event]
        except KeyError:
            allowed = ", ".join(self.moves[state]) or "nothing"
            raise GuardError(
                f"{subject}: {event} while {state}; allowed: {allowed}; {self.ways_out[state]}"
            ) from None


FRAME_MOVES: Final = MoveTable(
    moves={
        FrameState.WAITING: {
            FrameEvent.START: FrameState.OPEN,
            FrameEvent.WITHDRAW: FrameState.WITHDRAWN,
        },
        FrameState.OPEN: {
            FrameEvent.CALL: FrameState.OPEN,
            FrameEvent.LEAVE: FrameState.LEAVING,
        },
        FrameState.LEAVING: {FrameEvent.END: FrameState.ENDED},
        FrameState.ENDED: {},
        FrameState.WITHDRAWN: {},
    },
    ways_out={
        FrameState.WAITING: "wait until it started",
        FrameState.OPEN: "leave it once",
        FrameState.LEAVING: "make every call before the frame is left",
        FrameState.ENDED: "open a new frame",
        FrameState.WITHDRAWN: "open a new frame",
    },
)

CALL_MOVES: Final = MoveTable(
    moves={
        CallState.BLOCKED: {
            CallEvent.CLEAR: CallState.QUEUED,
            CallEvent.WITHDRAW: CallState.WITHDRAWN,
        },
        CallState.QUEUED: {
            CallEvent.GRANT: CallState.RUNNING,
            CallEvent.WITHDRAW: CallState.WITHDRAWN,
        },
        CallState.RUNNING: {CallEvent.FINISH: CallState.OVER},
        CallState.OVER: {},
        CallState.WITHDRAWN: {},
    },
    ways_out={
        CallState.BLOCKED: "wait until it is granted",
        CallState.QUEUED: "wait until it is granted",
        CallState.RUNNING: "finish it once",
        CallState.OVER: "make a new call",
        CallState.WITHDRAWN: "make a new call",
    },
)
