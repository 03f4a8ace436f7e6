"""One try: so many paced streams on one pair of engines, for some seconds, and whether that held."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.records import Record, StreamAnswer
from stts_runtime.sources.source import Frame
from stts_runtime.stream.channel import Channel, Look
from stts_runtime.stream.orders import Gate, Orders
from stts_runtime.stream.pipeline import Events, Pipeline
from stts_runtime.stream.watcher import Engines, KeyRule, Watcher, see_together
from stts_tools.stream_bench.paced import PacedSource

QUESTION = "What moves?"
ANSWER_TOKENS = 16
LOOKS_A_SECOND = 2.0
MISSED_PERCENT, IN_TIME_PERCENT, IN_TIME_MS = 1.0, 95.0, 500.0
_HOPELESS = 3.0
"""Times as much missed as may be: more would not make it better."""
_STARTING_SECONDS = 0.1
_AT_ONCE = 8
_IRREGULAR = 0.618
"""Shares of a period between the phases of neighbours."""


@dataclass(frozen=True)
class Plan:
    """What every try has in common."""

    pictures: Sequence[NDArray[np.uint8]]
    every: float
    """Seconds between two answers of a stream."""
    seconds: float
    """Measured, once every stream has begun."""


class Outcome(BaseModel):
    """What this many streams came to."""

    streams: int
    looks: int
    missed_percent: float
    answers: int
    in_time_percent: float
    first_token_ms: dict[str, float]
    """Since the frame for which the answer was due; p50 and p95."""
    last_token_ms: dict[str, float]
    looked_ms: dict[str, float]
    """Age of a frame once it had been looked at."""
    busy_percent: float
    """Share of the time with work to do."""
    batches: dict[str, dict[int, int]]
    """How often this many looks, or answers, went together."""
    measured_seconds: float

    @property
    def holds(self) -> bool:
        return self.answers > 0 and self.missed_percent <= MISSED_PERCENT and self.in_time_percent >= IN_TIME_PERCENT


@dataclass
class _Heard:
    """A listener of the pipeline, and what it heard since `counting`."""

    looked: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    due: dict[str, float] = field(default_factory=dict)
    """When the frame came for which a stream's answer is due."""
    batches: dict[str, Counter[int]] = field(default_factory=lambda: {"looks": Counter(), "answers": Counter()})
    counting: bool = False

    def saw(self, channel: Channel, look: Look) -> None:
        if self.counting:
            self.looked.append(1000 * (clock.now() - look.frame.captured))
        if channel.wanted is not None:
            self.due.setdefault(channel.name, look.frame.captured)

    def said(self, record: Record) -> None:
        if not isinstance(record, StreamAnswer):
            return
        due = self.due.pop(record.stream)
        if self.counting:
            last = 1000 * (record.steady_seconds - due)
            self.last.append(last)
            self.first.append(last - record.age_ms.at_last_token + record.age_ms.at_first_token)

    def batched(self, kind: str, size: int) -> None:
        if self.counting:
            self.batches[kind][size] += 1

    def overdue(self) -> list[float]:
        """Ages of answers that did not come so far, and should have."""
        ages = [1000 * (clock.now() - due) for due in self.due.values()]
        return [age for age in ages if age > IN_TIME_MS]


class _Timed(Pipeline):
    """Knows how long there was nothing to do."""

    rested = 0.0

    def _rest(self) -> None:
        began = time.perf_counter()
        super()._rest()
        self.rested += time.perf_counter() - began


def try_streams(engines: Engines, count: int, plan: Plan) -> Outcome:
    """Streams begin one after the other over `plan.every`, so that neither looks nor questions come all at once."""
    heard, watchers = _Heard(), filled(engines, count, plan)
    begins = clock.now() + _STARTING_SECONDS
    sources, channels = [], []
    for number, watcher in enumerate(watchers):
        name, phase = f"stream-{number}", number * _IRREGULAR % 1 / LOOKS_A_SECOND
        first = begins + number * plan.every / count + phase
        sources.append(PacedSource(name, plan.pictures, first, 1 / LOOKS_A_SECOND))
        orders = Orders([QUESTION], Gate(shortest_pause=plan.every), ANSWER_TOKENS, LOOKS_A_SECOND)
        channels.append(Channel(name, sources[-1], watcher, orders))
    pipeline = _Timed(channels, Events(), [heard], on_batch=heard.batched)
    _run(pipeline, begins + plan.every + 1 / LOOKS_A_SECOND)
    before = _counted(sources)
    heard.counting, pipeline.rested, started = True, 0.0, time.perf_counter()
    hopeless = clock.now() + plan.seconds / 2
    _run(pipeline, hopeless)
    if _missed_percent(_counted(sources), before) < _HOPELESS * MISSED_PERCENT:
        _run(pipeline, hopeless + plan.seconds / 2)
    heard.counting, spent = False, time.perf_counter() - started
    heard.first += heard.overdue()
    outcome = _outcome(count, heard, _counted(sources), before, spent, pipeline.rested)
    engines.answers.finish()
    return outcome


def filled(engines: Engines, count: int, plan: Plan) -> list[Watcher]:
    """With full windows, whose key frames are at different places; frames of all are looked at together."""
    live = engines.bundle.manifest.live
    assert live is not None
    # Pictures change little, and no jump makes key frames besides the regular ones.
    rule = KeyRule(every=live.frames, at_least=live.key_every, jump=1.0)
    watchers = [Watcher(engines, live.frames, rule) for _ in range(count)]
    for number in range(2 * live.frames):
        picture = plan.pictures[number % len(plan.pictures)]
        frame = Frame(picture, (number - 2 * live.frames) / LOOKS_A_SECOND, clock.now())
        looking = [one for place, one in enumerate(watchers) if number >= live.frames - place % live.frames]
        for first in range(0, len(looking), _AT_ONCE):
            see_together([(one, frame) for one in looking[first : first + _AT_ONCE]])
    return watchers


def _run(pipeline: Pipeline, until: float) -> None:
    while clock.now() < until:
        pipeline.step()


Counts = tuple[int, int]
"""Frames that were shown, and those that were not processed."""


def _counted(sources: Sequence[PacedSource]) -> Counts:
    return sum(source.shown for source in sources), sum(source.missed for source in sources)


def _missed_percent(now: Counts, before: Counts) -> float:
    return 100 * (now[1] - before[1]) / max(now[0] - before[0], 1)


def _outcome(count: int, heard: _Heard, now: Counts, before: Counts, spent: float, rested: float) -> Outcome:
    in_time = [age for age in heard.first if age <= IN_TIME_MS]
    return Outcome(
        streams=count,
        looks=len(heard.looked),
        missed_percent=round(_missed_percent(now, before), 2),
        answers=len(heard.last),
        in_time_percent=round(100 * len(in_time) / max(len(heard.first), 1), 1),
        first_token_ms=_percentiles(heard.first),
        last_token_ms=_percentiles(heard.last),
        looked_ms=_percentiles(heard.looked),
        busy_percent=round(100 * (1 - rested / spent), 1),
        batches={kind: dict(sorted(sizes.items())) for kind, sizes in heard.batches.items()},
        measured_seconds=round(spent, 2),
    )


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95)}
