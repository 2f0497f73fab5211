"""The guard without threads: events in, moves out.

A `Machine` knows every open frame, every call and every lock, and nothing of time, threads or
devices. Each method is one atomic move; those that may end somebody's wait return the records that
moved, and whoever drives the machine wakes their owners. The threaded guard drives it under one
mutex, the model check of the tests drives it through every interleaving: the same code.

How one call runs::

    call made ── closes its predecessors for good
        │
        ▼  no earlier call on a predecessor is waiting or running
     queued, in the queue of each of its locks, by order of being made
        │
        ▼  first in each of these queues, and each of the locks is free
     running ── holds all its locks ── finish ── frees them, clears and grants others

Why it cannot deadlock: a waiting call holds no lock, so only running calls hold any, and nothing
keeps a running call from finishing. The oldest queued call is first in all its queues: it is
granted at the latest when the locks that are held now are free again. A blocked call waits for
older calls of its own frame only. And why none starves: a queued call is overtaken only by calls
made before it, of which there are finitely many.

A call on a pool stands in the queues of all lanes that it may take, and leaves all of them when it
takes one: the first, in the pool's order, whose locks are free and in whose queues it is first. The
two arguments stay: the oldest queued call is first in all its queues, so nobody younger takes any
lane that it may take. No lane keeps the runs of one step apart there, though they are one
execution: so each is blocked by those before it in its frame, and holds back no queue meanwhile.
"""

from bisect import insort
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Final, TypeAlias

from arena.errors import GuardError
from arena.guard.explain import call_text, closed_text, listing, unknown_channel, waits_for
from arena.guard.moves import CallEvent, CallState, FrameEvent, FrameState
from arena.guard.records import CallRecord, ChannelRecord, FrameRecord, LockRecord
from arena.guard.rules import ChannelRules, mask_bits

__all__ = ["CallRecord", "FrameRecord", "Machine", "Moved"]

_BY_AGE: Final = attrgetter("sequence")

Moved: TypeAlias = "list[CallRecord | FrameRecord]"
"""Records whose wait a move ended: calls granted or withdrawn, frames started, withdrawn, ended."""


class Machine:
    """Frames, calls and locks of one fleet.

    Parameters
    ----------
    rules : mapping of channel name -> ChannelRules

    Notes
    -----
    Not thread-safe: one move at a time. A move costs O(locks of the calls it touches), and
    O(blocked calls of the frame) where the last call on a step of that frame ends.

    Examples
    --------
    >>> from arena.guard.rules import Choice, StepRule
    >>> step = StepRule("detect", (Choice("det@vision", "vision", ("vision",)),), before_mask=0)
    >>> machine = Machine({"camera[0]": ChannelRules("camera[0]", 1, (step,))})
    >>> frame = machine.open("camera[0]")
    >>> first, second = machine.call(frame, "detect"), machine.call(frame, "detect")
    >>> first.state.value, second.state.value
    ('running', 'queued')
    >>> [str(record) for record in machine.finish(first)]
    ["'detect' of camera[0] frame 0"]
    """

    def __init__(self, rules: Mapping[str, ChannelRules]) -> None:
        choices = [way for c in rules.values() for step in c.steps for way in step.choices]
        names = {lock for way in choices for lock in way.locks}
        self.lanes = frozenset(way.lane for way in choices)
        """Names of all lanes."""
        self._locks = {name: LockRecord(name) for name in sorted(names)}
        self._channels = {name: ChannelRecord(c, self._locks) for name, c in rules.items()}
        self._made = 0
        self.closed = ""
        """Why nothing new is taken; empty while the machine is open."""

    def is_running(self) -> bool:
        """Whether any call holds its locks."""
        return any(lock.holder is not None for lock in self._locks.values())

    def open(self, channel: str, owner: str = "", cannot_wait: str = "") -> FrameRecord:
        """Return a new frame: open if a place is free and nobody waits for one, else waiting.

        Parameters
        ----------
        channel : str
        owner : str
            Who opens it, for messages.
        cannot_wait : str
            Why the owner must not wait; empty if it may.

        Raises
        ------
        GuardError
            Unknown channel, the machine is closed, or the owner would have to wait and must not.
            Caused by the caller.
        """
        self._refuse_when_closed()
        try:
            record = self._channels[channel]
        except KeyError:
            raise GuardError(unknown_channel(channel, self._channels)) from None
        frame = FrameRecord(record, owner)
        if record.has_place:  # Then nobody waits for one.
            self._start(frame)
        elif cannot_wait:
            raise GuardError(
                f"{cannot_wait}, so it opens a frame only if a place is free at once, and a frame "
                f"of {channel} would wait for {waits_for(frame)}; leave the other "
                "frame first, or open this one in another thread"
            )
        else:
            record.waiting[frame] = None
        return frame

    def give_up(self, frame: FrameRecord) -> None:
        """Withdraw a frame that waits for its turn; it uses no number."""
        frame.move(FrameEvent.WITHDRAW)
        del frame.channel.waiting[frame]

    def call(self, frame: FrameRecord, step: str, owner: str = "") -> CallRecord:
        """Make a call: close the step's predecessors for good, and run, queue or block.

        Raises
        ------
        GuardError
            The frame is not open, has no such step, or the step is closed; the message names both
            steps. Caused by the caller.
        """
        self._refuse_when_closed()
        frame.move(FrameEvent.CALL)
        rules = frame.channel.rules
        index = rules.index.get(step)
        if index is None:
            raise GuardError(
                f"unknown step {step!r} of {rules.name}, expected one of {listing(rules.index)}"
            )
        if frame.closed_mask >> index & 1:
            raise GuardError(closed_text(frame, index))
        rule = rules.steps[index]
        if rule.before_mask & ~frame.closed_mask:
            frame.closed_mask |= rule.before_mask
            frame.closers.append(index)
        self._made += 1
        call = CallRecord(frame, index, self._made, owner)
        frame.calls[call] = None
        frame.live_counts[index] = frame.live_counts.get(index, 0) + 1
        frame.live_mask |= 1 << index
        if call.is_clear:
            self._clear(call)
            self._grant_if_first(call)
        return call

    def finish(self, call: CallRecord, *, failed: bool = False, token: object = None) -> Moved:
        """End a running call: free its locks, and grant whoever may run now.

        Parameters
        ----------
        call : CallRecord
        failed : bool
            Whether its execution failed: leaving the frame then withdraws its waiting calls.
        token : object
            Handed to the calls that follow this one (`CallRecord.follows`); None: nothing is.
        """
        call.move(CallEvent.FINISH)
        frame = call.frame
        frame.failed |= failed
        for lock in call.held:
            lock.holder = None
            if token is not None:
                lock.token = token
        if token is not None:
            frame.tokens.pop(call.index, None)
            frame.tokens[call.index] = token  # Last in the dict: finished last.
        gone = [call]
        if frame.failed and frame.state is FrameState.LEAVING:
            gone += self._take_back_waiting(frame)
        return [*gone[1:], *self._settle(gone)]

    def withdraw(self, call: CallRecord) -> Moved:
        """Withdraw a call that waits; what it closed stays closed."""
        self._take_back(call)
        return [call, *self._settle([call])]

    def leave(self, frame: FrameRecord, *, failed: bool = False) -> Moved:
        """Begin to leave a frame: no further call; it ends when all its calls are over.

        Parameters
        ----------
        frame : FrameRecord
        failed : bool
            Left by an exception. Then, or if a call of the frame failed, waiting calls are
            withdrawn; else they are waited for.
        """
        frame.move(FrameEvent.LEAVE)
        frame.failed |= failed
        return self.withdraw_waiting(frame) if frame.failed else self._settle([], frame)

    def withdraw_waiting(self, frame: FrameRecord) -> Moved:
        """Withdraw the waiting calls of a frame that is being left: nobody waits for it any more.

        Running calls go on; the frame ends when they are over.
        """
        gone = self._take_back_waiting(frame)
        return [*gone, *self._settle(gone, frame)]

    def close(self, reason: str) -> Moved:
        """Take nothing new, and withdraw every waiting call and frame; running calls go on."""
        self.closed = reason
        frames: list[FrameRecord] = []
        gone: list[CallRecord] = []
        for channel in self._channels.values():
            for frame in tuple(channel.waiting):
                self.give_up(frame)
                frames.append(frame)
            for frame in channel.live.values():
                gone += self._take_back_waiting(frame)
        return [*frames, *gone, *self._settle(gone)]

    def running_text(self) -> str:
        """Name the calls that hold locks."""
        holders = {lock.holder: None for lock in self._locks.values() if lock.holder is not None}
        return listing(map(call_text, holders))

    # ---- moves inside moves

    def _refuse_when_closed(self) -> None:
        if self.closed:
            raise GuardError(f"the guard is closed: {self.closed}")

    def _start(self, frame: FrameRecord) -> None:
        channel = frame.channel
        frame.move(FrameEvent.START)
        frame.number = channel.started
        channel.started += 1
        channel.live[frame.number] = frame
        frame.follows = channel.tokens.pop(frame.number - channel.rules.frames_in_flight, ())

    def _end_if_idle(self, frame: FrameRecord) -> Moved:
        """End a frame that is being left once its calls are over; start those that waited."""
        if frame.state is not FrameState.LEAVING or frame.calls:
            return []
        frame.move(FrameEvent.END)
        channel = frame.channel
        del channel.live[frame.number]
        # Each call of the frame follows `frame.follows`, and on one lane each follows the one
        # before: the last of each lane stands for all; a frame that ran nothing hands on.
        # A step on a pool stands for itself: its runs followed one another on whatever lanes.
        by_lane = {
            index if step.is_pooled else step.choices[0].lane: token
            for index, token in frame.tokens.items()
            for step in (channel.rules.steps[index],)
        }
        channel.tokens[frame.number] = tuple(by_lane.values()) or frame.follows
        moved: Moved = [frame]
        while channel.waiting and channel.has_place:
            started = next(iter(channel.waiting))
            del channel.waiting[started]
            self._start(started)
            moved.append(started)
        return moved

    def _clear(self, call: CallRecord) -> None:
        call.move(CallEvent.CLEAR)
        for lock in call.locks:
            insort(lock.queue, call, key=_BY_AGE)

    def _grant_if_first(self, call: CallRecord) -> bool:
        """Grant a queued call the first of its options that is free and that no older call wants.

        Wanting is being queued: of a call on a pool, in the queue of each lane that it may take.
        """
        option = _free_option(call)
        if option < 0:
            return False
        call.granted = option
        call.move(CallEvent.GRANT)
        for lock in call.held:
            lock.holder = call
        for lock in call.locks:
            lock.queue.remove(call)
        call.follows = _tokens_before(call)
        return True

    def _grant_all(self, ready: Collection[CallRecord]) -> list[CallRecord]:
        """Grant all of these that may run, the oldest first.

        A call on a pool that takes one lane leaves the queues of the others: who is first there
        now may run too.
        """
        granted: list[CallRecord] = []
        open_ends = sorted(ready, key=_BY_AGE)
        while open_ends:
            call = open_ends.pop(0)
            if call.state is not CallState.QUEUED or not self._grant_if_first(call):
                continue
            granted.append(call)
            if call.rule.is_pooled:
                for lock in call.locks:
                    if lock.holder is None and lock.queue and lock.queue[0] not in open_ends:
                        insort(open_ends, lock.queue[0], key=_BY_AGE)
        return granted

    def _take_back(self, call: CallRecord) -> None:
        queued = call.state is CallState.QUEUED
        call.move(CallEvent.WITHDRAW)
        if queued:
            for lock in call.locks:
                lock.queue.remove(call)

    def _take_back_waiting(self, frame: FrameRecord) -> list[CallRecord]:
        waiting = [call for call in frame.calls if call.is_waiting]
        for call in waiting:
            self._take_back(call)
        return waiting

    def _settle(self, gone: list[CallRecord], *left: FrameRecord) -> Moved:
        """Let calls that are over or withdrawn go: clear, grant, and end frames that were left.

        Cleared calls enter their queues before anything is granted, so that the oldest of all that
        may run now is served.
        """
        ready: dict[CallRecord, None] = {}
        frames = dict.fromkeys(left)
        for call in gone:
            frame = call.frame
            frames[frame] = None
            del frame.calls[call]
            frame.live_counts[call.index] -= 1
            is_over = not frame.live_counts[call.index]
            if is_over:
                frame.live_mask ^= 1 << call.index
            if is_over or call.rule.is_pooled:
                for other in frame.calls:
                    if other.state is CallState.BLOCKED and other.is_clear:
                        self._clear(other)
                        ready[other] = None
        for call in gone:
            ready.update((lock.queue[0], None) for lock in call.locks if lock.queue)
        moved: Moved = [*self._grant_all(ready)] if ready else []
        for frame in frames:
            moved += self._end_if_idle(frame)
        return moved


def _free_option(call: CallRecord) -> int:
    """Return the first option of a queued call whose locks are free and its own to take, or -1."""
    for option, locks in enumerate(call.options):
        for lock in locks:
            if lock.holder is not None or lock.queue[0] is not call:
                break
        else:
            return option
    return -1


def _tokens_before(call: CallRecord) -> tuple[object, ...]:
    """Collect what the calls before a granted one left for it, each token once."""
    frame = call.frame
    tokens: dict[int, object] = {id(token): token for token in frame.follows}
    if frame.tokens:
        own = call.rule.is_pooled << call.index  # an earlier run may have had another lane
        for index in mask_bits(call.rule.before_mask | own):
            token = frame.tokens.get(index)
            tokens[id(token)] = token
    for lock in call.held:
        tokens[id(lock.token)] = lock.token
    tokens.pop(id(None), None)
    return tuple(tokens.values())
