"""What is counted, for Prometheus; a registry of its own, so that nothing else of the process is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from captioner.serve.service import Service

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one service; those of its state are read when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "captioner_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "captioner_request_seconds",
            "From a request's headers to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.pictures = Counter("captioner_pictures", "Pictures, by outcome.", ("outcome",), registry=self._registry)
        self.batches = Histogram(
            "captioner_batch_pictures",
            "Pictures in the batches that workers were given.",
            buckets=(1, 2, 3, 4, 6, 8, 16),
            registry=self._registry,
        )
        self._gauges = {
            name: Gauge(f"captioner_{name}", text, registry=self._registry)
            for name, text in (
                ("queue_length", "Pictures that wait for a worker."),
                ("in_flight", "Requests that hold a place: waiting or worked on."),
                ("buffered_bytes", "Bytes of bodies in memory."),
                ("connections", "Open connections."),
                ("workers_ready", "Workers that take work."),
                ("workers_resident_bytes", "Memory that all workers hold."),
                ("ready", "1 when the service takes work, else 0."),
            )
        }
        self._restarts = Counter("captioner_worker_restarts", "Workers started again.", registry=self._registry)
        self._restarts_told = 0

    def text(self, service: Service) -> bytes:
        """All metrics as Prometheus reads them."""
        ready = service.pool.ready
        values = {
            "queue_length": len(service.batcher),
            "in_flight": service.places.taken,
            "buffered_bytes": service.budget.taken,
            "connections": service.connections(),
            "workers_ready": len(ready),
            "workers_resident_bytes": sum(worker.megabytes() for worker in ready) * 1e6,
            "ready": int(service.is_ready),
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        self._restarts.inc(service.pool.restarts - self._restarts_told)
        self._restarts_told = service.pool.restarts
        return generate_latest(self._registry)
