"""Which GPU this process computes on: the first that CUDA shows, unless another is selected.

What is loaded stays on the GPU that was selected when it was loaded.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from stts_runtime.device.device import Device, read_device
from stts_runtime.errors import UserError

CPU = "cpu"
_NAME = re.compile(r"cuda:([0-9]{1,3})")


class _Selected:
    number = 0


def this_device() -> Device:
    """The machine that this runs on, with the selected GPU; asked once."""
    return _read(_Selected.number)


_read = functools.cache(lambda number: read_device(gpu=number))


def gpu_of(device: str | None) -> str | None:
    """The GPU that `--device` names; None for `cpu`, which only says what the cpu engine does anyway."""
    return None if device == CPU else device


def select_gpu(name: str | None) -> None:
    """Makes `name` (cuda:0, cuda:1, ...) the GPU for everything that this process loads from now on; None changes
    nothing. Raises `UserError` if there is no such GPU.
    """
    if name is not None:
        _Selected.number = _number_of(name)


@contextmanager
def selected_gpu(name: str | None) -> Iterator[None]:
    """The same for what is loaded in the block."""
    before = _Selected.number
    select_gpu(name)
    try:
        yield
    finally:
        _Selected.number = before


def hide_other_gpus(number: int) -> dict[str, str]:
    """What to set in the environment of a child process, so that a GPU of this process's is the only one it sees."""
    if number == 0:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[number].strip() if visible else str(number)}


def _number_of(name: object) -> int:
    # From Python a number may come, as torch takes one.
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise UserError(f"a GPU is named cuda:0, cuda:1 and so on, got {name!r}")
    first = _read(0)
    if first.gpu is None:
        raise UserError(f"{name} is not there: no NVIDIA GPU is here ({first.no_gpu_because})")
    number, count = int(match[1]), first.gpu.count
    if number >= count:
        allowed = "cuda:0, the only GPU" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UserError(f"there is no {name} here, but {allowed}; CUDA_VISIBLE_DEVICES says which GPUs CUDA shows")
    return number
