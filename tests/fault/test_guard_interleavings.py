"""The threaded guard through every interleaving of its lock operations, timeouts included.

No schedule of these few threads loses a wake-up, deadlocks, leaves a lock held or a frame open, or
lets two executions meet that must be apart.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from arena.errors import GuardError, GuardTimeoutError
from arena.guard import Guard, blocking
from arena.guard.frames import Call
from planner.fleet import FleetSpec, PipelineSpec
from tests.interleave import Interleaving, explore
from tests.oracles_guard import fleet_of, step

ONE_LANE = fleet_of(PipelineSpec("p", (step("a", "x"),), channels=2))
CHAIN = fleet_of(PipelineSpec("p", (step("a", "x"), step("b", "y", after=["a"]))))

Scenario = tuple[Sequence[Callable[[], None]], Callable[[], None]]


class Site:
    """A guard under one interleaving, and what was seen to happen."""

    def __init__(self, run: Interleaving, fleet: FleetSpec, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(blocking, "threading", SimpleNamespace(Lock=run.lock, TIMEOUT_MAX=1e9))
        patch.setattr(blocking, "SimpleQueue", run.queue)
        self.run = run
        self.guard = Guard(fleet)
        self.inside: set[str] = set()
        self.seen: list[str] = []

    def execute(self, call: Call, *, apart_from: str = "") -> None:
        """Execute a granted call: two on one lane must never meet."""
        assert call.lane not in self.inside
        assert apart_from not in self.inside
        self.inside.add(call.lane)
        self.run.pause()
        self.inside.remove(call.lane)
        self.seen.append(call.step)
        call.done()

    def check_idle(self) -> None:
        """Check that nothing runs, waits or is registered, and that the guard still works."""
        machine = self.guard._machine
        assert not machine._machine.is_running()
        assert not machine._waiters
        assert not machine._jobs
        for record in machine._machine._channels.values():
            assert not record.live
            assert not record.waiting


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Callable[[Interleaving, FleetSpec], Site]:
    return lambda run, fleet: Site(run, fleet, monkeypatch)


Build = Callable[[Interleaving, FleetSpec], Site]


def test_two_channels_on_one_lane_with_and_without_a_time_limit(site: Build) -> None:
    outcomes: set[tuple[str, ...]] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, ONE_LANE)

        def patient() -> None:
            with here.guard.open_frame("p[0]") as frame:
                here.execute(frame.enter("a"))

        def hasty() -> None:
            with here.guard.open_frame("p[1]") as frame:
                try:
                    here.execute(frame.enter("a", timeout_s=1))
                except GuardTimeoutError:
                    here.seen.append("late")

        def check() -> None:
            here.check_idle()
            outcomes.add(tuple(here.seen))

        return (patient, hasty), check

    assert explore(scenario, preemptions_max=6) > 100
    assert outcomes == {("a", "a"), ("a", "late"), ("late", "a")}


def test_three_threads_take_turns_in_one_channel(site: Build) -> None:
    numbers: set[tuple[int, ...]] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, CHAIN)
        got: list[int] = []

        def worker(timeout_s: float | None) -> None:
            try:
                with here.guard.open_frame("p[0]", timeout_s=timeout_s) as frame:
                    got.append(frame.number)
                    here.execute(frame.enter("a"))
            except GuardTimeoutError:
                got.append(-1)

        def check() -> None:
            here.check_idle()
            numbers.add(tuple(got))
            started = [number for number in got if number >= 0]
            assert started == list(range(len(started))), "a timed-out wait used a number"

        return (lambda: worker(None), lambda: worker(1), lambda: worker(None)), check

    assert explore(scenario, preemptions_max=2) > 100
    assert (0, 1, 2) in numbers
    assert any(-1 in got for got in numbers)


def test_submitted_steps_run_in_order_on_the_threads_of_their_lanes(site: Build) -> None:
    def scenario(run: Interleaving) -> Scenario:
        here = site(run, CHAIN)

        def serve(lane: str) -> None:
            while (call := here.guard.take(lane)) is not None:
                assert not call.withdrawn
                here.execute(call, apart_from="y" if lane == "x" else "x")

        def submit() -> None:
            with here.guard.open_frame("p[0]") as frame:
                frame.submit("a")
                frame.submit("b")
            here.guard.close()

        def check() -> None:
            here.check_idle()
            assert here.seen == ["a", "b"]

        return (submit, lambda: serve("x"), lambda: serve("y")), check

    assert explore(scenario, preemptions_max=3) > 100


def test_a_failure_withdraws_who_waits_in_the_frame_whatever_the_moment(site: Build) -> None:
    outcomes: set[str] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, CHAIN)
        frame = here.guard.open_frame("p[0]")
        first = frame.submit("a")

        def serve() -> None:
            assert here.guard.take("x") is not None
            run.pause()
            first.done(failed=True)

        def waiter() -> None:
            try:
                here.execute(frame.enter("b"), apart_from="x")
            except GuardError as refusal:
                outcomes.add("withdrawn" if "was withdrawn" in str(refusal) else "refused")

        def leaver() -> None:
            run.pause()
            frame.leave()

        def check() -> None:
            here.check_idle()
            outcomes.update(here.seen)

        return (serve, waiter, leaver), check

    assert explore(scenario, preemptions_max=3) > 100
    assert outcomes == {"withdrawn", "refused", "b"}


def test_closing_at_any_moment_leaves_nobody_behind(site: Build) -> None:
    outcomes: set[str] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, ONE_LANE)

        def worker(channel: str) -> None:
            try:
                frame = here.guard.open_frame(channel)
            except GuardError as refusal:
                outcomes.add(f"no frame: {refusal}".replace(channel, "p"))
                return
            try:
                here.execute(frame.enter("a"))
            except GuardError as refusal:
                outcomes.add("withdrawn" if "was withdrawn" in str(refusal) else "refused")
            frame.leave()

        def closer() -> None:
            here.guard.close()
            assert not here.inside, "closed while something ran"

        def check() -> None:
            here.check_idle()
            outcomes.update(here.seen)

        return (lambda: worker("p[0]"), lambda: worker("p[1]"), closer), check

    assert explore(scenario, preemptions_max=2) > 100
    closed = "no frame: the guard is closed: close() was called"
    assert outcomes == {closed, "withdrawn", "refused", "a"}


def test_leaving_with_a_time_limit_ends_the_frame_once_whatever_the_moment(site: Build) -> None:
    outcomes: set[str] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, CHAIN)
        frame = here.guard.open_frame("p[0]")
        first, second = frame.submit("a"), frame.submit("b")

        def serve() -> None:
            here.execute(first)
            if not second.withdrawn:
                here.execute(second)

        def leaver() -> None:
            try:
                frame.leave(timeout_s=1)
                outcomes.add("left")
            except GuardTimeoutError:
                outcomes.add("late, b runs" if not second.withdrawn else "late, b withdrawn")

        return (serve, leaver), here.check_idle

    assert explore(scenario, preemptions_max=6) > 10
    assert outcomes == {"left", "late, b runs", "late, b withdrawn"}


@pytest.mark.parametrize("interrupted", ["open", "enter", "leave"])
def test_an_interrupt_at_any_moment_of_a_wait_leaves_nothing_behind(
    site: Build, interrupted: str
) -> None:
    outcomes: set[str] = set()

    def scenario(run: Interleaving) -> Scenario:
        here = site(run, CHAIN if interrupted == "open" else ONE_LANE)
        run.interruptible = 0
        own = here.guard.open_frame("p[0]")
        other = own if interrupted != "enter" else here.guard.open_frame("p[1]")
        busy = other.submit("a")

        def victim() -> None:
            try:
                if interrupted == "open":
                    here.guard.open_frame("p[0]").leave()
                elif interrupted == "enter":
                    own.enter("a").done()
                else:
                    own.leave()
                outcomes.add("done")
            except KeyboardInterrupt:
                outcomes.add("interrupted")

        def worker() -> None:
            here.execute(busy)
            if interrupted != "leave":
                other.leave()

        def check() -> None:
            if interrupted == "enter":
                own.leave()
            here.check_idle()

        return (victim, worker), check

    assert explore(scenario, preemptions_max=6) > 5
    assert outcomes == {"done", "interrupted"}
