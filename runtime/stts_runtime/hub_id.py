"""The names of models on the Hugging Face hub: what is one, and what to do with one where a bundle belongs.

It knows nothing of the hub but how names are written there; `stts_export.checkpoint.hub` downloads.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_SITE = re.compile(r"(?:https?:/+)?(?:www\.)?(?:huggingface\.co|hf\.co)/+")
_NAME = r"[A-Za-z0-9][\w.-]*/[\w.-]+?"
_REVISION = r"[\w.-]+(?:/[\w.-]+)*"
_ID = re.compile(rf"({_NAME})(?:@({_REVISION}))?")
_NO_OWNERS = ("datasets", "spaces", "models", "collections", "papers", "docs", "blog", "api", "organizations")
"""Addresses that begin so are none of a model."""
_FOLDERS, _FILES = ("tree", "commit", "commits"), ("blob", "resolve", "raw", "edit", "blame")
"""What stands before a revision in the address of a page of a model: of a folder of it, of a file."""
_REFS = "refs"
"""Begins revisions of three parts: refs/pr/3."""


@dataclass(frozen=True)
class HubId:
    """A model on the hub."""

    name: str
    """Owner and model: `allenai/Molmo2-4B`."""
    revision: str | None = None
    """A branch, a tag or a commit; None: the main branch."""
    inside: str | None = None
    """A folder in it, where an address named one."""

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def hub_id(path: Path) -> HubId | None:
    """What `path`, where nothing is, says as a name of the hub; None where it is a path whatever the hub has.

    The first half of a name is no folder here, or the path was mistyped; an address of the hub's site always is a name.
    """
    if (site := _SITE.match(str(path))) is not None:
        return _of_address(str(path)[site.end() :])
    found = _ID.fullmatch(str(path))
    if found is None or Path(path.parts[0]).exists():
        return None
    return HubId(found[1], found[2])


def _of_address(after_site: str) -> HubId | None:
    """Also that of a page of the model, or of one of its files, as browsers show it; None if it is none of a model."""
    parts = [unquote(part) for part in re.split(r"[?#]", after_site)[0].split("/") if part]
    if not parts or parts[0] in _NO_OWNERS:
        return None
    if found := _ID.fullmatch("/".join(parts)):
        return HubId(found[1], found[2])
    name, page, rest = "/".join(parts[:2]), parts[2:3], parts[3:]
    if not _ID.fullmatch(name) or not rest or page[0] not in (*_FOLDERS, *_FILES):
        return None
    size = 3 if rest[0] == _REFS else 1
    inside = "/".join(rest[size:]) if page[0] in _FOLDERS else ""
    return HubId(name, "/".join(rest[:size]), inside or None)


def as_typed(given: str) -> Path:
    """A path as it was typed: `./runs/a` and `runs/a/` are paths, and stay ones where nothing is there. A `Path` alone
    would make `runs/a` of them, which may be a name of the hub too.
    """
    path = Path(given)
    is_path = given.startswith("./") or "/./" in given or given.endswith("/")
    if not is_path or os.path.lexists(path) or _SITE.match(given):
        return path
    return path.absolute()


def instead_of_folder(path: Path) -> str:
    """What to do if `path`, where a checkpoint belongs and nothing is, may mean a model of the hub; empty otherwise."""
    if _SITE.match(str(path)):
        return "; it is an address of the Hugging Face hub, and none of a model there: OWNER/NAME[@REVISION] is one"
    if _ID.fullmatch(str(path)):
        return f"; if the model of the hub is meant: https://huggingface.co/{path}"
    return ""


def instead_of_bundle(path: Path) -> str:
    """What to do if `path`, where a bundle belongs and nothing is, is a name of the hub; empty if it cannot be one."""
    found = hub_id(path)
    if found is None:
        return ""
    return (
        "; if it is a model of the Hugging Face hub, build a bundle of it: "
        f"stts-export build {shlex.quote(str(found))} --out BUNDLE"
    )
