"""What is counted about requests and questions, beside what is counted about streams."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from stts_runtime.serve.desk import Desk
from stts_runtime.serve.mailbox import PostOffice
from stts_runtime.sinks.metrics import StreamMetrics


class ServerMetrics:
    """Thread-safe; labels come from the schema alone, never from what a request says."""

    def __init__(self, metrics: StreamMetrics, desk: Desk, office: PostOffice) -> None:
        registry = metrics.registry
        self._requests = Counter(
            "stts_http_requests", "Requests answered, by route and status", ["route", "status"], registry=registry
        )
        open_questions = Gauge("stts_open_questions", "Questions that wait or are being answered", registry=registry)
        open_questions.set_function(lambda: desk.open)
        clients = Gauge("stts_event_clients", "Clients that follow the events", registry=registry)
        clients.set_function(lambda: office.clients)

    def answered(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()
