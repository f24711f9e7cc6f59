"""Counts and times for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Registry(CollectorRegistry):
    """Metrics without the time at which each began, which would double their number."""

    def collect(self) -> Iterator[Metric]:
        """List the metrics as they are now."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """What happened in one app since it started."""

    def __init__(self) -> None:
        self.registry = own = Registry()
        by_route = "firstsight_request_seconds", "From the first byte to the answer, by route.", ["path"]
        batches = "firstsight_batch_size", "Pictures that went through the backbone together."
        remembered = "firstsight_remembered", "Questions answered from features that were kept."
        self.requests = Counter(
            "firstsight_requests", "Requests by route and status.", ["path", "status"], registry=own
        )
        self.seconds = Histogram(*by_route, buckets=SECONDS, registry=own)
        self.batches = Histogram(*batches, buckets=SIZES, registry=own)
        self.remembered = Counter(*remembered, registry=own)
        self.drawn = Counter("firstsight_drawn", "Pictures drawn.", registry=own)
        self.watch("process_resident_memory_bytes", "Memory of the server.", lambda: psutil.Process().memory_info().rss)

    def watch(self, name: str, what: str, now: Callable[[], float]) -> None:
        """Add a gauge whose value is asked for when the metrics are read."""
        Gauge(name, what, registry=self.registry).set_function(now)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is a route's, so that there are few."""
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> str:
        """Write all of them in the text format of Prometheus."""
        return generate_latest(self.registry).decode()
