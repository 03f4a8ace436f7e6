"""A checkpoint of any layout -> the model's shape and text side at once, and its weights in our modules when asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stts_export.checkpoint.hub import checkpoint_here, tokenizer_here
from stts_export.checkpoint.layouts import HUGGING_FACE, Layout, find_layout
from stts_export.checkpoint.lazy_weights import Read, hold_small_weights
from stts_export.checkpoint.tokenizer import TextSide, read_text_side
from stts_export.checkpoint.weight_source import NoWeights, WeightSource
from stts_export.checkpoint.weights import Stored, checked, head_is_embedding, stored_weights
from stts_export.errors import CheckpointError
from stts_export.modules.config import ChangeConfig, ModelConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_export.molmo2.hf_config import HfConfig
from stts_export.molmo2.names import HEAD, SCORER, SCORER_WIDTH_FROM, own_name
from stts_runtime.hub_id import as_typed
from stts_runtime.tell import Tell, tell_nobody


@dataclass(frozen=True)
class Modules:
    """The weights of a checkpoint in our modules, float32, and what was ignored on the way."""

    vision: Vision
    language: Language
    notes: list[str]


@dataclass(frozen=True)
class LazyModules(Modules):
    """Modules that hold small weights and placeholders (`lazy_weights`); `read` has every weight by its name."""

    read: Read
    dtypes: dict[str, torch.dtype]
    """What the weights are stored in."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose description has been read; `load` reads the weights."""

    path: Path
    given: Path
    """The name that the user gave, for messages: `path`, or a name on the hub."""
    name: str
    """What records call it: its folder's name, or its name and commit on the hub."""
    config: ModelConfig
    hf_config: HfConfig
    text: TextSide
    tokenizer: Path
    """Where tokenizer.json and its settings lie."""
    max_fps: float
    max_frames: int | None
    """The most that were trained with; None where nothing says so."""
    config_sha256: str
    files: WeightSource

    def scored_by_change(self, prune_at: int) -> Checkpoint:
        """The same, scored without weights; what it has as a scorer is left out.

        Raises `CheckpointError` if there is no such layer.
        """
        scorer = ChangeConfig(prune_at)
        scorer.check_against(self.config.vision)
        return replace(self, config=replace(self.config, scorer=scorer))

    def load(self) -> Modules:
        """Raises `CheckpointError` unless the weights fit the configuration whole and exactly."""
        streamed = self.lazy()
        for module in (streamed.vision, streamed.language):
            module.load_state_dict({name: streamed.read(name) for name in module.state_dict()}, assign=True)
            module.requires_grad_(False)
        return Modules(streamed.vision, streamed.language, streamed.notes)

    def lazy(self) -> LazyModules:
        """The same, but large weights stay in the files until they are asked for."""
        found = stored_weights(self.files, self.config)
        config, tied = self._with_head_tied_as_stored(found)
        with torch.device("meta"):
            vision, language = Vision(config), Language(config.text, config.markers)
        wanted = {**vision.state_dict(), **language.state_dict()}
        notes = [*tied, *checked(found, wanted, config)]

        def read(name: str) -> Tensor:
            return found[name].read(None)

        for module in (vision, language):
            hold_small_weights(module.eval(), read)
        return LazyModules(vision, language, notes, read, {name: found[name].dtype for name in wanted})

    def _with_head_tied_as_stored(self, found: dict[str, Stored]) -> tuple[ModelConfig, list[str]]:
        """A head that equals the embedding is kept once, whatever the configuration says."""
        if self.config.text.tied or not head_is_embedding(found):
            return self.config, []
        note = f"the stored {HEAD} equals the embedding and is held once"
        return replace(self.config, text=replace(self.config.text, tied=True)), [note]


def open_checkpoint(
    checkpoint: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    on_step: Tell = tell_nobody,
    before_download: Callable[[Checkpoint], object] = lambda _: None,
) -> Checkpoint:
    """Reads a checkpoint of any layout but for its weights; `tokenizer` is for those next to which none lies.

    Either may be a name on the Hugging Face hub, such as allenai/Molmo2-4B@main, where there is no such folder here:
    `on_step` is told what is downloaded, and `before_download` gets what is known before the weights are: a checkpoint
    without them, whose scorer is taken to be there if the settings speak of one. What it raises ends the download.
    Raises `CheckpointError` with what is wrong and where.
    """
    given = as_typed(os.fspath(checkpoint))
    texts = None if tokenizer is None else tokenizer_here(as_typed(os.fspath(tokenizer)), on_step)

    def check(folder: Path) -> None:
        with _called(given, folder):
            layout = find_layout(folder, texts)
            scorer_width = 1 if layout.hf_config.prunes else None
            before_download(_checkpoint(layout, given, str(checkpoint), NoWeights(), scorer_width))

    here = checkpoint_here(given, check, on_step, with_tokenizer=texts is None)
    with _called(given, here.folder):
        layout = find_layout(here.folder, texts)
        files = layout.weights()
        return _checkpoint(layout, given, here.name, files, _scorer_width(files))


@contextmanager
def _called(given: Path, folder: Path) -> Iterator[None]:
    """Errors name what the user gave, not a folder in a cache that they do not know."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(folder), str(given))) from None


def _checkpoint(layout: Layout, given: Path, name: str, files: WeightSource, scorer_width: int | None) -> Checkpoint:
    """Raises `CheckpointError` for what is wrong with it but for its weights."""
    config = _model_config(layout, scorer_width)
    return Checkpoint(
        path=layout.folder,
        given=given,
        name=name,
        config=config,
        hf_config=layout.hf_config,
        text=read_text_side(layout.tokenizer, config.markers),
        tokenizer=layout.tokenizer,
        max_fps=layout.processor.max_fps,
        max_frames=layout.processor.num_frames,
        config_sha256=layout.config_sha256,
        files=files,
    )


def _model_config(layout: Layout, scorer_width: int | None) -> ModelConfig:
    try:
        return layout.hf_config.model_config_with(layout.processor.pool, scorer_width)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(HUGGING_FACE, layout.config.name)) from None


def _scorer_width(files: WeightSource) -> int | None:
    """Rows of the scorer's first linear layer; None where the checkpoint has no scorer."""
    stored = {own_name(name): name for name in files}
    if not any(name.startswith(SCORER) for name in stored):
        return None
    if SCORER_WIDTH_FROM not in stored or len(shape := files.shape(stored[SCORER_WIDTH_FROM])) != 2:
        raise CheckpointError(f"the checkpoint has a scorer, but its {SCORER_WIDTH_FROM} is missing or no matrix")
    return shape[0]
