"""The names of models on the Hugging Face hub: what is one, and what to do with one where a bundle belongs.

It knows nothing of the hub but how names are written there; `stts_export.checkpoint.hub` downloads.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_SITE = r"(?:https?:/+)?(?:www\.)?(?:huggingface\.co|hf\.co)/"
_NAME = r"[A-Za-z0-9][\w.-]*/[\w.-]+?"
_REVISION = r"[\w.-]+(?:/[\w.-]+)*"
_ID = re.compile(rf"({_SITE})?({_NAME})(?:@({_REVISION})|/(?:tree|blob)/({_REVISION}))?/?")


@dataclass(frozen=True)
class HubId:
    """A model on the hub."""

    name: str
    """Owner and model: `allenai/Molmo2-4B`."""
    revision: str | None = None
    """A branch, a tag or a commit; None: the main branch."""

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def hub_id(path: Path) -> HubId | None:
    """What `path`, where nothing is, says as a name of the hub; None where it is a path whatever the hub has.

    The first half of a name is no folder here, or the path was mistyped; an address of the hub's site always is a name.
    """
    found = _ID.fullmatch(str(path))
    if found is None or (found[1] is None and Path(path.parts[0]).exists()):
        return None
    return HubId(found[2], found[3] or found[4])


def address(path: Path) -> str | None:
    """The hub's address for a path that could be one of its names but for a folder here; None where it could not."""
    found = _ID.fullmatch(str(path))
    return None if found is None or found[1] else f"https://huggingface.co/{path}"


def instead_of_bundle(path: Path) -> str:
    """What to do if `path`, where a bundle belongs and nothing is, is a name of the hub; empty if it cannot be one."""
    found = hub_id(path)
    if found is None:
        return ""
    return (
        "; if it is a model of the Hugging Face hub, build a bundle of it: "
        f"stts-export build {shlex.quote(str(found))} --out BUNDLE"
    )
