"""The judge: each rule broken once must speak, with its place; a valid plan passes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from planner.fleet import Dedupe, DeviceSpec
from planner.judge import VIOLATIONS_MAX, Rule, Violation, judge
from planner.model import InstanceId, ModelId
from planner.plan import AddedKind, AddedOrder, Instance, Plan
from planner.problem import SolveStatus
from planner.units import MakespanUnit
from tests.plans import street_corner, with_figures

PLAN = street_corner()
ROW = {str(row.id): index for index, row in enumerate(PLAN.instances)}
DETECT, READ, TRACK, HEAR, WILD, RING, OPEN = ROW


def _row(plan: Plan, instance: str, **changes: object) -> Plan:
    rows = [
        replace(row, **changes) if row.id == instance else row  # type: ignore[arg-type]
        for row in plan.instances
    ]
    return replace(plan, instances=tuple(rows))


def _move(plan: Plan, instance: str, onto: str) -> Plan:
    """Put the work of one instance where another's is; heights and bound follow."""
    return with_figures(_row(plan, instance, work_offset=plan.instances[ROW[onto]].work_offset))


def _size(plan: Plan, model: str, **changes: object) -> Plan:
    sizes = [
        (name, replace(size, **changes) if name == model else size)  # type: ignore[arg-type]
        for name, size in plan.sizes
    ]
    return replace(plan, sizes=tuple(sizes))


def _added(plan: Plan, first: str, second: str, kind: AddedKind) -> Plan:
    one = AddedOrder(InstanceId(first), InstanceId(second), kind)
    return replace(plan, added=(*plan.added, one))


def _dedupe(plan: Plan, dedupe: Dedupe) -> Plan:
    device = replace(plan.fleet.device, dedupe=dedupe)
    return replace(plan, fleet=replace(plan.fleet, device=device))


def _priced(plan: Plan, **changes: object) -> Plan:
    assert plan.price is not None
    return replace(plan, price=replace(plan.price, **changes))  # type: ignore[arg-type]


def _share(plan: Plan, instance: str, owner: str) -> Plan:
    row = plan.instances[ROW[owner]]
    changes = {"weight_offset": row.weight_offset, "weights_key": row.weights_key}
    return with_figures(_row(plan, instance, **changes))


BROKEN: dict[str, tuple[Callable[[Plan], Plan], Rule, str, str]] = {
    # Models
    "a model's size is missing": (
        lambda plan: replace(plan, sizes=plan.sizes[1:]),
        Rule.MODELS,
        "models",
        "found no 'detector', expected one of each of 5",
    ),
    "an unused model has a size": (
        lambda plan: replace(plan, sizes=(*plan.sizes, (ModelId("spare"), plan.sizes[3][1]))),
        Rule.MODELS,
        "models",
        "'spare', which the fleet does not use",
    ),
    "a declared size is another": (
        lambda plan: _size(plan, "tracker", weight_bytes=12_001),
        Rule.MODELS,
        "models[3].weight_bytes",
        "found 12001, expected 12000 as the fleet declares 'tracker'",
    ),
    "a declared model has a digest": (
        lambda plan: _size(plan, "tracker", weights_digest="b" * 64),
        Rule.MODELS,
        "models[3].weights_digest",
        "expected ''",
    ),
    # Instances
    "an instance is missing": (
        lambda plan: replace(plan, instances=plan.instances[:-1]),
        Rule.INSTANCES,
        "instances",
        "found no 'tracker@lock-0', expected one of each of 7",
    ),
    "an instance is given twice": (
        lambda plan: replace(plan, instances=(*plan.instances, plan.instances[0])),
        Rule.INSTANCES,
        "instances",
        "found 8 rows, expected 7: one is given twice",
    ),
    "an instance is none of the fleet's": (
        lambda plan: replace(
            plan,
            instances=(*plan.instances, replace(plan.instances[0], id=InstanceId("detector@x"))),
        ),
        Rule.INSTANCES,
        "instances",
        "'detector@x', which the fleet does not use",
    ),
    "instances are in another order": (
        lambda plan: replace(plan, instances=plan.instances[::-1]),
        Rule.INSTANCES,
        "instances",
        "another order",
    ),
    "an instance names another lane": (
        lambda plan: _row(plan, READ, lane="audio"),
        Rule.INSTANCES,
        "instances[1]",
        "found model 'reader' on lane 'audio', expected those of 'reader@vision'",
    ),
    "an instance is on another device": (
        lambda plan: _row(plan, READ, device=1),
        Rule.INSTANCES,
        "instances[1].device",
        "'reader@vision': found 1, expected 0",
    ),
    "an instance is in another process": (
        lambda plan: _row(plan, READ, process=1),
        Rule.INSTANCES,
        "instances[1].process",
        "expected 0",
    ),
    "an instance's work is not its model's": (
        lambda plan: _row(plan, READ, work_bytes=69_999),
        Rule.INSTANCES,
        "instances[1].work_bytes",
        "found 69999, expected 70000",
    ),
    "an instance's weights are not its model's": (
        lambda plan: _row(plan, READ, weight_bytes=4_999),
        Rule.INSTANCES,
        "instances[1].weight_bytes",
        "found 4999, expected 5000",
    ),
    # Regions
    "a region is not aligned": (
        lambda plan: with_figures(_row(plan, OPEN, work_offset=354_816 + 64)),
        Rule.REGION,
        "instances[6].work_offset",
        "found 354880, expected a multiple of 512, not negative",
    ),
    "a region starts below the reservation": (
        lambda plan: with_figures(_row(plan, DETECT, work_offset=-512)),
        Rule.REGION,
        "instances[0].work_offset",
        "found -512, expected a multiple of 512, not negative",
    ),
    "a region is missing": (
        lambda plan: with_figures(_row(plan, READ, work_offset=None)),
        Rule.REGION,
        "instances[1].work_offset",
        "found None, expected an offset for its 70000 bytes",
    ),
    "an empty buffer has a region": (
        lambda plan: _row(_size(plan, "wild", system_managed=False), WILD, work_offset=0),
        Rule.REGION,
        "instances[4].work_offset",
        "found 0, expected none: it is empty",
    ),
    "a system-managed model has a region": (
        lambda plan: with_figures(_row(plan, WILD, weight_offset=32_768, weights_key="wild")),
        Rule.REGION,
        "instances[4].weight_offset",
        "found 32768, expected none: its device manages the memory",
    ),
    "weights have no key": (
        lambda plan: _row(plan, READ, weights_key=""),
        Rule.REGION,
        "instances[1].weights_key",
        "found the key '', expected one with weights in the arena",
    ),
    "a key has no weights": (
        lambda plan: _row(plan, WILD, weights_key="wild"),
        Rule.REGION,
        "instances[4].weights_key",
        "found the key 'wild', expected none without weights in the arena",
    ),
    # Added constraints
    "order after an unknown instance": (
        lambda plan: _added(plan, "ghost@vision", READ, AddedKind.ORDER),
        Rule.ADDED,
        "added[2].first",
        "found 'ghost@vision', expected an instance of the fleet",
    ),
    "exclusion of an unknown instance": (
        lambda plan: _added(plan, READ, "ghost@vision", AddedKind.EXCLUSIVE),
        Rule.ADDED,
        "added[2].second",
        "found 'ghost@vision'",
    ),
    "an instance excludes itself": (
        lambda plan: _added(plan, READ, READ, AddedKind.EXCLUSIVE),
        Rule.ADDED,
        "added[2]",
        "'reader@vision' cannot be kept apart from itself",
    ),
    "order between channels": (
        lambda plan: _added(plan, READ, HEAR, AddedKind.ORDER),
        Rule.ADDED,
        "added[2]",
        "no channel runs both 'reader@vision' and 'copy@audio'",
    ),
    "order against `after`": (
        lambda plan: _added(plan, TRACK, DETECT, AddedKind.ORDER),
        Rule.ADDED,
        "added",
        "added order makes a cycle in camera[0]",
    ),
    # Overlaps
    "two channels overlap": (
        lambda plan: _move(plan, READ, onto=TRACK),
        Rule.OVERLAP,
        "instances[2].work_offset",
        "'tracker@tracking' at [161280, 172544) overlaps 'reader@vision' at [161280, 231424), but "
        "camera[0].read may run beside camera[1].track",
    ),
    "two pipelines overlap": (
        lambda plan: _move(plan, HEAR, onto=DETECT),
        Rule.OVERLAP,
        "instances[3].work_offset",
        "may run beside",
    ),
    "the order that kept two apart is gone": (
        lambda plan: _move(
            replace(
                plan,
                fleet=replace(
                    plan.fleet,
                    pipelines=tuple(
                        replace(p, steps=tuple(replace(s, after=()) for s in p.steps))
                        for p in plan.fleet.pipelines
                    ),
                ),
            ),
            OPEN,
            onto=RING,
        ),
        Rule.OVERLAP,
        "instances[6].work_offset",
        "door[0].ring may run beside door[0].open: no order joins them",
    ),
    "a second frame in flight": (
        lambda plan: _move(
            replace(
                plan,
                fleet=replace(
                    plan.fleet,
                    pipelines=tuple(replace(p, frames_in_flight=2) for p in plan.fleet.pipelines),
                ),
            ),
            OPEN,
            onto=RING,
        ),
        Rule.OVERLAP,
        "instances[6].work_offset",
        "door[0].ring may run beside door[0].open of a neighbouring frame",
    ),
    "an added lock is gone": (
        lambda plan: _move(replace(plan, added=plan.added[:1]), RING, onto=HEAR),
        Rule.OVERLAP,
        "instances[5].work_offset",
        "microphone[0].hear may run beside door[0].ring",
    ),
    # Weights
    "one key, two places": (
        lambda plan: with_figures(_row(plan, HEAR, weight_offset=22_528)),
        Rule.WEIGHTS,
        "instances[3].weight_offset",
        "has the weights_key of 'detector@vision'",
    ),
    "weights of two contents overlap": (
        lambda plan: with_figures(_row(plan, READ, weight_offset=512)),
        Rule.WEIGHTS,
        "instances[1].weight_offset",
        "'reader@vision' at [512, 5632) overlaps 'detector@vision' at [0, 5120)",
    ),
    "weights lie inside other weights": (
        lambda plan: with_figures(
            _row(_size(plan, "wild", system_managed=False), READ, weight_offset=10_752)
        ),
        Rule.WEIGHTS,
        "instances[1].weight_offset",
        "'reader@vision' at [10752, 15872) overlaps 'tracker@tracking' at [10240, 22528)",
    ),
    "equal weights of two files share, though dedupe is by file": (
        lambda plan: _share(plan, READ, DETECT),
        Rule.WEIGHTS,
        "instances[1].weight_offset",
        "shares weights with 'detector@vision' at [0, 5120), which dedupe file forbids",
    ),
    "weights are shared, though dedupe is off": (
        lambda plan: _dedupe(plan, Dedupe.OFF),
        Rule.WEIGHTS,
        "instances[3].weight_offset",
        "which dedupe off forbids",
    ),
    # Heights
    "the work reservation is too small": (
        lambda plan: replace(plan, height_bytes=plan.height_bytes - 512),
        Rule.HEIGHT,
        "height_bytes",
        "found 365568, expected the highest end of a region, 366080",
    ),
    "the weight reservation is too large": (
        lambda plan: replace(plan, weight_bytes=plan.weight_bytes + 1),
        Rule.HEIGHT,
        "weight_bytes",
        "found 22529, expected the highest end of a region, 22528",
    ),
    # Bound
    "the bound is above the height": (
        lambda plan: replace(plan, lower_bound_bytes=366_081, witness=()),
        Rule.BOUND,
        "lower_bound_bytes",
        "found 366081, expected 0 to the height, 366080",
    ),
    "the bound is negative": (
        lambda plan: replace(plan, lower_bound_bytes=-1, witness=()),
        Rule.BOUND,
        "lower_bound_bytes",
        "found -1",
    ),
    "optimal without proof": (
        lambda plan: replace(plan, status=SolveStatus.OPTIMAL),
        Rule.BOUND,
        "status",
        "found optimal, expected feasible: height 366080, bound 91136",
    ),
    "proven, but called feasible": (
        lambda plan: replace(plan, lower_bound_bytes=366_080, witness=()),
        Rule.BOUND,
        "status",
        "found feasible, expected optimal",
    ),
    "the witness reserves another sum": (
        lambda plan: replace(plan, lower_bound_bytes=91_135),
        Rule.BOUND,
        "witness",
        "its members reserve 91136 bytes, expected the bound, 91135",
    ),
    "the witness has an instance twice": (
        lambda plan: replace(plan, witness=plan.witness * 2),
        Rule.BOUND,
        "witness[1]",
        "found 'detector@vision', expected an instance with work memory, once",
    ),
    "the witness has an instance without work": (
        lambda plan: replace(plan, witness=(*plan.witness, InstanceId(WILD))),
        Rule.BOUND,
        "witness[1]",
        "found 'wild@tracking'",
    ),
    "the witness does not conflict": (
        lambda plan: replace(
            plan, witness=(InstanceId(DETECT), InstanceId(READ)), lower_bound_bytes=161_280
        ),
        Rule.BOUND,
        "witness",
        "'detector@vision' and 'reader@vision' never run at the same time",
    ),
    # Figures
    "private bytes are another sum": (
        lambda plan: replace(plan, private_bytes=plan.private_bytes + 512),
        Rule.FIGURE,
        "private_bytes",
        "expected",
    ),
    "less outside than models take": (
        lambda plan: replace(plan, outside_bytes=8_192),
        Rule.FIGURE,
        "outside_bytes",
        "found 8192, expected at least 12288",
    ),
    # Price
    "times that are not known": (
        lambda plan: _priced(plan, unit=MakespanUnit.NS),
        Rule.FIGURE,
        "price.unit",
        "found ns, expected steps",
    ),
    "the sum of all times is another": (
        lambda plan: _priced(plan, serial=11),
        Rule.FIGURE,
        "price.serial",
        "found 11, expected the sum of all times, 10",
    ),
    "adding made it faster": (
        lambda plan: _priced(plan, before=11),
        Rule.FIGURE,
        "price.before",
        "found 11, expected at most the makespan with what was added, 10",
    ),
    "faster than is possible": (
        lambda plan: _priced(plan, lower_bound=12),
        Rule.FIGURE,
        "price.lower_bound",
        "found 12, expected at most the makespan, 10",
    ),
    "slower than everything in turns": (
        lambda plan: _priced(plan, makespan=11),
        Rule.FIGURE,
        "price.makespan",
        "found 11, expected at most the sum of all times, 10",
    ),
    "faster than the busiest lock": (
        lambda plan: _priced(plan, makespan=3, before=3, lower_bound=3),
        Rule.FIGURE,
        "price.makespan",
        "found 3, but order and locks take 4 at least",
    ),
}


def test_a_valid_plan_passes() -> None:
    assert judge(PLAN) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_speaks_with_its_place(name: str) -> None:
    damage, rule, path, part = BROKEN[name]
    found = judge(damage(PLAN))
    speaking = [v for v in found if v.rule is rule and v.path == path and part in v.message]
    assert speaking, f"expected {rule} at {path}, found {[str(v) for v in found]}"


@pytest.mark.parametrize(
    ("instance", "onto"),
    [
        (READ, DETECT),  # one lane
        (OPEN, RING),  # `after` joins them, in the only channel of both
        (RING, HEAR),  # an added lock
        (TRACK, HEAR),  # a common lock of the fleet
    ],
)
def test_what_never_runs_together_may_share(instance: str, onto: str) -> None:
    assert judge(_move(PLAN, instance, onto)) == ()


def test_dedupe_by_weights_lets_two_files_share() -> None:
    shared = _share(_dedupe(PLAN, Dedupe.WEIGHTS), READ, DETECT)
    assert judge(shared) == ()


def test_instances_that_conflict_are_a_witness() -> None:
    pair = replace(PLAN, witness=(InstanceId(READ), InstanceId(HEAR)), lower_bound_bytes=161_280)
    assert judge(pair) == ()


def test_a_bound_proven_by_exhaustion_needs_no_witness() -> None:
    exhausted = replace(
        PLAN, lower_bound_bytes=PLAN.height_bytes, witness=(), status=SolveStatus.OPTIMAL
    )
    assert judge(exhausted) == ()


def test_a_plan_that_does_not_fit_is_valid() -> None:
    tight = replace(PLAN, fleet=replace(PLAN.fleet, device=DeviceSpec(memory_bytes=1)))
    assert not tight.fits
    assert judge(tight) == ()


def test_a_row_whose_model_is_unknown_is_named_and_nothing_else_fails() -> None:
    lost = _row(PLAN, READ, model=ModelId("ghost"))
    found = judge(lost)
    assert (
        Violation(
            Rule.INSTANCES,
            "instances[1]",
            "found model 'ghost' on lane 'vision', expected those of 'reader@vision'",
        )
        in found
    )


def test_an_example_skips_runs_that_locks_keep_apart() -> None:
    """`hear` and `ring` share a lock, so the example of their models' other runs is found."""
    door = PLAN.fleet.pipelines[2]
    ring = replace(door.steps[0], locks=("audio",))
    loud = replace(ring, id="alarm", locks=())
    pipelines = (*PLAN.fleet.pipelines[:2], replace(door, steps=(ring, loud, door.steps[1])))
    fleet = replace(PLAN.fleet, pipelines=pipelines)
    plan = replace(PLAN, added=PLAN.added[:1], fleet=fleet, price=None)
    (found,) = judge(_move(plan, RING, onto=HEAR))
    assert "microphone[0].hear may run beside door[0].alarm" in found.message


def test_violations_are_limited() -> None:
    def _twice(row: Instance) -> Instance:
        return replace(row, device=1)

    rows = tuple(map(_twice, PLAN.instances)) * VIOLATIONS_MAX
    assert len(judge(replace(PLAN, instances=rows))) == VIOLATIONS_MAX


def test_a_violation_reads_as_place_and_message() -> None:
    assert str(Violation(Rule.HEIGHT, "height_bytes", "found 1")) == "height_bytes: found 1"
