"""Metrics, read by Prometheus' own parser: they say what ran, and are served only when asked."""

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from urllib.error import URLError

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from arena.device.acl import AclDevice
from arena.device.twin import Twin, TwinConfig
from arena.exercise import exercise
from arena.fleet import Fleet
from arena.metrics import Metrics
from arena.session import plan_and_load
from arena.tally import BOUNDS_S, Durations
from planner.errors import UsageError
from planner.fleet import CrossStream, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId
from tests.failing import fail_then_withdraw, failing_once
from tests.fleets import small_fleet
from tests.hostile import HOSTILE

X = bytes(64)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"npu_arena_{name}", tuple(sorted(labels.items()))]


@pytest.fixture(params=list(CrossStream))
def mode(request: pytest.FixtureRequest) -> CrossStream:
    found: CrossStream = request.param
    return found


@pytest.fixture
def fleet(mode: CrossStream) -> Iterator[Fleet]:
    device = AclDevice(acl=Twin(TwinConfig(step_ns=1_000_000)).acl, name="twin")
    device.open()
    spec = small_fleet(mode, channels=2, frames_in_flight=2)
    with closing(device), plan_and_load(spec, device=device) as loaded:
        yield loaded


BY = {"big": "main", "small": "main", "side": "other"}


def test_counts_are_what_ran(fleet: Fleet) -> None:
    metrics = fleet.metrics()
    outcome = exercise(fleet, 5, threads=4)
    found = read(metrics.text())
    executed = [value(found, "executions_total", model=m, lane=lane) for m, lane in BY.items()]
    assert executed == [10, 10, 10]
    assert sum(executed) == outcome.executions
    for model, lane in BY.items():
        by = {"model": model, "lane": lane}
        assert value(found, "failures_total", **by) == 0
        assert value(found, "withdrawn_total", **by) == 0
        for name in ("wait_seconds", "execution_seconds"):
            buckets = [value(found, f"{name}_bucket", le=str(b), **by) for b in BOUNDS_S]
            assert buckets == sorted(buckets)
            assert value(found, f"{name}_bucket", le="+Inf", **by) == 10
            assert value(found, f"{name}_count", **by) == 10
        assert value(found, "execution_seconds_sum", **by) >= 10 * 0.001
    assert value(found, "wait_seconds_sum", model="small", lane="main") > 0  # it follows `first`


def test_memory_is_the_plans_and_the_devices(fleet: Fleet) -> None:
    plan = fleet.plan
    metrics = fleet.metrics()
    idle = read(metrics.text())
    reserved = {
        kind: value(idle, "reserved_bytes", device="twin", kind=kind)
        for kind in ("work", "weights")
    }
    assert sum(reserved.values()) == plan.planned_bytes
    info = fleet.device.memory_info()
    assert value(idle, "device_bytes", device="twin", state="used") == info.used_bytes
    assert value(idle, "device_bytes", device="twin", state="free") == info.free_bytes
    assert value(idle, "used_bytes", device="twin", kind="work") == 0
    (row,) = (row for row in plan.instances if row.model == "big")
    with fleet.frame("p[0]") as frame, frame.slot("first"):
        busy = read(metrics.text())
    held = {kind: value(busy, "used_bytes", device="twin", kind=kind) for kind in reserved}
    assert held["work"] == plan.rule.reserved_bytes(row.work_bytes)
    assert held["weights"] == plan.rule.reserved_bytes(row.weight_bytes)
    after = read(metrics.text())
    assert value(after, "used_bytes", device="twin", kind="weights") == 0


def test_failures_and_withdrawn_calls_are_counted(mode: CrossStream) -> None:
    with failing_once(small_fleet(mode)) as fleet:
        metrics = fleet.metrics()
        fail_then_withdraw(fleet)
        found = read(metrics.text())
    by = {"model": "big", "lane": "main"}
    assert value(found, "failures_total", **by) == 1
    assert value(found, "executions_total", **by) == 1
    assert value(found, "withdrawn_total", **by) == 1
    assert value(found, "wait_seconds_count", **by) == 2
    assert value(found, "used_bytes", device="twin", kind="work") == 0


def test_what_ran_before_is_not_counted() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        fleet.run("p.first", X)
        with fleet.frame("p") as frame:
            with frame.slot("first"):
                metrics = fleet.metrics()
            frame.run("second", X)
        assert fleet.metrics() is metrics
        found = read(metrics.text())
    assert value(found, "executions_total", model="big", lane="main") == 0
    assert value(found, "executions_total", model="small", lane="main") == 1
    closed = read(metrics.text())  # the device is gone, the counts are not
    assert not [name for name, _ in closed if name == "npu_arena_device_bytes"]
    assert value(closed, "executions_total", model="small", lane="main") == 1


def test_metrics_are_served_on_loopback_until_the_fleet_closes() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        metrics = fleet.metrics()
        assert fleet.metrics().port is None
        port = metrics.serve(0)
        fleet.run("p.first", X)
        address = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
        assert read(text) == read(metrics.text())
        assert metrics.port == port
        assert metrics._server is not None
        assert metrics._server[0].server_address[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=f"served already, on port {port}"):
            fleet.metrics(port=0)
        with plan_and_load(small_fleet(), device="twin") as other:
            with pytest.raises(UsageError, match=f"port {port}: .* take another port"):
                other.metrics(port=port)
            with pytest.raises(UsageError, match="port 70000"):
                other.metrics(port=70_000)
    with pytest.raises(URLError):
        urllib.request.urlopen(address, timeout=10)
    metrics.close()


def test_an_application_registers_them_with_its_own() -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        registry = CollectorRegistry()
        registry.register(fleet.metrics())
        assert b"npu_arena_executions_total" in generate_latest(registry)


def test_hostile_names_stay_labels() -> None:
    models = tuple(ModelSpec(ModelId(name), work_bytes=4096, weight_bytes=0) for name in HOSTILE)
    steps = tuple(StepSpec(f"s{n}", model.id, f"l{n}") for n, model in enumerate(models))
    spec = FleetSpec("hostile", models, (PipelineSpec("p", steps),))
    with plan_and_load(spec, device="twin") as fleet:
        found = read(fleet.metrics().text())
    assert {
        dict(labels)["model"] for name, labels in found if name == "npu_arena_failures_total"
    } == set(HOSTILE)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with plan_and_load(small_fleet(), device="twin") as fleet:
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(UsageError, match=r"pip install 'npu-arena\[metrics\]'"):
            Metrics(fleet.plan, fleet.device)


@pytest.mark.parametrize(
    ("duration_ns", "bucket"), [(0, 0), (100_000, 0), (100_001, 1), (10**10, 15), (10**11, 16)]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(
    duration_ns: int, bucket: int
) -> None:
    durations = Durations()
    durations.add(duration_ns)
    assert durations.counts.index(1) == bucket
    assert durations.sum_ns == duration_ns
