"""The site: its navigation names every page, its reference is the programs', and it loads nothing from elsewhere."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymdownx.slugs import slugify

from stts_runtime.bundle.manifest import Manifest
from stts_runtime.serve.settings import ServeConfig
from stts_tools.site.command_line import command_page
from stts_tools.site.hooks import GENERATED
from stts_tools.site.markup import plain
from stts_tools.site.repository import (
    PAGES,
    REFERENCES,
    folder_page,
    place_of,
    repository_path,
    with_links_of_the_site,
)
from stts_tools.site.schema_tables import field_docs
from stts_tools.site.server import http_page, metrics_page
from tests.support.places import ROOT

DOCS = ROOT / "docs"
WRITTEN = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))]


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, but for the objects that its tags ask for."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for one in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(one)]


def test_the_navigation_names_every_page_once() -> None:
    named = pages_of(yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)["nav"])
    assert sorted(named) == sorted({*WRITTEN, *GENERATED, *PAGES.values()})


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub gives them; what follows the second of a name is of no use to a link."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    slug = slugify(case="lower")
    return {slug(re.sub(r"[`*]", "", heading), "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize(
    "page", [*(DOCS / one for one in WRITTEN), *(ROOT / one for one in PAGES)], ids=lambda one: one.name
)
def test_links_lead_to_headings_that_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link, anchor in re.findall(r"\]\(((?!http)[^)\s#]*)#([^)\s]+)\)", text):
        target = page if not link else page.parent / link
        assert anchor in anchors(target), f"{page.name}: {link}#{anchor}"


def test_a_link_out_of_the_documentation_leads_to_the_copy() -> None:
    text = "[a](../examples/ask_file.py) [b](../benchmarks/README.md#benchmarks) [c](../benchmarks/soak.json) [d](https://e.f/g)"
    assert with_links_of_the_site(text, "python.md") == (
        "[a](examples.md#ask_filepy) [b](benchmarks.md#benchmarks) [c](files/benchmarks/soak.json) [d](https://e.f/g)"
    )
    assert with_links_of_the_site("[a](docs/serve.md#limits)", "project/security.md") == "[a](../serve.md#limits)"


def test_a_link_to_code_of_which_there_is_a_reference_leads_to_that() -> None:
    for path, place in REFERENCES.items():
        assert (ROOT / path).exists()
        assert place in GENERATED
        assert with_links_of_the_site(f"[a](../{path})", "streaming.md") == f"[a]({place})"


def test_places_and_paths_are_each_other() -> None:
    for path in PAGES.keys() - {"README.md"}:
        assert repository_path(place_of(path)) == path


def test_every_command_option_and_argument_is_in_the_reference() -> None:
    from stts_runtime.cli.app import app
    from tests.test_docs import named

    page = command_page(app)
    for name in ("run", "stream", "serve", "doctor"):
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert all(option in section for one in named(app, (name,)).params for option in one.opts if "--" in option)


def test_the_reference_has_every_field_and_what_the_code_says_of_it() -> None:
    page, bundle = GENERATED["reference/settings.md"](), GENERATED["reference/bundle.md"]()
    assert all(f"| `{field.alias or name}` |" in page for name, field in ServeConfig.model_fields.items())
    assert all(f"| `{name}` |" in bundle for name in Manifest.model_fields)
    assert field_docs(ServeConfig)["transport"] == "Transport of RTSP."
    assert "| Transport of RTSP. |" in page
    assert "| `lost_after` |" in page


def test_routes_and_metrics_are_the_servers() -> None:
    page = http_page()
    assert all(f"## {route}\n" in page for route in ("POST /v1/chat/completions", "GET /healthz", "GET /api/search"))
    metrics = metrics_page()
    assert "| `stts_frame_lag_seconds` | gauge | `stream` |" in metrics
    assert "| `stts_http_requests_total` | counter | `route`, `status` |" in metrics
    assert "`stts_gpu_memory_used_bytes`" in metrics


@pytest.mark.slow
def test_it_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 35
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//|<link[^>]+(?:stylesheet|preload|icon)[^>]+https?://"
    )
    assert not [page.name for page in pages if loaded.search(page.read_text())]


def test_text_says_in_markdown_what_it_says_and_code_is_left_alone() -> None:
    assert plain("a_b <c> `d_e|f` g|h") == r"a\_b \<c> `d_e|f` g\|h"


def test_the_page_of_a_folder_links_to_files_alone_also_below_it() -> None:
    links = re.findall(r"\]\(([^)]+)\)", folder_page("docs/examples"))
    folder = posixpath.dirname(place_of("docs/examples"))
    places = {posixpath.normpath(posixpath.join(folder, link)) for link in links}
    assert {"examples/cameras.yaml", "examples/proxy/Caddyfile"} <= places
    assert all((DOCS / place).is_file() for place in places)
