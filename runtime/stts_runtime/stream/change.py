"""What differs between the streams that run and those that a configuration wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stts_runtime.sinks.config import SinkConfig
from stts_runtime.sinks.open import Sink
from stts_runtime.stream.config import Cameras
from stts_runtime.stream.loaded import LoadedBundle
from stts_runtime.stream.plan import StreamPlan
from stts_runtime.stream.standing import Standing


@dataclass(frozen=True)
class Change:
    """A configuration that was checked, with all that is opened before it can hold."""

    config: Cameras
    plans: Sequence[StreamPlan]
    sinks: Mapping[SinkConfig, Sink]
    """Those that are new."""
    loaded: LoadedBundle | None
    """What is to answer; None: what answers already."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """Of streams that come from elsewhere, by name."""
    leaving: Mapping[str, str] = field(default_factory=dict)
    """Why a stream is no longer wanted, by name, if not for its configuration."""


@dataclass(frozen=True)
class Difference:
    """Plans by what becomes of their streams; `removed` by name."""

    same: Sequence[StreamPlan]
    asked_anew: Sequence[StreamPlan]
    """Its pictures stay as they are: what is asked of them, or who hears it, differs."""
    restarted: Sequence[StreamPlan]
    added: Sequence[StreamPlan]
    removed: Sequence[str]

    @classmethod
    def between(
        cls, running: Mapping[str, StreamPlan], wanted: Sequence[StreamPlan], *, new_engines: bool
    ) -> Difference:
        """With new engines windows are made anew in any case, beside those that there are."""
        kinds: dict[str, list[StreamPlan]] = {"same": [], "asked_anew": [], "restarted": [], "added": []}
        for plan in wanted:
            before = running.get(plan.name)
            if before is None:
                kind = "added"
            elif before == plan:
                kind = "same"
            elif before.connection == plan.connection and (new_engines or before.window == plan.window):
                kind = "asked_anew"
            else:
                kind = "restarted"
            kinds[kind].append(plan)
        names = {plan.name for plan in wanted}
        return cls(**kinds, removed=[name for name in running if name not in names])

    @property
    def stays(self) -> list[StreamPlan]:
        """Of streams whose sources are not touched."""
        return [*self.same, *self.asked_anew]

    def __str__(self) -> str:
        counts = {
            "added": self.added,
            "removed": self.removed,
            "restarted": self.restarted,
            "asked anew": self.asked_anew,
            "as before": self.same,
        }
        return ", ".join(f"{len(those)} {word}" for word, those in counts.items() if those)
