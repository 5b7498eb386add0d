"""Counters and histograms for Prometheus. No label ever holds anything from an image, a file name or a client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one application, in a registry of its own so that applications do not mix in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dermedge_requests", "Responses sent.", ["route", "method", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "dermedge_request_seconds",
            "Seconds from the last byte of the request to the response.",
            ["route"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.predictions = Counter(
            "dermedge_predictions", "Images classified.", ["label", "verdict", "variant"], registry=self.registry
        )
        self.engine_seconds = Histogram(
            "dermedge_engine_seconds",
            "Seconds of one stage of a prediction.",
            ["variant", "stage"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.refusals = Counter(
            "dermedge_refusals", "Requests refused, by HTTP status.", ["status"], registry=self.registry
        )
        self.waiting = Gauge("dermedge_waiting_requests", "Requests waiting for a free CPU.", registry=self.registry)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
