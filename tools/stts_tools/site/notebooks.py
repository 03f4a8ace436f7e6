"""A notebook as a page: its text, its code, and what the code printed and drew when it was last run. Runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """Markdown, with the pictures in it. The text of a picture is the heading that it stands under."""
    heading, pieces = "", []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = ([heading, *re.findall(r"^#+ (.*)$", source, re.MULTILINE)])[-1]
            pieces.append(source)
        else:
            pieces += [f"```python\n{source}\n```", *_outputs(cell, heading)]
    return "\n\n".join(pieces) + "\n"


def _outputs(cell: dict[str, Any], heading: str) -> Iterator[str]:
    """HTML for a picture: its address is no link that has a place in the site."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield f"```text\n{''.join(output['text']).rstrip()}\n```"
        elif picture := "".join(output.get("data", {}).get("image/png", ())):
            yield f'<img alt="{heading}" src="data:image/png;base64,{"".join(picture.split())}">'
