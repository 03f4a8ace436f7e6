"""Where frames come from: files, folders, cameras and streams, behind one interface."""

from stts_runtime.sources.open import open_source
from stts_runtime.sources.source import Frame, LiveSettings, Source, State, Status, StatusListener
from stts_runtime.text import redacted

__all__ = ["Frame", "LiveSettings", "Source", "State", "Status", "StatusListener", "open_source", "redacted"]
