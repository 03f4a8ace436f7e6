"""Files of the live page, each under its own name at the server's root: known by what lies in the folder."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "page"
_FILES = {f"/{path.name}": path for path in sorted(_FOLDER.iterdir()) if path.suffix in (".css", ".js")}

PAGE_FILES = {"/": _FOLDER / "index.html", **_FILES}
"""By the path of a request. They hold nothing: what the page shows it asks for."""
