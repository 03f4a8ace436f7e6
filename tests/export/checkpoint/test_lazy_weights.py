"""Modules whose weights stay in the files compute the same, hold next to nothing, and are written as they are."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stts_export.checkpoint import Checkpoint, open_checkpoint
from stts_export.checkpoint import lazy_weights as streaming
from stts_export.checkpoint.lazy_weights import cast, placeholder, real_weights
from stts_export.checkpoint.safetensors_writer import write_safetensors
from stts_export.graphs import language_graph, vision_graph
from stts_export.graphs.language_graph import LanguageGraph
from stts_export.modules.language import Language
from stts_export.modules.vision import Vision
from stts_runtime.budget import TokenBudget
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import SIZES, model_config


@pytest.fixture(scope="module")
def checkpoint(micro_checkpoint: Path) -> Checkpoint:
    return open_checkpoint(micro_checkpoint)


def held_bytes(module: nn.Module) -> int:
    """Memory under the parameters, a storage counted once."""
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in module.parameters()}
    return sum(storages.values())


def test_streamed_modules_compute_what_loaded_ones_do(checkpoint: Checkpoint) -> None:
    loaded, streamed = checkpoint.load(), checkpoint.lazy()
    budget = TokenBudget(3, loaded.vision.config.vision.groups, 0.5)
    frames = vision_graph.example_call(loaded.vision, budget)
    call = language_graph.example_call(loaded.language, 64, 8)
    with torch.no_grad():
        wanted = loaded.vision(*frames, budget)
        *_, wanted_logits, _ = LanguageGraph(loaded.language)(*call)
        with real_weights(streamed.vision, streamed.read), real_weights(streamed.language, streamed.read):
            got = streamed.vision(*frames, budget)
            *_, got_logits, _ = LanguageGraph(streamed.language)(*call)
        outside = streamed.vision(*frames, budget)
    assert torch.equal(got.visual_tokens_KW, wanted.visual_tokens_KW)
    assert torch.equal(got_logits, wanted_logits)
    assert not torch.equal(outside.visual_tokens_KW, wanted.visual_tokens_KW), "placeholders again"


def test_no_large_weight_is_held_in_or_outside_the_block(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "SMALL", 256)
    streamed = checkpoint.lazy()
    assert held_bytes(streamed.language) < held_bytes(checkpoint.load().language) / 2
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def read(name: str) -> Tensor:
        nonlocal most
        weight = streamed.read(name)
        if weight.numel() >= streaming.SMALL:
            alive.add(weight)
        most = max(most, len(alive))
        return weight

    call = language_graph.example_call(streamed.language, 64, 8)
    with torch.no_grad(), real_weights(streamed.language, read):
        LanguageGraph(streamed.language)(*call)
        gc.collect()
        assert not alive
    assert 1 <= most <= 2


def test_casting_fills_no_placeholder(checkpoint: Checkpoint) -> None:
    streamed = checkpoint.lazy()
    before = held_bytes(streamed.vision)
    cast(streamed.vision, {"": torch.float16, "vision_tower.layers.1": torch.bfloat16})
    assert held_bytes(streamed.vision) <= before
    types = {name: parameter.dtype for name, parameter in streamed.vision.named_parameters()}
    assert types["vision_tower.layers.1.mlp.fc1.weight"] == torch.bfloat16
    assert {kind for name, kind in types.items() if ".layers.1." not in name} == {torch.float16}


def test_a_streamed_file_is_what_the_library_writes(tmp_path: Path) -> None:
    weights = {
        "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a": torch.arange(5).half(),
        "d": torch.zeros(()),
    }
    like = {name: placeholder(weight.shape, weight.dtype) for name, weight in weights.items()}
    write_safetensors(tmp_path / "streamed", like, weights.__getitem__, {"format": "pt"})
    save_file(weights, tmp_path / "whole", metadata={"format": "pt"})
    assert (tmp_path / "streamed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert all(torch.equal(weight, weights[name]) for name, weight in load_file(tmp_path / "streamed").items())


@pytest.mark.parametrize(("size", "billions"), [("molmo2-4b", 4.851), ("molmo2-8b", 8.662)])
def test_full_sizes_have_as_many_weights_as_the_released_models(size: str, billions: float) -> None:
    """4,850,869,200 stand in the 4B's published index; the 8B's from its published shapes."""
    config = model_config(SIZES[size], byte_level_tokenizer(SIZES[size].vocab), 0.5)
    with torch.device("meta"):
        modules = Vision(config), Language(config.text, config.markers)
    named = [pair for module in modules for pair in module.named_parameters()]
    total = sum(weight.numel() for name, weight in named if not name.startswith("temporal_token_scorer"))
    assert round(total / 1e9, 3) == billions
