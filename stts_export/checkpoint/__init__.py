"""Reading checkpoints: configuration, weights and tokenizer, from the layouts that users have."""

from stts_export.checkpoint.load import Checkpoint, LazyModules, Modules, open_checkpoint

__all__ = ["Checkpoint", "LazyModules", "Modules", "open_checkpoint"]
