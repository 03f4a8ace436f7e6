"""Several processes that train together, one a GPU, as torchrun starts them; or one alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from stts_runtime.errors import UserError

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Ranks:
    number: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.number == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each by its sum over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        _reduced(flat, dist.ReduceOp.SUM)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def least(self, number: int) -> int:
        """The smallest number of all processes."""
        if self.count == 1:
            return number
        found = torch.tensor(number, device=self.device)
        _reduced(found, dist.ReduceOp.MIN)
        return int(found)


def _reduced(tensor: Tensor, how: dist.ReduceOp.RedOpType) -> None:
    """In place. Where another process has ended, this one does so too: that one has said why."""
    try:
        dist.all_reduce(tensor, how)
    except RuntimeError:
        _leave()


def is_first_process() -> bool:
    """As `Ranks.is_first`, before processes have met."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def one_speaks() -> Iterator[None]:
    """For what goes wrong in all processes alike: the first one of a machine says so, and the others end with it."""
    try:
        yield
    except UserError:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        _leave()


def _leave() -> NoReturn:
    """Ends this process without a word. torchrun ends all when one has ended, so the one that speaks comes first."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(_PATIENCE_SECONDS)
    raise SystemExit(2)


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """`device` is cuda, cuda:N or cpu. Raises `UserError` if it is not there."""
    count, local = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("LOCAL_RANK", "0")
    chosen = _device(f"cuda:{local}" if device == "cuda" and count > 1 else device)
    if count == 1:
        yield Ranks(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    yield Ranks(dist.get_rank(), count, chosen)
    # Not where something went wrong: that waits for processes that may wait for us.
    dist.destroy_process_group()


def _device(name: str) -> torch.device:
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or name == "cpu:0":
        raise UserError(f"unknown device {name!r}; there is cuda, cuda:N and cpu")
    if kind == "cpu":
        return torch.device("cpu")
    there = torch.cuda.device_count()
    if not there:
        raise UserError("no CUDA device was found; --device cpu trains small models, slowly")
    if int(number or 0) >= there:
        raise UserError(f"there is no {name}: this machine has {there} CUDA device(s), counted from 0")
    device = torch.device("cuda", int(number or 0))
    torch.cuda.set_device(device)
    return device
