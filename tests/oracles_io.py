"""Slow, plain truth about what steps hand on: run a fleet in every possible way and look.

Every interleaving of d + 1 frames of all channels is walked, state by state: an execution waits,
runs or is over. A fed buffer is live while its writer has started and some reader is not over.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from planner.fleet import FleetSpec, IoPlace, PipelineSpec
from planner.handover import BufferUse, ChannelBuffer
from planner.plan import AddedOrder, Plan
from tests.oracles_judge import Node, unroll

__all__ = ["live_together", "plain_buffers", "sharing_live_bytes"]


def plain_buffers(fleet: FleetSpec, size_bytes: int, block_bytes: int) -> list[ChannelBuffer]:
    """The buffers of a fleet all of whose tensors have `size_bytes`, and all of whose instances
    have blocks of `block_bytes`, if any.
    """
    buffers = []
    for pipeline in fleet.pipelines:
        for channel in range(pipeline.channels):
            name = f"{pipeline.id}[{channel}]"
            for step in pipeline.steps:
                outputs = dict.fromkeys(
                    feed.output
                    for reader in pipeline.steps
                    for feed in reader.feeds
                    if feed.step == step.id
                )
                for output in outputs:
                    for slot in range(pipeline.frames_in_flight):
                        buffers.append(
                            ChannelBuffer(
                                BufferUse.FEED,
                                name,
                                step.id,
                                output,
                                slot,
                                _readers(pipeline, step.id, output),
                                size_bytes,
                            )
                        )
                for input_name, output in step.state:
                    for slot in (0, 1):
                        buffers.append(
                            ChannelBuffer(
                                BufferUse.STATE,
                                name,
                                step.id,
                                output,
                                slot,
                                ((step.id, input_name),),
                                size_bytes,
                            )
                        )
    if fleet.device.io is IoPlace.ARENA:
        for name in fleet.instances():
            buffers.append(ChannelBuffer(BufferUse.INSTANCE, "", name, "", 0, (), block_bytes))
    return buffers


def _readers(pipeline: PipelineSpec, writer: str, output: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (reader.id, feed.input)
        for reader in pipeline.steps
        for feed in reader.feeds
        if (feed.step, feed.output) == (writer, output)
    )


_State = tuple[frozenset[tuple[Node, str]], frozenset[Node]]
"""Executions that run, each with its instance, and those that are over."""


def live_together(
    fleet: FleetSpec, buffers: Iterable[ChannelBuffer], added: Iterable[AddedOrder] = ()
) -> set[frozenset[str]]:
    """Pairs of instances and buffers, by name, that are live at once in some interleaving."""
    uses, later = unroll(fleet, added)
    earlier: dict[Node, set[Node]] = {node: set() for node in later}
    for node, followers in later.items():
        for follower in followers:
            earlier[follower].add(node)
    flights = {pipeline.id: pipeline.frames_in_flight for pipeline in fleet.pipelines}
    buffers = list(buffers)
    blocks = {b.step: b.name for b in buffers if b.use is BufferUse.INSTANCE}
    lives = {
        buffer.name: list(_lives(buffer, flights))
        for buffer in buffers
        if buffer.use is not BufferUse.INSTANCE
    }
    found: set[frozenset[str]] = set()
    start: _State = (frozenset(), frozenset())
    todo, seen = [start], {start}
    while todo:
        running, over = todo.pop()
        live = {instance for _, instance in running}
        live |= {blocks[instance] for instance in live if instance in blocks}
        begun = {node for node, _ in running} | over
        for name, frames in lives.items():
            if any((writer is None or writer in begun) and not r <= over for writer, r in frames):
                live.add(name)
        found |= {frozenset(pair) for pair in combinations(sorted(live), 2)}
        held = {lock for node, instance in running for lock in uses[node][instance]}
        nexts = [(running - {one}, over | {one[0]}) for one in running]
        nexts += [
            (running | {(node, instance)}, over)
            for node in later
            if node not in begun and earlier[node] <= over
            for instance, locks in uses[node].items()
            if not held & locks
        ]
        for state in nexts:
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return found


def _lives(
    buffer: ChannelBuffer, flights: dict[str, int]
) -> Iterator[tuple[Node | None, frozenset[Node]]]:
    """The writer and the readers of each frame that uses a buffer; a state is never over."""
    pipeline, _, rest = buffer.channel.partition("[")
    channel, d = int(rest.rstrip("]")), flights[pipeline]
    if buffer.use is BufferUse.STATE:
        yield None, frozenset({("nobody", 0, 0, "")})
        return
    for frame in range(buffer.slot, d + 1, d):
        readers = frozenset((pipeline, channel, frame, step) for step, _ in buffer.readers)
        yield (pipeline, channel, frame, buffer.step), readers


def sharing_live_bytes(plan: Plan) -> set[frozenset[str]]:
    """Pairs of a plan that are live at once in some interleaving and share bytes, by name."""
    reserved = plan.rule.reserved_bytes
    spans: dict[str, tuple[int, int]] = {
        row.id: (row.work_offset, row.work_offset + reserved(row.work_bytes))
        for row in plan.instances
        if row.work_offset is not None
    }
    spans |= {row.name: (row.offset, row.offset + reserved(row.size_bytes)) for row in plan.buffers}
    return {
        pair
        for pair in live_together(plan.fleet, plan.buffers, plan.added)
        if all(name in spans for name in pair)
        and max(spans[name][0] for name in pair) < min(spans[name][1] for name in pair)
    }
