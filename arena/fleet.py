"""A loaded fleet as its user holds it: frames, states, reports, traces and metrics, then close."""

import threading
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from arena.device.base import Device
from arena.frames import Frame, open_frame
from arena.gears import GearChoice
from arena.measuring import Meter
from arena.running import Runner
from arena.tensors import HostArray
from planner.errors import ArenaError, UsageError
from planner.measured import FleetReport
from planner.plan import Plan

if TYPE_CHECKING:
    from arena.metrics import Metrics
    from arena.trace import Trace

__all__ = ["Fleet"]


class Fleet:
    """A loaded fleet: frames run its steps in the order and under the locks of its plan.

    Made by `plan_and_load`; a context manager. Methods may be called from any thread.

    Attributes
    ----------
    plan : Plan
    runner : Runner
        What executes; `runner.loaded` has every instance with its handle.
    closing : ExitStack
        What `close` undoes.
    """

    def __init__(self, plan: Plan, runner: Runner, meter: Meter) -> None:
        self.plan = plan
        self.runner = runner
        self.closing = ExitStack()
        self._closing_lock = threading.Lock()
        self._meter = meter
        self._metrics: Metrics | None = None

    @property
    def device(self) -> Device:
        """The device that the fleet is loaded on."""
        return self.runner.device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except ArenaError as failure:
            if error is None or isinstance(error, Exception):
                raise
            error.add_note(str(failure))  # Ctrl-C stays Ctrl-C, whatever could not be given back.

    def frame(self, channel: str, *, timeout_s: float | None = 60.0) -> Frame:
        """Wait for a place in `channel` and return its next frame, a context manager.

        Parameters
        ----------
        channel : str
            ``camera[0]``; of a pipeline with one channel, its name alone will do.
        timeout_s : float or None
            Longest of each wait in this frame, seconds: for its place, for the grants of its calls
            where these say nothing else, and for what is under way when it is left; None: without
            limit.

        Raises
        ------
        GuardTimeoutError
            No place became free in time; says what held it.
        GuardError
            Unknown channel, or this thread must not wait here.
        """
        return open_frame(self.runner, self._channel(channel), timeout_s)

    def run(
        self,
        address: str,
        inputs: object = None,
        *,
        gear: GearChoice = None,
        timeout_s: float | None = 60.0,
    ) -> dict[str, HostArray]:
        """Run one step in a frame of its own: ``fleet.run("camera[0].detect", x)``.

        The channel is named as for `frame`: of a pipeline with one channel ``door.look`` will do.
        """
        channel, dot, step = address.partition("].")
        if not dot:
            channel, dot, step = address.partition(".")
        else:
            channel += "]"
        if not step:
            raise UsageError(f"found {address!r}, expected channel and step: 'camera[0].detect'")
        with self.frame(channel, timeout_s=timeout_s) as frame:
            return frame.run(step, inputs, gear=gear)

    def reset_states(self, channel: str) -> None:
        """Let the next frame of `channel` start from zeros, as the first did; between its frames.

        For states that steps carry from frame to frame (`state` in the fleet file): another video,
        another speaker.

        Parameters
        ----------
        channel : str
            As for `frame`.

        Raises
        ------
        GuardError
            Unknown channel. Caused by the caller.
        """
        self.runner.reset_states(self._channel(channel))

    def report(self) -> FleetReport:
        """Return what was measured so far beside what was planned."""
        return self._meter.report()

    def trace(self) -> "Trace":
        """Record what runs from now on; `Trace.write` gives a file that Perfetto opens.

        Examples
        --------
        >>> import tempfile
        >>> from arena import plan_and_load
        >>> from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
        >>> from planner.model import ModelId
        >>> model = ModelSpec(ModelId("m"), work_bytes=4096, weight_bytes=512)
        >>> spec = FleetSpec("one", (model,), (PipelineSpec("p", (StepSpec("s", model.id, "l"),)),))
        >>> with plan_and_load(spec, device="twin") as fleet, tempfile.TemporaryDirectory() as to:
        ...     trace = fleet.trace()
        ...     outputs = fleet.run("p.s", bytes(64))
        ...     trace.write(f"{to}/trace.json")
        """
        from arena.trace import Trace

        trace = Trace(self.plan, self.device.name)
        self.runner.watch(trace.watch)
        return trace

    def metrics(self, *, port: int | None = None) -> "Metrics":
        """Count what runs from the first call on, for Prometheus.

        Parameters
        ----------
        port : int or None
            Serve them there on the loopback address until the fleet is closed, 0: on any free
            port; None: do not serve. `Metrics.serve` does it later.

        Raises
        ------
        UsageError
            prometheus-client is missing, or the port cannot be had. Caused by the caller.
        """
        from arena.metrics import Metrics

        with self._closing_lock:
            if self._metrics is None:
                self._metrics = Metrics(self.plan, self.device)
                self.closing.callback(self._metrics.close)
                self.runner.watch(self._metrics.tally.watch)
        if port is not None:
            self._metrics.serve(port)
        return self._metrics

    def close(self) -> None:
        """Withdraw what waits, wait for what runs, unload, free, release the device; idempotent."""
        self.runner.close()  # Refused inside a slot, or interrupted: then nothing is given back.
        with self._closing_lock:
            try:
                self.closing.close()
            except ArenaError as last:
                first: BaseException = last
                while isinstance(first.__context__, ArenaError):
                    first = first.__context__
                if first is not last:
                    first.add_note(str(last))
                raise first from None  # What failed first is the cause of the rest.

    def _channel(self, name: str) -> str:
        if "[" not in name:
            for pipeline in self.plan.fleet.pipelines:
                if pipeline.id == name and pipeline.channels == 1:
                    return f"{name}[0]"
        return name
