"""What the guard remembers of locks, channels, frames and calls: plain records, no decisions."""

from collections.abc import Mapping
from itertools import chain

from arena.guard.moves import (
    CALL_MOVES,
    FRAME_MOVES,
    CallEvent,
    CallState,
    FrameEvent,
    FrameState,
)
from arena.guard.rules import ChannelRules, Choice, StepRule

__all__ = ["CallRecord", "ChannelRecord", "FrameRecord", "LockRecord", "StepLocks"]


class LockRecord:
    """One lock: who holds it, and who wants it in order of being made."""

    __slots__ = ("holder", "name", "queue", "token")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder: CallRecord | None = None
        self.queue: list[CallRecord] = []
        self.token: object = None


class StepLocks:
    """The locks of one step of one channel.

    Attributes
    ----------
    options : tuple of tuple of LockRecord
        Those of each way to run it: more than one where it takes any lane of a pool.
    all : tuple of LockRecord
        Those of all options: while a call waits it stands in the queue of each.
    """

    __slots__ = ("all", "options")

    def __init__(self, rule: StepRule, locks: Mapping[str, LockRecord]) -> None:
        self.options = tuple(tuple(locks[name] for name in way.locks) for way in rule.choices)
        self.all = tuple(dict.fromkeys(chain(*self.options)))


class ChannelRecord:
    """One channel: its frames in progress and those waiting for their turn."""

    __slots__ = ("live", "locks", "rules", "started", "tokens", "waiting")

    def __init__(self, rules: ChannelRules, locks: Mapping[str, LockRecord]) -> None:
        self.rules = rules
        self.locks = tuple(StepLocks(rule, locks) for rule in rules.steps)
        self.started = 0
        self.live: dict[int, FrameRecord] = {}
        self.waiting: dict[FrameRecord, None] = {}
        self.tokens: dict[int, tuple[object, ...]] = {}

    @property
    def has_place(self) -> bool:
        """Whether the next frame may start: frame t - d has ended."""
        return self.started - self.rules.frames_in_flight not in self.live


class FrameRecord:
    """One frame of one channel.

    Attributes
    ----------
    state : FrameState
    number : int
        Counted from 0 in order of starting; -1 before it starts.
    owner : str
        Who opened it, for messages.
    failed : bool
        Whether a call of it finished as failed.
    calls : dict of CallRecord
        Calls made and not over, in the order in which they were made.
    """

    __slots__ = (
        "calls",
        "channel",
        "closed_mask",
        "closers",
        "failed",
        "follows",
        "live_counts",
        "live_mask",
        "number",
        "owner",
        "state",
        "tokens",
    )

    def __init__(self, channel: ChannelRecord, owner: str) -> None:
        self.channel = channel
        self.owner = owner
        self.state = FrameState.WAITING
        self.number = -1
        self.failed = False
        self.calls: dict[CallRecord, None] = {}
        self.live_counts: dict[int, int] = {}
        self.live_mask = 0
        self.closed_mask = 0
        self.closers: list[int] = []
        self.tokens: dict[int, object] = {}
        self.follows: tuple[object, ...] = ()

    def __str__(self) -> str:
        name = self.channel.rules.name
        return f"{name} frame {self.number}" if self.number >= 0 else f"frame of {name}"

    def move(self, event: FrameEvent) -> None:
        """Make one move of the table."""
        self.state = FRAME_MOVES.after(self.state, event, self)


class CallRecord:
    """One call of one step in one frame.

    Attributes
    ----------
    state : CallState
    sequence : int
        Order of being made, over the whole machine.
    owner : str
        Who made it, for messages.
    options, locks : tuple
        Of its step: see `StepLocks`.
    granted : int
        The option that it runs as; -1 before it runs.
    follows : tuple
        Once granted: the tokens (`Machine.finish`) of the calls that this one follows by order, by
        frames in flight or by a lock. Of several whose order follows from one another, the last.
    """

    __slots__ = (
        "follows",
        "frame",
        "granted",
        "index",
        "locks",
        "options",
        "owner",
        "rule",
        "sequence",
        "state",
    )

    def __init__(self, frame: FrameRecord, index: int, sequence: int, owner: str) -> None:
        step = frame.channel.locks[index]
        self.frame = frame
        self.index = index
        self.rule: StepRule = frame.channel.rules.steps[index]
        self.sequence = sequence
        self.owner = owner
        self.options = step.options
        self.locks = step.all
        self.granted = -1
        self.state = CallState.BLOCKED
        self.follows: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule.id!r} of {self.frame}"

    @property
    def held(self) -> tuple[LockRecord, ...]:
        """The locks of the option that it runs, or ran, as."""
        return self.options[self.granted]

    @property
    def choice(self) -> Choice:
        """What it runs as; before that, the only way or the first."""
        return self.rule.choices[max(0, self.granted)]

    @property
    def is_clear(self) -> bool:
        """Whether no earlier call on a predecessor is waiting or running.

        Runs of one step in one frame are one execution. Where no lane of their own keeps them
        apart, each waits for those before it.
        """
        frame = self.frame
        if self.rule.before_mask & frame.live_mask:
            return False
        if not self.rule.is_pooled or frame.live_counts[self.index] == 1:
            return True
        return next(call for call in frame.calls if call.index == self.index) is self

    @property
    def is_waiting(self) -> bool:
        """Whether the call neither ran nor was withdrawn yet."""
        return self.state is CallState.BLOCKED or self.state is CallState.QUEUED

    def move(self, event: CallEvent) -> None:
        """Make one move of the table."""
        self.state = CALL_MOVES.after(self.state, event, self)
