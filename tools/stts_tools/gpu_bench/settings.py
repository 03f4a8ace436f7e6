"""What is measured: a model's size, and windows of this many frames at this many keep ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from stts_export.modules.config import ChangeConfig, MarkerIds, ModelConfig
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle.manifest import Format, ScorerName, Work
from stts_runtime.errors import UserError
from stts_runtime.prompt import Tokens
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import model_config, size_named

# A timestamp between frames, the opening, a question; as prompts of this size have them.
_TEXT_TOKENS_A_FRAME = 5
_MARKS_A_FRAME = 2
_OPENING_TOKENS = 12
_TEXT_TOKEN = 1
_BEHIND_THE_PREFIX = 512
_QUESTION_TOKENS = 12
ANSWER_TOKENS = 16
COMPILED_FRAMES = 64
"""torch.compile takes minutes a shape, so one is enough."""
_STEP = 64


class GraphWork(BaseModel):
    """Multiplications of a graph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    products: Work
    attention: Work
    live_bytes: int
    """What its own tensors take at the fullest moment of a run with the longest prefix."""


class Settings(BaseModel):
    """What a folder of graphs was exported for; `settings.json` in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: str
    windows: list[tuple[int, float]]
    """Frames and keep ratio."""
    precision: str
    scorer: ScorerName = "trained"
    work: dict[str, GraphWork] = {}
    """By graph, once they are exported."""

    def model(self) -> ModelConfig:
        size = size_named(self.size)
        model = model_config(size, byte_level_tokenizer(size.vocab), 0.5)
        return model if self.scorer == "trained" else replace(model, scorer=ChangeConfig(size.prune_at))

    def budgets(self) -> list[TokenBudget]:
        groups = self.model().vision.groups
        return [TokenBudget(frames, groups, keep) for frames, keep in self.windows]

    @property
    def context(self) -> int:
        """Slots for the longest prefix and what comes after it."""
        longest = max(prefix_tokens(budget) for budget in self.budgets())
        return -(-(longest + _BEHIND_THE_PREFIX) // _STEP) * _STEP

    @property
    def skipped(self) -> int:
        """Positions that the most pruned window leaves out."""
        return max(budget.visual_tokens - budget.kept for budget in self.budgets())

    @property
    def visual_rows(self) -> int:
        return max(budget.kept for budget in self.budgets())


def prefix_tokens(budget: TokenBudget) -> int:
    """Tokens of a window's prefix."""
    return _OPENING_TOKENS + budget.kept + budget.frames * (_MARKS_A_FRAME + _TEXT_TOKENS_A_FRAME)


def prefix(budget: TokenBudget, markers: MarkerIds) -> Tokens:
    """A window's prefix, as if every frame but a whole first one kept the same."""
    ids = [_TEXT_TOKEN] * _OPENING_TOKENS
    left = budget.kept
    for number in range(budget.frames):
        kept = budget.groups if number == 0 else left // (budget.frames - number)
        left -= kept
        ids += [_TEXT_TOKEN] * _TEXT_TOKENS_A_FRAME
        ids += [markers.frame_start, *[markers.image_patch] * kept, markers.frame_end]
    return Tokens(np.array(ids), np.arange(len(ids)), len(ids))


def question(length: int) -> Tokens:
    """What is asked after a prefix of that length."""
    positions = np.arange(length, length + _QUESTION_TOKENS)
    return Tokens(np.full(_QUESTION_TOKENS, _TEXT_TOKEN), positions, length + _QUESTION_TOKENS)


@dataclass(frozen=True)
class GraphFolder:
    """Graphs that take their weights as inputs, and nothing else: small enough to carry to a GPU."""

    path: Path

    def vision(self, budget: TokenBudget) -> Path:
        return self.path / f"{budget.name}.onnx"

    @property
    def prefill(self) -> Path:
        return self.path / "prefill.onnx"

    @property
    def step(self) -> Path:
        return self.path / "step.onnx"

    def language(self, form: Format | None = None) -> tuple[Path, Path]:
        """Prefill and step, in these bits."""
        suffix = ".onnx" if form is None else f".{form}.onnx"
        return self.prefill.with_suffix(suffix), self.step.with_suffix(suffix)

    @property
    def settings(self) -> Settings:
        """Raises `UserError` if the folder was not written whole: its settings come last."""
        try:
            return Settings.model_validate_json((self.path / "settings.json").read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path} is not a folder of graphs: {error}") from None
