"""Live video in numbers, for Prometheus: called by the pipeline with what happened, read by a scraper."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar

import psutil

from stts_runtime import clock
from stts_runtime.extras import stream_extra
from stts_runtime.records import Record, StreamAnswer
from stts_runtime.sinks.spool import Backlog
from stts_runtime.sources.source import State, Status
from stts_runtime.stream.channel import LATE, Channel, Look
from stts_runtime.stream.gpu_metrics import register_gpu
from stts_runtime.stream.plan import StreamPlan
from stts_runtime.stream.status_server import Health, Reply, StatusServer

with stream_extra("prometheus-client", "metrics"):
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

_ByStream = Counter | Gauge | Histogram
_Kind = TypeVar("_Kind", Counter, Gauge, Histogram)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
_STAGE_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class StreamMetrics:
    """A listener of the pipeline, and what else in this process counts.

    Thread-safe; no call waits for anything. Whoever scrapes sees names of streams and sinks, and no credentials.
    """

    def __init__(self) -> None:
        self.registry = registry = _Registry()
        self._newest: dict[str, float] = {}
        self._counted: collections.Counter[tuple[str, str]] = collections.Counter()
        """What channels and sources count themselves, as it was at the last look: by stream and name."""
        self._by_stream: list[tuple[_ByStream, list[str]]] = []
        """With the names of their labels."""
        self._lag = self._of_stream(Gauge, "stts_frame_lag_seconds", "Age of the newest frame now")
        self._frames = self._of_stream(Counter, "stts_frames", "Frames taken from the source")
        self._answers = self._of_stream(Counter, "stts_answers", "Answers given")
        self._dropped = self._of_stream(Counter, "stts_dropped_frames", "Frames not looked at, by cause", "cause")
        self._stages = self._of_stream(Histogram, "stts_stage_seconds", "Wall time by stage of an answer", "stage")
        self._novelty = self._of_stream(Gauge, "stts_novelty", "Highest novelty before the latest answer")
        self._reconnections = self._of_stream(Counter, "stts_reconnections", "Times the source came back")
        self._state = self._of_stream(Gauge, "stts_source_state", "1 for the state that it is in", "state")
        self._skipped = self._of_stream(Counter, "stts_windows_skipped", "Windows with nothing new, not asked about")
        self._missed = self._of_stream(Counter, "stts_answers_missed", "Answers left out, their deadline being over")
        self._waiting = self._of_stream(Gauge, "stts_waiting_questions", "Questions that are due and not answered yet")
        self._alert = self._of_stream(Gauge, "stts_alert", "1 while there is an alarm", "question")
        self._alerts = self._of_stream(Counter, "stts_alerts", "Alarms raised", "question")
        self._batches = Histogram(
            "stts_batch_size",
            "Frames (looks) and answers that went through the engines at once",
            ["kind"],
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self._lost = Counter("stts_lost_records", "Records that a sink could not keep", ["sink"], registry=registry)
        resident = Gauge("stts_resident_bytes", "Memory of this process", registry=registry)
        resident.set_function(lambda: psutil.Process().memory_info().rss)
        self._spools = _Spools()
        registry.register(self._spools)
        ProcessCollector(registry=registry)
        register_gpu(registry)

    def _of_stream(self, kind: type[_Kind], name: str, help_: str, *labels: str) -> _Kind:
        names = ["stream", *labels]
        options: Any = {"buckets": _STAGE_BUCKETS} if kind is Histogram else {}
        made = kind(name, help_, names, registry=self.registry, **options)
        self._by_stream.append((made, names))
        return made

    def build(self, read: Callable[[], Mapping[str, str]]) -> None:
        """`read` is asked at every scrape which bundle and engine answer: `stts_build_info`."""
        self.registry.register(_BuildInfo(read))

    def added(self, channel: Channel, plan: StreamPlan) -> None:  # noqa: ARG002  # every observer gets both
        """Its series are there from now on, also of a camera that never comes."""
        self.expect(channel.name)
        self._waiting.labels(channel.name).set_function(lambda: channel.waiting)

    def changed(self, channel: Channel, plan: StreamPlan) -> None:
        """Its series go on."""

    def removed(self, stream: str) -> None:
        """Its series end."""
        for name in ("reconnections", "skipped", "missed"):
            self._counted.pop((stream, name), None)
        for metric, names in self._by_stream:
            _remove(metric, names, stream)

    def expect(self, stream: str) -> None:
        """The lag of a stream that gives no frame counts from here."""
        self._newest[stream] = clock.now()
        self._lag.labels(stream).set_function(lambda: clock.now() - self._newest[stream])
        for counter in (self._frames, self._answers, self._reconnections, self._skipped, self._missed):
            counter.labels(stream)
        self._dropped.labels(stream, LATE)

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

    def forget_spool(self, sink: str) -> None:
        self._spools.forget(sink)

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def serve(self, address: str = "127.0.0.1", port: int = 9109, health: Health | None = None) -> StatusServer:
        """Raises `UserError` if it cannot listen there. With port 0 the system chooses one."""

        def scraped() -> Reply:
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, self.text()

        return StatusServer(address, port, {"/metrics": scraped, **({} if health is None else health.routes)})


def _remove(metric: _ByStream, names: Sequence[str], stream: str) -> None:
    """All series of one stream."""
    (family,) = metric.collect()
    found = {tuple(one.labels[name] for name in names) for one in family.samples if one.labels["stream"] == stream}
    for values in found:
        metric.remove(*values)


class _Registry(CollectorRegistry):
    """Without the time at which each series began, which would double them."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


class _BuildInfo(Collector):
    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        info = {"version": version("stts-export"), **self._read()}
        found = GaugeMetricFamily("stts_build_info", "1, with what runs as labels", labels=list(info))
        found.add_metric(list(info.values()), 1)
        yield found


class _Spools(Collector):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[str, Callable[[], Backlog]] = {}

    def watch(self, sink: str, backlog: Callable[[], Backlog]) -> None:
        with self._lock:
            self._watched[sink] = backlog

    def forget(self, sink: str) -> None:
        with self._lock:
            self._watched.pop(sink, None)

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
