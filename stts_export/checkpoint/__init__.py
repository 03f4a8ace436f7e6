"""Reading checkpoints: configuration, weights and tokenizer, from the layouts that users have."""

from stts_export.checkpoint.load import Checkpoint, Modules, StreamedModules, open_checkpoint

__all__ = ["Checkpoint", "Modules", "StreamedModules", "open_checkpoint"]
