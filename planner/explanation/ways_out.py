"""What would make a plan fit, and what each way costs: every figure is that of a plan."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.capacity import DeviceModel
from planner.capacity.duplicates import dedupe_savings
from planner.capacity.variants import plan_variant
from planner.explanation.changes import Candidates, Change, ChangeKind, changed
from planner.explanation.fitted import budget_within, fitted, is_as_fit
from planner.explanation.pairs import Pairs
from planner.explanation.service import Service
from planner.fleet import Dedupe
from planner.makespan import Makespan, MakespanUnit, makespan_of
from planner.model import InstanceId
from planner.pipeline import schedule_of
from planner.plan import Plan

__all__ = ["WayOut", "WaysOptions", "WaysOut", "find_ways_out"]


@dataclass(frozen=True, slots=True)
class WayOut:
    """One way to need less, or to have more, with its price.

    Attributes
    ----------
    changes : tuple of Change
        What is changed, together; empty: the device.
    device : DeviceModel or None
        The device that is taken instead.
    bytes_freed : int
        What the plan needs less; negative where the change takes more.
    time_added : int
        How much longer one frame of every channel takes, in `time_unit`; negative where work is
        left out. Both makespans are those of list schedules.
    time_unit : MakespanUnit
    needed_bytes : int
        What a plan with the change needs.
    limit_bytes : int or None
        What it may take: of another device, that one's.
    fits : bool
    time_at_most : bool
        Whether `--fit` may find a faster plan of the same change: it searches longer.
    """

    changes: tuple[Change, ...]
    device: DeviceModel | None
    bytes_freed: int
    time_added: int
    time_unit: MakespanUnit
    needed_bytes: int
    limit_bytes: int | None
    fits: bool
    time_at_most: bool = False


@dataclass(frozen=True, slots=True)
class WaysOptions:
    """How much is planned: counted, so that every machine gives the same answer.

    Attributes
    ----------
    plans_max, planned_max : int
        Plans made, and instances in all of them. Two thirds are for single changes, the rest for
        putting them together.
    changes_max : int
        Changes planned of each kind, those that may free most; and more, while the plans last,
        where a bound leaves it open that they fit and few of the kind do.
    pairs_max : int
        Pairs of instances, and of lanes, that are looked at, fewer where there are more than a
        thousand instances; a bound tells without a plan which of them free nothing.
    rows_max : int
        Ways listed of each kind, those that free most; those that fit are all listed.
    fit_executions_max : int
        Most executions of a frame of every channel, and most instances, for which planning chooses
        an order here.
    """

    plans_max: int = 48
    planned_max: int = 20_000
    changes_max: int = 4
    pairs_max: int = 64
    rows_max: int = 3
    fit_executions_max: int = 1_000


@dataclass(frozen=True, slots=True)
class WaysOut:
    """The price list.

    Attributes
    ----------
    rows : tuple of WayOut
        Those that fit first, then by kind; each frees bytes or fits.
    left_out : int
        Changes that are not listed: the counted limits were reached before they were planned, or
        others of their kind free more.
    """

    rows: tuple[WayOut, ...]
    left_out: int


def find_ways_out(
    plan: Plan,
    culprits: Sequence[InstanceId],
    devices: Iterable[DeviceModel],
    options: WaysOptions,
) -> WaysOut:
    """Return what would make a plan fit that does not.

    Parameters
    ----------
    plan : Plan
    culprits : sequence of InstanceId
        Instances that cannot fit together: pairs of them are tried first.
    devices : iterable of DeviceModel
    options : WaysOptions

    Notes
    -----
    Where no single change fits, changes are put together, those that cost no time first, until a
    plan fits; then what it does not need is taken back. That is greedy: a cheaper combination may
    exist.
    """
    desk = _Desk(plan, options)
    rows: list[WayOut] = []
    useful: list[WayOut] = []
    groups = [*_single_changes(plan, culprits, options)]
    tried = [[*desk.singles(group.first)] for group in groups]
    for group, found in zip(groups, tried, strict=True):
        found += desk.singles_until(group.more, options.rows_max - sum(row.fits for row in found))
        found.sort(key=lambda row: (not row.fits, -row.bytes_freed))
        useful += found
        listed = max(options.rows_max, sum(row.fits for row in found))
        rows += found[:listed]
        desk.left_out += group.unseen + len(found[listed:])
    chosen = list(desk.fitted())
    # An order that frees nothing is the plan at hand: it fits what one asks for instead.
    if not any(row.fits for row in rows) and not any(row.bytes_freed > 0 for row in chosen):
        rows += desk.combined(useful)
    priced = [desk.with_time(row) for row in rows]
    rows = [*chosen, *priced, *_next_device(plan, devices, desk.unit)]
    return WaysOut(tuple(sorted(rows, key=_rank)), desk.left_out)


class _Desk:
    """Plans changes of one plan and prices them, while the budget lasts."""

    def __init__(self, plan: Plan, options: WaysOptions) -> None:
        self._plan, self._options = plan, options
        self._planned_instances = 0
        self._made: dict[tuple[Change, ...], Plan] = {}
        executions = sum(1 for _ in plan.fleet.channel_steps())
        self._exact_limit = _EXACT_LIMIT if executions <= _EXACT_TO else 0
        self._span = self._makespan(plan)
        self.unit = self._span.unit
        self.left_out = 0

    def tried(self, changes: tuple[Change, ...], *, keep_third: bool = False) -> WayOut | None:
        """Return a way out without its time; None: the budget is spent, but for a third of it."""
        made = self._planned(changes, 2 if keep_third else 3)
        if made is None:
            self.left_out += 1
            return None
        needed = made.total_bytes if self._plan.over_budget_bytes else made.needed_bytes
        return WayOut(
            changes=changes,
            device=None,
            bytes_freed=self._plan.decisive_bytes - needed,
            time_added=0,
            time_unit=self.unit,
            needed_bytes=needed,
            limit_bytes=self._plan.decisive_limit_bytes,
            fits=made.fits,
        )

    def singles(self, changes: Iterable[Change]) -> Iterator[WayOut]:
        """Yield the ways out of one change each that fit, or free something."""
        for change in changes:
            row = self.tried((change,), keep_third=True)
            if row is not None and (row.fits or row.bytes_freed > 0):
                yield row

    def singles_until(self, changes: Sequence[Change], wanted: int) -> Iterator[WayOut]:
        """Yield the same until as many fit as are wanted."""
        for position, change in enumerate(changes):
            if wanted <= 0:
                self.left_out += len(changes) - position
                return
            for row in self.singles([change]):
                wanted -= row.fits
                yield row

    def with_time(self, row: WayOut) -> WayOut:
        """Return a way out with the time that it adds.

        A schedule under more constraints serves without them too, so constraints alone never take
        time away, whatever two list schedules say.
        """
        made = self._made[row.changes]
        added = self._makespan(made).length - self._span.length
        if all(change.kind in _CONSTRAINTS for change in row.changes):
            added = max(0, added)
        return replace(row, time_added=added)

    def _makespan(self, plan: Plan) -> Makespan:
        schedule = schedule_of(plan.fleet, plan.added)
        return makespan_of(schedule, exact_limit=self._exact_limit)

    def fitted(self) -> Iterator[WayOut]:
        """Yield the way out in which planning chooses the order, priced by itself."""
        if self._plan.over_budget_bytes:
            yield from self._asked_for_more()
            return
        budget = budget_within(self._plan)
        if budget is None:
            return
        n_executions = len(self._span.executions)
        if max(n_executions, len(self._plan.instances)) > self._options.fit_executions_max:
            self.left_out += 1
            return
        made = fitted(self._plan, budget)
        if made.fits and made.price is not None:
            yield WayOut(
                changes=(Change(ChangeKind.FIT, (), budget),),
                device=None,
                bytes_freed=self._plan.needed_bytes - made.needed_bytes,
                time_added=made.price.makespan - made.price.before,
                time_unit=made.price.unit,
                needed_bytes=made.needed_bytes,
                limit_bytes=made.fleet.device.memory_bytes,
                fits=True,
                time_at_most=not (made.price.is_proven or is_as_fit(n_executions)),
            )

    def _asked_for_more(self) -> Iterator[WayOut]:
        """Yield the plan at hand, where it is above what its schedule is to fit and that alone."""
        needed = self._plan.total_bytes
        if self._plan.fits_device:
            changes = (Change(ChangeKind.FIT, (), needed),)
            yield WayOut(changes, None, 0, 0, self.unit, needed, needed, fits=True)

    def combined(self, singles: Sequence[WayOut]) -> list[WayOut]:
        """Return a way out of several changes that fits, or that frees most; none: no better."""
        best = max(singles, key=lambda row: row.bytes_freed, default=None)
        ranked = sorted(singles, key=lambda row: _COMBINED.index(row.changes[0].kind))
        together: WayOut | None = None
        for (change,) in (row.changes for row in ranked):
            changes = (*(together.changes if together else ()), change)
            if self._leaves_nothing(changes):
                continue
            row = self.tried(changes)
            if row is None:
                break
            if together is None or row.fits or row.bytes_freed > together.bytes_freed:
                together = row
            if row.fits:
                break
        if together is None or best is None or together.bytes_freed <= best.bytes_freed:
            return []
        return [self._pruned(together)]

    def _leaves_nothing(self, changes: Sequence[Change]) -> bool:
        gone = {
            change.names
            for change in changes
            if change.kind is ChangeKind.FEWER_CHANNELS and change.count == 0
        }
        return len(gone) == len(self._plan.fleet.pipelines)

    def _pruned(self, row: WayOut) -> WayOut:
        """Return a way out without the changes that it does not need."""
        for change in row.changes[:-1]:
            shorter = self.tried(tuple(other for other in row.changes if other is not change))
            if shorter is not None and (
                shorter.fits if row.fits else shorter.bytes_freed >= row.bytes_freed
            ):
                row = shorter
        return row

    def _planned(self, changes: tuple[Change, ...], thirds: int) -> Plan | None:
        if changes in self._made:
            return self._made[changes]
        fleet, added = changed(self._plan.fleet, changes)
        instances = self._planned_instances + len(fleet.instances())
        if (
            3 * len(self._made) >= thirds * self._options.plans_max
            or 3 * instances > thirds * self._options.planned_max
        ):
            return None
        self._planned_instances = instances
        self._made[changes] = plan_variant(self._plan, fleet, added)
        return self._made[changes]


_EXACT_TO: Final = 60
"""Executions in a frame of every channel up to which times are looked for exactly."""
_EXACT_LIMIT: Final = 0.1
"""What constraint programming may do for the time of each row, in its own count."""
_CONSTRAINTS = {ChangeKind.EXCLUSIVE_INSTANCES, ChangeKind.EXCLUSIVE_LANES, ChangeKind.SERIAL}
_COMBINED = (
    ChangeKind.FIT,
    ChangeKind.DEDUPE_WEIGHTS,
    ChangeKind.FEWER_FRAMES,
    ChangeKind.EXCLUSIVE_INSTANCES,
    ChangeKind.EXCLUSIVE_LANES,
    ChangeKind.SERIAL,
    ChangeKind.FEWER_CHANNELS,
)
"""The order in which changes are put together: what costs no time, then time, then service."""


def _rank(row: WayOut) -> tuple[bool, int, int]:
    """Return where a row stands: what fits, single changes by kind, combinations, devices."""
    if row.device is not None:
        return not row.fits, len(_COMBINED) + 1, 0
    single = len(row.changes) == 1
    place = _COMBINED.index(row.changes[0].kind) if single else len(_COMBINED)
    return not row.fits, place, -row.bytes_freed


def _single_changes(
    plan: Plan, culprits: Sequence[InstanceId], options: WaysOptions
) -> Iterator[Candidates]:
    """Yield the changes worth a plan, kind by kind: those first that few plans settle."""
    if plan.fleet.device.dedupe is not Dedupe.WEIGHTS and dedupe_savings(plan).further_bytes > 0:
        yield Candidates([Change(ChangeKind.DEDUPE_WEIGHTS)])
    if len({row.lane for row in plan.instances}) > 1:
        yield Candidates([Change(ChangeKind.SERIAL)])
    most = options.changes_max
    service = Service(plan)
    yield service.fewer_channels(most)
    yield service.fewer_frames(most)
    pairs = Pairs(plan, culprits, options.pairs_max)
    yield pairs.of_lanes(most)
    yield pairs.of_instances(most)


def _next_device(
    plan: Plan, devices: Iterable[DeviceModel], unit: MakespanUnit
) -> Iterator[WayOut]:
    """Yield the smallest device whose usable memory suffices, if streams do not forbid it."""
    device, limit = plan.fleet.device, plan.fleet.device.memory_bytes
    too_many = device.streams_max is not None and plan.stream_count > device.streams_max
    if limit is None or too_many or plan.over_budget_bytes:
        return
    for other in sorted(devices, key=lambda item: (item.usable_bytes, item.name)):
        if other.usable_bytes >= plan.needed_bytes:
            yield WayOut((), other, 0, 0, unit, plan.needed_bytes, other.usable_bytes, fits=True)
            return
