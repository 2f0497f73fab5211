"""Memory of fleets under the usual strategies, planned and as the twin measured it.

    python -m bench.footprint [--quick] [--markdown bench/footprint.md]

Each strategy is really loaded: private instances by the device's own allocation, shared weights
with one planned weight reservation, the others at the offsets of the strategy. What the twin then
reports as used stands beside what was planned.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from arena.device import open_device
from arena.device.base import Device, DeviceRange
from arena.planning import plan_spec
from arena.sources import model_source
from bench.fleets import FAMILIES
from planner.fleet import FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from planner.plan import Plan
from planner.strategies import Strategy, strategies
from planner.units import GiB, align_up, format_bytes

DEVICE_BYTES = 64 * GiB


@dataclass(frozen=True)
class Row:
    """One fleet under one strategy."""

    fleet: str
    strategy: Strategy
    measured_bytes: int | None


def measure(plan: Plan, base: Path, strategy: Strategy) -> int | None:
    """Load a fleet as a strategy would and return the used bytes; None where that is not legal."""
    if not strategy.legal or strategy.name == "bound":
        return None
    with ExitStack() as stack:
        device = open_device("twin", memory_bytes=DEVICE_BYTES)
        stack.callback(device.close)
        before = device.memory_info().used_bytes
        weights = None
        if strategy.name != "private":
            weights = _block(stack, device, plan.weight_bytes, plan.page_bytes)
        work = None
        if strategy.name not in ("private", "shared-weights"):
            work = _block(stack, device, strategy.work_bytes, plan.page_bytes)
        sources = {model.id: model_source(model, base) for model in plan.fleet.models}
        for placed in _loads(plan, strategy, work, weights):
            handle = device.load(sources[placed[0]], work=placed[1], weights=placed[2])
            stack.callback(device.unload, handle)
        return device.memory_info().used_bytes - before


def _block(stack: ExitStack, device: Device, size_bytes: int, page_bytes: int) -> DeviceRange:
    block = device.alloc(align_up(max(size_bytes, 1), page_bytes))
    stack.callback(device.free, block)
    return block


def _loads(
    plan: Plan, strategy: Strategy, work: DeviceRange | None, weights: DeviceRange | None
) -> Iterator[tuple[ModelId, DeviceRange | None, DeviceRange | None]]:
    """Yield (model, work, weights) of every load of a strategy."""
    lanes: dict[str, int] = {}
    top = 0
    for row in plan.instances:
        lanes.setdefault(row.lane, 0)
        lanes[row.lane] = max(lanes[row.lane], plan.rule.reserved_bytes(row.work_bytes))
    bases: dict[str, int] = {}
    for lane, size in lanes.items():
        bases[lane], top = top, top + size
    if work is None:
        weight_offsets = {row.model: row.weight_offset for row in plan.instances}
        for pipeline in plan.fleet.pipelines:
            for model in sorted({step.model for step in pipeline.steps}):
                size = plan.size_of(model)
                own = _slice(weights, weight_offsets[model], size.weight_bytes)
                for _ in range(pipeline.channels):
                    yield model, None, own
        return
    for row in plan.instances:
        offset = {
            "one-max-per-device": 0,
            "one-max-per-lane": bases[row.lane],
        }.get(strategy.name, row.work_offset)
        yield (
            row.model,
            _slice(work, offset, row.work_bytes),
            _slice(weights, row.weight_offset, row.weight_bytes),
        )


def _slice(block: DeviceRange | None, offset: int | None, size: int) -> DeviceRange | None:
    if block is None or offset is None:
        return None
    return DeviceRange(block.pointer + offset, size)


def real_files() -> FleetSpec:
    """Return four cameras over three real static .om files: two lanes, order inside."""
    names = ("a3c_pong_3e6bbc", "a3c_pong_757f1f", "ddnet_out")
    models = tuple(ModelSpec(ModelId(name), file=f"{name}.om") for name in names)
    steps = (
        StepSpec("first", models[0].id, "lane-a"),
        StepSpec("second", models[1].id, "lane-a", after=("first",)),
        StepSpec("third", models[2].id, "lane-b", after=("first",)),
    )
    return FleetSpec("real files", models, (PipelineSpec("camera", steps, channels=4),))


def rows_of(name: str, fleet: FleetSpec, base: Path) -> Iterator[Row]:
    """Yield one row a strategy."""
    plan = plan_spec(fleet, base).plan
    for strategy in strategies(plan):
        yield Row(name, strategy, measure(plan, base, strategy))


def tables(rows: list[Row]) -> str:
    """Return one Markdown table a fleet."""
    lines: list[str] = []
    for fleet in dict.fromkeys(row.fleet for row in rows):
        own = [row for row in rows if row.fleet == fleet]
        private = own[0].strategy.bytes
        lines += [f"\n### {fleet}\n", "| strategy | planned | of private | measured on the twin |"]
        lines.append("|---|--:|--:|--:|")
        for row in own:
            share = f"{row.strategy.bytes / private:.1%}" if private else "-"
            if not row.strategy.legal:
                measured = "not legal: sharers may overlap"
            elif row.measured_bytes is None:
                measured = "-"
            else:
                measured = format_bytes(row.measured_bytes)
            planned = format_bytes(row.strategy.bytes)
            lines.append(f"| {row.strategy.name} | {planned} | {share} | {measured} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every fleet under every strategy and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two fleets only")
    parser.add_argument("--markdown", type=Path, help="also write the page here")
    options = parser.parse_args()
    rows: list[Row] = []
    families = list(FAMILIES.items())[: 2 if options.quick else None]
    for name, family in families:
        rows += rows_of(name, family(0), Path())
    real = Path(__file__).resolve().parents[2] / "shared" / "data" / "om"
    if real.is_dir():
        rows += rows_of("four cameras, three real .om files", real_files(), real)
    else:
        print(f"left out: no real .om files in {real}", file=sys.stderr)
    page = tables(rows)
    print(page)
    if options.markdown:
        head = (
            "# Footprint of fleets\n\nMade by `python -m bench.footprint --markdown "
            f"bench/footprint.md` on {platform.machine()}, Python {platform.python_version()}. "
            "Planned bytes are reserved bytes; the twin rounds each allocation to its pages "
            "(2 MiB, or 4 KiB up to 1 MiB), so measured is above planned by rounding. Seed 0.\n"
        )
        options.markdown.write_text(head + page)


if __name__ == "__main__":
    main()
