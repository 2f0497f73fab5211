"""The rules, one function each; every violation is named with its place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Final, NamedTuple, TypeAlias

from planner.fleet import Dedupe, instance_id
from planner.handover import BufferUse
from planner.judge.buffers import Lives, Span, buffer_overlaps, buffer_rows
from planner.judge.conflicts import Conflicts, Run, runs_of
from planner.judge.price import judge_price
from planner.judge.violation import Rule, Violation
from planner.model import InstanceId, ModelId, ModelSize, declared_tensors, page_rounded
from planner.plan import AddedKind, Instance, Plan
from planner.problem import SolveStatus

__all__ = ["VIOLATIONS_MAX", "judge"]

VIOLATIONS_MAX: Final = 1_000
"""Most violations that one judgement lists."""

_Row: TypeAlias = tuple[str, Instance]
"""A place in the plan and the instance there."""


class _Region(NamedTuple):
    """The bytes [start, end) that a region reserves, and whose they are."""

    start: int
    end: int
    path: str
    instance: Instance

    @property
    def name(self) -> str:
        """Its instance, or the name of its block of inputs and outputs."""
        return self.instance.id if self.path.startswith("instances") else f"{self.instance.id} io"

    def __str__(self) -> str:
        return f"{self.name!r} at [{self.start}, {self.end})"


def judge(plan: Plan) -> tuple[Violation, ...]:
    """Return everything that is wrong with a plan; nothing for a valid one.

    Order, conflicts, regions, bound and figures are recomputed from the fleet inside the plan.
    Whether the plan fits is no question of validity, nor whether its model files still match.

    Returns
    -------
    tuple of Violation
        At most `VIOLATIONS_MAX`, by rule in the order of `Rule`.

    Notes
    -----
    A region is compared with the kinds of instances whose regions are open where it starts: many
    alike cost as one, all different cost all pairs. A bound without witness, proven by exhausting
    a search, is believed. Deterministic.
    """
    return tuple(islice(_violations(plan), VIOLATIONS_MAX))


def _violations(plan: Plan) -> Iterator[Violation]:
    runs = runs_of(plan.fleet)
    sizes = dict(plan.sizes)
    yield from _models(plan)
    yield from _rows(plan, list(runs), sizes)
    rows = {
        instance.id: (f"instances[{index}]", instance)
        for index, instance in enumerate(plan.instances)
        if instance.id in runs and instance.model in sizes
    }
    work, weights = _regions(plan, rows.values())
    buffers = _buffer_spans(plan)
    yield from buffer_rows(plan)
    yield from _placing(plan, rows.values(), sizes)
    yield from _constraints(plan, runs)
    added = [a for a in plan.added if a.first in runs and a.second in runs and a.first != a.second]
    conflicts = Conflicts(plan.fleet, runs, added)
    for cycle in conflicts.cycles:
        yield Violation(Rule.ADDED, "added", f"added order makes a cycle in {cycle}")
    lives = Lives(plan, runs, added, conflicts)
    blocks = _blocks(plan, buffers, rows)
    yield from _work_overlaps([*work, *blocks], conflicts)
    yield from _own_overlaps(work, blocks)
    owned = {block.path for block in blocks}
    handed = [span for span in buffers if span.path not in owned]
    if handed:
        spans = (
            Span(r.start, r.end, r.path, r.name, is_buffer=False, instance=r.instance.id)
            for r in (*work, *blocks)
        )
        yield from buffer_overlaps((*spans, *handed), lives)
    yield from _weight_sharing(plan, weights, sizes)
    yield from _heights(plan, (*work, *buffers), weights)
    yield from _bound(plan)
    yield from _witness(plan, work, buffers, conflicts, lives)
    yield from _figures(plan, sizes)
    yield from judge_price(plan, runs)


def _models(plan: Plan) -> Iterator[Violation]:
    used = {step.model for pipeline in plan.fleet.pipelines for step in pipeline.steps}
    declared = {model.id: model for model in plan.fleet.models}
    wanted = [model for model in declared if model in used]
    found = [model for model, _ in plan.sizes]
    if found != wanted:
        yield Violation(Rule.MODELS, "models", f"found {_differ(found, wanted)}")
    for index, (model, size) in enumerate(plan.sizes):
        spec = declared.get(model)
        if spec is None or spec.file:
            continue
        given = ModelSize(
            spec.work_bytes or 0,
            spec.weight_bytes or 0,
            inputs=declared_tensors(spec.input_bytes),
            outputs=declared_tensors(spec.output_bytes),
        )
        for key in (
            "work_bytes",
            "weight_bytes",
            "file_digest",
            "weights_digest",
            "system_managed",
            "inputs",
            "outputs",
        ):
            value, expected = getattr(size, key), getattr(given, key)
            if value != expected:
                message = f"found {value!r}, expected {expected!r} as the fleet declares {model!r}"
                yield Violation(Rule.MODELS, f"models[{index}].{key}", message)


def _differ(found: Sequence[str], wanted: Sequence[str]) -> str:
    """Return how a list of names departs from the wanted one, in words."""
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    if missing:
        return f"no {missing[0]!r}, expected one of each of {len(wanted)} that the fleet uses"
    if extra:
        return f"{extra[0]!r}, which the fleet does not use"
    if len(found) > len(wanted):
        return f"{len(found)} rows, expected {len(wanted)}: one is given twice"
    return "another order than that of the fleet"


def _rows(
    plan: Plan, wanted: Sequence[InstanceId], sizes: Mapping[ModelId, ModelSize]
) -> Iterator[Violation]:
    found = [instance.id for instance in plan.instances]
    if found != wanted:
        yield Violation(Rule.INSTANCES, "instances", f"found {_differ(found, wanted)}")
    for index, instance in enumerate(plan.instances):
        path = f"instances[{index}]"
        if instance.id != instance_id(instance.model, instance.lane):
            message = f"found model {instance.model!r} on lane {instance.lane!r}"
            yield Violation(Rule.INSTANCES, path, f"{message}, expected those of {instance.id!r}")
        size = sizes.get(instance.model)
        for key, value, expected in (
            ("device", instance.device, 0),
            ("process", instance.process, 0),
            ("work_bytes", instance.work_bytes, size and size.work_bytes),
            ("weight_bytes", instance.weight_bytes, size and size.weight_bytes),
        ):
            if expected is not None and value != expected:
                message = f"{instance.id!r}: found {value}, expected {expected}"
                yield Violation(Rule.INSTANCES, f"{path}.{key}", message)


def _regions(plan: Plan, rows: Iterable[_Row]) -> tuple[list[_Region], list[_Region]]:
    """Return the work and the weight regions that the rows place."""
    work, weights = [], []
    for path, instance in rows:
        if (start := instance.work_offset) is not None:
            end = start + plan.rule.reserved_bytes(instance.work_bytes)
            work.append(_Region(start, end, f"{path}.work_offset", instance))
        if (start := instance.weight_offset) is not None:
            end = start + plan.rule.reserved_bytes(instance.weight_bytes)
            weights.append(_Region(start, end, f"{path}.weight_offset", instance))
    return work, weights


def _buffer_spans(plan: Plan) -> list[Span]:
    reserved = plan.rule.reserved_bytes
    return [
        Span(
            row.offset,
            row.offset + reserved(row.size_bytes),
            f"buffers[{index}].offset",
            row.name,
            is_buffer=True,
        )
        for index, row in enumerate(plan.buffers)
    ]


def _placing(
    plan: Plan, rows: Iterable[_Row], sizes: Mapping[ModelId, ModelSize]
) -> Iterator[Violation]:
    align = plan.rule.align_bytes
    for path, instance in rows:
        managed = sizes[instance.model].system_managed
        for key, offset, size_bytes in (
            ("work_offset", instance.work_offset, instance.work_bytes),
            ("weight_offset", instance.weight_offset, instance.weight_bytes),
        ):
            wanted = ""
            if (size_bytes == 0 or managed) and offset is not None:
                wanted = "none: its device manages the memory" if managed else "none: it is empty"
            elif size_bytes > 0 and not managed and offset is None:
                wanted = f"an offset for its {size_bytes} bytes"
            elif offset is not None and (offset < 0 or offset % align):
                wanted = f"a multiple of {align}, not negative"
            if wanted:
                message = f"{instance.id!r}: found {offset}, expected {wanted}"
                yield Violation(Rule.REGION, f"{path}.{key}", message)
        if bool(instance.weights_key) != (instance.weight_offset is not None):
            wanted = "none without" if instance.weights_key else "one with"
            message = f"{instance.id!r}: found the key {instance.weights_key!r}, expected {wanted}"
            yield Violation(Rule.REGION, f"{path}.weights_key", f"{message} weights in the arena")


def _constraints(plan: Plan, runs: Mapping[InstanceId, Sequence[Run]]) -> Iterator[Violation]:
    for index, added in enumerate(plan.added):
        path = f"added[{index}]"
        for key, name in (("first", added.first), ("second", added.second)):
            if name not in runs:
                message = f"found {name!r}, expected an instance of the fleet"
                yield Violation(Rule.ADDED, f"{path}.{key}", message)
        if added.first == added.second:
            message = f"{added.first!r} cannot be kept apart from itself"
            yield Violation(Rule.ADDED, path, message)
        elif added.kind is AddedKind.ORDER:
            first, second = [
                {run.channel for run in runs.get(name, ())} for name in (added.first, added.second)
            ]
            if first.isdisjoint(second):
                message = f"no channel runs both {added.first!r} and {added.second!r}"
                yield Violation(Rule.ADDED, path, f"{message}: order keeps nothing apart")


def _work_overlaps(regions: Sequence[_Region], conflicts: Conflicts) -> Iterator[Violation]:
    """Walk up the offsets with the regions that are open, by lane and by kind of instance."""
    is_end, is_start = 0, 1  # at one offset what ends ends first: ranges are half-open
    events = sorted(
        event
        for k, region in enumerate(regions)
        if region.end > region.start
        for event in ((region.start, is_start, k), (region.end, is_end, k))
    )
    kinds = [conflicts.kind(region.instance.id) for region in regions]
    lanes: dict[str, dict[int, set[int]]] = {}
    for _, event, k in events:
        lane, kind = regions[k].instance.lane, kinds[k]
        here = lanes.setdefault(lane, {})
        if event == is_end:
            here[kind].remove(k)
            if not here[kind]:
                del here[kind]
            continue
        for other_lane, open_kinds in lanes.items():
            if other_lane == lane:
                continue  # one lane is one lock
            for other_kind, others in open_kinds.items():
                if conflicts.kinds_conflict(kind, other_kind):
                    for other in sorted(others):
                        yield _overlap(regions[other], regions[k], conflicts)
        here.setdefault(kind, set()).add(k)


def _blocks(plan: Plan, spans: Sequence[Span], rows: Mapping[InstanceId, _Row]) -> list[_Region]:
    """Return the blocks of inputs and outputs: live exactly while their instance runs."""
    return [
        _Region(span.start, span.end, span.path, rows[InstanceId(buffer.step)][1])
        for buffer, span in zip(plan.buffers, spans, strict=True)
        if buffer.use is BufferUse.INSTANCE and buffer.step in rows
    ]


def _own_overlaps(work: Iterable[_Region], blocks: Iterable[_Region]) -> Iterator[Violation]:
    """Compare each block with the work of its own instance: of one lane they look apart."""
    own = {region.instance.id: region for region in work}
    for block in blocks:
        region = own.get(block.instance.id)
        if region and max(region.start, block.start) < min(region.end, block.end):
            message = f"its inputs and outputs, {block}, overlap its work, {region}"
            yield Violation(Rule.OVERLAP, block.path, message)


def _overlap(first: _Region, second: _Region, conflicts: Conflicts) -> Violation:
    why = conflicts.example(first.instance.id, second.instance.id)
    return Violation(Rule.OVERLAP, second.path, f"{second} overlaps {first}, but {why}")


def _weight_sharing(
    plan: Plan, regions: Sequence[_Region], sizes: Mapping[ModelId, ModelSize]
) -> Iterator[Violation]:
    dedupe = plan.fleet.device.dedupe
    owners: dict[str, _Region] = {}
    for region in regions:
        key = region.instance.weights_key
        owner = owners.setdefault(key, region)
        if owner[:2] != region[:2]:
            message = f"{region} has the weights_key of {owner}, expected the same bytes"
            yield Violation(Rule.WEIGHTS, region.path, message)
        if owner is not region and not _may_share(owner.instance, region.instance, sizes, dedupe):
            message = f"{region} shares weights with {owner}, which dedupe {dedupe.value} forbids"
            yield Violation(Rule.WEIGHTS, region.path, message)
    highest: _Region | None = None
    for region in sorted(region for region in owners.values() if region.end > region.start):
        if highest is not None and region.start < highest.end:
            message = f"{region} overlaps {highest}, whose weights differ"
            yield Violation(Rule.WEIGHTS, region.path, message)
        if highest is None or region.end > highest.end:
            highest = region


def _may_share(
    one: Instance, other: Instance, sizes: Mapping[ModelId, ModelSize], dedupe: Dedupe
) -> bool:
    """Return whether the fleet's rule lets two instances read one weight buffer."""
    a, b = sizes[one.model], sizes[other.model]
    if dedupe is Dedupe.OFF or a.weight_bytes != b.weight_bytes:
        return False
    same_file = one.model == other.model or (a.file_digest != "" and a.file_digest == b.file_digest)
    same_weights = a.weights_digest != "" and a.weights_digest == b.weights_digest
    return same_file or (dedupe is Dedupe.WEIGHTS and same_weights)


def _heights(
    plan: Plan, work: Iterable[_Region | Span], weights: Iterable[_Region]
) -> Iterator[Violation]:
    for path, found, regions in (
        ("height_bytes", plan.height_bytes, work),
        ("weight_bytes", plan.weight_bytes, weights),
    ):
        expected = max((region.end for region in regions), default=0)
        if found != expected:
            message = f"found {found}, expected the highest end of a region, {expected}"
            yield Violation(Rule.HEIGHT, path, message)


def _bound(plan: Plan) -> Iterator[Violation]:
    bound, height = plan.lower_bound_bytes, plan.height_bytes
    if not 0 <= bound <= height:
        message = f"found {bound}, expected 0 to the height, {height}"
        yield Violation(Rule.BOUND, "lower_bound_bytes", message)
    proven = SolveStatus.OPTIMAL if bound == height else SolveStatus.FEASIBLE
    if plan.status is not proven:
        message = (
            f"found {plan.status.value}, expected {proven.value}: height {height}, bound {bound}"
        )
        yield Violation(Rule.BOUND, "status", message)


def _witness(
    plan: Plan,
    work: Iterable[_Region],
    buffers: Iterable[Span],
    conflicts: Conflicts,
    lives: Lives,
) -> Iterator[Violation]:
    """Check that the witness pairwise conflicts and reserves the bound."""
    lengths = {region.instance.id: region.end - region.start for region in work}
    buffer_lengths = {span.name: span.end - span.start for span in buffers}
    members = dict.fromkeys(name for name in plan.witness if name in lengths)
    buffer_members = dict.fromkeys(name for name in plan.witness_buffers if name in buffer_lengths)
    for key, names, known, what in (
        ("witness", plan.witness, members, "an instance with work memory"),
        ("witness_buffers", plan.witness_buffers, buffer_members, "a buffer"),
    ):
        for index, name in enumerate(names):
            if name not in known or name in names[:index]:
                message = f"found {name!r}, expected {what}, once"
                yield Violation(Rule.BOUND, f"{key}[{index}]", message)
    total = sum(lengths[name] for name in members)
    total += sum(buffer_lengths[name] for name in buffer_members)
    if (plan.witness or plan.witness_buffers) and total != plan.lower_bound_bytes:
        message = f"its members reserve {total} bytes, expected the bound, {plan.lower_bound_bytes}"
        yield Violation(Rule.BOUND, "witness", message)
    kinds = {name: conflicts.kind(name) for name in members}
    for (first, i), (second, j) in combinations(kinds.items(), 2):
        if not conflicts.kinds_conflict(i, j):
            message = f"{first!r} and {second!r} never run at the same time"
            yield Violation(Rule.BOUND, "witness", message)
    for name, buffer in product(members, buffer_members):
        if not lives.meets_instance(buffer, name):
            message = f"{name!r} never runs while {buffer!r} is live"
            yield Violation(Rule.BOUND, "witness_buffers", message)
    for one, other in lives.apart(buffer_members):
        message = f"{one!r} and {other!r} are never live at the same time"
        yield Violation(Rule.BOUND, "witness_buffers", message)


def _figures(plan: Plan, sizes: Mapping[ModelId, ModelSize]) -> Iterator[Violation]:
    private_bytes = 0
    for pipeline in plan.fleet.pipelines:
        for model in {step.model for step in pipeline.steps}:
            size = sizes.get(model)
            if size and not size.system_managed:
                own = map(plan.rule.reserved_bytes, (size.work_bytes, size.weight_bytes))
                private_bytes += pipeline.channels * sum(own)
    if plan.private_bytes != private_bytes:
        message = f"found {plan.private_bytes}, expected {private_bytes}"
        yield Violation(Rule.FIGURE, "private_bytes", message)
    outside_bytes = 0
    for instance in plan.instances:
        size = sizes.get(instance.model)
        if size and not plan.fleet.device.plans_io(size):
            outside_bytes += page_rounded(size.io_bytes)
        if size and size.system_managed:
            outside_bytes += page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
    if plan.outside_bytes < outside_bytes:
        message = f"found {plan.outside_bytes}, expected at least {outside_bytes}, in whole pages"
        yield Violation(Rule.FIGURE, "outside_bytes", message)
