"""Where records go: the screen, files, webhooks, brokers, pictures and metrics."""

from stts_runtime.sinks.config import SinkConfig, parse_sink
from stts_runtime.sinks.open import Sink, open_sink

__all__ = ["Sink", "SinkConfig", "open_sink", "parse_sink"]
