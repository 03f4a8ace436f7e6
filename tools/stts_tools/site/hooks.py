"""What MkDocs calls while it builds the site: adds generated pages and moves links. Loaded by path; see mkdocs.yml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

from stts_export.cli.app import app as export_app
from stts_runtime.bundle.manifest import Manifest
from stts_runtime.cli.app import app as runtime_app
from stts_runtime.fleet.config import FleetSettings
from stts_runtime.serve.settings import ServeConfig
from stts_tools.site import repository
from stts_tools.site.command_line import command_page
from stts_tools.site.notebooks import notebook_page
from stts_tools.site.python_api import python_page
from stts_tools.site.schema_tables import model_page, object_sections
from stts_tools.site.server import http_page, metrics_page

_BUNDLE = (
    "The `manifest.json` of a bundle, from the model that reads it. What the files are is in "
    "[the bundle](../bundle.md)."
)
_SETTINGS = (
    "What the file of `stream`, `serve` and `fleet` may say, from the models that read it. Times are seconds or texts "
    "such as `5s`, `2m`, `1h`, sizes bytes or texts such as `128MB`. How settings go together is in "
    "[streaming](../streaming.md#settings)."
)


def _settings_page() -> str:
    fleet = object_sections({FleetSettings.__name__: FleetSettings.model_json_schema()}, level=2)
    return model_page("Settings", _SETTINGS, ServeConfig) + fleet


GENERATED: dict[str, Callable[[], str]] = {
    "reference/stts-runtime.md": lambda: command_page(runtime_app),
    "reference/stts-export.md": lambda: command_page(export_app),
    "reference/python.md": python_page,
    "reference/http.md": http_page,
    "reference/metrics.md": metrics_page,
    "reference/bundle.md": lambda: model_page("Bundle schema", _BUNDLE, Manifest),
    "reference/settings.md": _settings_page,
    repository.EXAMPLES: repository.examples_page,
}
"""Pages that nobody writes, by their place in the site."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for place, write in GENERATED.items():
        files.append(File.generated(config, place, content=write()))
    for path, place in repository.PAGES.items():
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, content=_text(repository.ROOT / path)))
    pages = [file for file in files if file.is_documentation_page() and file.src_uri not in GENERATED]
    linked = {path for page in pages for path in repository.linked_to(page.content_string, page.src_uri)}
    for path in sorted(linked):
        files.append(_copy(config, path))
    return files


def _text(path: Path) -> str:
    return notebook_page(path) if path.suffix == ".ipynb" else path.read_text()


def _copy(config: MkDocsConfig, path: str) -> File:
    place, source = repository.place_of(path), repository.ROOT / path
    if source.is_dir():
        return File.generated(config, place, content=repository.folder_page(path), inclusion=InclusionLevel.NOT_IN_NAV)
    return File.generated(config, place, abs_src_path=str(source))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Of pages that somebody wrote."""
    place = page.file.src_uri
    return markdown if place in GENERATED else repository.with_links_of_the_site(markdown, place)
