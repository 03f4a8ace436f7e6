"""Training: the optimiser, what tokens may see, that the loss reaches the scorer, and that a run learns."""

from __future__ import annotations

import torch

from stts_export.training.muon import StackedMuon


def test_stacked_muon_updates_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (8, 8), (12, 5), (5, 12), (8, 8)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    stacked = StackedMuon(ours, lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        if step == 1:
            ours[1].grad = theirs[1].grad = None
        stacked.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)
