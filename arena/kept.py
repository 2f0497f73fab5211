"""Proof by execution that what steps hand on is kept until its last reader.

    detect ── poison all but boxes ── read ── poison all but boxes, text ── track ── ...

One channel at a time runs alone. Between its steps every byte of the work reservation that holds
nothing for a later step is overwritten; outputs must be those of the same chain passed by hand.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from arena.device.base import Device, DeviceRange
from arena.fleet import Fleet
from arena.references import FrameCase, References
from planner.fleet import channel_name

__all__ = ["Note", "kept_stages", "poison_around"]

FRAMES: Final = 4
"""Frames of each channel: more than may be in flight in most fleets, so that slots come again."""
_POISON: Final = (0xFF, 0xA5, 0x00)

Note = Callable[[bool, str], None]
"""Told whether an execution gave what it must, and what it was."""


def kept_stages(fleet: Fleet) -> Iterator[Callable[[Note], None]]:
    """Yield a stage for each channel that hands something on; nothing else may run meanwhile."""
    handing = [pipeline for pipeline in fleet.plan.fleet.pipelines if pipeline.hands_on]
    if not handing:
        return  # And nothing is executed for its reference.
    references = References(fleet, FRAMES)
    for pipeline in handing:
        for channel in range(pipeline.channels):
            frames = [FrameCase(pipeline, channel, number) for number in range(FRAMES)]
            yield _stage(fleet, references, frames)


def _stage(
    fleet: Fleet, references: References, frames: Sequence[FrameCase]
) -> Callable[[Note], None]:
    name = channel_name(frames[0].pipeline.id, frames[0].channel)

    def stage(note: Note) -> None:
        fleet.reset_states(name)
        work = fleet.runner.loaded.arena.work
        assert work is not None, "what is handed on lies in it"
        for case in frames:
            over: set[str] = set()
            with fleet.frame(name, timeout_s=None) as frame:
                for index, (step, cases) in enumerate(references.of(case)):
                    wanted = next(iter(cases.values()))  # the same on all lanes of a pool
                    kept = fleet.runner.handover.kept(name, frame.number, over)
                    poison_around(fleet.device, work, kept, _POISON[index % len(_POISON)])
                    gear = wanted.gear or None
                    arrays = frame.run(step, wanted.inputs, gear=gear).values()
                    outputs = tuple(memoryview(array).tobytes() for array in arrays)
                    what = f"{name}.{step} in frame {case.number}, all else poisoned before"
                    note(wanted.is_met_by(outputs), what)
                    over.add(step)

    return stage


def poison_around(
    device: Device, block: DeviceRange, kept: Sequence[DeviceRange], value: int
) -> None:
    """Fill all of a block but `kept` ranges inside it with one value."""
    position = block.pointer
    for memory in sorted(kept, key=lambda memory: memory.pointer):
        if memory.pointer > position:
            device.fill(DeviceRange(position, memory.pointer - position), value)
        position = max(position, memory.pointer + memory.size_bytes)
    end = block.pointer + block.size_bytes
    if end > position:
        device.fill(DeviceRange(position, end - position), value)
