"""Where frames come from: files, folders, cameras and streams, behind one interface."""

from stts_runtime.redaction import redacted
from stts_runtime.sources.frame import Frame
from stts_runtime.sources.open import open_source
from stts_runtime.sources.settings import LiveSettings
from stts_runtime.sources.source import Source, StatusListener
from stts_runtime.sources.state import State, Status

__all__ = ["Frame", "LiveSettings", "Source", "State", "Status", "StatusListener", "open_source", "redacted"]
