"""Metrics of a fleet for Prometheus: what is reserved, held, executed, waited for and failed.

    npu_arena_reserved_bytes{device, kind}      the reservations, in pages
    npu_arena_used_bytes{device, kind}          what executes now holds of them
    npu_arena_device_bytes{device, state}       what the device says is used and free
    npu_arena_executions_total{model, lane}     failures_total and withdrawn_total beside it
    npu_arena_wait_seconds{model, lane}         histograms: until granted, and while executing
    npu_arena_execution_seconds{model, lane}

Nothing is served unless `Metrics.serve` is called, and then on the loopback address alone. Needs
prometheus-client (extra ``metrics``).

References
----------
.. [1] Prometheus documentation, "Metric and label naming" and "Exposition formats".
"""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from arena.device.base import Device
from arena.reservations import reservations_of
from arena.tally import BOUNDS_S, Counts, Durations, Tally
from planner.errors import ArenaError, UsageError
from planner.plan import Plan

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric

__all__ = ["LOOPBACK", "Metrics"]

LOOPBACK: Final = "127.0.0.1"
_BY: Final = ("model", "lane")
_PREFIX: Final = "npu_arena_"


class Metrics:
    """Metrics of one fleet since they were first asked for; made by `Fleet.metrics`.

    A collector of prometheus-client: register it where an application has a registry of its own.

    Parameters
    ----------
    plan : Plan
    device : Device

    Raises
    ------
    UsageError
        prometheus-client is not installed.
    """

    def __init__(self, plan: Plan, device: Device) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise UsageError(
                f"metrics need prometheus-client, which cannot be imported ({error}): "
                "pip install 'npu-arena[metrics]'"
            ) from error
        self.tally = Tally(plan)
        self._device = device
        self._reserved = {item.kind: item.reserved_bytes for item in reservations_of(plan)}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self._server_lock = threading.Lock()

    @property
    def port(self) -> int | None:
        """Where they are served on the loopback address; None: nowhere."""
        return None if self._server is None else self._server[0].server_port

    def text(self) -> str:
        """Return all metrics in the text format of Prometheus."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry).decode()

    def serve(self, port: int) -> int:
        """Serve the metrics on the loopback address until `close`, and return the port.

        Parameters
        ----------
        port : int
            0: any that is free.

        Raises
        ------
        UsageError
            They are served already, or the port cannot be had. Caused by the caller.
        """
        from prometheus_client import start_http_server

        with self._server_lock:
            if self._server is not None:
                raise UsageError(f"metrics are served already, on port {self.port}")
            try:
                self._server = start_http_server(port, LOOPBACK, self._registry)
            except (OSError, OverflowError) as error:
                raise UsageError(
                    f"metrics cannot be served on {LOOPBACK}, port {port}: {error}; take another "
                    "port, or 0 for any that is free"
                ) from error
            return self._server[0].server_port

    def close(self) -> None:
        """Serve no longer; idempotent."""
        with self._server_lock:
            if self._server is not None:
                server, thread = self._server
                self._server = None
                server.shutdown()
                thread.join()
                server.server_close()

    def collect(self) -> "Iterator[Metric]":
        """Yield every metric: what a registry calls."""
        yield from self._memory()
        counts = self.tally.counts()
        yield from _counters(counts)
        yield from _histograms(counts)

    def _memory(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        name = self._device.name
        for metric, documentation, values in (
            ("reserved_bytes", "Reservations of the plan, in pages.", self._reserved),
            ("used_bytes", "Bytes that what executes now holds.", self.tally.used_bytes()),
        ):
            family = GaugeMetricFamily(_PREFIX + metric, documentation, labels=("device", "kind"))
            for kind, size_bytes in values.items():
                family.add_metric((name, kind), size_bytes)
            yield family
        try:
            info = self._device.memory_info()
        except ArenaError:
            return  # The device was closed, or does not answer: nothing is better than a guess.
        device = GaugeMetricFamily(
            f"{_PREFIX}device_bytes",
            "What the device says of its memory.",
            labels=("device", "state"),
        )
        device.add_metric((name, "used"), info.used_bytes)
        device.add_metric((name, "free"), info.free_bytes)
        yield device


def _counters(counts: dict[tuple[str, str], Counts]) -> "Iterator[Metric]":
    from prometheus_client.core import CounterMetricFamily

    for name, documentation in (
        ("executions", "Executions that ended well."),
        ("failures", "Executions that failed."),
        ("withdrawn", "Calls that never ran: timed out, cancelled, or their frame failed."),
    ):
        family = CounterMetricFamily(_PREFIX + name, documentation, labels=_BY)
        for key, found in counts.items():
            family.add_metric(key, getattr(found, name))
        yield family


def _histograms(counts: dict[tuple[str, str], Counts]) -> "Iterator[Metric]":
    from prometheus_client.core import HistogramMetricFamily

    for name, documentation, which in (
        ("wait_seconds", "From when a call was made until it was granted.", "waits"),
        ("execution_seconds", "From when a call was granted until its execution ended.", "runs"),
    ):
        family = HistogramMetricFamily(_PREFIX + name, documentation, labels=_BY)
        for key, found in counts.items():
            durations: Durations = getattr(found, which)
            family.add_metric(key, _buckets(durations), durations.sum_ns / 1e9)
        yield family


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Return (upper end, how many took at most that long): Prometheus' buckets are cumulative."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(repr, BOUNDS_S), "+Inf"), durations.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
