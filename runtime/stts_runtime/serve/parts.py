"""What the routes are made of, put together before the first request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stts_runtime.bundle import Bundle
from stts_runtime.serve import media
from stts_runtime.serve.asking import Asker
from stts_runtime.serve.conversation import ModelChoice, model_choices
from stts_runtime.serve.desk import Desk
from stts_runtime.serve.helpers import Helpers
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.page_routes import StateRecord, variant_records
from stts_runtime.serve.settings import ServeConfig, ServerSettings
from stts_runtime.serve.uploads import Uploads
from stts_runtime.serve.work import Workshop
from stts_runtime.stream.channel import Channel
from stts_runtime.stream.metrics import StreamMetrics

_READERS = 2
"""Clips that are decoded at a time."""


@dataclass(frozen=True)
class Parts:
    bundle: Bundle
    settings: ServerSettings
    desk: Desk
    workshop: Workshop
    hub: Hub
    uploads: Uploads
    readers: Helpers
    asker: Asker
    models: dict[str, ModelChoice]
    metrics: StreamMetrics

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        config: ServeConfig,
        workshop: Workshop,
        channels: Sequence[Channel],
        folder: Path,
        stop: threading.Event,
        metrics: StreamMetrics,
    ) -> Parts:
        """`folder` is for uploads."""
        settings, hub = config.serve, Hub()
        for channel, entry in zip(channels, config.streams, strict=True):
            hub.watch(channel, config.asking(entry).questions)
        desk, uploads = (
            Desk(settings.limits.open_questions, stop, shared=bool(channels)),
            Uploads(folder, settings.limits),
        )
        readers = Helpers(_READERS)
        asker = Asker(bundle, desk, workshop, hub, uploads, readers, settings)
        models = model_choices(bundle, hub.streams)
        return cls(bundle, settings, desk, workshop, hub, uploads, readers, asker, models, metrics)

    def close(self) -> None:
        """Whoever waits is told that the server stops."""
        self.desk.close()
        self.hub.post_office.close()

    def state(self) -> StateRecord:
        manifest = self.bundle.manifest
        return StateRecord(
            bundle=self.bundle.folder.resolve().name,
            model=next(iter(self.models)),
            default_keep=manifest.default_keep,
            frames_per_second=manifest.max_fps,
            looks_at_pictures=self.workshop.looks_at_pictures,
            picture_formats=media.PICTURES,
            clip_formats=media.CLIPS,
            random_weights=manifest.random_weights,
            variants=variant_records(self.bundle, self.workshop.variants),
            limits=self.settings.limits,
            streams=[view.record() for view in self.hub.streams.values()],
        )
