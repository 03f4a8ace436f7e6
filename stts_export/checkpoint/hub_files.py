"""Which files of a repository on the hub a checkpoint is read from; the others, often larger, stay there.

It knows names alone, and downloads nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stts_export.checkpoint.distributed_files import METADATA, files_with_weights
from stts_export.checkpoint.layouts import HUGGING_FACE, SHARDS, TORCH_FILE, TRAINING
from stts_export.checkpoint.safetensors_files import INDEX, SINGLE, shards_of
from stts_export.checkpoint.tokenizer import BESIDE_TOKENIZER, TOKENIZER
from stts_export.errors import CheckpointError
from stts_export.molmo2.processor import OF_PROCESSOR
from stts_runtime.handed_over import no_checkpoint_in

_SHARDS_METADATA = f"{SHARDS}/{METADATA}"
OF_TOKENIZER = (TOKENIZER, *BESIDE_TOKENIZER)


@dataclass(frozen=True)
class Repository:
    """What the hub says of a model at one commit."""

    name: str
    commit: str
    names: frozenset[str]
    """Names of all its files."""

    @property
    def config(self) -> str:
        """The file that describes the model. Raises `CheckpointError` if there is none."""
        for name in (HUGGING_FACE, TRAINING):
            if name in self.names:
                return name
        what = no_checkpoint_in(self.names, self.name)
        raise CheckpointError(
            f"{self.name} on the hub is not a checkpoint: it holds neither {HUGGING_FACE} nor {TRAINING}"
            f"{'; ' if what else ''}{what}"
        )

    @property
    def listing(self) -> list[str]:
        """The small file that says where the weights are; none where one file holds them all.

        Raises `CheckpointError` if no weights are there that we read.
        """
        if self.config == HUGGING_FACE:
            return self._first(INDEX, SINGLE)
        return self._first(TORCH_FILE, _SHARDS_METADATA)

    def _first(self, *names: str) -> list[str]:
        """As where they are in a folder: the first of two that are both there is read."""
        for name in names:
            if name in self.names:
                return [name] if name in (INDEX, _SHARDS_METADATA) else []
        raise CheckpointError(f"{self.name} on the hub holds no weights that are read: neither {' nor '.join(names)}")

    def description(self, with_tokenizer: bool) -> list[str]:
        """All that is read next to weights; another tokenizer may take the place of the one here."""
        return self._present((self.config, *(OF_TOKENIZER if with_tokenizer else ()), *OF_PROCESSOR))

    @property
    def tokenizer(self) -> list[str]:
        """Raises `CheckpointError` if there is none."""
        if TOKENIZER not in self.names:
            raise CheckpointError(f"{self.name} on the hub holds no {TOKENIZER}")
        return self._present(OF_TOKENIZER)

    def weights(self, folder: Path) -> list[str]:
        """The files of weights, of which `folder` has the listing. Raises `CheckpointError` if one is not there."""
        if not self.listing:
            return [SINGLE if self.config == HUGGING_FACE else TORCH_FILE]
        if self.config == HUGGING_FACE:
            names = shards_of(folder)
        else:
            names = [f"{SHARDS}/{name}" for name in files_with_weights(folder / SHARDS)]
        if missing := sorted(set(names) - self.names):
            raise CheckpointError(f"{self.name} on the hub lacks {missing[0]}, which its {self.listing[0]} names")
        return names

    def _present(self, names: Collection[str]) -> list[str]:
        return [name for name in names if name in self.names]
