"""A plan that is wrong on purpose, executed in a child process: does a comparison notice it.

Two instances of every model are loaded over one work buffer, one on each of two streams, and
executed at the same time, largest work memory first; the second on inputs read backward, since a
model beside itself on equal inputs overwrites much with what is there already. Each was executed
alone before. A verdict of "all outputs equal" is worth something only if here they are not.

    parent ── plan ──► child: load overlapping ── alone ──"ready"──► side by side ──► True, False
                          └── killed by the runtime after "ready": memory was corrupted, detected

On the CPU device a network whose memory is overwritten may take its process with it
(docs/cpu-device.md), hence the child.
"""

import itertools
import math
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeAlias

from arena.device import open_device
from arena.device.base import Device, Launch, StreamId
from arena.errors import DeviceError
from arena.gears import largest_gear
from arena.loader import LoadedFleet, LoadedInstance, load_plan
from arena.plan_files import OpenedPlan
from arena.references import Outputs, execute_once, left_none_running
from arena.sources import source_for
from planner.fleet import instance_id
from planner.model import InstanceId, ModelId
from planner.plan import Plan

__all__ = ["changes_outputs", "control_detected", "execute_pairs", "overlapping"]

LANES: Final = ("control-0", "control-1")
TRIES_EACH: Final = 40
"""Tries of each pair: whether two threads meet in the same bytes is up to the scheduler."""
TRIES_S: Final = 5.0
"""Further tries go on for so long: the smallest models are over before they have company."""
ANSWER_S: Final = 300.0
"""Longest wait for the executions to end; those that never do were changed too."""
_READY: Final = "ready"

Inputs: TypeAlias = Mapping[ModelId, Sequence[bytes]]


def overlapping(plan: Plan) -> Plan:
    """Return a wrong plan: each model twice, on two lanes, all work regions at offset 0.

    Weight regions stay where they are: only work memory is shared wrongly.
    """
    rows = []
    for model, _ in plan.sizes:
        row = next(item for item in plan.instances if item.model == model)
        offset = None if row.work_offset is None else 0
        rows += [
            replace(row, id=instance_id(model, lane), lane=lane, work_offset=offset)
            for lane in LANES
        ]
    height = max(
        (plan.rule.reserved_bytes(row.work_bytes) for row in rows if row.work_offset is not None),
        default=0,
    )
    return replace(plan, instances=tuple(rows), height_bytes=height)


def control_detected(opened: OpenedPlan, device: str, inputs: Inputs) -> bool:
    """Execute an overlapping plan; return whether that was noticed; see `changes_outputs`."""
    return changes_outputs(overlapping(opened.plan), opened.base, device, inputs)


def changes_outputs(plan: Plan, base: Path, device: str, inputs: Inputs) -> bool:
    """Execute a plan of two lanes in a child process; return whether outputs changed.

    Parameters
    ----------
    plan : Plan
        Of the lanes `LANES`; nothing judges it.
    base : Path
        Folder that its model files are relative to.
    device : str
        Name of the device that the child opens.
    inputs : mapping of ModelId to sequence of bytes
        One input of every used model, in the order of its visible tensors; at its largest gear.

    Returns
    -------
    bool
        True: an output differed, an execution failed, or the runtime ended the child.

    Raises
    ------
    DeviceError
        The child ended before the control began: it could not load the plan.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(
        target=_child,
        args=(theirs, plan, base, device, inputs),
        name="arena-control",
        daemon=True,
    )
    with ours:
        child.start()
        theirs.close()
        try:
            first = _receive(ours)
            if first != _READY:
                raise DeviceError(
                    f"the negative control could not begin: {first or 'its process ended'}"
                )
            found = _receive(ours, ANSWER_S)
        finally:
            child.join(timeout=10)
            if child.is_alive():
                child.kill()
                child.join()
    # Nothing said: the process was ended in the midst of executions, by what they overwrote.
    return found is None or bool(found)


def _receive(connection: Connection, timeout_s: float | None = None) -> object:
    """Return what the child sends; None: it ended, or let the time pass, without a word."""
    try:
        return connection.recv() if connection.poll(timeout_s) else None
    except EOFError:
        return None


def _child(connection: Connection, plan: Plan, base: Path, device: str, inputs: Inputs) -> None:
    # What the runtime says when its memory is overwritten is no news to the user.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    execute_pairs(connection, plan, base, device, inputs)


def execute_pairs(
    connection: Connection, plan: Plan, base: Path, device_name: str, inputs: Inputs
) -> None:
    """Load, tell that all is ready, execute, tell what was found: what the child does."""
    with connection, ExitStack() as stack:
        try:
            device = open_device(device_name)
            stack.callback(device.close)
            sources = {m: source_for(device_name, plan.fleet.model(m), base) for m, _ in plan.sizes}
            loaded = load_plan(plan, device, sources)
            stack.callback(loaded.unload)
            streams = [device.create_stream() for _ in LANES]
            for stream in streams:
                stack.callback(device.destroy_stream, stream)
            own = {
                item.instance.id: _own_inputs(item, inputs) for item in loaded.instances.values()
            }
            alone = {
                item.instance.id: execute_once(
                    device,
                    item,
                    own[item.instance.id],
                    streams[0],
                    largest_gear(item.description),
                )
                for item in loaded.instances.values()
            }
        except Exception as error:
            connection.send(str(error) or type(error).__name__)
            return
        connection.send(_READY)
        connection.send(_is_visible(device, loaded, streams, own, alone))


def _own_inputs(item: LoadedInstance, inputs: Inputs) -> Sequence[bytes]:
    """Return the inputs of an instance: those given, and on the second lane the same backward."""
    given = inputs[item.instance.model]
    if item.instance.lane == LANES[0]:
        return given
    hidden = item.description.hidden
    visible = [tensor for tensor in item.description.inputs if tensor.name not in hidden]
    return [
        _backward(data, len(data) // max(1, math.prod(tensor.shape)))
        for data, tensor in zip(given, visible, strict=True)
    ]


def _backward(data: bytes, element_bytes: int) -> bytes:
    """Return the elements of a tensor from the last to the first; its bytes where they do not fit.

    Examples
    --------
    >>> _backward(b"aabbcc", 2)
    b'ccbbaa'
    """
    step = element_bytes if element_bytes > 0 and len(data) % element_bytes == 0 else 1
    return b"".join(data[at : at + step] for at in range(len(data) - step, -1, -step))


def _is_visible(
    device: Device,
    loaded: LoadedFleet,
    streams: Sequence[StreamId],
    inputs: Mapping[InstanceId, Sequence[bytes]],
    alone: Mapping[InstanceId, Outputs],
) -> bool:
    """Execute pairs side by side until an output is wrong."""
    lanes: list[list[LoadedInstance]] = [
        sorted(
            (item for item in loaded.instances.values() if item.instance.lane == lane),
            key=lambda item: (-item.instance.work_bytes, item.instance.id),
        )
        for lane in LANES
    ]
    pairs = [(first, second) for first in lanes[0] for second in lanes[1]]
    end = time.monotonic() + TRIES_S
    for number, pair in enumerate(itertools.cycle(pairs)):
        if number >= len(pairs) * TRIES_EACH and time.monotonic() > end:
            break
        launches: list[Launch] = []
        try:
            with left_none_running(device, launches):
                for item, stream in zip(pair, streams, strict=True):
                    wanted = [None] * len(item.description.outputs)
                    data = inputs[item.instance.id]
                    gear = largest_gear(item.description)
                    launches.append(device.launch(item.handle, data, wanted, stream, gear=gear))
                found = [
                    tuple(bytes(data) for data in device.finish(launch) if data is not None)
                    for launch in launches
                ]
        except DeviceError:
            return True
        if found != [alone[item.instance.id] for item in pair]:
            return True
    return False
