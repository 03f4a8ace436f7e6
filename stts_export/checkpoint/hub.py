"""A checkpoint, or a tokenizer, as it was named -> a folder on this machine.

What is here is taken as it is. What is not, and has the form of a name on the Hugging Face hub, is downloaded where
huggingface_hub is installed (`hub_download`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stts_export.errors import CheckpointError
from stts_export.extras import check_hub_extra
from stts_runtime.hub_id import HubId, hub_id
from stts_runtime.places import is_there, shown
from stts_runtime.tell import Tell


@dataclass(frozen=True)
class Here:
    """A folder that may hold a checkpoint."""

    folder: Path
    name: str
    """For records: the folder's own, or that on the hub with the commit."""


def checkpoint_here(given: Path, check: Callable[[Path], object], tell: Tell, with_tokenizer: bool = True) -> Here:
    """`check` gets a downloaded folder before its weights are, and raises `CheckpointError` if they would be no use.
    Not `with_tokenizer`, the one next to the weights is not downloaded.

    Raises `CheckpointError` if the hub has no such checkpoint for us, `MissingExtraError` without huggingface_hub.
    """
    wanted = _on_hub(given)
    if wanted is None:
        return Here(given, Path(os.path.realpath(given)).name)
    from stts_export.checkpoint.hub_download import download_checkpoint

    found = download_checkpoint(wanted, check, tell, with_tokenizer)
    return Here(found.folder, f"{wanted.name}@{found.commit}")


def tokenizer_here(given: Path, tell: Tell) -> Path:
    """The same for a tokenizer, of which nothing else is downloaded."""
    wanted = _on_hub(given)
    if wanted is None:
        return given
    from stts_export.checkpoint.hub_download import download_tokenizer

    return download_tokenizer(wanted, tell).folder


def _on_hub(given: Path) -> HubId | None:
    """None for what is here, and for what is nowhere: who reads it says so."""
    wanted = None if is_there(given, CheckpointError) else hub_id(given)
    if wanted is None:
        return None
    if wanted.inside is not None:
        part = shlex.quote(f"{wanted.inside}/*")
        raise CheckpointError(
            f"{shown(given)} is a folder in {wanted}, and of a model on the hub its top is read; download that folder: "
            f"hf download {wanted.name} --revision {wanted.revision} --include {part} --local-dir FOLDER"
        )
    check_hub_extra(str(given))
    return wanted
