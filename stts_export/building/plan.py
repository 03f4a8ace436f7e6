"""What a build will make, decided before any weight is read: variants, prompt, context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stts_export.building.request import BuildRequest
from stts_export.checkpoint import Checkpoint
from stts_export.errors import CheckpointError
from stts_export.lowering import LOWERINGS, TARGETS, Lowering
from stts_export.modules.config import ChangeConfig, ScorerConfig
from stts_export.molmo2.marks import prompt_record
from stts_export.options import Half
from stts_runtime.budget import IncrementalBudget, Scope, TokenBudget
from stts_runtime.bundle.fields import MAX_FRAMES
from stts_runtime.bundle.manifest import Positions, Prompt
from stts_runtime.errors import UserError
from stts_runtime.prompt import PromptBuilder, Tokens

TOKENIZER = "tokenizer.json"

_QUESTION_AND_ANSWER_TOKENS = 512
_LATEST_TIME_SECONDS = 99999.9
_CONTEXT_STEP = 64
_UNTRAINED_KEEP = 0.5
MAX_BATCH = 64


@dataclass(frozen=True)
class IncrementalPlan:
    """Frames of a stream, one at a time, and the longest window made of them."""

    budgets: list[IncrementalBudget]
    frames: int

    @property
    def key_every(self) -> int:
        """So that a window holds two key frames at the most."""
        return -(-self.frames // 2)

    @property
    def kept(self) -> int:
        """Visual tokens of the fullest window."""
        between = max(budget.kept for budget in self.budgets if not budget.is_key)
        return 2 * self.budgets[0].groups + (self.frames - 2) * between


@dataclass(frozen=True)
class Plan:
    """A request that can be met."""

    budgets: list[TokenBudget]
    live: IncrementalPlan | None
    lowerings: list[Lowering]
    half: Half
    prompt: Prompt
    context: int
    positions: int
    """Rotary positions are below this: a pruned prompt can skip some, so that there are more of them than slots."""
    default_keep: float
    command: str
    """What rebuilds the bundle, with the names of folders and not their paths: a bundle travels."""
    notes: list[str]
    batches: list[int]
    """How many frames of streams, and how many answers, there are graphs for at once, besides one."""

    def batches_of(self, lowering: Lowering) -> list[int]:
        """ONNX Runtime's alone: an engine that is compiled takes minutes for each."""
        return self.batches if lowering.backend.startswith("onnxruntime") else []

    def frames_at_once(self, budget: IncrementalBudget) -> list[int]:
        """Key frames are few, and streams have them at different times."""
        return [] if budget.is_key else self.batches

    @property
    def prunes(self) -> bool:
        return any(budget.keep < 1 for budget in self.budgets)

    @property
    def visual_rows(self) -> int:
        """Visual tokens of the largest window."""
        return max([budget.kept for budget in self.budgets] + ([self.live.kept] if self.live else []))


def plan_bundle(request: BuildRequest, checkpoint: Checkpoint) -> Plan:
    """Raises `UserError` if the request is impossible for this checkpoint."""
    budgets = _budgets(request, checkpoint)
    positions, notes = _positions(request, checkpoint)
    text, markers = checkpoint.text, checkpoint.config.markers
    prompt = prompt_record(text.opening, text.eos_ids, markers, positions, TOKENIZER)
    live, prompts = _live(budgets), PromptBuilder(text.tokenizer, prompt)
    windows = [(budget.frames, budget.kept) for budget in budgets] + ([(live.frames, live.kept)] if live else [])
    groups = checkpoint.config.vision.groups
    prefixes = [_longest_prefix(prompts, frames, groups, kept) for frames, kept in windows]
    context = _context(request, max(map(len, prefixes)))
    return Plan(
        budgets=budgets,
        live=live,
        lowerings=_lowerings(request),
        half=request.half,
        prompt=prompt,
        context=context,
        positions=context + max(prefix.next_position - len(prefix) for prefix in prefixes),
        default_keep=_default_keep(checkpoint, budgets),
        command=request.command(checkpoint.name),
        notes=notes,
        batches=_batches(request, live),
    )


def _lowerings(request: BuildRequest) -> list[Lowering]:
    unknown = [name for name in request.targets if name not in TARGETS]
    if unknown:
        raise UserError(f"unknown target {unknown[0]!r}; there is {', '.join(TARGETS)}")
    names = dict.fromkeys(name for target in request.targets for name in TARGETS[target])
    return [LOWERINGS[name] for name in names]


def _budgets(request: BuildRequest, checkpoint: Checkpoint) -> list[TokenBudget]:
    groups = checkpoint.config.vision.groups
    budgets: dict[str, TokenBudget] = {}
    for frames in request.frames:
        for keep in request.keeps:
            for scope in _scopes(request, keep):
                budget = TokenBudget(frames, groups, keep, scope)
                budgets[budget.name] = budget
    for name in request.variants:
        budgets[name] = TokenBudget.named(name, groups)
    longest = max(budget.frames for budget in budgets.values())
    if longest > MAX_FRAMES:
        raise UserError(f"a window holds at most {MAX_FRAMES} frames, got {longest}")
    if checkpoint.config.scorer is None and any(budget.keep < 1 for budget in budgets.values()):
        raise CheckpointError(
            f"{request.checkpoint} has no token scorer (or no `stts` settings in config.json): pass --scorer change, "
            "which prunes without a trained one, or --keep 1"
        )
    if request.scorer is not None and all(budget.keep == 1 for budget in budgets.values()):
        raise UserError(
            f"--scorer {request.scorer} has nothing to do where every variant keeps everything: add --keep 0.5, say, "
            "or leave --scorer out"
        )
    return list(budgets.values())


def _live(budgets: Sequence[TokenBudget]) -> IncrementalPlan | None:
    """Windows of the budget `frame` can be made a frame at a time, so streams can have them."""
    windows = [budget for budget in budgets if budget.scope == "frame"]
    if not windows:
        return None
    keeps = dict.fromkeys([1.0, *(budget.keep for budget in windows)])
    groups = windows[0].groups
    return IncrementalPlan(
        [IncrementalBudget(groups, keep) for keep in keeps], max(budget.frames for budget in windows)
    )


def _batches(request: BuildRequest, live: IncrementalPlan | None) -> list[int]:
    """Powers of two: any number of rows is a few of them."""
    if request.batch & (request.batch - 1) or not 1 <= request.batch <= MAX_BATCH:
        raise UserError(f"--batch should be 1, 2, 4, 8 and so on up to {MAX_BATCH}, got {request.batch}")
    return [] if live is None else [1 << power for power in range(1, request.batch.bit_length())]


def _scopes(request: BuildRequest, keep: float) -> Sequence[Scope]:
    """Unpruned windows have no budget to spread; they are listed once, under `clip`."""
    return request.budgets if keep < 1 else ("clip",)


def _positions(request: BuildRequest, checkpoint: Checkpoint) -> tuple[Positions, list[str]]:
    stts = checkpoint.hf_config.stts
    if request.positions is not None:
        return request.positions, []
    if stts is not None and stts.positions is not None:
        return stts.positions, []
    if not isinstance(checkpoint.config.scorer, ScorerConfig):
        return "original", []
    note = (
        "config.json has no stts.positions; taking 'original' (a kept token keeps its place in the unpruned prompt), "
        "which is a guess: --positions overrides it"
    )
    return "original", [note]


def _longest_prefix(prompts: PromptBuilder, frames: int, groups: int, kept_groups: int) -> Tokens:
    """The longest prefix that a window of this many kept groups can make."""
    kept = np.zeros((frames, groups), dtype=np.bool_)
    kept.reshape(-1)[:kept_groups] = True
    return prompts.video([_LATEST_TIME_SECONDS] * frames, kept)


def _context(request: BuildRequest, longest_prefix: int) -> int:
    """Slots for the longest prefix, a question and an answer."""
    wanted = longest_prefix + _QUESTION_AND_ANSWER_TOKENS
    if request.max_context is None:
        return -(-wanted // _CONTEXT_STEP) * _CONTEXT_STEP
    if request.max_context <= longest_prefix:
        raise UserError(
            f"--max-context {request.max_context} does not hold a video of {longest_prefix} tokens and a question; "
            f"{wanted} leaves {_QUESTION_AND_ANSWER_TOKENS} for question and answer"
        )
    return request.max_context


def _default_keep(checkpoint: Checkpoint, budgets: list[TokenBudget]) -> float:
    """The keep ratio nearest to the one that the checkpoint was trained at, or else to half."""
    scorer = checkpoint.config.scorer
    wanted = _UNTRAINED_KEEP if isinstance(scorer, ChangeConfig) else 1.0
    if isinstance(scorer, ScorerConfig):
        wanted = 1 - scorer.trained_prune_fraction
    answering = [budget.keep for budget in budgets if budget.scope != "given"]
    if not answering:
        raise UserError("the budget `given` makes controls, which cannot answer; add another --budget, or --keep 1")
    return min(answering, key=lambda keep: abs(keep - wanted))
