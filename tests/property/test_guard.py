"""10,000 long days of the guard's machine in simulated time, against the definition.

Laws: executions that must be apart are apart, and in the order that the definition gives; whatever
came first among those that may run is served first; every wait ends; frames are numbered without
gaps in order of starting.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import pytest

from arena.errors import GuardError
from arena.guard.machine import CallRecord, FrameRecord, Machine
from arena.guard.moves import CallState, FrameState
from arena.guard.rules import ChannelRules, channel_rules
from planner.fleet import FleetSpec, PipelineSpec
from planner.lanes import LanePool
from tests.oracles_guard import Definition, Execution, fleet_of, step
from tests.oracles_judge import conflicting_pairs
from tests.strategies import POOLS

N_FLEETS = 100
N_SEEDS = 10_000

Client: TypeAlias = Generator[Callable[["Client"], None], Any, None]


def random_fleet(rng: random.Random) -> FleetSpec:
    plain = ["x", "y", "z", "x-{channel}"][: rng.randint(1, 4)]
    lanes: list[str | LanePool] = [*plain, *rng.sample(POOLS, rng.choice([0, 1, 2]))]
    pipelines = []
    for p in range(rng.randint(1, 2)):
        names = [f"s{k}" for k in range(rng.randint(1, 4))]
        steps = [
            step(
                name,
                rng.choice(lanes),
                after=[before for before in names[:k] if rng.random() < 0.4],
                locks=["g"] if rng.random() < 0.25 else [],
                model=f"m{rng.randint(0, 3)}",
            )
            for k, name in enumerate(names)
        ]
        rng.shuffle(steps)
        pipelines.append(
            PipelineSpec(f"p{p}", tuple(steps), rng.randint(1, 2), rng.choice([1, 1, 2, 3]))
        )
    return fleet_of(*pipelines)


@dataclass
class Fleet:
    """A fleet with its rules and its definition, whose answers are kept for frames t and t + k."""

    rules: dict[str, ChannelRules]
    definition: Definition
    conflicts: set[frozenset[str]]
    known: dict[tuple[object, ...], tuple[bool, bool, bool]] = field(default_factory=dict)

    def relation(self, one: Execution, other: Execution) -> tuple[bool, bool, bool]:
        """Return must be apart, first precedes second, second precedes first."""
        base = min(one.frame, other.frame)
        a, b = one._replace(frame=one.frame - base), other._replace(frame=other.frame - base)
        if (a, b) not in self.known:
            d = self.definition
            self.known[a, b] = d.must_be_apart(a, b), d.precedes(a, b), d.precedes(b, a)
        return self.known[a, b]


class Day:
    """One simulated day: clients, a clock, and the machine under test."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.fleet = fleet
        self.rng = rng
        self.machine = Machine(fleet.rules)
        self.now = 0.0
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.ticks = count()
        self.sleepers: dict[object, Client] = {}
        self.submitted: dict[CallRecord, tuple[float, bool]] = {}
        self.running: dict[CallRecord, Execution] = {}
        self.waiting: list[CallRecord] = []
        self.seen: Counter[str] = Counter()
        self.numbers: dict[str, int] = {}
        self.started: list[Execution] = []

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (self.now + delay, next(self.ticks), action))

    def run(self) -> None:
        for name in self.fleet.rules:
            for _ in range(self.rng.randint(1, 2)):
                client = self.client(name)
                self.at(self.rng.random(), lambda client=client: self.resume(client))  # type: ignore[misc]
        while self.agenda:
            self.now, _, action = heapq.heappop(self.agenda)
            action()
        assert not self.sleepers, "somebody waits for ever"
        assert not self.running
        assert not self.machine.is_running()

    def resume(self, client: Client, value: object = None) -> None:
        try:
            wait = client.send(value)
        except StopIteration:
            return
        wait(client)

    # ---- what clients do

    def client(self, channel: str) -> Client:
        rng = self.rng
        for _ in range(rng.randint(1, 2)):
            frame = yield self.opening(channel)
            if frame is None:
                continue
            failed = False
            steps = list(self.fleet.rules[channel].steps)
            for index in sorted(rng.choices(range(len(steps)), k=rng.randint(0, 4))):
                name = steps[index].id
                if frame.closed_mask >> index & 1:
                    with pytest.raises(GuardError, match=f"'{name}' of .* is closed"):
                        self.machine.call(frame, name)
                    self.seen["closed"] += 1
                elif rng.random() < 0.5:
                    self.submit(frame, name)
                else:
                    call = yield self.entering(frame, name)
                    if call is not None:
                        yield self.sleeping(rng.expovariate(1.0))
                        failed = rng.random() < 0.05
                        self.finish(call, failed)
                if failed or rng.random() < 0.03:
                    failed = True
                    break
            yield self.leaving(frame, failed)

    def sleeping(self, delay: float) -> Callable[[Client], None]:
        return lambda client: self.at(delay, lambda: self.resume(client))

    def opening(self, channel: str) -> Callable[[Client], None]:
        def wait(client: Client) -> None:
            frame = self.machine.open(channel)
            if frame.state is FrameState.OPEN:
                self.check_number(frame)
                self.at(0, lambda: self.resume(client, frame))
                return
            self.sleepers[frame] = client

            def out_of_patience() -> None:
                if frame.state is FrameState.WAITING:
                    self.machine.give_up(frame)
                    self.seen["given up"] += 1
                    self.moved([frame])

            if self.rng.random() < 0.2:
                self.at(self.rng.expovariate(1.0), out_of_patience)

        return wait

    def entering(self, frame: FrameRecord, name: str) -> Callable[[Client], None]:
        def wait(client: Client) -> None:
            call = self.call(frame, name)
            self.sleepers[call] = client
            if call.state is CallState.RUNNING:
                self.moved([call])
            elif self.rng.random() < 0.2:
                self.at(self.rng.expovariate(1.0), lambda: self.withdraw(call))

        return wait

    def submit(self, frame: FrameRecord, name: str) -> None:
        call = self.call(frame, name)
        self.submitted[call] = self.rng.expovariate(1.0), self.rng.random() < 0.05
        if call.state is CallState.RUNNING:
            self.moved([call])
        elif self.rng.random() < 0.1:
            self.at(self.rng.expovariate(1.0), lambda: self.withdraw(call))

    def call(self, frame: FrameRecord, name: str) -> CallRecord:
        call = self.machine.call(frame, name)
        if call.is_waiting:
            self.waiting.append(call)
        self.seen[call.state] += 1
        return call

    def withdraw(self, call: CallRecord) -> None:
        if call.is_waiting:
            self.seen["withdrawn"] += 1
            self.moved(self.machine.withdraw(call))

    def finish(self, call: CallRecord, failed: bool) -> None:
        del self.running[call]
        self.seen["failed" if failed else "finished"] += 1
        self.moved(self.machine.finish(call, failed=failed))

    def leaving(self, frame: FrameRecord, failed: bool) -> Callable[[Client], None]:
        def wait(client: Client) -> None:
            self.sleepers[frame] = client
            self.moved(self.machine.leave(frame, failed=failed))

        return wait

    # ---- what the machine reports

    def moved(self, records: list[Any]) -> None:
        for record in records:
            if isinstance(record, CallRecord):
                self.call_moved(record)
            elif record.state is FrameState.OPEN:
                self.check_number(record)
                self.wake(record, record)
            else:
                self.wake(record, None)

    def call_moved(self, call: CallRecord) -> None:
        if call.state is CallState.WITHDRAWN:
            self.seen["gone"] += 1
            self.submitted.pop(call, None)
            self.wake(call, None)
            return
        self.check_grant(call)
        if call in self.submitted:
            time, failed = self.submitted.pop(call)
            self.at(time, lambda: self.finish(call, failed))
        else:
            self.wake(call, call)

    def wake(self, record: object, value: object) -> None:
        client = self.sleepers.pop(record, None)
        if client is not None:
            self.at(0, lambda: self.resume(client, value))

    def check_number(self, frame: FrameRecord) -> None:
        name = frame.channel.rules.name
        assert frame.number == self.numbers.get(name, 0)
        self.numbers[name] = frame.number + 1

    def check_grant(self, call: CallRecord) -> None:
        pipeline, channel = call.frame.channel.rules.name.rstrip("]").split("[")
        mine = Execution(pipeline, int(channel), call.frame.number, call.rule.id)
        for running, other in self.running.items():
            assert other != mine
            assert not self.fleet.relation(mine, other)[0], f"{mine} beside {other}"
            pair = frozenset((call.choice.instance, running.choice.instance))
            assert pair in self.fleet.conflicts, f"{mine} beside {other}: {pair} may share memory"
        for other in self.started:
            assert not self.fleet.relation(mine, other)[1], f"{mine} starts after {other}"
        self.waiting = [c for c in self.waiting if c.is_waiting]
        for older in self.waiting:
            if older.state is CallState.QUEUED and older.sequence < call.sequence:
                assert not set(older.locks) & set(call.held), f"{older} is overtaken"
        if call.rule.is_pooled:
            self.seen["pooled"] += 1
            self.seen[f"lane {call.granted}"] += 1
        self.running[call] = mine
        self.started.append(mine)


def test_ten_thousand_random_days() -> None:
    seen: Counter[str] = Counter()
    for block in range(N_FLEETS):
        spec = random_fleet(random.Random(block))
        fleet = Fleet(channel_rules(spec), Definition(spec), conflicting_pairs(spec))
        for seed in range(block, N_SEEDS, N_FLEETS):
            day = Day(fleet, random.Random(seed))
            try:
                day.run()
            except AssertionError as error:
                error.add_note(f"fleet {block}, seed {seed}: {spec}")
                raise
            seen += day.seen
    assert seen["finished"] > 2 * N_SEEDS, "the days were idle"
    assert seen["gone"] > seen["withdrawn"], "no frame withdrew its calls"
    for what in (
        "running",
        "queued",
        "blocked",
        "withdrawn",
        "given up",
        "failed",
        "closed",
        "pooled",
        "lane 0",
        "lane 1",
    ):
        assert seen[what] > N_SEEDS // 100, f"{what}: only {seen[what]} times"
