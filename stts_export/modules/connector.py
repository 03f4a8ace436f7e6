"""The connector: one token of the language model's width for every kept group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stts_export.modules.config import ConnectorConfig, VisionConfig
from stts_export.modules.layers import GatedMlp, GroupPooling


class Connector(nn.Module):
    def __init__(self, vision: VisionConfig, config: ConnectorConfig) -> None:
        super().__init__()
        features = vision.width * len(vision.feature_layers)
        channels = config.heads * config.head_dim
        self.patches_per_group = vision.patches_per_group
        self.image_pooling_2d = GroupPooling(features, channels, config.pooled_width, config.heads)
        self.image_projector = GatedMlp(config.pooled_width, config.mlp_width, config.text_width)

    def forward(self, features: Tensor) -> Tensor:
        """Concatenated features of kept patches (K * P, features) -> visual tokens (K, text width)."""
        pooled = self.image_pooling_2d(features.unflatten(0, (-1, self.patches_per_group)))
        tokens: Tensor = self.image_projector(pooled)
        return tokens

    @property
    def dtype(self) -> torch.dtype:
        """Data type of inputs and outputs."""
        return self.image_pooling_2d.q_proj.weight.dtype
