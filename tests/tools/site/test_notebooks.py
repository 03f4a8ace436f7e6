"""A notebook becomes a page that shows what was committed: text, code, and what the code printed and drew."""

from __future__ import annotations

import json
from pathlib import Path

from stts_tools.site.notebooks import notebook_page
from stts_tools.site.repository import PAGES, with_links_of_the_site
from tests.support.places import ROOT


def test_text_code_and_outputs_follow_one_another(tmp_path: Path) -> None:
    drawn = {"output_type": "display_data", "data": {"image/png": "QUJD\nREVG\n", "text/plain": ["<Figure>"]}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text\n", "## Plot"]},
        {
            "cell_type": "code",
            "source": ["a = 1\n", "print(a)"],
            "outputs": [{"output_type": "stream", "text": ["1\n"]}, drawn],
        },
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert notebook_page(path) == (
        "# Title\nText\n## Plot\n\n```python\na = 1\nprint(a)\n```\n\n```text\n1\n```\n\n"
        '<img alt="Plot" src="data:image/png;base64,QUJDREVG">\n'
    )


def test_links_of_our_notebook_lead_to_pages_of_the_site() -> None:
    name = "examples/accuracy_over_latency.ipynb"
    page = with_links_of_the_site(notebook_page(ROOT / name), PAGES[name])
    assert "](../accuracy.md)" in page
    assert "docs/" not in page
    assert page.count('src="data:image/png;base64,iVBOR') == 2
