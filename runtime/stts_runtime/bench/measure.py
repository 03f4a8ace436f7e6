"""Times every variant of a bundle on the same window, interleaved, in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import psutil

from stts_runtime.answering import Conversation
from stts_runtime.bench.energy import AnswerEnergy, energy_of
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import vision_part
from stts_runtime.engines import BACKENDS, EngineName
from stts_runtime.power import PowerMeter
from stts_runtime.records import Answer
from stts_runtime.session import Session
from stts_runtime.tell import Tell, tell_nobody
from stts_runtime.video import Window

QUESTION = "What happens?"
ANSWER_TOKENS = 16
_WARM_UP_ROUNDS = 2


@dataclass
class Samples:
    """Measurements of one variant, a list entry per round, in milliseconds."""

    vision: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    """Video and question together."""
    decode_per_token: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    prefix_tokens: int = 0
    question_tokens: int = 0
    loaded_mb: float = 0.0
    """Resident memory that loading the vision engine added."""
    energy: AnswerEnergy = field(default_factory=AnswerEnergy)
    lowerings: tuple[str, str] = ("cpu", "cpu")
    """Which graphs of the variant and of the language model ran."""

    def add(self, answer: Answer) -> None:
        spent = answer.milliseconds
        self.vision.append(spent.vision)
        self.prefill.append(spent.prefill_video + spent.prefill_question)
        # The first token comes out of the prefill.
        steps = answer.tokens.generated - 1
        if steps:
            self.decode_per_token.append(spent.decode / steps)
        self.total.append(spent.total)


def resident_mb() -> float:
    """Resident memory of this process."""
    return float(psutil.Process().memory_info().rss) / 1e6


def variants_with(bundle: Bundle, engine: EngineName) -> list[str]:
    """Variants that answer and that the engine can run: those that were compiled, where it is a compiled one."""
    return [name for name in bundle.answering if BACKENDS[engine].has(bundle, vision_part(name))]


def measure(
    bundle: Bundle,
    window_of: Callable[[int], Window],
    rounds: int,
    on_round: Callable[[], None],
    seed: int = 0,
    meter: PowerMeter | None = None,
    engine: EngineName = "cpu",
    tell: Tell = tell_nobody,
) -> dict[str, Samples]:
    """Measurements by variant, the warm-up not counted; `on_round` is called after every round.

    `window_of` gives a window of this many frames. The order of variants is shuffled again in every round, so that no
    variant always runs after the same other. With a meter every variant then answers alone, for its energy.
    """
    conversation = Conversation.open(bundle, engine)
    if conversation.note is not None:
        tell(conversation.note)
    samples: dict[str, Samples] = {}
    sessions: dict[str, Session] = {}
    windows: dict[int, Window] = {}
    for name in variants_with(bundle, engine):
        variant, before = bundle.manifest.variants[name], resident_mb()
        sessions[name] = Session.open(bundle, name, conversation, engine)
        samples[name] = Samples(loaded_mb=resident_mb() - before, lowerings=sessions[name].lowerings)
        if variant.frames not in windows:
            windows[variant.frames] = window_of(variant.frames)
    order, generator = list(sessions), np.random.default_rng(seed)
    for number in range(-_WARM_UP_ROUNDS, rounds):
        for name in generator.permutation(order).tolist():
            watched = sessions[name].watch(windows[bundle.manifest.variants[name].frames])
            answer = sessions[name].ask(watched, QUESTION, ANSWER_TOKENS)
            samples[name].prefix_tokens = len(watched.prefix)
            samples[name].question_tokens = answer.tokens.prompt - len(watched.prefix)
            if number >= 0:
                samples[name].add(answer)
        if number >= 0:
            on_round()
    _measure_energy(meter, bundle, sessions, windows, samples)
    return samples


def _measure_energy(
    meter: PowerMeter | None,
    bundle: Bundle,
    sessions: dict[str, Session],
    windows: dict[int, Window],
    samples: dict[str, Samples],
) -> None:
    if meter is None:
        return
    for name, session in sessions.items():
        window = windows[bundle.manifest.variants[name].frames]
        samples[name].energy = energy_of(meter, partial(_answer, session, window))


def _answer(session: Session, window: Window) -> Answer:
    return session.ask(session.watch(window), QUESTION, ANSWER_TOKENS)
