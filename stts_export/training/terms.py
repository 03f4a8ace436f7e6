"""What every training of a scorer has in common: who sees whom among packed questions, and how much groups change."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stts_export.modules.config import VisionConfig
from stts_export.modules.language import Language
from stts_export.modules.vision import by_group


def seen_in_segments(language: Language, tokens_BL: Tensor, segments_BL: Tensor) -> Tensor:
    """(B, L, L): which tokens each token attends to, where segment 0 is a video and each other one a question about it.

    The video sees itself, causally but for image tokens; a question sees the video and, causally, itself.
    """
    length = tokens_BL.shape[1]
    causal_LL = torch.ones(length, length, dtype=torch.bool, device=tokens_BL.device).tril()
    keys, queries = segments_BL[:, None, :], segments_BL[:, :, None]
    causal_BLL = causal_LL & ((keys == 0) | (keys == queries))
    if not language.config.two_way_images:
        return causal_BLL
    is_image_BL = language.is_image(tokens_BL)
    return causal_BLL | (is_image_BL[:, :, None] & is_image_BL[:, None, :])


def change_since_before(rows: Tensor, frames: int, vision: VisionConfig) -> Tensor:
    """1 - cosine similarity of each group's features with its own one frame earlier, (B, T - 1, G).

    `rows` (B * T * N, D) are the output of the layer that is scored. What the auxiliary loss of arXiv 2603.18004
    teaches; a target is not to be learned, else features could become alike to please the scores.
    """
    features = by_group(rows.detach().float(), frames, vision).flatten(3)
    return 1 - F.cosine_similarity(features[:, 1:], features[:, :-1], dim=-1)
