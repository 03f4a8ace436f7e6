"""What graphs must give: the float32 modules' own outputs for an example."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stts_export.errors import CheckpointError
from stts_export.graphs import incremental_graph, language_graph, vision_graph
from stts_export.graphs.incremental_graph import IncrementalGraph
from stts_export.graphs.language_graph import LanguageGraph
from stts_export.graphs.vision_graph import VisionGraph
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.budget import IncrementalBudget, TokenBudget
from stts_runtime.bundle.contract import FRAME_INPUTS, FRAME_OUTPUTS, indices_of
from stts_runtime.prompt import PromptBuilder, Tokens
from stts_runtime.proof.language_stage import Prompted

Array = NDArray[Any]
Names = Sequence[str]

EXPECTED_CALLS = 9
"""Most language model calls: a prefix, a question and seven tokens, so that a proof has eight of an answer."""
_FEWEST_CALLS = 3
"""A prefix, a question and a token: graphs treat each of them differently."""
_SHOWN_ROWS = 32
"""Visual tokens in that prefix, at most; of more, a proof would have to leave out something else."""
_QUESTION = "What is happening in this video?"
_LARGEST_FP16 = 65504.0


@dataclass(frozen=True)
class Expectation:
    """What goes into a graph, and what the float32 modules made of it."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


def expect_vision(vision: Vision, budget: TokenBudget) -> Expectation:
    """Runs the modules, in float32, on example frames."""
    names = vision_graph.input_names(budget), vision_graph.output_names(budget)
    return _expect(VisionGraph(vision, budget), vision_graph.example_call(vision, budget), *names)


def expect_incremental(vision: Vision, budget: IncrementalBudget, batch: int = 1) -> Expectation:
    """Runs the modules, in float32, on example frames, each as if of another stream."""
    names = FRAME_INPUTS, FRAME_OUTPUTS
    return _expect(IncrementalGraph(vision, budget), incremental_graph.example_call(vision, batch), *names)


def _expect(graph: nn.Module, inputs: Sequence[Tensor], inputs_are: Names, outputs_are: Names) -> Expectation:
    with torch.no_grad():
        outputs = graph(*inputs)
    return Expectation(
        {name: tensor.numpy() for name, tensor in zip(inputs_are, inputs, strict=True)},
        {name: _numbers(name, tensor) for name, tensor in zip(outputs_are, outputs, strict=True)},
    )


def _numbers(what: str, given: Tensor) -> Array:
    """Raises `CheckpointError` for what no engine could make any better."""
    if not given.isfinite().all():
        raise CheckpointError(
            f"the model's {what.replace('_', ' ')} are not finite, though all of its weights are and it computes in "
            "float32: some of them are far too large; they were damaged, or its training had diverged"
        )
    return given.numpy()


def example_prompt(prompts: PromptBuilder, visual_tokens: Array, context: int) -> Prompted:
    """A question about a frame of the first of `visual_tokens` (N, width) float32, cut to `context` slots.

    Visual tokens of the same model, since no others have values as large, and engines in fp16 must bear them. A real
    question, since between words that make no sense a model hardly prefers one answer, and rounding weighs more.
    """
    rows = visual_tokens[:_SHOWN_ROWS].clip(-_LARGEST_FP16, _LARGEST_FP16)
    prefix = prompts.video([0.0], np.ones((1, len(rows)), dtype=np.bool_))
    asked = prompts.question(_QUESTION, prefix)
    room = max(1, context - len(prefix) - (_FEWEST_CALLS - 2))
    # Engines in 16 bits get the same numbers.
    return Prompted(
        rows.astype(np.float16).astype(np.float32),
        prefix,
        Tokens(asked.ids[:room], asked.positions[:room], int(asked.positions[:room][-1]) + 1),
    )


def expect_language(
    language: Language, prompted: Prompted, eos_ids: Collection[int], context: int, visual_rows: int
) -> list[Expectation]:
    """Runs the modules, in float32, over a prefix, a question and the answer's first tokens, one a call.

    It stops where the answer ends, as an engine does. Caches are left to the caller.
    """
    graph, names = LanguageGraph(language), language_graph.input_names(language)
    visual = torch.zeros(visual_rows, language.config.width)
    visual[: len(prompted.visual_tokens)] = torch.from_numpy(prompted.visual_tokens)
    caches, slot, expectations = language.empty_caches(context), 0, list[Expectation]()
    upcoming = deque([prompted.prefix, prompted.asked])
    while upcoming and slot + len(upcoming[0]) <= context:
        tokens = upcoming.popleft()
        inputs = (torch.from_numpy(tokens.ids), torch.from_numpy(tokens.positions), torch.tensor([slot]), visual)
        with torch.no_grad():
            *caches, logits, next_token = graph(*inputs, *caches)
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=False)}
        arrays |= indices_of(tokens.ids, slot, language.markers.image_patch)
        outputs = {"logits": _numbers("logits", logits), "next_token": next_token.numpy()}
        expectations.append(Expectation(arrays, outputs))
        slot += len(tokens)
        ended = int(next_token) in eos_ids and len(expectations) >= _FEWEST_CALLS
        if not upcoming and not ended and len(expectations) < EXPECTED_CALLS:
            place = tokens.next_position
            upcoming.append(Tokens(next_token.numpy(), np.array([place]), place + 1))
    return expectations
