"""What a server counts, in the text form of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts of one server; several in a process count apart."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        to = self._registry
        self.requests = Counter("semi_requests", "Requests by route and status.", ["route", "status"], registry=to)
        self.refused = Counter("semi_refused", "Requests that got no answer, by reason.", ["reason"], registry=to)
        self.seconds = Histogram(
            "semi_request_seconds", "From the first byte to the last.", ["route"], buckets=SECONDS, registry=to
        )
        self.active = Gauge("semi_requests_active", "Requests that are being answered or wait for it.", registry=to)
        self.read = Histogram("semi_samples_batch", "Samples read together.", buckets=SIZES, registry=to)
        self.written = Histogram("semi_texts_batch", "Texts written together.", buckets=SIZES, registry=to)
        self.tokens = Counter("semi_tokens", "Tokens read (prompt) and written (completion).", ["kind"], registry=to)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
