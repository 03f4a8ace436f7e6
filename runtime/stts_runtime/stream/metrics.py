"""Live video in numbers, for Prometheus: called by the pipeline with what happened, read by a scraper."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIServer

import psutil

from stts_runtime import clock
from stts_runtime.errors import UserError
from stts_runtime.extras import stream_extra
from stts_runtime.records import Record, StreamAnswer
from stts_runtime.sinks.spool import Backlog
from stts_runtime.sources.source import State, Status
from stts_runtime.stream.channel import Channel, Look

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
_STAGE_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class StreamMetrics:
    """A listener of the pipeline, and what else in this process counts.

    Thread-safe; no call waits for anything. Whoever scrapes sees names of streams and sinks, and no credentials.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._newest: dict[str, float] = {}
        self._counted: collections.Counter[tuple[str, str]] = collections.Counter()
        """What channels and sources count themselves, as it was at the last look: by stream and name."""
        label, registry = ["stream"], self.registry
        self._lag = Gauge("stts_frame_lag_seconds", "Age of the newest frame now", label, registry=registry)
        self._frames = Counter("stts_frames", "Frames taken from the source", label, registry=registry)
        self._answers = Counter("stts_answers", "Answers given", label, registry=registry)
        self._dropped = Counter(
            "stts_dropped_frames", "Frames not looked at, by cause", [*label, "cause"], registry=registry
        )
        self._stages = Histogram(
            "stts_stage_seconds",
            "Wall time by stage of an answer",
            [*label, "stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self._novelty = Gauge("stts_novelty", "Highest novelty before the latest answer", label, registry=registry)
        self._reconnections = Counter("stts_reconnections", "Times the source came back", label, registry=registry)
        self._state = Gauge("stts_source_state", "1 for the state that it is in", [*label, "state"], registry=registry)
        self._skipped = Counter(
            "stts_windows_skipped", "Windows with nothing new, not asked about", label, registry=registry
        )
        self._missed = Counter(
            "stts_answers_missed", "Answers left out since their deadline was over", label, registry=registry
        )
        self._batches = Histogram(
            "stts_batch_size",
            "Frames (looks) and answers that went through the engines at once",
            ["kind"],
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        asked = [*label, "question"]
        self._alert = Gauge("stts_alert", "1 while there is an alarm", asked, registry=registry)
        self._alerts = Counter("stts_alerts", "Alarms raised", asked, registry=registry)
        self._lost = Counter("stts_lost_records", "Records that a sink could not keep", ["sink"], registry=registry)
        resident = Gauge("stts_resident_bytes", "Memory of this process", registry=registry)
        resident.set_function(lambda: psutil.Process().memory_info().rss)
        self._spools = _Spools()
        registry.register(self._spools)

    def saw(self, channel: Channel, look: Look) -> None:
        self.frame(channel.name, look.frame.captured)
        for _ in range(self._more(channel.name, "reconnections", channel.source.reconnections)):
            self.reconnected(channel.name)
        for _ in range(self._more(channel.name, "skipped", channel.skipped)):
            self.skipped(channel.name)
        self._missed.labels(channel.name).inc(self._more(channel.name, "missed", channel.missed))

    def batched(self, kind: str, size: int) -> None:
        """`size` of `looks` or `answers` went together."""
        self._batches.labels(kind).observe(size)

    def said(self, record: Record) -> None:
        if isinstance(record, StreamAnswer):
            self.answered(record)
            for cause, count in record.dropped.items():
                self.dropped(record.stream, cause, count)

    def _more(self, stream: str, what: str, count: int) -> int:
        """How much it has grown since the last look."""
        before, self._counted[stream, what] = self._counted[stream, what], count
        return count - before

    def frame(self, stream: str, captured: float) -> None:
        """A frame was taken; `captured` is on the clock of `clock.now`. The lag grows until the next one."""
        if stream not in self._newest:
            self._lag.labels(stream).set_function(lambda: clock.now() - self._newest[stream])
        self._newest[stream] = captured
        self._frames.labels(stream).inc()

    def answered(self, record: StreamAnswer) -> None:
        """Its `dropped` is not counted here: see `dropped`."""
        self._answers.labels(record.stream).inc()
        self._novelty.labels(record.stream).set(record.novelty)
        if record.alert is not None:
            self._alert.labels(record.stream, record.question).set(record.alert.on)
            self._alerts.labels(record.stream, record.question).inc(record.alert.change == "raised")
        for stage, milliseconds in record.milliseconds:
            self._stages.labels(record.stream, stage).observe(milliseconds / 1000)

    def skipped(self, stream: str) -> None:
        """A window was let go because nothing in it was new."""
        self._skipped.labels(stream).inc()

    def dropped(self, stream: str, cause: str, count: int) -> None:
        """`count` more frames were not looked at."""
        self._dropped.labels(stream, cause).inc(count)

    def status(self, stream: str, status: Status) -> None:
        for state in State:
            self._state.labels(stream, state.value).set(state is status.state)

    def reconnected(self, stream: str) -> None:
        self._reconnections.labels(stream).inc()

    def lost(self, sink: str) -> None:
        """A sink raised `SinkError`."""
        self._lost.labels(sink).inc()

    def watch_spool(self, sink: str, backlog: Callable[[], Backlog]) -> None:
        """`backlog` is asked at every scrape."""
        self._spools.watch(sink, backlog)

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def serve(self, address: str = "127.0.0.1", port: int = 9109) -> MetricsServer:
        """Raises `UserError` if it cannot listen there. With port 0 the system chooses one."""
        try:
            server, thread = start_http_server(port, address, self.registry)
        except OSError as error:
            raise UserError(f"metrics cannot be served at {address}:{port}: {error.strerror}") from None
        return MetricsServer(server, thread)


class MetricsServer:
    """A context manager; closing it gives the port back."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server, self._thread = server, thread
        self.port = server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Spools(Collector):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[str, Callable[[], Backlog]] = {}

    def watch(self, sink: str, backlog: Callable[[], Backlog]) -> None:
        with self._lock:
            self._watched[sink] = backlog

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("stts_spool_records", "Records that wait on the disk", labels=["sink"])
        dropped = CounterMetricFamily("stts_spool_dropped", "Records dropped from a full spool", labels=["sink"])
        refused = CounterMetricFamily("stts_refused_records", "Records that the receiver refused", labels=["sink"])
        with self._lock:
            watched = dict(self._watched)
        for sink, read in watched.items():
            backlog = read()
            waiting.add_metric([sink], backlog.waiting)
            dropped.add_metric([sink], backlog.dropped)
            refused.add_metric([sink], backlog.refused)
        yield from (waiting, dropped, refused)
