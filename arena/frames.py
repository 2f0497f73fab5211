"""Frames as callers use them: steps run, submitted, or executed in slots by the application.

    frame.run(step, x)     check x ── enter (wait for the grant) ── launch ── finish ── done
    frame.submit(step, x)  check x ── hand in ── future        a thread a lane executes when granted
    frame.slot(step)       enter ── the application executes ── synchronise the stream ── done

Who may run when is the guard's matter (docs/guard.md), executing is the runner's.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from arena.device.base import DeviceRange, ModelHandle, StreamId
from arena.errors import GuardError
from arena.gears import GearChoice
from arena.guard import Frame as GuardFrame
from arena.handover import FrameTensors, Request
from arena.running import Runner, Submission
from arena.tensors import HostArray
from planner.model import InstanceId

__all__ = ["Frame", "Slot", "open_frame"]


@dataclass(frozen=True, slots=True)
class Slot:
    """What an application needs to execute a step itself while the guard is held.

    Attributes
    ----------
    instance : InstanceId
    model_id : int
        As the device's load call returned it: what `acl.mdl.execute` takes.
    stream : int
        The lane's stream; asynchronous work must go there and nowhere else.
    work, weights : DeviceRange or None
        The planned memory; None where the device manages it.
    inputs, outputs : mapping of str to DeviceRange
        Planned memory of tensors that are handed on: fed inputs that were written in this frame and
        states to read, outputs to write. Empty where the plan hands nothing on.
    gear : tuple of int
        What the application sets on its dataset before it executes; empty without gears.
    hidden : tuple of str
        Inputs whose memory the application brings and does not fill.
    """

    instance: InstanceId
    model_id: ModelHandle
    stream: StreamId
    work: DeviceRange | None
    weights: DeviceRange | None
    inputs: Mapping[str, DeviceRange] = field(default_factory=dict)
    outputs: Mapping[str, DeviceRange] = field(default_factory=dict)
    gear: tuple[int, ...] = ()
    hidden: tuple[str, ...] = ()


def open_frame(runner: Runner, channel: str, timeout_s: float | None) -> "Frame":
    """Wait for a place in `channel` and return its next frame."""
    runner.refuse_when_broken()
    frame = runner.guard.open_frame(channel, timeout_s)
    return Frame(runner, frame, runner.handover.begin(channel, frame.number), timeout_s)


class Frame:
    """One frame of one channel: run its steps, zero, one or many times each.

    A context manager. Leaving the block waits for all its calls; leaving it by an exception, or
    after a failed execution, withdraws the waiting ones and waits for the running ones.
    """

    def __init__(
        self, runner: Runner, frame: GuardFrame, tensors: FrameTensors, timeout_s: float | None
    ) -> None:
        self._runner = runner
        self._frame = frame
        self._tensors = tensors
        self._timeout_s = timeout_s
        self._submissions: list[Submission] = []

    def __str__(self) -> str:
        return str(self._frame)

    @property
    def number(self) -> int:
        """Number of the frame in its channel, counted from 0."""
        return self._frame.number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._frame.leave(failed=kind is not None, timeout_s=self._timeout_s)
        unseen = [(s, e) for s in self._submissions if (e := _failure(s, self._timeout_s))]
        if kind is not None or not unseen:
            return
        for _, failure in unseen:
            if not isinstance(failure, CancelledError):
                raise failure
        self._runner.refuse_when_broken()
        raise GuardError(
            f"{unseen[0][0].call} was withdrawn before it ran, and nobody looked at its future"
        )

    def run(
        self,
        step: str,
        inputs: object = None,
        *,
        gear: GearChoice = None,
        outputs: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, HostArray]:
        """Execute a step and return output name -> array.

        Parameters
        ----------
        step : str
        inputs : mapping of str to array, one array, or None
            Anything with the buffer protocol, or a `DeviceRange`; None: the model has no inputs.
            What the plan hands on (feeds, states) may be left out, and is replaced where given.
        gear : int, sequence of int, or None
            Of a model with gears, which one: inputs have its shapes. It is set and the model
            executed under one grant.
        outputs : sequence of str or None
            Which to return; None: all. Handed-on outputs that are left out stay on the device.
        timeout_s : float or None
            Longest wait for the grant, seconds; None: the frame's.

        Raises
        ------
        GuardTimeoutError
            The call was not granted in time; it is withdrawn.
        GuardError, UsageError
            A closed or unknown step, a wrong input, no such gear. Caused by the caller.
        DeviceError
            The execution failed; the frame ends as failed.
        """
        request = self._checked(step, inputs, outputs, gear)
        call = self._frame.enter(step, self._timeout_s if timeout_s is None else timeout_s)
        return self._runner.execute(call, request)

    def submit(
        self,
        step: str,
        inputs: object = None,
        *,
        gear: GearChoice = None,
        outputs: Sequence[str] | None = None,
    ) -> Submission:
        """Hand an execution in and return its future; inputs must not change until it is done."""
        request = self._checked(step, inputs, outputs, gear)
        submission = self._runner.submit(self._frame, step, request)
        self._submissions.append(submission)
        return submission

    @contextmanager
    def slot(
        self, step: str, *, gear: GearChoice = None, timeout_s: float | None = None
    ) -> Iterator[Slot]:
        """Hold the guard for a step while the application executes it itself.

        Leaving the block synchronises the lane's stream, then frees the locks. Of a model with
        gears, the application sets `Slot.gear` on its own dataset inside the block, before it
        executes, and brings memory for the inputs that `Slot.hidden` names: nobody else executes
        the model meanwhile.
        """
        runner = self._runner
        choice = self._tensors.gear(self._known(step), gear, f"{step!r} of {self}")
        call = self._frame.enter(step, self._timeout_s if timeout_s is None else timeout_s)
        item = runner.loaded.instances[call.instance]
        stream = runner.streams[call.lane]
        try:
            runner.wait_on_host(call)
            arena = runner.loaded.arena
            work, weights = arena.work_of(item.instance), arena.weights_of(item.instance)
            places = self._tensors.places(step)
            yield Slot(
                call.instance,
                item.handle,
                stream,
                work,
                weights,
                places.inputs,
                places.outputs,
                choice,
                item.description.hidden,
            )
            runner.device.synchronize(stream)
            self._tensors.note(step, is_written=True)
            self._tensors.over(step)
        except BaseException as error:
            runner.end_failed(call, error, started=True)
            raise
        call.done(token=runner.over(call))

    def _checked(
        self, step: str, inputs: object, outputs: Sequence[str] | None, gear: GearChoice
    ) -> Request:
        where = f"{step!r} of {self}"
        return self._tensors.request(self._known(step), inputs, outputs, gear, where)

    def _known(self, step: str) -> str:
        """Return a step's id, if the fleet still runs and the channel has it."""
        self._runner.refuse_when_broken()
        if step not in self._frame.rules.index:
            known = ", ".join(repr(name) for name in self._frame.rules.index)
            raise GuardError(f"unknown step {step!r} of {self._frame.channel}, expected {known}")
        return step


def _failure(submission: Submission, timeout_s: float | None) -> BaseException | None:
    """Wait for a submission; return what it raised if nobody looked at it."""
    if submission.retrieved:
        return None
    try:
        return submission.exception(timeout_s)
    except (CancelledError, TimeoutError) as unfinished:
        return unfinished
