"""Tensors that steps hand on, from the definition: which there are, when they are live, who meets.

    camera[0]   detect ==boxes==> read --> store      `boxes` is live from the start of `detect` to
                   `--> track                         the end of `read`: `store` comes after that,
                                                      `track` may run meanwhile
A fed tensor has memory of its own for each frame in flight; a state has two buffers that are live
from the first frame to the last. What runs in another channel is never ordered; with d >= 2 nor is
what runs in a neighbouring frame of the same channel, so there only two lives of the same frame can
be apart. Locks are free between the executions that a life spans, so they keep nothing apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import NamedTuple, TypeAlias

from planner.fleet import CrossStream, FleetSpec, IoPlace, PipelineSpec, channel_name
from planner.handover import BufferUse, ChannelBuffer
from planner.judge.conflicts import Conflicts, Run, steps_before
from planner.judge.violation import Rule, Violation
from planner.model import InstanceId, ModelId, ModelSize, TensorSpec
from planner.plan import AddedOrder, Plan
from planner.units import align_up

__all__ = ["Lives", "Span", "buffer_overlaps", "buffer_rows"]

_Sizes: TypeAlias = Mapping[ModelId, ModelSize]


class _Tensor(NamedTuple):
    """One tensor that a pipeline hands on."""

    use: BufferUse
    step: str
    output: str
    readers: tuple[tuple[str, str], ...]
    size_bytes: int | None


def _handed_on(pipeline: PipelineSpec, sizes: _Sizes) -> Iterator[_Tensor]:
    for step in pipeline.steps:
        outputs: dict[str, list[tuple[str, str]]] = {}
        for reader in pipeline.steps:
            for feed in reader.feeds:
                if feed.step == step.id:
                    outputs.setdefault(feed.output, []).append((reader.id, feed.input))
        models = {s.id: sizes.get(s.model) for s in pipeline.steps}
        for output, readers in outputs.items():
            ends = [(models[reader], name) for reader, name in readers]
            size = _common_size(models[step.id], output, ends)
            yield _Tensor(BufferUse.FEED, step.id, output, tuple(readers), size)
        for name, output in step.state:
            size = _common_size(models[step.id], output, [(models[step.id], name)])
            yield _Tensor(BufferUse.STATE, step.id, output, ((step.id, name),), size)


def _common_size(
    writer: ModelSize | None, output: str, readers: Iterable[tuple[ModelSize | None, str]]
) -> int | None:
    """Return the bytes that writer and readers agree on; None where they do not, or do not tell."""
    found = {_size_of(writer.outputs if writer else (), output)}
    found |= {_size_of(size.inputs if size else (), name) for size, name in readers}
    size_bytes = found.pop()
    return None if found else size_bytes or None


def _size_of(tensors: Iterable[TensorSpec], name: str) -> int | None:
    return next((tensor.size_bytes for tensor in tensors if tensor.name == name), None)


def buffer_rows(plan: Plan) -> Iterator[Violation]:
    """Yield where the rows of `buffers` are not those of the plan's fleet, or lie nowhere legal."""
    sizes = dict(plan.sizes)
    wanted: list[tuple[str, BufferUse, int, tuple[tuple[str, str], ...], int | None]] = []
    for pipeline in plan.fleet.pipelines:
        tensors = list(_handed_on(pipeline, sizes))
        for channel in range(pipeline.channels):
            for use, step, output, readers, size_bytes in tensors:
                slots = 2 if use is BufferUse.STATE else pipeline.frames_in_flight
                place = f"{channel_name(pipeline.id, channel)}.{step}.{output}"
                wanted += [(place, use, slot, readers, size_bytes) for slot in range(slots)]
    for instance in plan.instances:
        size = sizes.get(instance.model)
        if size is not None and (block := _block_bytes(plan.fleet, size)):
            wanted.append((instance.id, BufferUse.INSTANCE, 0, (), block))
    if len(plan.buffers) != len(wanted):
        message = f"found {len(plan.buffers)} rows, expected {len(wanted)}: one for each tensor"
        yield Violation(Rule.BUFFERS, "buffers", f"{message} that steps hand on, channel and slot")
    for index, (row, expected) in enumerate(zip(plan.buffers, wanted, strict=False)):
        path = f"buffers[{index}]"
        place, use, slot, readers, size_bytes = expected
        if (_place(row), row.use, row.slot, row.readers) != (place, use, slot, readers):
            message = f"found {row.use.value} {row.name!r}, expected {use.value}"
            yield Violation(Rule.BUFFERS, path, f"{message} '{place} slot {slot}' with its readers")
        elif size_bytes is None:
            message = f"{row.name!r}: its writer and its readers do not agree on a size"
            yield Violation(Rule.BUFFERS, f"{path}.bytes", message)
        elif row.size_bytes != size_bytes:
            message = f"{row.name!r}: found {row.size_bytes}, expected {size_bytes}"
            yield Violation(Rule.BUFFERS, f"{path}.bytes", message)
        if row.offset < 0 or row.offset % plan.rule.align_bytes:
            wanted_offset = f"a multiple of {plan.rule.align_bytes}, not negative"
            message = f"{row.name!r}: found {row.offset}, expected {wanted_offset}"
            yield Violation(Rule.REGION, f"{path}.offset", message)


def _place(row: ChannelBuffer) -> str:
    if row.use is BufferUse.INSTANCE and not row.channel and not row.tensor:
        return row.step
    return f"{row.channel}.{row.step}.{row.tensor}"


def _block_bytes(fleet: FleetSpec, size: ModelSize) -> int:
    """Return the bytes of a block with all inputs and outputs of a model; 0: it has none."""
    tensors = (*size.inputs, *size.outputs)
    known = all(tensor.size_bytes for tensor in tensors) and not size.gears
    if fleet.device.io is not IoPlace.ARENA or not known:
        return 0
    return sum(align_up(align_up(tensor.size_bytes, 32) + 32, 64) for tensor in tensors)


class _Life(NamedTuple):
    """When a buffer is live.

    Attributes
    ----------
    home : (pipeline, channel) or None
        None: always live, unless it is of an instance.
    serial : bool
        One frame of its channel at a time.
    slot : int
    before, after : int
        Masks of the steps that are over before its writer starts, and that start when its last
        reader is over, in its frame.
    writer : int
    instance : InstanceId or None
        Live while it executes.
    """

    home: tuple[int, int] | None
    serial: bool = False
    slot: int = 0
    before: int = 0
    after: int = 0
    writer: int = 0
    instance: InstanceId | None = None


class Lives:
    """When the buffers of a plan are live, and what may run or be live meanwhile.

    Parameters
    ----------
    plan : Plan
        Rows of `buffers` that name no step of the fleet are taken as live always.
    runs : mapping
        Runs of each instance.
    added : sequence of AddedOrder
        Between instances of the fleet.
    conflicts : Conflicts
        Under what was added.
    """

    def __init__(
        self,
        plan: Plan,
        runs: Mapping[InstanceId, Sequence[Run]],
        added: Sequence[AddedOrder],
        conflicts: Conflicts,
    ) -> None:
        self._runs = runs
        self._conflicts = conflicts
        self._before = steps_before(plan.fleet, runs, added) if plan.buffers else {}
        channels = {
            channel_name(pipeline.id, c): (p, c)
            for p, pipeline in enumerate(plan.fleet.pipelines if plan.buffers else ())
            for c in range(pipeline.channels)
        }
        self._lives = {
            buffer.name: self._life(plan.fleet, buffer, channels.get(buffer.channel))
            for buffer in plan.buffers
        }

    def _life(self, fleet: FleetSpec, buffer: ChannelBuffer, home: tuple[int, int] | None) -> _Life:
        always = _Life(None)
        if buffer.use is BufferUse.INSTANCE:
            owner = InstanceId(buffer.step)
            return _Life(None, instance=owner) if owner in self._runs else always
        by_events = fleet.device.cross_stream is CrossStream.EVENTS
        if buffer.use is BufferUse.STATE or by_events or home is None:
            return always
        pipeline = fleet.pipelines[home[0]]
        index = {step.id: s for s, step in enumerate(pipeline.steps)}
        names = [buffer.step, *(reader for reader, _ in buffer.readers)]
        if any(name not in index for name in names):
            return always
        before = self._before[home]
        readers = sum({1 << index[reader] for reader, _ in buffer.readers})
        after = sum(1 << s for s, mask in enumerate(before) if mask & readers == readers)
        writer = index[buffer.step]
        serial = pipeline.frames_in_flight == 1
        return _Life(home, serial, buffer.slot, before[writer], after, writer)

    def meets_instance(self, buffer: str, instance: InstanceId) -> str:
        """Return a run of an instance inside the life of a buffer, in words; empty: none."""
        life = self._lives[buffer]
        if life.instance is not None:
            return self._beside(life.instance, instance)
        for run in self._runs[instance]:
            if life.home is None:
                return f"{buffer!r} is live always"
            if run.channel != life.home:
                return f"another channel runs {instance!r}, in no order with it"
            if not life.serial:
                return f"a neighbouring frame may run {instance!r} meanwhile"
            if not (life.before | life.after) >> run.step & 1:
                return f"{instance!r} may run between its writer and its last reader"
        return ""

    def _beside(self, first: InstanceId, second: InstanceId) -> str:
        """Return that two instances may run at once, or are one, in words; empty: never."""
        if first == second:
            return f"{first!r} uses both while it runs"
        kinds = self._conflicts.kind(first), self._conflicts.kind(second)
        return (
            self._conflicts.example(first, second) if self._conflicts.kinds_conflict(*kinds) else ""
        )

    def apart(self, buffers: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield pairs of buffers that are never live at once.

        What steps hand on has such pairs inside one channel only.
        """
        names = list(buffers)
        blocks = [name for name in names if self._lives[name].instance is not None]
        handed = [name for name in names if self._lives[name].instance is None]
        for one, other in chain(combinations(blocks, 2), product(blocks, handed)):
            if not self.meets_buffer(one, other):
                yield one, other
        homes: dict[tuple[int, int], list[str]] = {}
        for name in handed:
            if (home := self._lives[name].home) is not None:
                homes.setdefault(home, []).append(name)
        for names in homes.values():
            for one, other in combinations(names, 2):
                if not self.meets_buffer(one, other):
                    yield one, other

    def meets_buffer(self, first: str, second: str) -> str:
        """Return why two buffers may be live at once, in words; empty: they never are.

        Of the block of an instance and what steps hand on, the block comes first.
        """
        one, other = self._lives[first], self._lives[second]
        if one.instance is not None:
            return self.meets_instance(second, one.instance)
        if one.home is None or one.home != other.home:
            return "no order keeps them apart"
        if one.slot != other.slot:
            return "they are of neighbouring frames"
        if one.after >> other.writer & 1 or other.after >> one.writer & 1:
            return ""
        return "neither is read for the last time before the other is written"


class Span(NamedTuple):
    """The bytes [start, end) of the work reservation, and whose they are.

    Attributes
    ----------
    path : str
        Place in the plan.
    name : str
        Of an instance or a buffer.
    is_buffer : bool
        Whether it is of what steps hand on.
    instance : InstanceId or None
        Whose work it is, or whose block of inputs and outputs.
    """

    start: int
    end: int
    path: str
    name: str
    is_buffer: bool
    instance: InstanceId | None = None

    def __str__(self) -> str:
        return f"{self.name!r} at [{self.start}, {self.end})"


def buffer_overlaps(spans: Iterable[Span], lives: Lives) -> Iterator[Violation]:
    """Yield pairs of spans, at least one a buffer, that share bytes while both are live."""
    open_spans: tuple[list[Span], list[Span]] = ([], [])  # of instances, of buffers
    for span in sorted(span for span in spans if span.end > span.start):
        for some in open_spans:
            some[:] = [other for other in some if other.end > span.start]
        for other in chain(*open_spans) if span.is_buffer else open_spans[1]:
            why = _meeting(span, other, lives)
            if why:
                message = f"{span} overlaps {other}, but {why}"
                yield Violation(Rule.OVERLAP, span.path, message)
        open_spans[span.is_buffer].append(span)


def _meeting(one: Span, other: Span, lives: Lives) -> str:
    if one.is_buffer and other.is_buffer:
        return lives.meets_buffer(one.name, other.name)
    buffer, instance = (one, other) if one.is_buffer else (other, one)
    assert instance.instance is not None, "what is no buffer is an instance's"
    return lives.meets_instance(buffer.name, instance.instance)
