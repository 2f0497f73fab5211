"""Valid plans placed by hand, without any planning room, and strategies of them."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from planner.fleet import (
    CrossStream,
    Dedupe,
    DeviceSpec,
    FleetSpec,
    ModelSpec,
    PipelineSpec,
    ScheduleSpec,
    StepSpec,
)
from planner.model import (
    DEFAULT_RULE,
    PAGE_BYTES,
    InstanceId,
    ModelId,
    ModelSize,
    TensorSpec,
    page_rounded,
)
from planner.plan import AddedKind, AddedOrder, Instance, Plan, SchedulePrice
from planner.problem import SolveStatus
from planner.units import MakespanUnit
from tests.fleets import declared_sizes
from tests.oracles_judge import has_cycle, orders_something
from tests.strategies import fleets, work_sizes

__all__ = ["DIGESTS", "constraints", "plans", "stacked_plan", "street_corner", "with_figures"]


def _content(model: ModelId, size: ModelSize, instance: InstanceId, dedupe: Dedupe) -> str:
    if dedupe is Dedupe.OFF:
        return instance
    if dedupe is Dedupe.WEIGHTS and size.weights_digest:
        return size.weights_digest
    return size.file_digest or model


def stacked_plan(
    fleet: FleetSpec,
    sizes: Mapping[ModelId, ModelSize] | None = None,
    added: tuple[AddedOrder, ...] = (),
) -> Plan:
    """A plan that puts every region after the last: valid whatever the order, seldom good."""
    if sizes is None:
        sizes = declared_sizes(fleet)
    reserved = DEFAULT_RULE.reserved_bytes
    work_end = weight_end = outside = 0
    weights: dict[str, int] = {}
    rows = []
    for instance, (model, lane) in fleet.instances().items():
        size = sizes[model]
        work_offset = weight_offset = None
        key = ""
        outside += page_rounded(size.io_bytes)
        if size.system_managed:
            outside += page_rounded(size.work_bytes) + page_rounded(size.weight_bytes)
        else:
            if size.work_bytes:
                work_offset, work_end = work_end, work_end + reserved(size.work_bytes)
            if size.weight_bytes:
                key = _content(model, size, instance, fleet.device.dedupe)
                if key not in weights:
                    weights[key], weight_end = weight_end, weight_end + reserved(size.weight_bytes)
                weight_offset = weights[key]
        rows.append(
            Instance(
                instance,
                model,
                lane,
                size.work_bytes,
                size.weight_bytes,
                work_offset,
                weight_offset,
                key,
            )
        )
    used = {row.model for row in rows}
    plan = Plan(
        fleet=fleet,
        sizes=tuple((m.id, sizes[m.id]) for m in fleet.models if m.id in used),
        rule=DEFAULT_RULE,
        page_bytes=PAGE_BYTES,
        instances=tuple(rows),
        added=added,
        height_bytes=0,
        weight_bytes=0,
        lower_bound_bytes=0,
        witness=(),
        status=SolveStatus.FEASIBLE,
        private_bytes=sum(
            pipeline.channels * (reserved(sizes[m].work_bytes) + reserved(sizes[m].weight_bytes))
            for pipeline in fleet.pipelines
            for m in {step.model for step in pipeline.steps}
            if not sizes[m].system_managed
        ),
        outside_bytes=outside,
    )
    return with_figures(plan)


def with_figures(plan: Plan) -> Plan:
    """The plan with the heights of its regions, and its largest work region as the bound."""
    reserved = plan.rule.reserved_bytes
    work = [row for row in plan.instances if row.work_offset is not None]
    # One region alone is a bound that needs no conflict.
    largest = max(work, key=lambda row: row.work_bytes, default=None)
    bound = reserved(largest.work_bytes) if largest else 0
    ends = [(row.work_offset or 0) + reserved(row.work_bytes) for row in work]
    height = max(ends, default=0)
    return replace(
        plan,
        height_bytes=height,
        weight_bytes=max(
            (
                row.weight_offset + reserved(row.weight_bytes)
                for row in plan.instances
                if row.weight_offset is not None
            ),
            default=0,
        ),
        lower_bound_bytes=bound,
        witness=(largest.id,) if largest else (),
        status=SolveStatus.OPTIMAL if bound == height else SolveStatus.FEASIBLE,
    )


DIGESTS = [character * 64 for character in "0123"]


_GEARS: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = (
    ("", ()),
    ("", ()),
    ("batch 1, 2, 4", ((1,), (2,), (4,))),
    ("hw 4x8, 16x8", ((4, 8), (16, 8))),
)


@st.composite
def _sizes(draw: st.DrawFn, model: ModelSpec) -> ModelSize:
    """Sizes of a model from a file: few digests, so that files and weights meet."""
    weights_digest = draw(st.sampled_from(DIGESTS))
    tensor = TensorSpec("x", "float32", (1, -1), draw(st.integers(0, 4096)))
    gears, choices = draw(st.sampled_from(_GEARS))
    return ModelSize(
        work_bytes=draw(work_sizes()),
        # Equal content has equal length.
        weight_bytes=4096 * DIGESTS.index(weights_digest),
        file_digest=f"{draw(st.sampled_from('ab'))}{weights_digest[1:]}",
        weights_digest=weights_digest,
        system_managed=draw(st.booleans()),
        stream_count=draw(st.integers(0, 3)),
        inputs=tuple(draw(st.lists(st.just(tensor), max_size=1))),
        outputs=tuple(draw(st.lists(st.just(tensor), max_size=1))),
        io_bytes=draw(st.integers(0, 8192)),
        gears=gears,
        gear_choices=choices,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Valid plans of small fleets: some models from files, some constraints added, any device."""
    fleet = draw(fleets())
    models, sizes = [], {}
    for model in fleet.models:
        if draw(st.booleans()):
            inputs = draw(st.sampled_from([(), (("x", (1, 3)),)]))
            model = ModelSpec(model.id, file=f"models/{model.id}.om", inputs=inputs)
            sizes[model.id] = draw(_sizes(model))
        else:
            sizes[model.id] = ModelSize(model.work_bytes or 0, model.weight_bytes or 0)
        models.append(model)
    device = DeviceSpec(
        memory_bytes=draw(st.sampled_from([None, 0, 1 << 24])),
        reserve=draw(st.sampled_from([(), (("system", 7), ("vdec", 9))])),
        dedupe=draw(st.sampled_from(Dedupe)),
        streams_max=draw(st.sampled_from([None, 3])),
        cross_stream=draw(st.sampled_from(CrossStream)),
    )
    rates = st.sampled_from([None, 1, 12_500, 25_000])
    pipelines = tuple(replace(p, rate_millihertz=draw(rates)) for p in fleet.pipelines)
    fleet = replace(fleet, models=tuple(models), pipelines=pipelines, device=device)
    schedule = ScheduleSpec(draw(st.sampled_from([None, 0, 1 << 24])))
    fleet = replace(fleet, schedule=schedule)
    plan = stacked_plan(fleet, sizes, draw(constraints(fleet)))
    return replace(plan, price=draw(st.sampled_from([None, _price_in_turns(fleet)])))


def _price_in_turns(fleet: FleetSpec) -> SchedulePrice:
    """What everything in turns costs: legal whatever was added."""
    count = sum(pipeline.channels * len(pipeline.steps) for pipeline in fleet.pipelines)
    return SchedulePrice(MakespanUnit.STEPS, count, before=1, lower_bound=0, serial=count)


@st.composite
def constraints(draw: st.DrawFn, fleet: FleetSpec) -> tuple[AddedOrder, ...]:
    """Constraints that a planner may add: between instances that differ, without a cycle."""
    names = list(fleet.instances())
    added: tuple[AddedOrder, ...] = ()
    if len(names) < 2:
        return added
    for _ in range(draw(st.integers(0, 2))):
        first, second = draw(st.permutations(names))[:2]
        one = AddedOrder(first, second, draw(st.sampled_from(AddedKind)))
        if one.kind is AddedKind.EXCLUSIVE or (
            orders_something(fleet, one) and not has_cycle(fleet, (*added, one))
        ):
            added = (*added, one)
    return added


def street_corner() -> Plan:
    """A small plan with all that plans have: files, twins of files, a system-managed model.

    `camera` runs detect -> read on one lane and track on another; `microphone` shares the lane
    `tracking` with it and runs two frames at once.
    """
    m = {name: ModelId(name) for name in ("detector", "copy", "reader", "tracker", "wild")}
    fleet = FleetSpec(
        name="street-corner",
        models=(
            ModelSpec(m["detector"], file="models/det.om"),
            ModelSpec(m["copy"], file="models/copy-of-det.om"),
            ModelSpec(m["reader"], file="models/rec.om", inputs=(("x", (1, 3, 48, 320)),)),
            ModelSpec(m["tracker"], work_bytes=11_000, weight_bytes=12_000),
            ModelSpec(m["wild"], file="models/wild.om"),
            ModelSpec(ModelId("spare"), work_bytes=1, weight_bytes=1),
        ),
        pipelines=(
            PipelineSpec(
                "camera",
                (
                    StepSpec("detect", m["detector"], "vision", time_ns=12_000_000),
                    StepSpec("read", m["reader"], "vision", after=("detect",)),
                    StepSpec("track", m["tracker"], "tracking", ("detect",), locks=("heavy",)),
                ),
                channels=2,
            ),
            PipelineSpec(
                "microphone",
                (
                    StepSpec("hear", m["copy"], "audio", locks=("heavy",)),
                    StepSpec("guess", m["wild"], "tracking", after=("hear",)),
                ),
                frames_in_flight=2,
            ),
            PipelineSpec(
                "door",
                (
                    StepSpec("ring", m["detector"], "bell"),
                    StepSpec("open", m["tracker"], "lock-{channel}", after=("ring",)),
                ),
            ),
        ),
        device=DeviceSpec(1 << 30, (("system", 1 << 20),), streams_max=64),
        schedule=ScheduleSpec(1 << 20),
    )
    tensor = TensorSpec("x", "float32", (1, 3, 48, 320), 184_320)
    sizes = {
        m["detector"]: ModelSize(90_624, 5_000, "a" * 64, "b" * 64, stream_count=2),
        m["copy"]: ModelSize(90_624, 5_000, "a" * 64, "b" * 64, io_bytes=9),
        m["reader"]: ModelSize(70_000, 5_000, "c" * 64, "b" * 64, inputs=(tensor,)),
        m["tracker"]: ModelSize(11_000, 12_000),
        m["wild"]: ModelSize(0, 7_000, "d" * 64, "e" * 64, system_managed=True),
    }
    added = (
        AddedOrder(InstanceId("reader@vision"), InstanceId("tracker@tracking"), AddedKind.ORDER),
        AddedOrder(InstanceId("copy@audio"), InstanceId("detector@bell"), AddedKind.EXCLUSIVE),
    )
    price = SchedulePrice(MakespanUnit.STEPS, makespan=10, before=6, lower_bound=5, serial=10)
    return replace(stacked_plan(fleet, sizes, added), price=price)
