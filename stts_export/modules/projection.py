"""Rows of tokens and the weights that make queries, keys and values of them."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Projection(NamedTuple):
    """Rows (tokens, width), and the weights (width, width) that turn them into queries, keys and values."""

    rows: Tensor
    q: Tensor
    q_bias: Tensor
    k: Tensor
    v: Tensor

    def project(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values: (tokens, width) each."""
        return F.linear(self.rows, self.q, self.q_bias), F.linear(self.rows, self.k), F.linear(self.rows, self.v)
