"""The guard as its callers see it: frames and calls, and what each thread may do with them.

Blocking and waking are `blocking`'s; what moves when is `machine`'s.
"""

import os
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from arena.errors import GuardError
from arena.guard.blocking import BlockingMachine, ForkedMachine
from arena.guard.holders import Holder, Holders
from arena.guard.moves import CallState, FrameState
from arena.guard.records import CallRecord, FrameRecord
from arena.guard.rules import ChannelRules, Choice, channel_rules
from arena.guard.watched import Watched, Watcher
from planner.fleet import FleetSpec
from planner.model import InstanceId
from planner.plan import AddedOrder

__all__ = ["Call", "Frame", "Guard"]


class Guard:
    """Frames of a fleet, kept in the order that its plan relies on.

    Parameters
    ----------
    fleet : FleetSpec
    added : sequence of AddedOrder
        What planning added: order edges and exclusions.

    Raises
    ------
    PlanError
        `added` does not fit the fleet. Caused by the plan.

    Notes
    -----
    Every method may be called from any thread. The guard survives no fork: in the child it is
    closed.

    Examples
    --------
    >>> from planner.fleet import ModelSpec, PipelineSpec, StepSpec
    >>> from planner.model import ModelId
    >>> steps = (StepSpec("detect", ModelId("m"), "x"), StepSpec("read", ModelId("m"), "y"))
    >>> models = (ModelSpec(ModelId("m"), work_bytes=10, weight_bytes=0),)
    >>> guard = Guard(FleetSpec("one", models, (PipelineSpec("camera", steps),)))
    >>> with guard.open_frame("camera[0]") as frame, frame.enter("detect") as call:
    ...     print(call, "executes", call.instance)
    'detect' of camera[0] frame 0 executes m@x
    """

    def __init__(self, fleet: FleetSpec, added: Sequence[AddedOrder] = ()) -> None:
        self._machine: BlockingMachine = BlockingMachine(channel_rules(fleet, added))
        self._holders = Holders()
        _GUARDS.add(self)

    @property
    def lanes(self) -> tuple[str, ...]:
        """Names of all lanes, sorted."""
        return self._machine.lanes

    def open_frame(self, channel: str, timeout_s: float | None = None) -> "Frame":
        """Wait for a place in `channel` and return its next frame.

        Parameters
        ----------
        channel : str
            ``camera[0]``.
        timeout_s : float or None
            Longest wait, seconds, >= 0; None: without limit. A timed-out wait uses no number.

        Raises
        ------
        GuardTimeoutError
            No place became free in time; the message names the frame waited for.
        GuardError
            Unknown channel; the guard is closed; this thread is inside a call, or it holds a frame
            or serves a lane and no place is free at once. Caused by the caller.
        """
        holder = self._holders.current
        holder.refuse_inside_call("cannot open a frame of", channel)
        record = self._machine.open(channel, holder.name, holder.cannot_wait(), timeout_s)
        frame = Frame(self, record, holder)
        holder.frames[frame] = None
        return frame

    def take(self, lane: str) -> "Call | None":
        """Wait for the next submitted call of `lane` and return it: granted, or withdrawn.

        Every submitted call comes out exactly once. Whoever takes a granted one executes it and
        calls `Call.done`. From then on this thread serves the lane: it may submit, and it never
        waits for other calls or frames.

        Returns
        -------
        Call or None
            None: the guard is closed and nothing is left.

        Raises
        ------
        GuardError
            Unknown lane, or this thread is inside a call. Caused by the caller.
        """
        holder = self._holders.current
        holder.refuse_inside_call("cannot take calls of lane", lane)
        item = self._machine.take(lane)
        if item is None:
            holder.lane = ""
            return None
        holder.lane = lane
        record, job = item
        if record.state is CallState.WITHDRAWN:
            return Call(self, record, None, job)
        call = Call(self, record, holder, job)
        holder.call = call
        return call

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of every move from now on; a guard that nobody watches pays nothing."""
        self._machine.watch(watcher)

    def tell(self, event: Watched, call: "Call") -> None:
        """Tell watchers what the device did with a call that is, or will be, over for the guard."""
        self._machine.tell(event, call._record)

    def stop(self, reason: str) -> None:
        """Withdraw everything that waits and refuse everything new, without waiting.

        For a failure after which no memory may be used again: allowed inside a call, so that
        nothing is granted in between. The first reason stays.

        Parameters
        ----------
        reason : str
            For the messages of all that is refused from now on.
        """
        self._machine.stop(reason)

    def close(self, timeout_s: float | None = None) -> None:
        """Withdraw everything that waits, refuse everything new, wait for the running calls.

        Parameters
        ----------
        timeout_s : float or None
            Longest wait for the running calls, seconds, >= 0; None: without limit.

        Raises
        ------
        GuardTimeoutError
            Calls still run; the message names them. The guard is closed all the same.
        GuardError
            This thread is inside a call or serves a lane. Caused by the caller.
        """
        self._holders.current.refuse_to_wait("cannot close the guard")
        self._machine.close("close() was called", timeout_s)


class Frame:
    """One frame of one channel, held by the thread that opened it until it is left.

    A context manager: leaving the block leaves the frame, by an exception as failed. Its methods
    may be called from any thread.
    """

    __slots__ = ("_guard", "_holder", "_record")

    def __init__(self, guard: Guard, record: FrameRecord, holder: Holder) -> None:
        self._guard = guard
        self._record = record
        self._holder = holder

    def __str__(self) -> str:
        return str(self._record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave(failed=kind is not None)

    @property
    def channel(self) -> str:
        """Name of the channel, such as ``camera[0]``."""
        return self.rules.name

    @property
    def rules(self) -> ChannelRules:
        """The channel's steps with their instances, lanes, locks and order."""
        return self._record.channel.rules

    @property
    def number(self) -> int:
        """Number of the frame in its channel, counted from 0."""
        return self._record.number

    def enter(self, step: str, timeout_s: float | None = None) -> "Call":
        """Make a call, wait until it holds its locks, and return it: this thread executes.

        Closes the predecessors of `step` in this frame for good, even if the call is withdrawn.

        Parameters
        ----------
        step : str
        timeout_s : float or None
            Longest wait, seconds, >= 0; None: without limit. A call that waited longer is
            withdrawn.

        Raises
        ------
        GuardTimeoutError
            The call was not granted in time; the message names what it waited for.
        GuardError
            Unknown or closed step; the frame is not open; the call was withdrawn because the frame
            was left after a failure; this thread is inside a call or serves a lane. Caused by the
            caller.
        """
        holder = self._guard._holders.current
        holder.refuse_to_wait("cannot call", step, "of", self)
        record = self._guard._machine.enter(self._record, step, holder.name, timeout_s)
        call = Call(self._guard, record, holder)
        holder.call = call
        return call

    def submit(self, step: str, job: object = None) -> "Call":
        """Make a call and return at once; `Guard.take` of its lane hands it out when granted.

        Parameters
        ----------
        step : str
        job : object
            What the lane's thread needs to execute it: `Call.job` of the call that it takes.

        Raises
        ------
        GuardError
            Unknown or closed step; the frame is not open; this thread is inside a call. Caused by
            the caller.
        """
        holder = self._guard._holders.current
        holder.refuse_inside_call("cannot submit", step, "of", self)
        record = self._guard._machine.submit(self._record, step, holder.name, job)
        return Call(self._guard, record, None, job)

    def leave(self, *, failed: bool = False, timeout_s: float | None = None) -> None:
        """Take no further call, wait until every call of the frame is over, and end it.

        Parameters
        ----------
        failed : bool
            Withdraw the calls that wait; without it, only if an execution of the frame failed.
        timeout_s : float or None
            Longest wait, seconds, >= 0; None: without limit. Then the calls that wait are
            withdrawn, and the frame ends when those that run are over.

        Raises
        ------
        GuardTimeoutError
            Calls were not over in time; the message names them.
        GuardError
            The frame was left before; this thread is inside a call or serves a lane. Caused by the
            caller.
        """
        self._guard._holders.current.refuse_to_wait("cannot leave", self)
        try:
            self._guard._machine.leave(self._record, failed=failed, timeout_s=timeout_s)
        finally:
            if self._record.state is not FrameState.OPEN:
                self._holder.frames.pop(self, None)


class Call:
    """One call of one step, from being made until its execution ended or it was withdrawn.

    A context manager: leaving the block is `done`, by an exception as failed.

    Attributes
    ----------
    job : object
        What was given to `Frame.submit`.
    """

    __slots__ = ("_guard", "_holder", "_record", "job")

    def __init__(
        self, guard: Guard, record: CallRecord, holder: Holder | None, job: object = None
    ) -> None:
        self._guard = guard
        self._record = record
        self._holder = holder
        self.job = job

    def __str__(self) -> str:
        return str(self._record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.done(failed=kind is not None)

    @property
    def step(self) -> str:
        """Id of the step."""
        return self._record.rule.id

    @property
    def instance(self) -> InstanceId:
        """The instance that executes: ``model@lane``. Of a pool, known once the call is granted."""
        return self._choice.instance

    @property
    def lane(self) -> str:
        """Name of the lane. Of a pool, known once the call is granted."""
        return self._choice.lane

    @property
    def locks(self) -> tuple[str, ...]:
        """Names of the locks that the call holds while it runs, its lane among them."""
        return self._choice.locks

    @property
    def _choice(self) -> Choice:
        record = self._record
        if record.granted < 0 and record.rule.is_pooled:
            lanes = ", ".join(repr(choice.lane) for choice in record.rule.choices)
            raise GuardError(
                f"{self} has no lane yet, it will take one of {lanes}: ask once it is granted"
            )
        return record.choice

    @property
    def withdrawn(self) -> bool:
        """Whether the call never ran and never will."""
        return self._record.state is CallState.WITHDRAWN

    @property
    def follows(self) -> tuple[object, ...]:
        """Tokens of the calls that this granted one follows: by order, frames in flight or a lock.

        Of calls whose own order follows from one another, the last one's token stands for all.
        """
        return self._record.follows

    def done(self, *, failed: bool = False, token: object = None) -> None:
        """End the call: its execution is over, its locks are free.

        Parameters
        ----------
        failed : bool
            Whether the execution failed; leaving the frame then withdraws what still waits.
        token : object
            Handed to the calls that follow (`follows`): a stamp for the race check, or a recorded
            event where followers wait on the device. None: the execution did not take place.

        Raises
        ------
        GuardError
            The call does not run. Caused by the caller.
        """
        self._guard._machine.finish(self._record, failed=failed, token=token)
        if self._holder is not None and self._holder.call is self:
            self._holder.call = None

    def withdraw(self) -> bool:
        """Withdraw the call if it still waits; return whether it was withdrawn now.

        The steps that it closed stay closed.
        """
        return self._guard._machine.withdraw(self._record)


_GUARDS: Final["weakref.WeakSet[Guard]"] = weakref.WeakSet()


def _close_in_child() -> None:
    """Close every guard in a forked child: the threads that it knew are gone there."""
    for guard in _GUARDS:
        guard._machine = ForkedMachine("the process forked; start processes by spawn, load there")


os.register_at_fork(after_in_child=_close_in_child)
