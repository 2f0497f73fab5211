"""Tensors that the steps of a loaded plan hand on: where they are, and whose turn it is.

    frame 7   detect ──writes──► boxes slot 1 ──read by──► read, track      the same device memory
    frame 8   detect ──writes──► boxes slot 0 ...

    state     run k of `listen` reads half k mod 2 and writes the other; halves change when it is
              over, so a run that fails leaves what it read

Who may run when is the guard's matter, which bytes are free is the plan's; here arguments are made
of both. A fed input that its frame has not written is refused, unless the caller passes one.
"""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from arena.device.base import Argument, Device, DeviceRange, ModelDescription, Placed
from arena.gears import GearChoice, chosen_gear
from arena.loader import LoadedFleet, LoadedInstance
from arena.tensors import as_arguments
from planner.errors import PlanError, UsageError
from planner.fleet import channel_name, instance_id
from planner.handover import BufferUse, ChannelBuffer
from planner.model import TensorSpec
from planner.plan import Plan

__all__ = ["FrameTensors", "Handover", "Places", "Request"]


@dataclass(slots=True)
class _State:
    """One state of one channel: its two halves, which of them is read next, and whether it began.

    Attributes
    ----------
    input, output : str
    halves : tuple of two DeviceRange
    turn : int
    is_fresh : bool
        Nothing was left for the next run yet: it starts from zeros.
    """

    input: str
    output: str
    halves: tuple[DeviceRange, DeviceRange]
    turn: int = 0
    is_fresh: bool = True


@dataclass(slots=True)
class _Tensors:
    """What one step of one channel reads and writes in planned memory.

    Attributes
    ----------
    reads : dict of input to (step, output)
        Fed inputs and who writes them.
    writes : dict of output to a range for each slot
    states : list of _State
    """

    description: ModelDescription
    reads: dict[str, tuple[str, str]] = field(default_factory=dict)
    writes: dict[str, tuple[DeviceRange, ...]] = field(default_factory=dict)
    states: list[_State] = field(default_factory=list)


_Channel: TypeAlias = dict[str, _Tensors]
"""Step -> its tensors, every step of the channel."""


class Handover:
    """What all channels of one loaded plan hand on.

    Parameters
    ----------
    plan : Plan
    loaded : LoadedFleet

    Raises
    ------
    PlanError
        A model's tensors are not those that the plan was made of. Caused by the plan.
    """

    def __init__(self, plan: Plan, loaded: LoadedFleet) -> None:
        self._device = loaded.device
        self._channels: dict[str, _Channel] = {}
        for pipeline in plan.fleet.pipelines:
            for channel in range(pipeline.channels):
                self._channels[channel_name(pipeline.id, channel)] = {
                    step.id: _Tensors(
                        # The instances of a pool have one model: the first speaks for all.
                        loaded.instances[
                            instance_id(step.model, step.lanes_of(channel)[0])
                        ].description
                    )
                    for step in pipeline.steps
                }
        slots: dict[tuple[str, str, str], list[DeviceRange]] = {}
        handed = [row for row in plan.buffers if row.use is not BufferUse.INSTANCE]
        for buffer in handed:
            memory = loaded.arena.buffer(buffer)
            slots.setdefault((buffer.channel, buffer.step, buffer.tensor), []).append(memory)
        for buffer in handed:
            if buffer.slot == 0:
                ranges = slots[buffer.channel, buffer.step, buffer.tensor]
                self._connect(self._channels[buffer.channel], buffer, ranges)

    def _connect(
        self, channel: _Channel, buffer: ChannelBuffer, ranges: Sequence[DeviceRange]
    ) -> None:
        """Tell the steps of a channel about one of its tensors."""
        writer = channel[buffer.step]
        _require(writer.description.outputs, buffer.tensor, buffer)
        for step, name in buffer.readers:
            _require(channel[step].description.visible_inputs, name, buffer)
            if buffer.use is BufferUse.FEED:
                channel[step].reads[name] = buffer.step, buffer.tensor
            else:
                writer.states.append(_State(name, buffer.tensor, (ranges[0], ranges[1])))
        if buffer.use is BufferUse.FEED:
            writer.writes[buffer.tensor] = tuple(ranges)

    def begin(self, channel: str, number: int) -> "FrameTensors":
        """Return what a new frame hands on: nothing yet."""
        return FrameTensors(self._device, self._channels[channel], number)

    def kept(self, channel: str, number: int, over: Container[str]) -> list[DeviceRange]:
        """Return the memory that holds something for a later step of a frame, or for the next.

        Parameters
        ----------
        channel : str
        number : int
            Of the frame; no other frame of the channel is in progress.
        over : container of str
            Steps that ran in it, and will not run again.
        """
        steps = self._channels[channel]
        frame = self.begin(channel, number)
        sources = {
            source
            for step, tensors in steps.items()
            for source in tensors.reads.values()
            if step not in over
        }
        fed = [frame.fed(*source) for source in sorted(sources) if source[0] in over]
        states = [state for tensors in steps.values() for state in tensors.states]
        return fed + [state.halves[state.turn] for state in states if not state.is_fresh]

    @property
    def channels(self) -> Collection[str]:
        """Names of all channels of the fleet."""
        return self._channels.keys()

    def reset(self, channel: str) -> None:
        """Let every state of a channel start from zeros again; between its frames."""
        for tensors in self._channels[channel].values():
            for state in tensors.states:
                state.is_fresh = True


def _require(specs: Sequence[TensorSpec], name: str, buffer: ChannelBuffer) -> None:
    sizes = {spec.name: spec.size_bytes for spec in specs}
    if sizes.get(name) != buffer.size_bytes:
        raise PlanError(
            f"buffer {buffer.name!r} has {buffer.size_bytes} bytes for {name!r}, the loaded model "
            f"has {sizes or 'no such tensors'}: plan again with this file"
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Planned memory of tensors that one execution reads and writes, by name."""

    inputs: Mapping[str, DeviceRange]
    outputs: Mapping[str, DeviceRange]


class FrameTensors:
    """What the steps of one frame have handed on so far.

    Parameters
    ----------
    device : Device
    channel : mapping of step to its tensors
    number : int
        Of the frame.
    """

    def __init__(self, device: Device, channel: Mapping[str, _Tensors], number: int) -> None:
        self._device = device
        self._channel = channel
        self._number = number
        self._called: set[str] = set()
        self._written: set[str] = set()

    def request(
        self,
        step: str,
        inputs: object,
        wanted: Sequence[str] | None,
        gear: GearChoice,
        where: str,
    ) -> "Request":
        """Return an execution of `step` to come, with what the caller gives and wants.

        Parameters
        ----------
        step : str
        inputs : mapping of str to input, one input, or None
            Fed inputs and states may be left out; one bare input serves the only other one, or the
            model's only one.
        wanted : sequence of str or None
            Outputs to return; None: all.
        gear : int, sequence of int, or None
            None: the model has none.
        where : str
            Who executes, for messages.

        Raises
        ------
        UsageError
            An input is wrong, or missing, or fed by a step that was not called in this frame; an
            output or a gear is unknown. Caused by the caller.
        """
        tensors = self._channel[step]
        choice = chosen_gear(tensors.description, gear, where)
        if wanted:
            _require_outputs(tensors.description, wanted, where)
        given = {} if inputs is None else inputs
        handed: dict[str, DeviceRange] = {}
        if tensors.reads or tensors.states:
            given = self._given(tensors, given, where)
            handed = {state.input: state.halves[0] for state in tensors.states}
            handed |= {name: self.fed(*source) for name, source in tensors.reads.items()}
            handed = {name: place for name, place in handed.items() if name not in given}
            given = {**given, **handed}
        arguments = as_arguments(given, tensors.description.at(choice), where)
        self._called.add(step)
        return Request(self, step, tensors, arguments, frozenset(handed), wanted, choice, where)

    def _given(self, tensors: _Tensors, inputs: object, where: str) -> Mapping[str, object]:
        """Return the inputs that the caller gives, by name; refuse to go on without the others."""
        if not isinstance(inputs, Mapping):
            handed = {*tensors.reads, *(state.input for state in tensors.states)}
            names = [spec.name for spec in tensors.description.visible_inputs]
            own = [name for name in names if name not in handed] or names
            if len(own) != 1:
                listed = ", ".join(map(repr, own))
                raise UsageError(f"{where}: found one bare input, expected a mapping with {listed}")
            inputs = {own[0]: inputs}
        for name, (step, output) in tensors.reads.items():
            if name not in inputs and step not in self._called:
                raise UsageError(_unfed(where, name, step, output, "was not called in this frame"))
        return inputs

    def fed(self, step: str, output: str) -> DeviceRange:
        """Return where this frame's fed output of a step is."""
        ranges = self._channel[step].writes[output]
        return ranges[self._number % len(ranges)]

    def is_written(self, step: str) -> bool:
        """Return whether the last run of a step left its outputs."""
        return step in self._written

    def note(self, step: str, *, is_written: bool) -> None:
        """Note that a step begins to write its outputs, or has written them."""
        if is_written:
            self._written.add(step)
        else:
            self._written.discard(step)

    def read_half(self, state: _State) -> DeviceRange:
        """Return the half of a state that a run reads, zeros in its first."""
        half = state.halves[state.turn]
        if state.is_fresh:
            self._device.fill(half, 0)
        return half

    def gear(self, step: str, gear: GearChoice, where: str) -> tuple[int, ...]:
        """Return the gear that a caller means for a step; see `chosen_gear`."""
        return chosen_gear(self._channel[step].description, gear, where)

    def places(self, step: str) -> Places:
        """Return the planned memory of a step for an application that executes it itself."""
        tensors = self._channel[step]
        self._called.add(step)
        inputs = {
            name: self.fed(*source)
            for name, source in tensors.reads.items()
            if self.is_written(source[0])
        }
        inputs |= {state.input: self.read_half(state) for state in tensors.states}
        outputs = {name: self.fed(step, name) for name in tensors.writes}
        outputs |= {state.output: state.halves[1 - state.turn] for state in tensors.states}
        self.note(step, is_written=False)
        return Places(inputs, outputs)

    def over(self, step: str) -> None:
        """Note that a run of a step is over and has left its state for the next."""
        for state in self._channel[step].states:
            state.turn = 1 - state.turn
            state.is_fresh = False


@dataclass(frozen=True, slots=True)
class Request:
    """One execution to come: checked inputs, and what it takes from and leaves for others.

    Attributes
    ----------
    frame : FrameTensors
    step : str
    tensors : _Tensors
    inputs : list of Argument
        In the device's order.
    handed : frozenset of str
        Inputs that the caller left to be handed on.
    wanted : sequence of str or None
        Outputs that the caller wants; None: all.
    gear : tuple of int
        As `Device.launch` takes it.
    where : str
        Who executes, for messages.
    """

    frame: FrameTensors
    step: str
    tensors: _Tensors
    inputs: list[Argument]
    handed: frozenset[str]
    wanted: Sequence[str] | None
    gear: tuple[int, ...]
    where: str

    @property
    def description(self) -> ModelDescription:
        """Inputs and outputs as this execution has them, at its gear."""
        return self.tensors.description.at(self.gear)

    def arguments(self, item: LoadedInstance) -> tuple[list[Argument], list[Argument | None]]:
        """Return inputs and outputs for the device, now that the execution may begin on `item`.

        Raises
        ------
        UsageError
            A step that feeds it has left nothing: it failed or was withdrawn.
        DeviceError
            Zeros could not be written.
        """
        tensors, frame = self.tensors, self.frame
        for name in self.handed:
            source = tensors.reads.get(name)
            if source is not None and not frame.is_written(source[0]):
                raise UsageError(_unfed(self.where, name, *source, "left none"))
        inputs = list(self.inputs)
        places = {name: frame.fed(self.step, name) for name in tensors.writes}
        for state in tensors.states:
            half = frame.read_half(state)
            if state.input in self.handed:
                names = [spec.name for spec in tensors.description.visible_inputs]
                inputs[names.index(state.input)] = half
            places[state.output] = state.halves[1 - state.turn]
        frame.note(self.step, is_written=False)
        outputs: list[Argument | None] = []
        for spec in tensors.description.outputs:
            place = places.get(spec.name)
            if place is not None and self._wants(spec.name):
                outputs.append(Placed(place))
            else:
                outputs.append(place)
        return item.placed_inputs(inputs), item.placed_outputs(outputs)

    def _wants(self, output: str) -> bool:
        return self.wanted is None or output in self.wanted

    def launched(self) -> None:
        """Note that followers may read what this execution writes: the order keeps them behind."""
        self.frame.note(self.step, is_written=True)

    def over(self) -> None:
        """Note that the execution ended well."""
        self.frame.over(self.step)

    def wanted_of(self, data: Sequence[bytearray | None]) -> list[bytearray | None]:
        """Return what a device returned, with None for what nobody wants."""
        specs = self.tensors.description.outputs
        return [
            item if self._wants(spec.name) else None for item, spec in zip(data, specs, strict=True)
        ]


def _require_outputs(description: ModelDescription, wanted: Sequence[str], where: str) -> None:
    outputs = [spec.name for spec in description.outputs]
    for name in wanted:
        if name not in outputs:
            raise UsageError(f"{where}: unknown output {name!r}, expected {', '.join(outputs)}")


def _unfed(where: str, name: str, step: str, output: str, what: str) -> str:
    return (
        f"{where}: input {name!r} is fed by {output!r} of {step!r}, which {what}: run {step!r} "
        f"first, or pass {name!r}"
    )
