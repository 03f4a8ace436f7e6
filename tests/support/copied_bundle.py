"""A shipped bundle as if it had been built again: another identity, and what files a test wants to be other ones."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tests.support.places import DATA

BUNDLE = DATA / "bundle-v7"
"""Its windows have two frames."""


def copied(folder: Path, max_fps: float | None = None, **files: bytes) -> str:
    """The new `folder`; a file's name has __ for its dot."""
    shutil.copytree(BUNDLE, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"created": folder.name, "max_fps": max_fps or manifest["max_fps"]}
    for name, content in files.items():
        file = name.replace("__", ".")
        (folder / file).write_bytes(content)
        manifest["files"][file] |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def spoiled(folder: Path, max_fps: float | None = None) -> str:
    """It is read, loaded, and fails its check."""
    weights = (BUNDLE / "vision.safetensors").read_bytes()
    return copied(folder, max_fps, vision__safetensors=weights[:-100_000] + weights[:100_000])
