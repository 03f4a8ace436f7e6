"""Alarms: rules on how likely a choice is, and when one is raised and cleared. It knows neither streams nor sinks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from stts_runtime.record_parts import AlertRecord
from stts_runtime.records import Record, StreamAnswer, is_alert
from stts_runtime.settings import Seconds, Settings
from stts_runtime.stream.alert_files import ClipRule

_CONDITION = re.compile(r"\s*(?P<choice>.*?[^\s<>])\s*(?P<sign>[<>])\s*(?P<bound>\d+(?:\.\d+)?|\.\d+)\s*")
_BAND = 0.1
_EXAMPLE = "yes>0.8"


class Condition(Settings):
    """That a choice is likely, or unlikely: `yes>0.8`, `no<0.1`."""

    choice: str
    """One of the choices."""
    sign: Literal["<", ">"]
    """Whether its probability should be below or above the bound."""
    bound: float
    """Between 0 and 1."""

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        if isinstance(given, Condition):
            return given
        found = _CONDITION.fullmatch(given) if isinstance(given, str) else None
        if found is None or not 0 < float(found["bound"]) < 1:
            raise ValueError(f"it should be CHOICE>NUMBER or CHOICE<NUMBER, with a number between 0 and 1: {_EXAMPLE}")
        return {"choice": found["choice"], "sign": found["sign"], "bound": float(found["bound"])}

    def __str__(self) -> str:
        return f"{self.choice}{self.sign}{self.bound:g}"

    def holds(self, probability: float) -> bool:
        return probability > self.bound if self.sign == ">" else probability < self.bound

    def is_beyond(self, clear: float, probability: float) -> bool:
        """Whether it is so far from holding that an alarm is over."""
        return probability <= clear if self.sign == ">" else probability >= clear


class AlertRule(Settings):
    """When answers raise an alarm and clear it; as text with commas, `yes>0.8, for=2, once_per=5m`."""

    condition: Condition = Field(alias="if")
    """`CHOICE>NUMBER` or `CHOICE<NUMBER`."""
    answers: int = Field(1, alias="for", ge=1)
    """Number of answers in a row that raise the alarm."""
    clear: float | None = Field(None, gt=0, lt=1)
    """Probability that ends the alarm. None: 0.1 short of `if`, or halfway to the end of the range if nearer."""
    hold: Seconds = 0.0
    """How long it must stay there to end the alarm."""
    once_per: Seconds = 0.0
    """Shortest time between two alarms."""
    send: Literal["alerts", "all"] = "alerts"
    """Answers that sinks get: those that raise or clear an alarm, or all. Changes of a stream's state always come."""
    snapshot: Literal["kept", "plain", "none"] = "none"
    """Picture that comes with an alarm, JPEG in the frame's own size: with dropped patches dark, plain, or none."""
    clip: ClipRule | None = None
    """MP4 that comes with an alarm. None: no clip."""

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        condition, *settings = (part.strip() for part in given.split(","))
        pairs = [part.partition("=") for part in settings]
        if wrong := [part for part in settings if "=" not in part]:
            raise ValueError(f"after the condition there should be KEY=VALUE, got {wrong[0]!r}: {_EXAMPLE}, for=2")
        return {"if": condition, **{key.strip(): value.strip() for key, _, value in pairs}}

    @model_validator(mode="after")
    def _clears_behind_its_bound(self) -> AlertRule:
        if self.clear is not None and self.condition.holds(self.clear):
            side = "at most" if self.condition.sign == ">" else "at least"
            raise ValueError(f"clear should be {side} {self.condition.bound:g}, as `if` has it, got {self.clear:g}")
        return self

    @property
    def needs_files(self) -> bool:
        return self.snapshot != "none" or self.clip is not None

    @property
    def clears_at(self) -> float:
        if self.clear is not None:
            return self.clear
        bound = self.condition.bound
        if self.condition.sign == ">":
            return bound - min(_BAND, bound / 2)
        return bound + min(_BAND, (1 - bound) / 2)


class Alarm:
    """One question's. Not thread-safe."""

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._on, self._number = False, 0
        self._in_a_row = 0
        self._raised: float | None = None
        self._calm_since: float | None = None

    def go_on(self, last: AlertRecord) -> None:
        """From where it stood elsewhere, if it was of the same rule. The answers in a row are counted anew."""
        self._number = last.number
        self._on = last.on and last.rule == str(self.rule.condition)

    def judge(self, probabilities: Mapping[str, float], now: float) -> AlertRecord:
        """What the next answer, with its probabilities by choice, means; `now` is on the clock of `clock.now`."""
        rule, probability = self.rule, probabilities[self.rule.condition.choice]
        change = self._cleared(probability, now) if self._on else self._begun(probability, now)
        return AlertRecord(
            rule=str(rule.condition), on=self._on, change=change, number=self._number, probability=round(probability, 6)
        )

    def _begun(self, probability: float, now: float) -> Literal["raised"] | None:
        self._in_a_row = self._in_a_row + 1 if self.rule.condition.holds(probability) else 0
        soon = self._raised is not None and now - self._raised < self.rule.once_per
        if self._in_a_row < self.rule.answers or soon:
            return None
        self._on, self._raised, self._calm_since = True, now, None
        self._number += 1
        return "raised"

    def _cleared(self, probability: float, now: float) -> Literal["cleared"] | None:
        if not self.rule.condition.is_beyond(self.rule.clears_at, probability):
            self._calm_since = None
            return None
        if self._calm_since is None:
            self._calm_since = now
        if now - self._calm_since < self.rule.hold:
            return None
        self._on, self._in_a_row = False, 0
        return "cleared"


class AlertFilter:
    """Which records go on: of a stream with a rule that says so, alerts alone. Changes of state always do."""

    def __init__(self, rules: Mapping[str, AlertRule | None]) -> None:
        """`rules` by stream."""
        self._alone = {stream for stream, rule in rules.items() if rule is not None and rule.send == "alerts"}

    def passes(self, record: Record) -> bool:
        if not isinstance(record, StreamAnswer) or record.stream not in self._alone:
            return True
        return is_alert(record)
