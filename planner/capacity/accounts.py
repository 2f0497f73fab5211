"""Every byte that a plan needs, by owner and kind: the accounts sum to the total, exactly.

Work regions of different instances lie on the same bytes, so a byte of the work reservation has one
owner, several, or none. A byte that holds anybody's data counts as work, and as `io` where only
tensors that steps hand on lie there; one that only the region rule took counts as padding; one
below the height that no region covers is a hole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from planner.model import InstanceId, RegionRule, page_rounded
from planner.plan import Instance, Plan
from planner.units import align_up

__all__ = ["Account", "Kind", "Share", "account_bytes", "bytes_by_kind", "shares"]


class Kind(StrEnum):
    """What a byte is needed for."""

    WORK = "work"
    """Holds the work data of one instance, or of several in turn."""
    WEIGHTS = "weights"
    """Holds weights."""
    PADDING = "padding"
    """Taken by the region rule: alignment and the tail of a segment."""
    HOLES = "holes"
    """Below the height of a reservation, and in no region."""
    PAGES = "pages"
    """Rounding of reservations, and of what lies outside, up to the device's pages."""
    IO = "io"
    """Inputs and outputs: buffers of instances outside the arena, and bytes of the work reservation
    that hold them, or tensors that steps hand on, and never work data."""
    SYSTEM = "system_managed"
    """Work and weights of models whose memory the device manages itself."""
    RESERVE = "reserve"
    """Named reserves of the fleet."""


@dataclass(frozen=True, slots=True)
class Account:
    """Bytes of one kind that one owner needs.

    Attributes
    ----------
    owner : str
        Instance, models that read a weight buffer, reservation, or reserve; ``several instances``
        for bytes that instances use in turn.
    kind : Kind
    bytes : int
    """

    owner: str
    kind: Kind
    bytes: int


@dataclass(frozen=True, slots=True)
class Share:
    """How much of its work region an instance has to itself.

    Attributes
    ----------
    instance : InstanceId
    reserved_bytes : int
        Its work region.
    alone_bytes : int
        Bytes of it that lie in no other region.
    """

    instance: InstanceId
    reserved_bytes: int
    alone_bytes: int

    @property
    def shared_bytes(self) -> int:
        """Bytes of the region that other instances use too."""
        return self.reserved_bytes - self.alone_bytes


SEVERAL = "several instances"
WORK_RESERVATION = "work reservation"
WEIGHT_RESERVATION = "weight reservation"
OUTSIDE = "outside the arena"


@dataclass(frozen=True, slots=True)
class _Region:
    owner: str
    start: int
    data_bytes: int
    reserved_bytes: int
    kind: Kind


def account_bytes(plan: Plan) -> tuple[Account, ...]:
    """Return the accounts of everything `plan` needs; they sum to `Plan.needed_bytes`.

    Notes
    -----
    One sweep over the ends of the regions: n log n in the instances.
    """
    regions = [*_work_regions(plan), *_handed_regions(plan)]
    work, _ = _swept(regions, WORK_RESERVATION, plan.height_bytes)
    weights, _ = _swept(_weight_regions(plan), WEIGHT_RESERVATION, plan.weight_bytes)
    page = plan.page_bytes
    rounding = (
        Account(
            WORK_RESERVATION, Kind.PAGES, align_up(plan.height_bytes, page) - plan.height_bytes
        ),
        Account(
            WEIGHT_RESERVATION, Kind.PAGES, align_up(plan.weight_bytes, page) - plan.weight_bytes
        ),
    )
    outside = _outside(plan)
    rest = plan.outside_bytes - sum(account.bytes for account in outside)
    reserves = (Account(name, Kind.RESERVE, size) for name, size in plan.fleet.device.reserve)
    accounts = (*work, *weights, *rounding, *outside, Account(OUTSIDE, Kind.PAGES, rest), *reserves)
    return tuple(account for account in accounts if account.bytes)


def bytes_by_kind(accounts: Iterable[Account]) -> dict[Kind, int]:
    """Return the bytes of every kind, also of those that have none, in the order of `Kind`."""
    totals = dict.fromkeys(Kind, 0)
    for account in accounts:
        totals[account.kind] += account.bytes
    return totals


def shares(plan: Plan) -> tuple[Share, ...]:
    """Return, of every instance with work in the arena, how much of its region is its alone."""
    regions = _work_regions(plan)
    _, alone = _swept([*regions, *_handed_regions(plan)], WORK_RESERVATION, plan.height_bytes)
    return tuple(
        Share(InstanceId(region.owner), region.reserved_bytes, own)
        for region, own in zip(regions, alone, strict=False)  # what is handed on comes last
    )


def _work_regions(plan: Plan) -> list[_Region]:
    return [
        _region(row.id, row.work_offset, row.work_bytes, plan.rule, Kind.WORK)
        for row in plan.instances
        if row.work_offset is not None
    ]


def _handed_regions(plan: Plan) -> list[_Region]:
    return [
        _region(row.name, row.offset, row.size_bytes, plan.rule, Kind.IO) for row in plan.buffers
    ]


def _weight_regions(plan: Plan) -> list[_Region]:
    buffers: dict[int, list[Instance]] = {}
    for row in plan.instances:
        if row.weight_offset is not None:
            buffers.setdefault(row.weight_offset, []).append(row)
    return [
        _region(_readers(rows), offset, rows[0].weight_bytes, plan.rule, Kind.WEIGHTS)
        for offset, rows in buffers.items()
    ]


def _readers(rows: Sequence[Instance]) -> str:
    """Name a weight buffer by its models, or by its one instance where it is nobody else's."""
    if rows[0].weights_key.startswith("instance:"):
        return rows[0].id
    return ", ".join(dict.fromkeys(row.model for row in rows))


def _region(owner: str, offset: int, length: int, rule: RegionRule, kind: Kind) -> _Region:
    return _Region(owner, offset, length, rule.reserved_bytes(length), kind)


def _swept(
    regions: Sequence[_Region], reservation: str, height: int
) -> tuple[list[Account], list[int]]:
    """Return the accounts of one reservation, and the bytes that each region has alone.

    Between two neighbouring ends nothing changes. The sum of the indices that cover a stretch names
    its owner where only one does.
    """
    events: list[tuple[int, int, int, int]] = [(0, 0, 0, 0), (height, 0, 0, 0)]
    for index, region in enumerate(regions):
        data_end = region.start + region.data_bytes
        end = region.start + region.reserved_bytes
        events += [(region.start, 1, 1, index), (data_end, -1, 0, index), (end, 0, -1, index)]
    events.sort()
    totals: dict[tuple[str, Kind], int] = {}
    alone = [0] * len(regions)
    data = data_sum = covered = covered_sum = position = 0
    kinds = dict.fromkeys((Kind.WORK, Kind.WEIGHTS, Kind.IO), 0)  # data of each that is open
    for place, data_step, covered_step, index in events:
        width = place - position
        if width:
            if covered == 1:
                alone[covered_sum] += width
            if data:
                owner = regions[data_sum].owner if data == 1 else SEVERAL
                key = (owner, next(kind for kind, n in kinds.items() if n))
            elif covered:
                key = (regions[covered_sum].owner if covered == 1 else SEVERAL, Kind.PADDING)
            else:
                key = (reservation, Kind.HOLES)
            totals[key] = totals.get(key, 0) + width
        position = place
        data += data_step
        if data_step:
            kinds[regions[index].kind] += data_step
        data_sum += data_step * index
        covered += covered_step
        covered_sum += covered_step * index
    return [Account(owner, what, size) for (owner, what), size in totals.items()], alone


def _outside(plan: Plan) -> list[Account]:
    sizes = dict(plan.sizes)
    accounts = []
    for row in plan.instances:
        size = sizes[row.model]
        if not plan.fleet.device.plans_io(size):
            accounts.append(Account(row.id, Kind.IO, page_rounded(size.io_bytes)))
        if size.system_managed:
            managed = page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
            accounts.append(Account(row.id, Kind.SYSTEM, managed))
    return accounts
