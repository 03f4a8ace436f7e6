"""Where the files of the repository stand in the site, so that links from docs/ lead there in both places."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "checkpoints/tiny/README.md": "model-card.md",
    "examples/accuracy_over_latency.ipynb": "tutorials/accuracy-over-latency.md",
}
"""Files outside docs/ that are pages, by their path in the repository. The README's place is taken by the index."""
REFERENCES = {
    "runtime/stts_runtime/stream/config.py": "reference/settings.md",
    "runtime/stts_runtime/stream/metrics.py": "reference/metrics.md",
    "runtime/stts_runtime/serve/openai_records.py": "reference/http.md",
    "runtime/stts_runtime/model.py": "reference/python.md",
    "runtime/stts_runtime/cli/app.py": "reference/stts-runtime.md",
    "stts_export/cli/app.py": "reference/stts-export.md",
}
"""Code that a generated page documents: a link to it leads to that page on the site, and to the code elsewhere."""
EXAMPLES = "examples.md"
COPIES = "files"
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def repository_path(page: str) -> str:
    """Of a page of the site."""
    return next((path for path, place in PAGES.items() if place == page and path != "README.md"), f"docs/{page}")


def place_of(path: str) -> str:
    """Where a file of the repository, or what is said of it, stands in the site."""
    if path in PAGES:
        return PAGES[path]
    if path in REFERENCES:
        return REFERENCES[path]
    if path.startswith("examples/") and path.endswith(".py"):
        return f"{EXAMPLES}#{Path(path).name.replace('.', '').lower()}"
    if (ROOT / path).is_dir():
        return f"{COPIES}/{path}.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{COPIES}/{path}"


def linked_to(markdown: str, page: str) -> set[str]:
    """Files and folders of the repository, by their path there, that have no place in the site by themselves."""
    paths = {_target(link, page) for link, _ in _LINK.findall(markdown) if "://" not in link}
    return {path for path in paths if place_of(path).startswith(f"{COPIES}/") and (ROOT / path).exists()}


def folder_page(path: str) -> str:
    """All files below a folder of docs/, as links."""
    here = posixpath.dirname(place_of(path))
    files = sorted(one.relative_to(ROOT).as_posix() for one in (ROOT / path).rglob("*") if one.is_file())
    lines = [f"- [{posixpath.relpath(one, path)}]({posixpath.relpath(place_of(one), here)})\n" for one in files]
    return f"# {posixpath.basename(path)}\n\n{''.join(lines)}"


def with_links_of_the_site(markdown: str, page: str) -> str:
    """Links of a page that lead out of docs/ lead to the copies."""

    def moved(link: re.Match[str]) -> str:
        if "://" in link[1]:
            return link[0]
        place = posixpath.relpath(place_of(_target(link[1], page)), posixpath.dirname(page) or ".")
        return f"]({place}{link[2] or ''})"

    return _LINK.sub(moved, markdown)


def _target(link: str, page: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(repository_path(page)), link))


def examples_page() -> str:
    sources = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
    sections = [f"## {name}\n\n```python\n{source}```\n\n" for name, source in sources.items()]
    return "# Examples\n\nEach fits on a screen, and the tests run it.\n\n" + "".join(sections)
