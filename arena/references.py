"""What executions must return: the same inputs alone, before anything runs beside them.

    a step that takes nothing over    its instance executed alone, for a few inputs
    steps that hand tensors on        the same chain by hand: each output copied to the host and
                                      passed as an input to the next, states in a host-side loop

So what moves inside device memory is compared with what moved through the host, bit for bit.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import lcm
from typing import Final, TypeAlias

from arena.device.base import Argument, Device, Launch, StreamId
from arena.errors import DeviceError
from arena.fleet import Fleet
from arena.gears import gear_choices
from arena.guard.rules import channel_rules
from arena.loader import LoadedInstance
from arena.tensors import ELEMENT_TYPES
from planner.errors import UsageError
from planner.fleet import PipelineSpec, StepSpec, channel_name, instance_id
from planner.model import InstanceId, TensorSpec

__all__ = [
    "Case",
    "Chain",
    "FrameCase",
    "Outputs",
    "References",
    "execute_once",
    "seeded_inputs",
]

INPUTS_EACH: Final = 3
"""Different inputs of each instance: enough that a stale output is noticed."""

Outputs: TypeAlias = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One execution to make, and what it must give.

    Attributes
    ----------
    inputs : mapping of str to bytes
        What the caller passes; inputs that are handed on are left out.
    gear : tuple of int
        As `Device.launch` takes it.
    outputs : tuple of bytes
        In the model's order; their digests where `is_digest`.
    is_digest : bool
        A state makes every frame another case: their outputs would fill the memory.
    """

    inputs: Mapping[str, bytes]
    outputs: Outputs
    is_digest: bool = False
    gear: tuple[int, ...] = ()

    def is_met_by(self, outputs: Outputs) -> bool:
        """Return whether an execution gave what it must."""
        return (_digests(outputs) if self.is_digest else outputs) == self.outputs


def _digests(outputs: Outputs) -> Outputs:
    return tuple(hashlib.sha256(data).digest() for data in outputs)


Chain: TypeAlias = list[tuple[str, Mapping[InstanceId, Case]]]
"""The steps of one frame, none before what it follows, each with its case on the instances that may
serve it: those of a pool have one model, hence the same inputs."""


@dataclass(frozen=True, slots=True)
class FrameCase:
    """One frame of one channel; `number`, counted from 0, chooses its inputs."""

    pipeline: PipelineSpec
    channel: int
    number: int

    def steps(self) -> Iterator[tuple[StepSpec, Sequence[InstanceId], int]]:
        """Yield (step, instances that may serve it, number of its case) in topological order."""
        order = TopologicalSorter({step.id: step.after for step in self.pipeline.steps})
        for index, step_id in enumerate(order.static_order()):
            step = self.pipeline.step(step_id)
            instances = [instance_id(step.model, lane) for lane in step.lanes_of(self.channel)]
            yield step, instances, self.number + self.channel + index


class References:
    """The cases of all frames of a drive; making them executes everything alone.

    Parameters
    ----------
    fleet : Fleet
        Loaded; nothing else may run on it meanwhile.
    frames : int
        Of each channel: what carries a state is computed for all of them.
    """

    def __init__(self, fleet: Fleet, frames: int) -> None:
        self._fleet = fleet
        self.cases = {
            instance: self._cases_of(item)
            for instance, item in fleet.runner.loaded.instances.items()
        }
        self._rules = channel_rules(fleet.plan.fleet, fleet.plan.added)
        self._chains: dict[tuple[str, int, int], Chain] = {}
        for pipeline in fleet.plan.fleet.pipelines:
            if pipeline.hands_on:
                for channel in range(pipeline.channels):
                    self._add_chains(pipeline, channel, frames)
                    fleet.reset_states(channel_name(pipeline.id, channel))
        fleet.runner.settle()

    def of(self, frame: FrameCase) -> Chain:
        """Return the steps of a frame with their cases, in an order in which they may be called.

        What planning added counts, too: a call closes all steps that come before it.
        """
        rules = self._rules[channel_name(frame.pipeline.id, frame.channel)]
        if frame.pipeline.hands_on:
            chain = self._chains[self._key(frame)]
        else:
            chain = [
                (step.id, {instance: self.case(instance, number) for instance in instances})
                for step, instances, number in frame.steps()
            ]
        steps, index = rules.steps, rules.index
        return sorted(chain, key=lambda item: steps[index[item[0]]].before_mask.bit_count())

    def case(self, instance: InstanceId, number: int) -> Case:
        """Return a case of an instance alone; beyond the last they come again."""
        cases = self.cases[instance]
        return cases[number % len(cases)]

    def _key(self, frame: FrameCase) -> tuple[str, int, int]:
        has_state = any(step.state for step in frame.pipeline.steps)
        number = frame.number if has_state else frame.number % self._period(frame.pipeline)
        return frame.pipeline.id, frame.channel, number

    def _period(self, pipeline: PipelineSpec) -> int:
        """Return after how many frames all steps have had each of their inputs in each gear."""
        items = self._fleet.runner.loaded.instances.values()
        used = {step.model for step in pipeline.steps}
        gears = (len(gear_choices(i.description)) for i in items if i.instance.model in used)
        return INPUTS_EACH * lcm(*gears)

    def _cases_of(self, item: LoadedInstance) -> list[Case]:
        """Execute one instance alone, once for each of its inputs in each gear."""
        return [
            Case(inputs, self._execute(item, inputs, gear), gear=gear)
            for number in range(INPUTS_EACH * len(gear_choices(item.description)))
            for inputs, gear in (_given(item, number),)
        ]

    def _add_chains(self, pipeline: PipelineSpec, channel: int, frames: int) -> None:
        states: dict[tuple[str, str], bytes] = {}
        for number in range(frames):
            frame = FrameCase(pipeline, channel, number)
            if self._key(frame) not in self._chains:
                self._chains[self._key(frame)] = self._chain(frame, states)

    def _chain(self, frame: FrameCase, states: dict[tuple[str, str], bytes]) -> Chain:
        """Execute the steps of a frame alone, each output passed on by hand."""
        chain: Chain = []
        outputs: dict[tuple[str, str], bytes] = {}
        is_digest = any(step.state for step in frame.pipeline.steps)
        for step, instances, number in frame.steps():
            item = self._fleet.runner.loaded.instances[instances[0]]
            inputs, gear = _given(item, number)
            handed = {feed.input: outputs[feed.step, feed.output] for feed in step.feeds}
            for name, _ in step.state:
                handed[name] = states.get((step.id, name), bytes(len(inputs[name])))
            found = self._execute(item, {**inputs, **handed}, gear)
            names = [spec.name for spec in item.description.outputs]
            outputs |= {(step.id, name): data for name, data in zip(names, found, strict=True)}
            for name, output in step.state:
                states[step.id, name] = outputs[step.id, output]
            given = {name: data for name, data in inputs.items() if name not in handed}
            case = Case(given, _digests(found) if is_digest else found, is_digest, gear)
            chain.append((step.id, dict.fromkeys(instances, case)))
        return chain

    def _execute(
        self, item: LoadedInstance, inputs: Mapping[str, bytes], gear: tuple[int, ...]
    ) -> Outputs:
        runner = self._fleet.runner
        stream = runner.streams[item.instance.lane]
        outputs = execute_once(runner.device, item, list(inputs.values()), stream, gear)
        runner.note_run(item.instance.id)
        return outputs


def _given(item: LoadedInstance, number: int) -> tuple[dict[str, bytes], tuple[int, ...]]:
    """Return inputs and gear of an instance's case: gears take turns, then come other inputs."""
    gears = gear_choices(item.description)
    gear = gears[number % len(gears)]
    seed = number // len(gears) % INPUTS_EACH
    return seeded_inputs(item.description.at(gear).visible_inputs, seed), gear


def seeded_inputs(tensors: Sequence[TensorSpec], seed: int) -> dict[str, bytes]:
    """Return one deterministic input for each tensor, as bytes that networks digest.

    Floats lie in [0, 1), integers in [0, 100), flags are 0 or 1.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    inputs = {}
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype if tensor.dtype in ELEMENT_TYPES else "uint8")
        n = tensor.size_bytes // dtype.itemsize
        values = rng.random(n) if dtype.kind == "f" else rng.integers(0, 100, n)
        if dtype.kind == "b":
            values = values % 2
        inputs[tensor.name] = values.astype(dtype).tobytes().ljust(tensor.size_bytes, b"\0")
    return inputs


def execute_once(
    device: Device,
    item: LoadedInstance,
    arguments: Sequence[Argument],
    stream: StreamId,
    gear: tuple[int, ...] = (),
) -> Outputs:
    """Execute one instance and return the bytes of its outputs."""
    inputs = item.placed_inputs(arguments)
    outputs = item.placed_outputs([None] * len(item.description.outputs))
    launch = device.launch(item.handle, inputs, outputs, stream, gear=gear)
    with left_none_running(device, [launch]):
        data = device.finish(launch)
    return tuple(bytes(part) for part in data if part is not None)


@contextmanager
def left_none_running(device: Device, launches: Sequence[Launch]) -> Iterator[None]:
    """Wait for executions that an exception or Ctrl-C leaves under way; then it goes on.

    Who is left next gives back the memory that they use.
    """
    try:
        yield
    except BaseException:
        for launch in launches:
            with suppress(DeviceError, UsageError):  # It is over already, or said so before.
                device.finish(launch)
        raise
