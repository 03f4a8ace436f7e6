"""A run that stopped, on disk: weights, what the optimisers remember, and how far it was.

The weights are float32 and the optimisers' memory mostly bfloat16, in several files of at most 15 MB: some machines
hand back small files only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stts_export.training.examples import Batch
from stts_runtime.errors import UserError

_PROGRESS = "state.json"
_FILE_BYTES = 15_000_000
_WEIGHT = "weight "


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    clips: int = 0

    def after(self, batch: Batch, seconds: float) -> None:
        self.step, self.seconds, self.clips = self.step + 1, seconds, self.clips + len(batch.kinds)


def write_state(
    folder: Path, progress: Progress, seed: int, weights: Mapping[str, Tensor], memory: Mapping[str, Tensor]
) -> None:
    """Writes `folder`, which may hold an older state; state.json comes last, so that what it names is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**{_WEIGHT + name: weight for name, weight in weights.items()}, **memory}
    files = []
    for number, part in enumerate(_parts(tensors)):
        files.append(f"state-{number}.safetensors")
        save_file({name: tensors[name].detach().cpu().contiguous() for name in part}, folder / files[-1])
    content = {"seed": seed, "torch": torch.__version__, "files": files, **asdict(progress)}
    (folder / _PROGRESS).write_text(json.dumps(content, indent=1) + "\n")


def read_state(folder: Path, seed: int, weights: Mapping[str, Tensor]) -> tuple[Progress, dict[str, Tensor]]:
    """Fills `weights`; returns the progress and the optimisers' memory.

    Raises `UserError` if there is no state, or one of other weights or of another seed.
    """
    try:
        content = json.loads((folder / _PROGRESS).read_text())
        tensors = {name: value for file in content["files"] for name, value in load_file(folder / file).items()}
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no run to go on with: {error.filename or error} is missing") from None
    if content["seed"] != seed:
        raise UserError(f"{folder} is a run of seed {content['seed']}, not of seed {seed}")
    held = {name.removeprefix(_WEIGHT): value for name, value in tensors.items() if name.startswith(_WEIGHT)}
    if {name: value.shape for name, value in held.items()} != {name: one.shape for name, one in weights.items()}:
        raise UserError(f"{folder} is a run of a model of another size")
    with torch.no_grad():
        for name, value in held.items():
            weights[name].copy_(value)
    progress = Progress(content["step"], content["seconds"], content["clips"])
    return progress, {name: value for name, value in tensors.items() if not name.startswith(_WEIGHT)}


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Names, file by file."""
    names, size = list[str](), 0
    for name, tensor in tensors.items():
        length = tensor.numel() * tensor.element_size()
        if names and size + length > _FILE_BYTES:
            yield names
            names, size = [], 0
        names, size = [*names, name], size + length
    yield names
