"""Speed of planning, guarding and hashing, by pytest-benchmark.

    python -m pytest bench/bench_planning.py --benchmark-only --benchmark-columns=min,median,rounds

In the gate the same functions run once each (`--benchmark-disable`): do they still work.
"""

import hashlib
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from arena.formats.digest import digest_model
from arena.guard import Guard
from bench.fleets import FAMILIES, many_instances
from planner.codec import decode_plan, encode_plan
from planner.fleet import FleetSpec
from planner.judge import judge
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan


def declared(fleet: FleetSpec) -> dict[ModelId, ModelSize]:
    return {
        model.id: ModelSize(model.work_bytes or 0, model.weight_bytes or 0)
        for model in fleet.models
    }


def planned(n: int) -> Plan:
    fleet = many_instances(n)
    return plan_fleet(fleet, declared(fleet))


@pytest.mark.parametrize("n", [10, 100, 1_000, 5_000])
def test_plan(n: int, benchmark: BenchmarkFixture) -> None:
    fleet = many_instances(n)
    sizes = declared(fleet)
    plan = benchmark.pedantic(plan_fleet, (fleet, sizes), rounds=5 if n < 5_000 else 1)
    assert len(plan.instances) == n


@pytest.mark.parametrize("family", FAMILIES)
def test_plan_family(family: str, benchmark: BenchmarkFixture) -> None:
    fleet = FAMILIES[family](0)
    plan = benchmark.pedantic(plan_fleet, (fleet, declared(fleet)), rounds=3)
    assert plan.height_bytes >= plan.lower_bound_bytes


def test_judge_1000(benchmark: BenchmarkFixture) -> None:
    assert benchmark.pedantic(judge, (planned(1_000),), rounds=3) == ()


def test_encode_and_decode_1000(benchmark: BenchmarkFixture) -> None:
    plan = planned(1_000)
    again = benchmark.pedantic(lambda: decode_plan(encode_plan(plan)), rounds=3)
    assert again == plan


def test_guarded_call_on_an_idle_lane(benchmark: BenchmarkFixture) -> None:
    guard = Guard(many_instances(20))
    frame = guard.open_frame("pipe-0[0]")

    def call() -> None:
        frame.enter("step-0").done()

    benchmark(call)
    frame.leave()
    guard.close()


@pytest.mark.parametrize("who", ["ours: file and weights in one pass", "hashlib: file alone"])
def test_digest_of_64_mib(who: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(range(256)) * (64 << 12))
    size = path.stat().st_size
    if who.startswith("ours"):
        benchmark.pedantic(lambda: digest_model(path, [(0, size)]), rounds=3)
        return

    def plain() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    benchmark.pedantic(plain, rounds=3)
