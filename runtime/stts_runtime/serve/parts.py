"""What the routes are made of, put together before the first request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.bundle import Bundle
from stts_runtime.records import ScorerRecord
from stts_runtime.serve import media
from stts_runtime.serve.answer_service import AnswerService
from stts_runtime.serve.chat_request import ModelChoice, model_choices, stream_choices
from stts_runtime.serve.engine_queue import EngineQueue
from stts_runtime.serve.engine_worker import EngineWorker
from stts_runtime.serve.hub import Hub, StreamRecord
from stts_runtime.serve.page_routes import StateRecord, variant_records
from stts_runtime.serve.settings import Limits, ServeConfig, ServerSettings
from stts_runtime.serve.thread_pool import ThreadPool
from stts_runtime.serve.uploads import Uploads
from stts_runtime.stream.alert_store import AlertStore
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.metrics import StreamMetrics
from stts_runtime.stream.plan import StreamPlan

_READERS = 2
"""Clips that are decoded at a time."""


@dataclass(frozen=True)
class Parts:
    bundle: Bundle
    settings: ServerSettings
    queue: EngineQueue
    worker: EngineWorker
    hub: Hub
    uploads: Uploads
    readers: ThreadPool
    answers: AnswerService
    models: dict[str, ModelChoice]
    metrics: StreamMetrics
    archives: tuple[Path, ...]
    """What can be searched."""
    alert_files: AlertStore | None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        config: ServeConfig,
        worker: EngineWorker,
        channels: Sequence[Channel],
        folder: Path,
        stop: threading.Event,
        metrics: StreamMetrics,
        alert_files: AlertStore | None = None,
    ) -> Parts:
        """`folder` is for uploads."""
        settings, hub = config.serve, Hub()
        for channel, entry in zip(channels, config.streams, strict=True):
            hub.watch(channel, config.group(entry))
        queue, uploads = (
            EngineQueue(settings.limits.open_questions, stop, shared=bool(channels)),
            Uploads(folder, settings.limits),
        )
        readers = ThreadPool(_READERS)
        answers = AnswerService(bundle, queue, worker, hub, uploads, readers, worker.cache, settings)
        models = model_choices(bundle, hub.streams)
        stores = config.archives, alert_files
        return cls(bundle, settings, queue, worker, hub, uploads, readers, answers, models, metrics, *stores)

    def added(self, channel: Channel, plan: StreamPlan) -> None:
        """In the pipeline's thread, as the next two."""
        self.hub.watch(channel, plan.group)
        self.models.update(stream_choices([channel.name]))
        # Pages read the state anew where events end.
        self.hub.events.close()

    def changed(self, channel: Channel, plan: StreamPlan) -> None:
        self.hub.streams[channel.name].group = plan.group
        self.hub.events.close()

    def removed(self, stream: str) -> None:
        self.hub.forget(stream)
        for name in stream_choices([stream]):
            self.models.pop(name, None)
        self.hub.events.close()

    def close(self) -> None:
        """Whoever waits is told that the server stops."""
        self.queue.close()
        self.hub.events.close()

    def alert_file(self, stream: str, name: str) -> Path | None:
        """A picture or clip of an alarm."""
        return None if self.alert_files is None else self.alert_files.find(stream, name)

    def state(self) -> StateRecord:
        return state_record(
            self.bundle,
            self.settings.limits,
            [view.record() for view in self.hub.streams.values()],
            self.worker.variants,
            looks_at_pictures=self.worker.looks_at_pictures,
            searches=bool(self.archives),
        )


def state_record(
    bundle: Bundle,
    limits: Limits,
    streams: list[StreamRecord],
    variants: Sequence[str] = (),
    *,
    looks_at_pictures: bool = False,
    searches: bool,
) -> StateRecord:
    """Without `variants` there are no questions about clips."""
    manifest = bundle.manifest
    return StateRecord(
        bundle=bundle.folder.resolve().name,
        model=next(iter(model_choices(bundle, ()))),
        default_keep=manifest.default_keep,
        frames_per_second=manifest.max_fps,
        looks_at_pictures=looks_at_pictures,
        picture_formats=media.PICTURES,
        clip_formats=media.CLIPS,
        random_weights=manifest.random_weights,
        scorer=ScorerRecord.of(manifest.scorer),
        variants=variant_records(bundle, variants),
        limits=limits,
        streams=streams,
        searches=searches,
    )
