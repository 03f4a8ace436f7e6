"""What file systems, desktops, NAS boxes and sync tools put into folders on their own, and users do not mean as input.

It knows names alone. Nothing that we write has such a name.
"""

from __future__ import annotations

from pathlib import Path

_NAMES = frozenset(
    (
        # The root of a volume.
        "lost+found",
        "system volume information",
        "$recycle.bin",
        "recycler",
        "lost.dir",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        "aquota.user",
        "aquota.group",
        "quota.user",
        "quota.group",
        # Folders of Windows and macOS, and archives that macOS made.
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        # Synology, QNAP, NetApp.
        "@eadir",
        "@tmp",
        "@sharebin",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "~snapshot",
    )
)


def is_leftover(name: str) -> bool:
    """Whether `name` is hidden, as `.snapshot`, `.Trash-1000`, `.stfolder`, `.nfs...`, `._clip.mp4` are, or one
    of the names that have no dot.
    """
    return name.startswith(".") or name.lower() in _NAMES


def own_files(folder: Path) -> list[Path]:
    """What is in a folder but leftovers, by name. Raises `OSError`."""
    return sorted(path for path in folder.iterdir() if not is_leftover(path.name))
