"""What `stts-runtime fleet` is told: the cameras of a file as `stream` takes it, its `serve:` and its `fleet:`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from stts_runtime.serve.settings import ServerSettings
from stts_runtime.settings import Seconds, Settings
from stts_runtime.sinks.config import ArchiveConfig, ScreenConfig
from stts_runtime.stream.config import StreamConfig, StreamEntry
from stts_runtime.stream.config_fields import Sinks

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]
LOCAL = "local"


class FleetSettings(Settings):
    """The section `fleet`."""

    address: Text = "auto"
    """Cluster: `HOST:PORT`; `auto`: `RAY_ADDRESS`, or the one that this machine belongs to; `local`: Ray on this
    machine alone, for its GPUs, started and ended by this command."""
    lost_after: Annotated[Seconds, Field(ge=2, le=600)] = 10.0
    """Silence after which a machine is lost and its cameras go to others."""
    bears: Count | dict[str, Count] | None = None
    """Streams that a GPU, or a machine without one, takes: a number, or numbers by machine. None: measured."""
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    """Ray's resources that a machine must have to take part."""

    def borne(self, box: str, machine: str) -> int | None:
        """By the box of that name; None: what it is measured to bear."""
        return self.bears.get(box, self.bears.get(machine)) if isinstance(self.bears, dict) else self.bears


class FleetConfig(StreamConfig):
    """A whole file."""

    sinks: Sinks = (ScreenConfig(),)
    serve: ServerSettings = ServerSettings()
    fleet: FleetSettings = FleetSettings()

    @property
    def archives(self) -> tuple[Path, ...]:
        """What can be searched."""
        if self.serve.search is not None:
            return self.serve.search
        return tuple(Path(one.to) for one in self.all_sinks if isinstance(one, ArchiveConfig))

    @property
    def on_gpus(self) -> bool:
        """Whether a machine with GPUs has a box for each of them."""
        return self.engine not in ("cpu", "cpu-16bit")

    @property
    def names(self) -> list[str]:
        """Of the streams, in the order of the file."""
        return [entry.name for entry in self.streams]

    @model_validator(mode="after")
    def _is_for_many_machines(self) -> FleetConfig:
        if self.preview is not None:
            raise ValueError("preview is for one machine: leave it out, the page shows what was kept")
        if self.device is not None and self.device != "cpu":
            raise ValueError(f"device {self.device} is for one machine: leave it out, every GPU of the cluster is used")
        return self

    def part(self, names: Sequence[str], box: str) -> StreamConfig:
        """What the box of that name gets: these streams, without the sinks and their secrets, which stay here."""
        kept = [_without_sinks(entry) for entry in self.streams if entry.name in set(names)]
        files = self.alert_files
        if files is not None:
            files = files.model_copy(update={"folder": files.folder / box.replace("/", "-")})
        given = {name: getattr(self, name) for name in StreamConfig.model_fields}
        changed = {"streams": tuple(kept), "sinks": (), "serve": None, "fleet": None, "alert_files": files}
        # With no streams too, which no file may have.
        return StreamConfig.model_construct(**{**given, **changed})


def _without_sinks(entry: StreamEntry) -> StreamEntry:
    return entry.model_copy(update={"sinks": ()}) if "sinks" in entry.model_fields_set else entry
