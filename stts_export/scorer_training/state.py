"""A run that is under way, on disk: the scorer's weights, what the optimiser remembers, how far it is, and its log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from stts_runtime.errors import UserError
from stts_runtime.outputs import written_whole

_STATE = "state.safetensors"
_LOG = "log.jsonl"
_PROGRESS, _SETTINGS, _MATERIAL = "progress", "settings", "material"


@dataclass
class Progress:
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """Means over the steps since the last one."""

    step: int
    seconds: float
    answer_loss: float | None
    """None, as `agreement` is, while change alone is taught."""
    score_loss: float
    explained: float
    """How much of the variance of change the scores explain: 1 is all of it, and 0 what its mean alone would."""
    agreement: float | None
    kept: tuple[float, float, float]
    """Share of the groups kept of a frame after the first: a tenth of the frames keeps less, half, nine tenths."""


class RunFolder:
    """Where it lies. Its files are replaced whole, so that a run may be killed at any moment."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], material: Mapping[str, str] | None = None) -> None:
        """`material` says of what the run learns from, by its name, which it is; None where that is not known yet."""
        self._folder, self._settings, self._material = folder, dict(settings), material

    def check(self) -> None:
        """Raises `UserError` for a run that was asked for otherwise, or is damaged; reads no weight."""
        self._progress()

    def read(self) -> tuple[Progress, dict[str, Tensor]] | None:
        """None where nothing was saved. Raises `UserError` as `check` does."""
        progress = self._progress()
        if progress is None:
            return None
        try:
            return progress, load_file(self._folder / _STATE)
        except (SafetensorError, OSError):
            raise self._damaged() from None

    def _progress(self) -> Progress | None:
        if not (self._folder / _STATE).is_file():
            return None
        try:
            with safe_open(self._folder / _STATE, framework="pt") as opened:
                about = opened.metadata() or {}
            settings, progress = json.loads(about[_SETTINGS]), Progress(**json.loads(about[_PROGRESS]))
            material = json.loads(about[_MATERIAL])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            raise self._damaged() from None
        others = [f"{name} {settings.get(name)}" for name, now in self._settings.items() if settings.get(name) != now]
        if others:
            raise UserError(
                f"{self._folder} holds a run with {', '.join(others)}; ask for the same to continue it, or delete it "
                "to start over"
            )
        if other := [name for name, now in (self._material or {}).items() if material.get(name) != now]:
            raise UserError(
                f"the {' and the '.join(other)} are not those that the run in {self._folder} began with; put them "
                f"back to go on with it, or delete {self._folder} to start over"
            )
        return progress

    def _damaged(self) -> UserError:
        return UserError(f"{self._folder / _STATE} is damaged; delete {self._folder} to start over")

    def save(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        held = {_SETTINGS: self._settings, _PROGRESS: asdict(progress), _MATERIAL: dict(self._material or {})}
        about = {name: json.dumps(value) for name, value in held.items()}
        with written_whole(self._folder / _STATE) as scratch:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, scratch, about)

    def reports(self, until: int | None = None) -> list[Report]:
        """All of them, or those up to a step."""
        path = self._folder / _LOG
        lines = path.read_text().splitlines() if path.is_file() else []
        found = [Report(**{**json.loads(line), "kept": tuple(json.loads(line)["kept"])}) for line in lines]
        return [report for report in found if until is None or report.step <= until]

    def log(self, reports: list[Report]) -> None:
        """Replaces the log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with written_whole(self._folder / _LOG) as scratch:
            scratch.write_bytes(log_bytes(reports))


def log_bytes(reports: list[Report]) -> bytes:
    """A line of JSON each."""
    return "".join(json.dumps(asdict(report)) + "\n" for report in reports).encode()


def optimiser_tensors(optimiser: torch.optim.Optimizer, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What it remembers of each weight, exactly: `kind name`."""
    memory = {name: optimiser.state[weight] for name, weight in names.items()}
    return {f"{kind} {name}": value for name, held in memory.items() for kind, value in held.items()}


def restore_optimiser(
    optimiser: torch.optim.Optimizer, names: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """The opposite, before the first step."""
    for named, value in tensors.items():
        kind, _, name = named.partition(" ")
        if name in names:
            # AdamW counts its steps on the CPU.
            optimiser.state[names[name]][kind] = value.to(names[name].device) if value.ndim else value
