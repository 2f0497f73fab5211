"""Which tensors of a fleet need memory of their own, and what may not share bytes with them.

Theory of operation
-------------------
A fed output is live from the start of the step that writes it to the end of the last step that
reads it; steps that run several times in a frame count as one execution, from the first start to
the last end. It may share bytes with what always comes before or after the whole of that life:

    frame t      detect ====boxes====> read ---> store      boxes of frame t: apart from `store`
                     `--> track                             and from all that precedes `detect`;
    frame t + 1  detect ====boxes====> read ---> store      `track` may run inside its life

In every pair of frames that may be in flight together, an execution, or the life of another buffer,
must be wholly before (it precedes the writer) or wholly after (every reader precedes it). Locks
help nowhere: a life spans several executions, and between them its locks are free. For the same
reason nothing of another channel is ever apart from it. A state is live always.

With `io: arena` each instance has a block for what comes from the host and goes to it. Its life is
one execution, filling and copying out included: it conflicts with the instance, and with whatever
conflicts with that.

With `cross_stream: events` outputs are copied to the host after followers were launched, so that
the end of an execution for the order is not the end of what reads its memory: there every buffer is
kept apart from everything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from planner.conflict import INSTANCES_MAX, ConflictRelation, consecutive_runs
from planner.errors import SpecError
from planner.fleet import (
    CrossStream,
    FleetSpec,
    IoPlace,
    PipelineSpec,
    StepSpec,
    channel_name,
)
from planner.handover import BufferUse, ChannelBuffer, Feed
from planner.mask_graph import grown_clique, nonempty_mask
from planner.masks import mask_indices, mask_of
from planner.model import InstanceId, ModelId, ModelSize, TensorSpec
from planner.problem import Bound
from planner.schedule import Channel, ChannelOrder

__all__ = [
    "bound_with_buffers",
    "buffer_ends",
    "channel_buffers",
    "count_buffers",
    "masks_with_buffers",
]


def channel_buffers(
    fleet: FleetSpec, sizes: Mapping[ModelId, ModelSize]
) -> tuple[ChannelBuffer, ...]:
    """Return the buffers of a fleet, not placed yet.

    Pipelines and channels, then steps as declared; of a step its fed outputs in the order in which
    they are first read, then its states; then slots. Last the blocks of instances, by first use.

    Raises
    ------
    SpecError
        A tensor that is handed on is unknown, of unknown size, or not what its reader takes.
        Caused by the fleet, or by what the model files tell.
    """
    buffers: list[ChannelBuffer] = []
    for pipeline in fleet.pipelines:
        shapes = list(_buffers_of(pipeline, sizes))
        for channel in range(pipeline.channels):
            name = channel_name(pipeline.id, channel)
            for use, step, tensor, readers, size_bytes in shapes:
                slots = 2 if use is BufferUse.STATE else pipeline.frames_in_flight
                buffers += [
                    ChannelBuffer(use, name, step, tensor, slot, readers, size_bytes)
                    for slot in range(slots)
                ]
    for instance, (model, _) in fleet.instances().items():
        if fleet.device.plans_io(sizes[model]):
            size_bytes = sizes[model].io_offsets[-1]
            buffers.append(ChannelBuffer(BufferUse.INSTANCE, "", instance, "", 0, (), size_bytes))
    return tuple(buffers)


_Shape = tuple[BufferUse, str, str, tuple[tuple[str, str], ...], int]


def _buffers_of(pipeline: PipelineSpec, sizes: Mapping[ModelId, ModelSize]) -> Iterator[_Shape]:
    """Yield use, step, tensor, readers and bytes of what a channel of a pipeline hands on."""
    readers: dict[tuple[str, str], list[tuple[StepSpec, Feed]]] = {}
    for step in pipeline.steps:
        for feed in step.feeds:
            readers.setdefault((feed.step, feed.output), []).append((step, feed))
    for step in pipeline.steps:
        path = f"pipelines.{pipeline.id}.steps"
        for (writer, output), fed in readers.items():
            if writer == step.id:
                place = f"{path}.{fed[0][0].id}.feeds.{fed[0][1].input}"
                tensor = _tensor(step.model, sizes, "output", output, place)
                for reader, feed in fed:
                    place = f"{path}.{reader.id}.feeds.{feed.input}"
                    wanted = _tensor(reader.model, sizes, "input", feed.input, place)
                    _check_equal(tensor, wanted, place)
                names = tuple((reader.id, feed.input) for reader, feed in fed)
                yield BufferUse.FEED, step.id, output, names, tensor.size_bytes
        for name, output in step.state:
            place = f"{path}.{step.id}.state.{name}"
            tensor = _tensor(step.model, sizes, "output", output, place)
            _check_equal(tensor, _tensor(step.model, sizes, "input", name, place), place)
            yield BufferUse.STATE, step.id, output, ((step.id, name),), tensor.size_bytes


def _tensor(
    model: ModelId, sizes: Mapping[ModelId, ModelSize], what: str, name: str, path: str
) -> TensorSpec:
    size = sizes[model]
    if size.gears:
        raise SpecError(
            f"model {model!r} wants a choice of {size.gears} before each execution, so its tensors "
            "have no one size: pass them through the host",
            path,
        )
    tensors = size.outputs if what == "output" else size.inputs
    if not tensors:
        raise SpecError(
            f"model {model!r} does not tell its {what}s, so the bytes of {name!r} are unknown; "
            f"declare them: models.{model}.{what}s: {{{name}: 4KiB}}",
            path,
        )
    for tensor in tensors:
        if tensor.name == name:
            if tensor.size_bytes == 0:
                raise SpecError(
                    f"the size of {what} {name!r} of model {model!r} is known only when it runs: "
                    "it has no place in a plan; pass it through the host",
                    path,
                )
            return tensor
    known = ", ".join(repr(tensor.name) for tensor in tensors)
    raise SpecError(f"model {model!r} has no {what} {name!r}, expected one of {known}", path)


def _check_equal(output: TensorSpec, wanted: TensorSpec, path: str) -> None:
    """Check that an output can be an input as it is; types and shapes only where both tell."""
    differ = output.size_bytes != wanted.size_bytes
    if "bytes" not in (output.dtype, wanted.dtype):
        differ |= output.dtype != wanted.dtype
        known = all(tensor.shape and min(tensor.shape) >= 0 for tensor in (output, wanted))
        differ |= known and output.shape != wanted.shape
    if differ:
        raise SpecError(f"found {_shown(output)}, expected {_shown(wanted)}", path)


def _shown(tensor: TensorSpec) -> str:
    return f"{tensor.name!r}: {tensor.dtype} {list(tensor.shape)} of {tensor.size_bytes} bytes"


def count_buffers(fleet: FleetSpec) -> int:
    """Return how many buffers `channel_buffers` returns at most."""
    total = len(fleet.instances()) if fleet.device.io is IoPlace.ARENA else 0
    for pipeline in fleet.pipelines:
        fed = {(feed.step, feed.output) for step in pipeline.steps for feed in step.feeds}
        states = sum(len(step.state) for step in pipeline.steps)
        total += pipeline.channels * (pipeline.frames_in_flight * len(fed) + 2 * states)
    return total


def buffer_ends(relation: ConflictRelation, buffers: Sequence[ChannelBuffer]) -> list[int]:
    """Return for each buffer the mask of the instances that write or read it."""
    channels = {channel.name: channel for channel in relation.schedule.channels}
    position = {name: i for i, name in enumerate(relation.instances)}
    masks = []
    for buffer in buffers:
        if buffer.use is BufferUse.INSTANCE:
            masks.append(1 << position[InstanceId(buffer.step)])
            continue
        channel = channels[buffer.channel]
        steps = (buffer.step, *(step for step, _ in buffer.readers))
        ends = (choice for step in steps for choice in channel.choices[channel.order.steps[step]])
        masks.append(mask_of({instance for instance, _ in ends}))
    return masks


def masks_with_buffers(
    relation: ConflictRelation, buffers: Sequence[ChannelBuffer]
) -> tuple[int, ...]:
    """Return the conflicts of a fleet's instances and buffers: instances first, then buffers.

    Parameters
    ----------
    relation : ConflictRelation
        n instances.
    buffers : sequence of ChannelBuffer
        As `channel_buffers` returns them for the relation's fleet.

    Returns
    -------
    tuple of int, length n + len(buffers)
        Symmetric, irreflexive.

    Raises
    ------
    SpecError
        More than `INSTANCES_MAX` instances and buffers.

    Notes
    -----
    For each shape of channel: buffers x steps x frames in flight, and pairs of buffers.
    """
    total = relation.n + len(buffers)
    if total > INSTANCES_MAX:
        raise SpecError(
            f"fleet {relation.schedule.spec.name!r} has {total} instances and buffers, expected at "
            f"most {INSTANCES_MAX}: let channels share lanes, or plan its parts apart"
        )
    handed = [buffer for buffer in buffers if buffer.use is not BufferUse.INSTANCE]
    masks = _masks_with_handed(relation, handed)
    blocks = [buffer.step for buffer in buffers[len(handed) :]]
    return _with_blocks(relation, masks, blocks) if blocks else tuple(masks)


def _masks_with_handed(relation: ConflictRelation, buffers: Sequence[ChannelBuffer]) -> list[int]:
    """Return the conflicts of instances and what steps hand on."""
    n, total = relation.n, relation.n + len(buffers)
    of_buffers = ((1 << total) - 1) ^ ((1 << n) - 1)
    masks = [mask | of_buffers for mask in relation.masks]
    masks += [((1 << total) - 1) ^ 1 << k for k in range(n, total)]
    if relation.schedule.spec.device.cross_stream is CrossStream.EVENTS:
        return masks
    own: dict[str, list[int]] = {}
    for k, buffer in enumerate(buffers, start=n):
        if buffer.use is BufferUse.FEED:
            own.setdefault(buffer.channel, []).append(k)
    homes = _homes(relation)
    for channel in relation.schedule.channels:
        members = own.get(channel.name, ())
        lives = {k: _Life(channel.order, buffers[k - n]) for k in members}
        for k, life in lives.items():
            for i, steps in homes.get(channel.name, {}).items():
                if all(life.is_apart_from(step) for step in steps):
                    _part(masks, i, k)
        for k, other in combinations(members, 2):
            if lives[k].is_apart_from_life(lives[other]):
                _part(masks, k, other)
    return masks


def _with_blocks(
    relation: ConflictRelation, masks: Sequence[int], blocks: Sequence[str]
) -> tuple[int, ...]:
    """Return the conflicts with the blocks of some instances behind all others."""
    position = {name: i for i, name in enumerate(relation.instances)}
    owners = [position[InstanceId(name)] for name in blocks]
    n, first = relation.n, len(masks)
    runs = consecutive_runs(owners)

    def of_blocks(instances: int) -> int:
        """Translate a mask of instances into one of their blocks."""
        return sum((instances >> i & ones) << first + start for start, ones, i in runs)

    low = (1 << n) - 1
    found = [
        mask | of_blocks(mask & low | (1 << i if i < n else 0)) for i, mask in enumerate(masks)
    ]
    found += [masks[i] | 1 << i | of_blocks(masks[i] & low) for i in owners]
    return tuple(found)


def _part(masks: list[int], i: int, j: int) -> None:
    masks[i] &= ~(1 << j)
    masks[j] &= ~(1 << i)


def _homes(relation: ConflictRelation) -> dict[str, dict[int, list[int]]]:
    """Return channel -> the instances that no other channel uses -> the steps that may use them."""
    users: dict[int, Channel | None] = {}
    steps: dict[int, list[int]] = {}
    for channel in relation.schedule.channels:
        for step, choices in enumerate(channel.choices):
            for i, _ in choices:
                users[i] = channel if users.get(i, channel) is channel else None
                if users[i] is channel:
                    steps.setdefault(i, []).append(step)
    homes: dict[str, dict[int, list[int]]] = {}
    for i, home in users.items():
        if home is not None:
            homes.setdefault(home.name, {})[i] = steps[i]
    return homes


class _Life:
    """From the start of a writer to the end of its last reader, in every frame of one slot."""

    def __init__(self, order: ChannelOrder, buffer: ChannelBuffer) -> None:
        self.order = order
        self.slot = buffer.slot
        self.writer = order.steps[buffer.step]
        self.readers = [order.steps[step] for step, _ in buffer.readers]

    def is_apart_from(self, step: int) -> bool:
        """Return whether a step runs wholly before or after, in all frames beside this one."""
        d = self.order.frames_in_flight
        return all(
            self.order.precedes(first=step, second=self.writer, lag=-lag) or self._ends(step, lag)
            for lag in range(1 - d, d)
        )

    def _ends(self, step: int, lag: int) -> bool:
        """Return whether all of this is over before `step` of the frame `lag` on starts."""
        precedes = self.order.precedes
        return all(precedes(first=reader, second=step, lag=lag) for reader in self.readers)

    def is_apart_from_life(self, other: "_Life") -> bool:
        """Return whether the two lives never meet, whatever frames hold their slots."""
        d = self.order.frames_in_flight
        lag = (other.slot - self.slot) % d
        return all(
            self._ends(other.writer, lag) or other._ends(self.writer, -lag)
            for lag in ((lag, lag - d) if lag else (0,))
        )


def bound_with_buffers(
    masks: Sequence[int], sizes: Sequence[int], candidates: Iterable[Bound]
) -> Bound:
    """Return the heaviest of some cliques after each has taken in what still conflicts with it.

    Parameters
    ----------
    masks, sizes : sequence, length n
        Conflicts and reserved bytes of instances and buffers.
    candidates : iterable of Bound
        Their witnesses pairwise conflict.

    Returns
    -------
    Bound
        Of a candidate without a witness nothing but its number counts.
    """
    best = Bound(0)
    alive = nonempty_mask(sizes)
    for bound in candidates:
        clique = tuple(mask_indices(grown_clique(masks, sizes, alive, bound.witness)))
        grown = Bound(sum(sizes[i] for i in clique), clique)
        best = max(best, bound, grown, key=lambda found: found.lower_bound_bytes)
    return best
