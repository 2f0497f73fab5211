"""The guard's machine against the definition, through every interleaving of small fleets.

From the empty machine, every legal event is tried in every reachable state: open, give up, call any
step, finish well or badly, withdraw, leave well or badly. In each state reached:

- no two executions run that must be apart, and none starts after one that it precedes;
- whoever waits has a reason by the words of the rules, and somebody who runs will end it: no
  deadlock, and every legal wait ends;
- the records that moved are reported, each once: no wake-up is lost.

And over all states: every two executions that may overlap were seen to overlap, so the guard is not
stricter than its rules.
"""

import copyreg
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, TypeAlias

import pytest

from arena.guard.machine import CallRecord, FrameRecord, Machine
from arena.guard.moves import CallState, FrameState
from arena.guard.rules import ChannelRules, StepRule, channel_rules
from planner.fleet import FleetSpec, PipelineSpec
from planner.lanes import Assign, LanePool
from planner.model import InstanceId
from planner.plan import AddedKind, AddedOrder
from tests.oracles_guard import Definition, Execution, fleet_of, step
from tests.oracles_judge import conflicting_pairs

WAITING = (CallState.BLOCKED, CallState.QUEUED)

# Rules never change: copies of a machine share them.
_RULES: dict[int, object] = {}


def _rule(key: int) -> Any:
    return _RULES[key]


def _shared(rule: object) -> tuple[Callable[[int], Any], tuple[int]]:
    _RULES[id(rule)] = rule
    return _rule, (id(rule),)


copyreg.pickle(ChannelRules, _shared)
copyreg.pickle(StepRule, _shared)


@dataclass
class World:
    """A machine with all its frames and calls, and what ever started."""

    machine: Machine
    conflicts: set[frozenset[str]]
    """Pairs of instances that a plan gives different memory."""
    frames: list[FrameRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    started: set[Execution] = field(default_factory=set)
    made: Counter[tuple[int, str]] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    mishaps: int = 0
    """Frames given up, calls withdrawn, executions failed and frames left by an exception."""


Event: TypeAlias = "Callable[[World], list[Any]]"


@dataclass(frozen=True)
class Case:
    """A small fleet and the bounds of its exploration."""

    fleet: FleetSpec
    frames: int = 2
    repeats: int = 1
    mishaps: int = 1
    added: tuple[AddedOrder, ...] = ()


def execution_of(call: CallRecord) -> Execution:
    pipeline, channel = call.frame.channel.rules.name.rstrip("]").split("[")
    return Execution(pipeline, int(channel), call.frame.number, call.rule.id)


# ---- events; they name frames and calls by position, since each state is a copy


def open_frame(world: World, *, channel: str) -> list[Any]:
    frame = world.machine.open(channel)
    world.opened[channel] += 1
    world.frames.append(frame)
    return [frame] if frame.state is FrameState.OPEN else []


def give_up(world: World, *, frame: int) -> list[Any]:
    world.machine.give_up(world.frames[frame])
    world.opened[world.frames[frame].channel.rules.name] -= 1
    world.mishaps += 1
    return [world.frames[frame]]


def call_step(world: World, *, frame: int, name: str) -> list[Any]:
    call = world.machine.call(world.frames[frame], name)
    world.calls.append(call)
    world.made[frame, name] += 1
    return [call] if call.state is CallState.RUNNING else []


def finish(world: World, *, call: int, failed: bool) -> list[Any]:
    world.mishaps += failed
    return world.machine.finish(world.calls[call], failed=failed)


def withdraw(world: World, *, call: int) -> list[Any]:
    world.mishaps += 1
    return world.machine.withdraw(world.calls[call])


def leave(world: World, *, frame: int, failed: bool) -> list[Any]:
    world.mishaps += failed
    return world.machine.leave(world.frames[frame], failed=failed)


def events(world: World, case: Case) -> Iterator[Event]:
    for name in (f"{p.id}[{c}]" for p in case.fleet.pipelines for c in range(p.channels)):
        if world.opened[name] < case.frames:
            yield partial(open_frame, channel=name)
    mishaps = [False, True] if world.mishaps < case.mishaps else [False]
    for i, frame in enumerate(world.frames):
        if frame.state is FrameState.WAITING and True in mishaps:
            yield partial(give_up, frame=i)
        if frame.state is FrameState.OPEN:
            yield from (partial(leave, frame=i, failed=failed) for failed in mishaps)
            for j, rule in enumerate(frame.channel.rules.steps):
                if not frame.closed_mask >> j & 1 and world.made[i, rule.id] < case.repeats:
                    yield partial(call_step, frame=i, name=rule.id)
    for i, call in enumerate(world.calls):
        if call.state is CallState.RUNNING:
            yield from (partial(finish, call=i, failed=failed) for failed in mishaps)
        if call.state in WAITING and True in mishaps:
            yield partial(withdraw, call=i)


# ---- what must hold


def check_apart(world: World, definition: Definition, overlaps: set[frozenset[Execution]]) -> None:
    running = [call for call in world.calls if call.state is CallState.RUNNING]
    for first, second in combinations(running, 2):
        one, other = execution_of(first), execution_of(second)
        assert one != other, f"two runs of {one} at once"
        served = first.choice.instance, second.choice.instance
        assert definition.may_share_time(one, served[0], other, served[1]), f"{one} beside {other}"
        assert frozenset(served) in world.conflicts, f"{served} may share memory"
        overlaps.add(frozenset((one, other)))


def check_start(world: World, call: CallRecord, definition: Definition) -> None:
    mine = execution_of(call)
    for other in world.started - {mine}:
        assert not definition.precedes(mine, other), f"{mine} starts after {other}"
    for other_call in world.calls:
        if other_call.state in (*WAITING, CallState.RUNNING) and other_call is not call:
            assert not definition.precedes(execution_of(other_call), mine)
    world.started.add(mine)


def check_waits(world: World, definition: Definition) -> None:
    live = [c for c in world.calls if c.state in (*WAITING, CallState.RUNNING)]
    running = [c for c in live if c.state is CallState.RUNNING]
    for call in live:
        mine = execution_of(call)
        before = [c for c in live if definition.precedes(execution_of(c), mine)]
        if call.rule.is_pooled:
            before += [c for c in live if execution_of(c) == mine and c.sequence < call.sequence]
        if call.state is CallState.BLOCKED:
            assert before, f"{call} is blocked by nothing"
        elif call.state is CallState.QUEUED:
            assert not before
            older = [c for c in live if c.state is CallState.QUEUED and c.sequence < call.sequence]
            wanted = definition.locks(mine)
            assert any(wanted & definition.locks(execution_of(c)) for c in running + older)
    assert running or len(live) == 0, "calls wait and nothing runs: deadlock"
    for frame in world.frames:
        others = [f for f in world.frames if f.channel is frame.channel]
        if frame.state is FrameState.LEAVING:
            assert any(c.frame is frame for c in live), f"{frame} has no call left and did not end"
        if frame.state is FrameState.WAITING:
            started = sum(f.number >= 0 for f in others)
            gate = started - frame.channel.rules.frames_in_flight
            assert any(f.number == gate and f.state is not FrameState.ENDED for f in others)


def states(world: World) -> dict[object, object]:
    return {
        **{frame: frame.state for frame in world.frames},
        **{call: call.state for call in world.calls},
    }


def ended_waits(before: dict[object, object], world: World) -> list[object]:
    """Records whose wait ended in one move: what must be reported."""
    kinds = {CallState.RUNNING, CallState.WITHDRAWN, *FrameState} - {
        FrameState.WAITING,
        FrameState.LEAVING,
    }
    return [
        record
        for record, state in states(world).items()
        if state in kinds
        and before.get(record) is not state
        and not (state is CallState.WITHDRAWN and record not in before)
    ]


def canonical(world: World) -> tuple[object, ...]:
    """What the future depends on; two worlds with equal keys behave alike."""
    gone = (FrameState.ENDED, FrameState.WITHDRAWN)
    frames: dict[FrameRecord, tuple[object, ...]] = {}
    places: Counter[str] = Counter()
    for i, frame in enumerate(world.frames):
        if frame.state not in gone:
            name = frame.channel.rules.name
            made = tuple(world.made[i, rule.id] for rule in frame.channel.rules.steps)
            frames[frame] = (name, places[name], frame.state, frame.number, frame.closed_mask,
                             frame.failed, made)  # fmt: skip
            places[name] += 1
    live = [c for c in world.calls if c.state in (*WAITING, CallState.RUNNING)]
    return (
        frozenset(frames.values()),
        tuple((frames[c.frame][:2], c.index, c.state, c.granted) for c in live),
        frozenset(world.started),
        frozenset(world.opened.items()),
        world.mishaps,
    )


def explore(case: Case) -> tuple[int, set[frozenset[Execution]]]:
    """Visit every reachable state; return how many, and every pair seen to overlap."""
    definition = Definition(case.fleet, case.added)
    conflicts = conflicting_pairs(case.fleet, case.added)
    first = World(Machine(channel_rules(case.fleet, case.added)), conflicts)
    seen = {canonical(first)}
    overlaps: set[frozenset[Execution]] = set()
    open_ends = [pickle.dumps(first)]
    while open_ends:
        state = open_ends.pop()
        choices = list(events(pickle.loads(state), case))
        for event in choices:
            world: World = pickle.loads(state)
            before = states(world)
            moved = event(world)
            assert Counter(moved) == Counter(ended_waits(before, world))
            for record in moved:
                if isinstance(record, CallRecord) and record.state is CallState.RUNNING:
                    check_start(world, record, definition)
            check_apart(world, definition, overlaps)
            check_waits(world, definition)
            key = canonical(world)
            if key not in seen:
                seen.add(key)
                open_ends.append(pickle.dumps(world))
    return len(seen), overlaps


def may_overlap(case: Case) -> set[frozenset[Execution]]:
    """Pairs that the definition does not keep apart, of frames that can be in progress together."""
    definition = Definition(case.fleet, case.added)
    executions = [
        Execution(pipeline.id, channel, frame, spec.id)
        for pipeline, channel, spec in case.fleet.channel_steps()
        for frame in range(case.frames)
    ]
    return {
        frozenset((one, other))
        for one, other in combinations(executions, 2)
        if not definition.must_be_apart(one, other) and not frames_apart(case.fleet, one, other)
    }


def frames_apart(fleet: FleetSpec, one: Execution, other: Execution) -> bool:
    """Frames t and t + d + 1 of a channel: t + d starts first, and t has ended before."""
    same = one.pipeline == other.pipeline and one.channel == other.channel
    return same and abs(one.frame - other.frame) > fleet.pipeline(one.pipeline).frames_in_flight


CHAIN = (step("a", "x"), step("b", "y", after=["a"]))

POOL = LanePool("p", 2)

CASES = {
    "one channel, two ordered lanes": Case(
        fleet_of(PipelineSpec("p", CHAIN)), frames=3, repeats=2, mishaps=2
    ),
    "two frames in flight": Case(
        fleet_of(PipelineSpec("p", CHAIN, frames_in_flight=2)), frames=3, mishaps=1
    ),
    "two lanes without order": Case(
        fleet_of(PipelineSpec("p", (step("a", "x"), step("b", "y")))), repeats=2, mishaps=2
    ),
    "diamond": Case(
        fleet_of(
            PipelineSpec(
                "p",
                (
                    step("a", "x"),
                    step("b", "y", after=["a"]),
                    step("c", "z", after=["a"]),
                    step("d", "x", after=["b", "c"]),
                ),
            )
        ),
        frames=1,
        repeats=2,
    ),
    "locks across lanes: {x,g} {y,g} {z,x}": Case(
        fleet_of(
            PipelineSpec(
                "p",
                (
                    step("a", "x", locks=["g"]),
                    step("b", "y", locks=["g"]),
                    step("c", "z", locks=["x"]),
                ),
            )
        ),
        frames=1,
        repeats=2,
        mishaps=2,
    ),
    "two channels on shared lanes": Case(
        fleet_of(PipelineSpec("p", CHAIN, channels=2)), frames=1, repeats=2, mishaps=0
    ),
    "two channels, a lane each, one lock": Case(
        fleet_of(PipelineSpec("p", (step("a", "x-{channel}", locks=["g"]),), channels=2)),
        frames=2,
        mishaps=1,
    ),
    "two pipelines crossing": Case(
        fleet_of(
            PipelineSpec("p", CHAIN),
            PipelineSpec("q", (step("a", "y", model="c"), step("b", "x", after=["a"], model="c"))),
        ),
        frames=1,
        repeats=1,
        mishaps=2,
    ),
    "an order and an exclusion that planning added": Case(
        fleet_of(PipelineSpec("p", (step("a", "x"), step("b", "y"), step("c", "z")))),
        frames=2,
        added=(
            AddedOrder(InstanceId("c@z"), InstanceId("a@x"), AddedKind.ORDER),
            AddedOrder(InstanceId("b@y"), InstanceId("c@z"), AddedKind.EXCLUSIVE),
        ),
    ),
    "one step of one channel on a pool": Case(
        fleet_of(PipelineSpec("p", (step("a", POOL), step("b", "y", after=["a"])))),
        repeats=3,
        mishaps=2,
    ),
    "a pool of three, two frames in flight": Case(
        fleet_of(PipelineSpec("p", (step("a", LanePool("p", 3)),), frames_in_flight=2)),
        frames=3,
        repeats=2,
        mishaps=1,
    ),
    "two channels and a step beside them on a pool": Case(
        fleet_of(
            PipelineSpec("p", (step("a", POOL),), channels=2),
            PipelineSpec("q", (step("c", POOL, model="a", locks=["g"]),)),
            PipelineSpec("r", (step("d", "y", locks=["g"]),)),
        ),
        frames=1,
        mishaps=0,
    ),
    "two pools that one step after another takes": Case(
        fleet_of(
            PipelineSpec("p", (step("a", POOL), step("b", POOL), step("c", "y", after=["a"])))
        ),
        frames=1,
        repeats=2,
        mishaps=2,
    ),
    "a pool in blocks beside its lanes at will": Case(
        fleet_of(
            PipelineSpec("p", (step("a", LanePool("p", 2, Assign.BLOCK)),), channels=2),
            PipelineSpec("q", (step("b", POOL),)),
        ),
        frames=1,
        mishaps=1,
    ),
    "an order and an exclusion between instances of a pool": Case(
        fleet_of(PipelineSpec("p", (step("a", POOL), step("b", POOL), step("c", "z")))),
        frames=1,
        repeats=2,
        added=(
            AddedOrder(InstanceId("a@p[1]"), InstanceId("c@z"), AddedKind.ORDER),
            AddedOrder(InstanceId("a@p[0]"), InstanceId("b@p[1]"), AddedKind.EXCLUSIVE),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_interleaving_keeps_the_definition(name: str) -> None:
    case = CASES[name]
    n_states, overlaps = explore(case)
    assert n_states > 50
    assert overlaps == may_overlap(case)
