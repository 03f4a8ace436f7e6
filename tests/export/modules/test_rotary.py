"""Rotary frequencies equal transformers' own for every kind of scaling, and only the listed layers are scaled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Molmo2TextConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from stts_export.errors import CheckpointError
from stts_export.modules.rotary import rotary_of_layer_kinds
from stts_export.molmo2.rope_config import RopeSection, rotary_config

THETA, WIDTH = 500_000.0, 128
ORIGINAL = {"original_max_position_embeddings": 8192}
KINDS: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "yarn", "factor": 8.0, "attention_factor": 1.25, **ORIGINAL},
    {"rope_type": "yarn", "factor": 8.0, "beta_fast": 16.0, "beta_slow": 2.0, "truncate": False, **ORIGINAL},
    {"rope_type": "yarn", "factor": 4.0, "mscale": 0.8, "mscale_all_dim": 0.4, **ORIGINAL},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **ORIGINAL},
]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("parameters", KINDS, ids=lambda kind: f"{kind['rope_type']}-{len(kind)}")
def test_scaled_positions_equal_those_of_transformers(parameters: dict[str, Any]) -> None:
    theirs = Molmo2TextConfig(rope_parameters={**parameters, "rope_theta": THETA}, max_position_embeddings=65536)
    frequencies, amplitude = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](theirs, torch.device("cpu"))
    positions = torch.tensor([[0, 1, 17, 500, 9000]])
    angles = positions[0, :, None] * frequencies

    config = rotary_config([RopeSection.model_validate(parameters)], THETA, None, layers=2)
    assert config.scaled_layers == {0, 1}
    ours = rotary_of_layer_kinds(config, WIDTH, positions, torch.float32)
    # Angles of thousands of radians lose digits, and the two implementations lose different ones.
    assert torch.allclose(ours[True].cos[0], angles.cos() * amplitude, atol=3e-3)
    assert torch.allclose(ours[True].sin[0], angles.sin() * amplitude, atol=3e-3)
    assert not torch.allclose(ours[True].cos, ours[False].cos, atol=0.1)


def test_plain_positions_have_no_scaled_kind() -> None:
    config = rotary_config([RopeSection.model_validate({"rope_type": "default"})], THETA, [0], layers=2)
    assert config.scaling is None
    assert rotary_of_layer_kinds(config, WIDTH, torch.zeros(1, 1), torch.float32).keys() == {False}


def test_impossible_turns_are_refused() -> None:
    parameters = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0, **ORIGINAL}
    with pytest.raises(CheckpointError, match="low_freq_factor 4 is not below 4"):
        rotary_config([RopeSection.model_validate(parameters)], THETA, None, layers=2)
