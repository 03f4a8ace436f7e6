"""What each stream of a configuration will be, held against a bundle. Nothing is loaded or opened for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stts_runtime.answering import Conversation
from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError, PromptError, SourceError, UserError
from stts_runtime.forms import Forms
from stts_runtime.sources import LiveSettings
from stts_runtime.stream.config import Asking, Cameras, StreamEntry
from stts_runtime.stream.orders import Gate, Labels, Orders
from stts_runtime.stream.watcher import KeyRule, check_questions, check_window


@dataclass(frozen=True)
class StreamPlan:
    """One stream. Two that are equal do the same, whatever else their files say."""

    entry: StreamEntry
    asking: Asking
    settings: LiveSettings
    frames: int
    """Of a window."""
    keys: KeyRule
    max_tokens: int
    labels: Labels
    group: str | None
    """On the live page."""
    schema_sha256: str | None
    """Of the file that `asking` names, which may change where it lies."""
    orders: Orders = field(compare=False)
    """What follows from all of that and the bundle."""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def connection(self) -> tuple[object, ...]:
        """What has to be opened anew where it differs."""
        alert = self.asking.alert
        files = (alert.snapshot, alert.clip) if alert is not None and alert.needs_files else None
        return self.entry.source, self.entry.masks, files, self.settings

    @property
    def window(self) -> tuple[int, KeyRule]:
        """Where it differs, what was seen is of no use."""
        return self.frames, self.keys


class Planner:
    """Plans for one bundle."""

    def __init__(self, config: Cameras, bundle: Bundle, conversation: Conversation) -> None:
        """`conversation` checks questions, so it may be one without an engine. Raises `UserError` for what fits no
        stream.
        """
        live = bundle.manifest.live
        if live is None:
            raise BundleError(f"{bundle.folder} has no variants for single frames, which streams need")
        self._config, self._bundle, self._conversation, self._live = config, bundle, conversation, live
        self._forms = Forms(bundle)
        self.frames = config.frames or live.frames
        check_window(bundle, self.frames)
        self._keys = _key_rule(config, bundle, self.frames)
        self._settings = LiveSettings(transport=config.transport, nvdec=config.nvdec)

    def plan(self, entry: StreamEntry) -> StreamPlan:
        """Raises `PromptError` for a question that cannot be asked or does not fit, `UserError` for a wrong schema."""
        config, asking = self._config, self._config.asking(entry)
        form = self._forms.of({"choices": asking.choices or None, "schema": asking.answer_schema})
        with naming(entry.name):
            check_questions(self._bundle, self._conversation, self.frames, asking.questions, form, config.max_tokens)
        longest = math.inf if asking.longest_pause is None else asking.longest_pause
        above = asking.when.above(self._live.novelty) if asking.when else None
        gate = Gate(above, asking.shortest_pause, longest)
        deadline = math.inf if asking.deadline is None else asking.deadline
        looks_per_second = self._bundle.manifest.max_fps
        labels = Labels(asking.site, config.host_name, config.clock_times)
        return StreamPlan(
            entry=entry,
            asking=asking,
            settings=self._settings,
            frames=self.frames,
            keys=self._keys,
            max_tokens=config.max_tokens,
            labels=labels,
            group=config.group(entry),
            schema_sha256=None if form.schema is None else form.schema.sha256,
            orders=Orders(
                asking.questions, gate, config.max_tokens, looks_per_second, form, asking.alert, labels, deadline
            ),
        )

    def all(self) -> list[StreamPlan]:
        """Of every stream that the configuration has."""
        return [self.plan(entry) for entry in self._config.streams]


@contextmanager
def naming(stream: str) -> Iterator[None]:
    """Says which stream a mistake belongs to."""
    try:
        yield
    except (PromptError, SourceError) as error:
        raise type(error)(f"{stream}: {error}") from None


def _key_rule(config: Cameras, bundle: Bundle, frames: int) -> KeyRule:
    live = bundle.manifest.live
    assert live is not None
    every = config.key_every or max(frames, live.key_every)
    if every < live.key_every:
        raise UserError(
            f"key_every {every} is too often for {bundle.folder}: its language model takes a key frame every "
            f"{live.key_every} frames; build it with more --frames"
        )
    return KeyRule(every=every, at_least=live.key_every, jump=live.novelty.jump)
